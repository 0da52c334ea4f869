"""A ledger on D1 copied by queries, while others may write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from hoox_tasks import sql
from hoox_tasks.d1 import D1Client
from hoox_tasks.database import dump
from hoox_tasks.database.interface import SchemaObject, Table
from hoox_tasks.database.remote.live_reader import LiveReader
from hoox_tasks.database.schema import read_tables_and_schema
from hoox_tasks.errors import HooxError
from hoox_tasks.rules.functions import supply_functions
from hoox_tasks.values import Progress

_ROUNDS = 5
"""How often rows are asked for again that others took the place of in the copy."""


def read_by_queries(client: D1Client, name: str, path: Path, progress: Progress | None) -> None:
    """Copy a ledger by queries into a new SQLite file.

    Every row that is there from the beginning to the end is in the copy, as it was at some time between.
    Where a row that was read later took the place of another (both have had the same key at some time), the
    other is asked for again. Raises `HooxError` where what was read does not fit together.
    """
    reader = LiveReader(client)
    tables, schema, _ = read_tables_and_schema(reader)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            _make_tables(connection, tables, schema)

            def write(text: bytes) -> None:
                connection.executescript(text.decode())

            dump.write_live_rows(reader, tables, write, progress=progress)
            for _ in range(_ROUNDS):
                missing = _take_missing(connection, tables)
                if not missing:
                    break
                for table, rowids in missing:
                    dump.write_live_rows_again(reader, table, rowids, write)
            else:
                raise HooxError(f"Keys of {name} change too fast to be read.", "Run it again.")
            for kind in ("view", "trigger"):
                for item in schema:
                    if item.type == kind:
                        connection.execute(item.sql)
        except sqlite3.Error as error:
            raise HooxError(
                f"What was read of {name} does not fit: it was changed while it was read ({error}).",
                "Run it again.",
            ) from error


def _make_tables(
    connection: sqlite3.Connection, tables: Sequence[Table], schema: Sequence[SchemaObject]
) -> None:
    """Make the tables and indexes, and note each row whose place another takes."""
    for pragma in ("foreign_keys = OFF", "journal_mode = OFF", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("PRAGMA ignore_check_constraints = ON")
    # Without it, REPLACE deletes rows without a trigger.
    connection.execute("PRAGMA recursive_triggers = ON")
    supply_functions(connection)
    for table in tables:
        if table.kind != "shadow":
            connection.execute(table.sql)
    for item in schema:
        if item.type == "index":
            connection.execute(item.sql)
    connection.execute("CREATE TEMP TABLE replaced (place INTEGER, row INTEGER)")
    for place, table in enumerate(tables):
        if table.kind == "table" and table.rowid:
            connection.execute(
                f"CREATE TEMP TRIGGER replaced_{place} AFTER DELETE ON main.{sql.quote_name(table.name)}"
                f" BEGIN INSERT INTO replaced VALUES ({place}, old.{table.rowid}); END"
            )


def _take_missing(connection: sqlite3.Connection, tables: Sequence[Table]) -> list[tuple[Table, list[int]]]:
    """Give the rowids of rows that were replaced and are not there now, and forget them."""
    missing = []
    for place, table in enumerate(tables):
        if table.kind == "table" and table.rowid:
            query = (
                f"SELECT DISTINCT row FROM replaced WHERE place = {place} AND row NOT IN"
                f" (SELECT {table.rowid} FROM main.{sql.quote_name(table.name)})"
            )
            found = [row for (row,) in connection.execute(query)]
            if found:
                missing.append((table, found))
    connection.execute("DELETE FROM replaced")
    return missing
