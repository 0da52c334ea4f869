"""Statements and their values as they can travel to D1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hoox_tasks import sql
from hoox_tasks.d1 import check_parameters
from hoox_tasks.database.interface import (
    Statement,
)
from hoox_tasks.rules.limits import STATEMENT_BYTES
from hoox_tasks.values import Row, Value

if TYPE_CHECKING:
    pass


_INSERT_BYTES = 90_000


_LITERAL_BYTES = 1_000
"""In a row that is too long for one statement, longer texts and blobs are bound."""


_INSERT_CELLS = 10_000
"""A statement may be 100,000 bytes long, and compile to 25,000 instructions: about two for a cell."""


def carried(statement: Statement) -> tuple[str, Sequence[Value]]:
    """A statement and its values as they can travel: with literals where JSON would change a value.

    Texts and NULLs stay parameters. A whole number may arrive as an INTEGER (measured on the service) or
    as a REAL (the engine on one's own machine).
    """
    if all(value is None or isinstance(value, str) for value in statement.params):
        return statement
    try:
        return inlined(statement), ()
    except CannotInline:
        check_parameters(statement.params)
        return statement


class CannotInline(Exception):
    """A statement's marks are not plain question marks, one for each value."""


def inlined(statement: Statement) -> str:
    """Write a statement's values in the place of its question marks."""
    if not statement.params:
        return statement.sql
    parts, position, used = [], 0, 0
    found = list(sql.tokens(statement.sql))
    for place, token in enumerate(found):
        if token.kind != "other" or token.text not in "?:@$":
            continue
        following = found[place + 1] if place + 1 < len(found) else None
        adjacent = following is not None and following.offset == token.offset + 1
        if token.text != "?" or used == len(statement.params):
            raise CannotInline
        if adjacent and following is not None and following.kind == "number":
            raise CannotInline
        parts += [statement.sql[position : token.offset], sql.quote_value(statement.params[used])]
        position, used = token.offset + 1, used + 1
    if used != len(statement.params):
        raise CannotInline
    return "".join([*parts, statement.sql[position:]])


def inserts(table: str, columns: Sequence[str], rows: Sequence[Row]) -> Iterator[Statement]:
    """Yield INSERT statements for rows, as many to a statement as D1 takes; only a long row binds values."""
    head = f"INSERT INTO {sql.quote_name(table)} ({', '.join(map(sql.quote_name, columns))}) VALUES\n"
    most = max(1, _INSERT_CELLS // max(1, len(columns)))
    packed: list[str] = []
    size = 0
    for row in rows:
        text = f"({','.join(map(sql.quote_value, row))})"
        length = len(text.encode()) + 2
        if packed and (size + length > _INSERT_BYTES or len(packed) == most):
            yield Statement(head + ",\n".join(packed))
            packed, size = [], 0
        if len(head.encode()) + length > STATEMENT_BYTES:
            parts, params = zip(*map(_bound, row), strict=True)
            yield Statement(f"{head}({','.join(parts)})", [text for text in params if text is not None])
            continue
        packed.append(text)
        size += length
    if packed:
        yield Statement(head + ",\n".join(packed))


def _bound(value: Value) -> tuple[str, str | None]:
    """Write a value as SQL, with the text that is bound to it where it is long."""
    if isinstance(value, str) and len(value) > _LITERAL_BYTES:
        return "?", value
    if isinstance(value, bytes) and len(value) > _LITERAL_BYTES:
        return "unhex(?)", value.hex()
    return sql.quote_value(value), None


def text_bytes(text: Value) -> int:
    return len(str(text).encode("utf-8", "surrogatepass"))
