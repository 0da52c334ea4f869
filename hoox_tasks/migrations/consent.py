"""What a run of migrations may do to rows that were there before it, and where somebody said so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from hoox_tasks import sql
from hoox_tasks.errors import Refused

_DIRECTIVE = re.compile(r"--[ \t]*hoox:[ \t]*(?P<words>[^\r\n]*)")
_QUOTED = r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]'
LOSS, CHANGES = "allow-data-loss", "allow-value-changes"
"""What may be consented to, as it is written in a file and as a flag."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What may be lost or changed: `loss` names tables, `changes` tables or columns (`trades.price`).

    `any_loss` lets every loss through. `amounts` are the columns of money, `trades.price`, whose values are
    not changed without consent; other values may be, but where `guards_all` says that none is.
    """

    loss: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    any_loss: bool = False
    amounts: frozenset[str] = frozenset()
    guards_all: bool = False

    def __or__(self, other: Consent) -> Consent:
        """Give what either of the two allows."""
        return Consent(
            self.loss | other.loss,
            self.changes | other.changes,
            self.any_loss or other.any_loss,
            self.amounts | other.amounts,
            self.guards_all or other.guards_all,
        )

    def allows_loss(self, table: str) -> bool:
        """Whether rows or values of a table may be lost."""
        return self.any_loss or table.lower() in self.loss

    def allows_changes(self, table: str, column: str) -> bool:
        """Whether values of a column may change, whatever it holds."""
        return not {table.lower(), f"{table}.{column}".lower()}.isdisjoint(self.changes)

    def guards_amount(self, table: str, column: str) -> bool:
        """Whether values of a column may not change, as it is one of money, or none may."""
        guarded = self.guards_all or f"{table}.{column}".lower() in self.amounts
        return guarded and not self.allows_changes(table, column)


def consent(
    *,
    data_loss: bool | str | Iterable[str] = False,
    value_changes: str | Iterable[str] = (),
    amounts: Iterable[str] = (),
) -> Consent:
    """Make a consent of what flags say: names with commas between them, or true for any data loss."""
    everything = data_loss is True
    return Consent(
        _names(() if isinstance(data_loss, bool) else data_loss),
        _names(value_changes),
        everything,
        _names(amounts),
    )


def read_consent(name: str, text: str) -> Consent:
    """Read what a migration itself consents to: comments such as `-- hoox: allow-data-loss trades`.

    Raises `Refused` for a comment that begins with `hoox:` and says nothing known, or names nothing.
    """
    loss: set[str] = set()
    changes: set[str] = set()
    if "hoox:" not in text:
        return Consent()
    for offset, comment in sql.comments(text):
        match = _DIRECTIVE.match(comment)
        if match is None:
            continue
        word, _, names = match["words"].partition(" ")
        # A reason may stand behind the names.
        listed = re.match(rf"(?:{_QUOTED}|(?!--|\().)*", names)
        found = _names(re.findall(rf"(?:{_QUOTED}|[^\s,])+", listed[0] if listed else ""))
        if word not in {LOSS, CHANGES} or not found:
            line = text.count("\n", 0, offset) + 1
            raise Refused(
                f"Migration {name} has `{comment.strip()}` in line {line}, which says nothing known.",
                f"Write `-- hoox: {LOSS} TABLE` or `-- hoox: {CHANGES} TABLE.COLUMN`.",
            )
        (loss if word == LOSS else changes).update(found)
    return Consent(frozenset(loss), frozenset(changes))


def in_file(word: str, names: Iterable[str]) -> str:
    """Write the comment by which a file consents to something; quoted names stay as they are."""
    return f"-- hoox: {word} {', '.join(names)}"


def in_flag(word: str, names: Iterable[str]) -> str:
    """Write the flag that consents to something."""
    return f"--{word}={shlex.quote(','.join(names))}"


def _names(words: str | Iterable[str]) -> frozenset[str]:
    """Give names in small letters, without quotes; in a flag, commas stand between them."""
    parts = re.findall(rf"(?:{_QUOTED}|[^,])+", words) if isinstance(words, str) else list(words)
    names = (re.sub(_QUOTED, lambda quoted: sql.unquote_name(quoted[0]), part.strip()) for part in parts)
    return frozenset(name.lower() for name in names if name)
