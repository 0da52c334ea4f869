"""Is a ledger what its migrations say? The schema that they make, compared object by object with its own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from hoox_tasks import sql
from hoox_tasks.database.interface import SchemaObject
from hoox_tasks.migrations.apply import try_on
from hoox_tasks.migrations.files import Migration
from hoox_tasks.migrations.history import CHECKSUMS, Status, history_tables
from hoox_tasks.migrations.model import Model


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


def find_drift(
    current: Status, migrations: Sequence[Migration], history: str, *, strict: bool = True
) -> list[Difference]:
    """Compare a ledger with what the migrations that it has applied make (all, where it has no history).

    `history` is the migrations table; it and the checksums are nobody's migration.
    """
    recorded = dict(current.history)
    applied = [migration for migration in migrations if migration.name in recorded]
    with closing(Model([], strict=strict)) as model:
        model.run(history_tables(history))
        for migration in applied or migrations:
            try_on(model, migration)
        expected = _by_name(model.after, history)
    actual = _by_name(current.schema, history)
    found = []
    for key in sorted({*expected, *actual}):
        here, there = actual.get(key), expected.get(key)
        if here is not None and there is not None and _normal(here.sql) == _normal(there.sql):
            continue
        what = "missing" if here is None else "extra" if there is None else "different"
        found.append(Difference(*key, what, _shown(there), _shown(here)))
    return found


def _by_name(schema: Iterable[SchemaObject], history: str) -> dict[tuple[str, str], SchemaObject]:
    return {
        (item.type, item.name): item for item in schema if not {item.name, item.table} & {history, CHECKSUMS}
    }


def _normal(ddl: str) -> list[str]:
    """A definition's tokens, without what means nothing: capitals, quotes of names, spaces, comments."""
    return [
        token.text if token.text.startswith("'") else sql.unquote_name(token.text).lower()
        for token in sql.tokens(ddl)
    ]


def _shown(item: SchemaObject | None) -> str:
    return sql.format_ddl(item.sql) if item else ""
