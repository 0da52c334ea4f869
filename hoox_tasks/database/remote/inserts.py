"""Rows written as INSERT statements, as many to a statement as D1 takes, every value an exact literal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from hoox_tasks import sql
from hoox_tasks.database.interface import Statement
from hoox_tasks.rules.limits import STATEMENT_BYTES
from hoox_tasks.values import Row, Value

_PACKED_BYTES = 90_000
_LONGEST = STATEMENT_BYTES - 100
"""Bytes of a statement with one row; what is longer has to come in another way."""
_CELLS = 10_000
"""A statement may be 100,000 bytes long, and compile to 25,000 instructions: about two for a cell."""
_LITERAL_BYTES = 1_000
"""In a row that is too long for one statement, longer texts and blobs are bound."""

LongRow = Callable[[str, Row], Iterator[Statement]]
"""Gives the statements for a row that is too long for one; takes the statement's head and the row."""


def pack_inserts(
    table: str, columns: Sequence[str], rows: Iterable[Row], long_row: LongRow, end: str = ""
) -> Iterator[Statement]:
    """Yield the statements that insert `rows`; those of a row that is too long come from `long_row`.

    `end` stands behind the values of each.
    """
    head = f"INSERT INTO {sql.quote_name(table)} ({', '.join(map(sql.quote_name, columns))}) VALUES\n"
    most = max(1, _CELLS // max(1, len(columns)))
    overhead = len((head + end).encode())
    packed: list[str] = []
    size = overhead
    for row in rows:
        text = f"({','.join(map(literal, row))})"
        length = len(text.encode()) + 2
        if packed and (size + length > _PACKED_BYTES or len(packed) == most):
            yield Statement(head + ",\n".join(packed) + end)
            packed, size = [], overhead
        if overhead + length > _LONGEST:
            for statement in long_row(head, row):
                yield statement._replace(sql=statement.sql + end)
            continue
        packed.append(text)
        size += length
    if packed:
        yield Statement(head + ",\n".join(packed) + end)


def bind_long_values(head: str, row: Row) -> Iterator[Statement]:
    """Yield the statement for a long row whose long values are bound: for a request, not for an import."""
    parts, params = [], []
    for value in row:
        if isinstance(value, str) and len(value) > _LITERAL_BYTES:
            parts.append("?")
            params.append(value)
        elif isinstance(value, bytes) and len(value) > _LITERAL_BYTES:
            parts.append("unhex(?)")
            params.append(value.hex())
        else:
            parts.append(literal(value))
    yield Statement(f"{head}({','.join(parts)})", params)


def literal(value: Value) -> str:
    """Write a value as SQL; text may hold bytes that are not UTF-8, as lone surrogates."""
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogateescape")
        try:
            raw.decode()
        except UnicodeDecodeError:
            return f"CAST(X'{raw.hex()}' AS TEXT)"
    return sql.quote_value(value)
