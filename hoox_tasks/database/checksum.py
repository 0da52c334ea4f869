"""A checksum of a table's rows that SQL computes where they are: a request or two tell whether D1 has them.

SQLite has no hash function, so each row becomes a number: of an INTEGER all bits count, of a REAL the bits
down to 2^-106, of a text or blob its length and its first, middle and last character. The columns are weighed
and mixed, so that values which changed places are found. The sum over the rows does not depend on their
order. A row that is lost or doubled, a number that is rounded, a text that is cut off or written otherwise is
found; other words of the same length need not be: for that there is the fingerprint of a backup's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hoox_tasks import sql
from hoox_tasks.database.interface import Database, Statement, Table

_PRIME = 2147483629
_MODULUS = 4294967291
_BITS = "9007199254740992.0"  # 2^53, exact in every version of SQLite
_DIGITS = "'0123456789ABCDEF'"
_COLUMNS = 40
"""Columns that one query is about: D1 allows a statement 100,000 bytes."""
_PAGE = 200_000
"""Rows that one query is about: D1 ends a query after 30 seconds."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """How many rows a table has, and the sum over them."""

    rows: int
    sum: int


def checksums(database: Database, tables: Sequence[Table]) -> dict[str, Checksum]:
    """Ask a ledger for the checksums of ordinary tables, all in one request where none is large."""
    found = {table.name: Checksum(0, 0) for table in tables}
    asked = [_Question(table, start) for table in tables for start in range(0, len(table.columns), _COLUMNS)]
    while asked:
        results = database.batch([Statement(one.sql) for one in asked], write=False)
        following = []
        for question, result in zip(asked, results, strict=True):
            ((rows, total, last),) = result
            before = found[question.table.name]
            counted = 0 if question.start else int(str(rows))
            found[question.table.name] = Checksum(before.rows + counted, before.sum + int(str(total)))
            if question.table.rowid and rows == _PAGE:
                following.append(_Question(question.table, question.start, str(last)))
        asked = following
    return found


@dataclass(frozen=True, slots=True)
class _Question:
    """A query about some columns, from `start` on, of the rows behind a rowid."""

    table: Table
    start: int
    after: str = ""

    @property
    def sql(self) -> str:
        """The query for the number of rows, the sum, and the last rowid; what JSON would round is text."""
        columns = self.table.columns[self.start : self.start + _COLUMNS]
        parts = [
            f"({_cell(sql.quote_name(column))}) % {_PRIME} * {1 + 10009 * place}"
            for place, column in enumerate(columns)
        ]
        rowid = self.table.rowid or "NULL"
        where = f" WHERE {rowid} > {self.after}" if self.after else ""
        pages = f" ORDER BY {rowid} LIMIT {_PAGE}" if self.table.rowid else " LIMIT -1"
        # The LIMIT also keeps SQLite from computing h anew for each time that it is used.
        return (
            f"SELECT count(*), CAST(coalesce(sum((h * h + h * 40503) % {_MODULUS}), 0) AS TEXT),"
            f" CAST(max(r) AS TEXT) FROM (SELECT {rowid} AS r, ({_sum(parts)}) % {_PRIME} AS h"
            f" FROM {sql.quote_name(self.table.name)}{where}{pages})"
        )


def _cell(name: str) -> str:
    # Constants and weights are large, so that small values of two types or columns are never the same.
    whole, fraction = f"CAST({name} AS INTEGER)", f"CAST({name} * {_BITS} AS INTEGER)"
    integer = f"{name} % {_PRIME} + {name} / {_PRIME} % {_PRIME} * 1000003 + 1013904223"
    real = [
        "1664525011",
        f"{whole} % {_PRIME}",
        f"CAST(({name} - {whole}) * {_BITS} AS INTEGER) % {_PRIME} * 2000029",
        f"CAST(({name} * {_BITS} - {fraction}) * {_BITS} AS INTEGER) % {_PRIME} * 3000017",
        f"CAST({name} / {_BITS} / {_BITS} AS INTEGER) % {_PRIME} * 4000037",
    ]
    characters = (name, f"substr({name}, length({name}) / 2 + 1, 1)", f"substr({name}, -1)")
    text = [f"length(CAST({name} AS BLOB)) * 5000011 + 22695477"]
    blob = [f"length({name}) * 5000011 + 134775813"]
    for weight, character in zip((6000011, 7000003, 8000009), characters, strict=True):
        text.append(f"coalesce(unicode({character}), 0) * {weight}")
        digits = f"hex(substr({character}, 1, 1))"
        blob.append(f"instr({_DIGITS}, substr({digits}, 1, 1)) * {weight}")
        blob.append(f"instr({_DIGITS}, substr({digits}, 2, 1)) * {weight + 57}")
    return (
        f"CASE typeof({name}) WHEN 'integer' THEN {integer} WHEN 'real' THEN {_sum(real)}"
        f" WHEN 'text' THEN {_sum(text)} WHEN 'blob' THEN {_sum(blob)} ELSE 40487 END"
    )


def _sum(parts: Sequence[str]) -> str:
    """Add terms up in pairs: an expression may be 100 levels deep."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_sum(parts[:half])} + {_sum(parts[half:])})"
