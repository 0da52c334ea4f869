"""What a migration does to the rows that were there before it, and which rows are its run's own."""

from __future__ import annotations

from dataclasses import dataclass

GONE, EMPTIED, CHANGED, FILLED = "gone", "emptied", "changed", "filled"
DROPPED, TOO_MANY, DIFFERENT = "dropped", "too many", "gone or changed"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a migration did to the rows that were there: how many `rows` of a table, and what became of them.

    `column` is empty where whole rows are meant. `what` is gone, too many, gone or changed; of a column's
    values also emptied, changed, filled, and dropped with their column.
    """

    table: str
    column: str
    what: str
    rows: int

    def __str__(self) -> str:
        """In one line, such as `trades.price: 11 rows changed`."""
        place = f"{self.table}.{self.column}" if self.column else self.table
        return f"{place}: {self.rows:,} {'row' if self.rows == 1 else 'rows'} {self.what}"


@dataclass(frozen=True, slots=True)
class Own:
    """Rows of a table that migrations of this run have put in; nobody else's are lost with them.

    They are those with a rowid above `low` and not above `high`; or, with `count`, all rows, as long as
    there are so many; or those of which `rows`, an SQL condition in parentheses, is true. Without any of
    these they are all rows, whatever their number.
    """

    low: int | None = None
    high: int | None = None
    count: int | None = None
    rows: str = ""
