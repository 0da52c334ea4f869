"""A ledger as D1's export writes it: a format with habits of its own, several of which do not load again.

Rows come right behind their table, so that they may refer to tables that do not exist yet; large integers
are rounded, infinities are bare words, whole REALs lose their type, and line breaks are written by way of
`replace`. Whoever reads an export has to live with that; this writes it, so that it can be tried.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator

from hoox_tasks.server.json_values import script_number
from hoox_tasks.values import Value


class ExportError(Exception):
    """D1 exports no database with virtual tables."""


def d1_dump(
    connection: sqlite3.Connection,
    *,
    schema: bool = True,
    data: bool = True,
    tables: Collection[str] = (),
) -> Iterator[str]:
    """Yield the lines of D1's export, without line ends; `tables` empty means all of them.

    With `tables`, indexes, views and triggers are matched by their own names, so that those of the tables
    are left out, as D1 does. Raises `ExportError` where a virtual table is among the tables.
    """
    yield "PRAGMA defer_foreign_keys=TRUE;"
    found = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL"
        " ORDER BY name = 'sqlite_sequence', rowid"
    ).fetchall()
    for name, sql in found:
        if tables and name not in tables:
            continue
        if name == "sqlite_sequence":
            head = "DELETE FROM sqlite_sequence;"
        elif name.startswith("sqlite_stat"):
            head = "ANALYZE sqlite_schema;"
        elif sql.startswith("CREATE VIRTUAL TABLE"):
            raise ExportError("D1 Export error: cannot export databases with Virtual Tables (fts5)")
        elif name.startswith(("_cf_", "sqlite_")):
            continue
        elif sql.startswith(("CREATE TABLE '", 'CREATE TABLE "')):
            head = f"CREATE TABLE IF NOT EXISTS {sql.removeprefix('CREATE TABLE ')};"
        else:
            head = f"{sql};"
        if schema:
            yield head
        if data:
            yield from _inserts(connection, name)
    if schema:
        rest = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger', 'view')"
            " AND sql IS NOT NULL ORDER BY type, rowid"
        ).fetchall()
        yield from (f"{sql};" for name, sql in rest if not tables or name in tables)


def _inserts(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    columns = [_quoted(row[1]) for row in connection.execute(f"PRAGMA table_info({_quoted(table)})")]
    listed = ",".join(columns)
    for row in connection.execute(f"SELECT {listed} FROM {_quoted(table)}"):
        yield f"INSERT INTO {_quoted(table)} ({listed}) VALUES({','.join(map(_literal, row))});"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        text = "'" + value.replace("'", "''").replace("\n", "\\n").replace("\r", "\\r") + "'"
        if "\r" in value:
            text = f"replace({text},'\\r',char(13))"
        if "\n" in value:
            text = f"replace({text},'\\n',char(10))"
        return text
    return script_number(value)
