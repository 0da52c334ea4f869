"""A ledger written as a script for D1's import, exact.

Rows are literals, in an order in which they can go in with foreign keys on. A value that is too long for a
statement comes in pieces, by way of a table that the script drops at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, count
from typing import IO

from hoox_tasks import sql
from hoox_tasks.database.drop_order import drop_statements
from hoox_tasks.database.interface import SchemaObject, Snapshot, Statement, Table
from hoox_tasks.database.remote.inserts import literal, pack_inserts
from hoox_tasks.database.schema import is_contentless
from hoox_tasks.errors import Refused
from hoox_tasks.values import Row

_SHORT = 200
"""Characters of a value that need not come in pieces."""
_PIECE = 40_000
"""Bytes of a value that go into one statement, in hex."""


def write_drops(present: Sequence[Table], schema: Sequence[SchemaObject], write: IO[str]) -> None:
    """Write the statements that drop everything; `present` are the tables, parents first."""
    tables = [table.name for table in reversed(present) if table.kind != "shadow"]
    virtual = {table.name for table in present if table.kind == "virtual"}
    write.write("PRAGMA defer_foreign_keys=TRUE;\n")
    write.write(sql.join(drop_statements(schema, tables, virtual)))


def write_schema(tables: Sequence[Table], write: IO[str]) -> None:
    """Write the definitions of all tables."""
    for table in tables:
        if table.kind == "virtual" and table.module == "fts5" and is_contentless(table):
            raise Refused(f"{table.name} keeps no text, so it cannot be brought to D1.", "Leave it out.")
        if table.kind != "shadow":
            write.write(sql.join([table.sql]))


def write_rest(schema: Sequence[SchemaObject], write: IO[str]) -> None:
    """Write indexes, views and triggers, in this order."""
    for kind in ("index", "view", "trigger"):
        write.write(sql.join(item.sql for item in schema if item.type == kind))


def write_pieces(schema: Sequence[SchemaObject], write: IO[str]) -> str:
    """Write the definition of a table, to be dropped at the end, for values in pieces; gives its name."""
    taken = {item.name for item in schema}
    name = next(name for number in count() if (name := f"hoox_pieces_{number}") not in taken)
    write.write(f"CREATE TABLE {name} (cell, piece);\n")
    return name


def write_rows(snapshot: Snapshot, table: Table, write: IO[str], pieces: str) -> None:
    """Write a table's rows as INSERT statements; a row that is too long for one by way of `pieces`."""
    columns = _columns(snapshot, table)
    if columns is None:
        if table.kind == "virtual":
            name = sql.quote_name(table.name)
            write.write(f"INSERT INTO {name}({name}) VALUES('rebuild');\n")
        return
    rows = chain.from_iterable(snapshot.exact(table, columns))
    for statement in pack_inserts(table.name, columns, rows, partial(_in_pieces, pieces)):
        write.write(f"{statement.sql};\n")


def _in_pieces(pieces: str, head: str, row: Row) -> Iterator[Statement]:
    """Yield the statements for a row that is too long for one: long values come from a table of pieces."""
    cells, number = [], 0
    for value in row:
        text = literal(value)
        if len(text) <= _SHORT or not isinstance(value, str | bytes):
            cells.append(text)
            continue
        number += 1
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        for start in range(0, len(raw), _PIECE):
            piece = raw[start : start + _PIECE].hex()
            yield Statement(f"INSERT INTO {pieces} VALUES ({number}, X'{piece}')")
        # Only texts can be put together; as such, bytes stay what they are.
        text = (
            "(SELECT group_concat(CAST(piece AS TEXT), '')"
            f" FROM (SELECT piece FROM {pieces} WHERE cell = {number} ORDER BY rowid))"
        )
        cells.append(f"CAST({text} AS BLOB)" if isinstance(value, bytes) else text)
    yield Statement(f"{head}({','.join(cells)})")
    yield Statement(f"DELETE FROM {pieces}")


def _columns(snapshot: Snapshot, table: Table) -> tuple[str, ...] | None:
    """The columns to insert; None for a table whose rows follow from another's."""
    if table.kind == "shadow":
        return None
    if table.kind == "virtual":
        if table.module in {"rtree", "rtree_i32"}:
            return table.columns
        exists = Statement("SELECT 1 FROM sqlite_schema WHERE name = ?", (f"{table.name}_content",))
        return ("rowid", *table.columns) if list(snapshot.stream(exists)) else None
    return table.columns
