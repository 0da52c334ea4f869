"""An outline of a table's rows, for tables that are too large for a checksum within one request.

D1 ends a request after 30 seconds, and its engine took 0.4 ms for the checksum of a trade. The outline takes
a fifth of that: each cell becomes a number by its kind and its value, of a text by its length, its first
characters and the last. A row's numbers are added up with weights of their columns, and the squares of that
over all rows, whatever their order and their rowids. Rows that come or go are noticed, and changed amounts
and words; what changes the inside of a long text, and keeps its length, is not. It tells whether somebody has
written meanwhile; it proves no backup.
"""

from __future__ import annotations

from collections.abc import Sequence

from hoox_tasks import sql
from hoox_tasks.database.interface import Table

_PRIME = 2**31 - 1
_PLACES = (2, 4, -1)
"""The characters of a text that count, beside the first."""
_SCALE = 2**20
"""What a REAL is multiplied with before its whole part counts: an amount has few more decimals."""
_WEIGHT = 1_000_003


def outline(table: Table, columns: Sequence[str]) -> str:
    """Write the query for a table's number of rows, and the sum over them; what JSON could round is text."""
    cells = [
        f"{_number(sql.quote_name(column))} % {_PRIME} * {pow(_WEIGHT, place, _PRIME)} % {_PRIME}"
        for place, column in enumerate(columns, 1)
    ]
    # A LIMIT keeps SQLite from merging the two levels, which would compute each number twice.
    rows = f"SELECT ({_sum(cells)}) % {_PRIME} AS h FROM {sql.quote_name(table.name)} LIMIT -1"
    return f"SELECT count(*), CAST(sum(h * h % {_PRIME}) AS TEXT) FROM ({rows})"


def _number(cell: str) -> str:
    characters = [cell, *(f"substr({cell}, {place}, 1)" for place in _PLACES)]
    text = " + ".join(
        f"coalesce(unicode({character}), 0) * {31**power}" for power, character in enumerate(characters, 1)
    )
    return (
        f"(CASE typeof({cell}) WHEN 'null' THEN 1 WHEN 'text' THEN 2 + length({cell}) * 7 + {text}"
        f" WHEN 'real' THEN CAST({cell} * {_SCALE} AS INTEGER) WHEN 'integer' THEN {cell}"
        f" ELSE 3 + length({cell}) END)"
    )


def _sum(parts: Sequence[str]) -> str:
    """Add terms up in pairs: an expression may be 100 levels deep."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_sum(parts[:half])} + {_sum(parts[half:])})"
