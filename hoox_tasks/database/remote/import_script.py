"""A ledger's content on its way to D1 and back, exact.

D1 answers in JSON, which rounds; so SQL writes each row as literals, which SQLite reads again here. To D1
goes a script in the order in which it can be run with foreign keys on. What is too long for a statement
there comes in pieces: all is one transaction, in which rows may refer to each other in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import IO

from hoox_tasks import sql
from hoox_tasks.database.drop_order import drop_statements
from hoox_tasks.database.interface import SchemaObject, Snapshot, Statement, Table
from hoox_tasks.database.schema import is_contentless
from hoox_tasks.errors import Refused
from hoox_tasks.values import Row, Value

_STATEMENT_BYTES = 90_000
_CELLS = 10_000
"""A statement may be 100,000 bytes long, and compile to 25,000 instructions: about two for a cell."""
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
            write.write(f"{table.sql};\n")


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
    head = f"INSERT INTO {sql.quote_name(table.name)} ({', '.join(map(sql.quote_name, columns))}) VALUES"
    packed: list[str] = []
    size = 0
    most = max(1, min(500, _CELLS // max(1, len(columns))))
    for block in snapshot.exact(table, columns):
        for row in block:
            text = f"({','.join(map(_cell, row))})"
            length = len(text.encode()) + 1
            if packed and (size + length + len(head) > _STATEMENT_BYTES or len(packed) == most):
                write.write(f"{head}{','.join(packed)};\n")
                packed, size = [], 0
            if length + len(head) > _STATEMENT_BYTES:
                write.writelines(_long_row(head, row, pieces))
                continue
            packed.append(text)
            size += length
    if packed:
        write.write(f"{head}{','.join(packed)};\n")


def _long_row(head: str, row: Row, pieces: str) -> Iterator[str]:
    """Yield the statements for a row that is too long for one: long values come from a table of pieces."""
    cells, number = [], 0
    for value in row:
        literal = _cell(value)
        if len(literal) <= _SHORT or not isinstance(value, str | bytes):
            cells.append(literal)
            continue
        number += 1
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        for start in range(0, len(raw), _PIECE):
            yield f"INSERT INTO {pieces} VALUES ({number}, X'{raw[start : start + _PIECE].hex()}');\n"
        # Only texts can be put together; as such, bytes stay what they are.
        text = (
            "(SELECT group_concat(CAST(piece AS TEXT), '')"
            f" FROM (SELECT piece FROM {pieces} WHERE cell = {number} ORDER BY rowid))"
        )
        cells.append(f"CAST({text} AS BLOB)" if isinstance(value, bytes) else text)
    yield f"{head}({','.join(cells)});\n"
    yield f"DELETE FROM {pieces};\n"


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


def _cell(value: Value) -> str:
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogateescape")
        try:
            raw.decode()
        except UnicodeDecodeError:
            return f"CAST(X'{raw.hex()}' AS TEXT)"
    return sql.quote_value(value)
