"""Which tables can lose rows, or values of rows, by statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject, Statement, Table

_TAKES = frozenset({sqlite3.SQLITE_DELETE, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DROP_TABLE, 30})
"""What SQLite asks its authorizer for a table; 30 is the dropping of a virtual one."""


def find_endangered(
    statements: Iterable[Statement], schema: Iterable[SchemaObject], tables: Sequence[Table]
) -> set[str]:
    """Run statements on an empty ledger, and name the tables that lose something where there are rows.

    Whatever a trigger or a foreign key does for them counts as well.
    """
    found: set[str] = set()
    with closing(EmptyLedger(schema, strict=False)) as empty:
        for statement in statements:
            words = {token.text.upper() for token in sql.tokens(statement.sql) if token.kind == "word"}
            takes = _TAKES | ({sqlite3.SQLITE_INSERT} if "REPLACE" in words else set())
            adds = sql.first_word(statement.sql).upper() == "ALTER" and words & {"ADD", "RENAME"}

            def note(action: int, first: str | None, second: str | None, *_: str | None) -> int:
                if action in takes and first:  # noqa: B023
                    found.add(first)
                if action == sqlite3.SQLITE_ALTER_TABLE and second and not adds:  # noqa: B023
                    found.add(second)
                return sqlite3.SQLITE_OK

            empty.connection.set_authorizer(note)
            with suppress(sqlite3.Error):
                empty.connection.execute(statement.sql, tuple(statement.params)).fetchall()
            empty.connection.set_authorizer(None)
    named = {name.lower() for name in found}
    while following := {
        table.name.lower()
        for table in tables
        if table.name.lower() not in named and named & {parent.lower() for parent in table.cascades}
    }:
        named |= following
    return {table.name for table in tables if table.name.lower() in named}
