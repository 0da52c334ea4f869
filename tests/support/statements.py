"""Statements that mean harm."""

from __future__ import annotations


def doubling(times: int) -> str:
    """A query of a few kilobytes that SQLite compiles in a time that doubles so many times.

    It looks at no clock and hears no signal meanwhile: 15 take about a second, 27 an hour.
    """
    tables = ["c0 AS (SELECT 1 AS x)"]
    for number in range(1, times + 1):
        before = f"c{number - 1}"
        tables.append(f"c{number} AS (SELECT x FROM {before} UNION ALL SELECT x + 1 FROM {before})")
    return f"WITH {', '.join(tables)} SELECT max(x) FROM c{times}"
