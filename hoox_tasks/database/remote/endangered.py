"""Which tables can lose rows, or values of rows, by statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from itertools import count

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject, Statement, Table
from hoox_tasks.rules.authorizer import enforce

_DROP_VTABLE = 30
_TAKES = frozenset({sqlite3.SQLITE_DELETE, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DROP_TABLE, _DROP_VTABLE})
"""What SQLite asks its authorizer about a table from which something is taken."""
_DEFINES = frozenset({"CREATE", "ALTER", "DROP"})
"""What a statement begins with behind which others may use other tables."""
_PATIENCE = 100
"""How many times 100,000 instructions a statement may run that makes a table of a query."""


def find_endangered(
    statements: Iterable[Statement], schema: Iterable[SchemaObject], tables: Sequence[Table]
) -> set[str]:
    """Try statements on an empty ledger, and name the tables that lose something where there are rows.

    Whatever a trigger or a foreign key does for them counts as well. What does not compile is left out: D1
    does not run it either.
    """
    found: set[str] = set()
    with closing(EmptyLedger(schema, strict=False)) as empty:
        gate = enforce(empty.connection, read_only=False)
        for statement in statements:
            words = {token.text.upper() for token in sql.tokens(statement.sql) if token.kind == "word"}
            first_word = sql.first_word(statement.sql)
            takes = _TAKES | ({sqlite3.SQLITE_INSERT} if "REPLACE" in words else set())
            adds = first_word == "ALTER" and words & {"ADD", "RENAME"}

            def note(
                action: int, first: str | None, second: str | None, database: str | None, trigger: str | None
            ) -> int:
                if action in takes and first:  # noqa: B023
                    found.add(first)
                if action == sqlite3.SQLITE_ALTER_TABLE and second and not adds:  # noqa: B023
                    found.add(second)
                return gate(action, first, second, database, trigger)

            empty.connection.set_authorizer(note)
            steps = count()
            empty.connection.set_progress_handler(lambda: next(steps) > _PATIENCE, 100_000)  # noqa: B023
            prefix = "" if first_word in _DEFINES else "EXPLAIN "
            with suppress(sqlite3.Error, sqlite3.Warning):
                empty.connection.execute(prefix + statement.sql, tuple(statement.params)).fetchall()
    return _with_children({name.lower() for name in found}, tables)


def _with_children(named: set[str], tables: Sequence[Table]) -> set[str]:
    """Name tables by their own names, and those whose rows are changed when rows of theirs go."""
    while following := {
        table.name.lower()
        for table in tables
        if table.name.lower() not in named and named & {parent.lower() for parent in table.cascades}
    }:
        named |= following
    return {table.name for table in tables if table.name.lower() in named}
