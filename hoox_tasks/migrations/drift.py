"""Is a ledger what its migrations say? The schema that they make, compared object by object with its own."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from hoox_tasks import sql
from hoox_tasks.database.interface import SchemaObject
from hoox_tasks.migrations.history import Entry, Status


@dataclass(frozen=True, slots=True)
class Difference:
    """An object that is not as the migrations make it: `what` is missing, extra or different.

    `expected` and `actual` are its definitions in one fixed form, empty where there is none.
    """

    type: str
    name: str
    what: str
    expected: str
    actual: str

    def __str__(self) -> str:
        """What is wrong with which object, and below it, where they differ, both definitions."""
        told = [f"{self.type} {self.name} is {self.what}"]
        if self.what == "different":
            told += [f"    {line}" for line in self.lines]
        return "\n".join(told)

    @property
    def lines(self) -> list[str]:
        """Both definitions as one text, lines with - as expected and with + as they are."""
        both = difflib.ndiff(self.expected.splitlines(), self.actual.splitlines())
        return [line for line in both if not line.startswith("?")]


@dataclass(frozen=True, slots=True)
class Drift:
    """How a ledger differs from what its migrations make.

    `taken` are tables that no migration makes and one changes: nobody knows how they should be. `unknown` are
    migrations of which a statement could not be tried.
    """

    differences: list[Difference]
    taken: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def reservations(self) -> list[str]:
        """What could not be compared, in sentences."""
        found = []
        if self.taken:
            found.append(f"No migration makes {', '.join(self.taken)}: taken as the ledger has it.")
        if self.unknown:
            found.append(f"Not all of {', '.join(self.unknown)} could be compared.")
        return found


@dataclass(frozen=True, slots=True)
class Check:
    """What is wrong with a ledger, compared with its migrations: nothing of both where it agrees.

    `wrong` are the migrations that are not applied as their files are, `differences` the objects that are
    missing, extra or different. `reservations` say what could not be compared.
    """

    status: Status
    wrong: list[Entry]
    differences: list[Difference]
    reservations: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether the ledger is what its migrations say."""
        return not self.wrong and not self.differences


def compare_schemas(
    expected: Iterable[SchemaObject], actual: Iterable[SchemaObject], ignored: Collection[str]
) -> list[Difference]:
    """Give every object that is in one schema only, or different; tables in `ignored` do not count."""
    wanted, present = _by_name(expected, ignored), _by_name(actual, ignored)
    found = []
    for key in sorted({*wanted, *present}):
        here, there = present.get(key), wanted.get(key)
        if (
            here is not None
            and there is not None
            and normal_definition(here.sql) == normal_definition(there.sql)
        ):
            continue
        what = "missing" if here is None else "extra" if there is None else "different"
        found.append(Difference(*key, what, _shown(there), _shown(here)))
    return found


def _by_name(schema: Iterable[SchemaObject], ignored: Collection[str]) -> dict[tuple[str, str], SchemaObject]:
    return {
        (item.type, item.name.lower()): item
        for item in schema
        if item.name not in ignored and item.table not in ignored
    }


def normal_definition(ddl: str) -> list[str]:
    """A definition's tokens, without what means nothing: capitals, quotes of names, spaces, comments."""
    found: list[str] = []
    for token in sql.tokens(ddl):
        if token.text.startswith("'"):
            found.append(token.text)
        elif token.text.startswith('"') and found[-1:] == ["default"]:
            # There it is a text, as SQLite takes it (https://sqlite.org/quirks.html#dblquote).
            found.append(sql.quote_value(sql.unquote_name(token.text)))
        else:
            found.append(sql.unquote_name(token.text).lower())
    return found


def _shown(item: SchemaObject | None) -> str:
    return sql.format_ddl(item.sql) if item else ""
