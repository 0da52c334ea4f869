"""Rows that migrations put in, as seen on an empty ledger, and whether a real ledger holds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import Database, Statement
from hoox_tasks.values import Value

_Seed: TypeAlias = dict[str, Value]
"""A row, by the names of its columns in small letters."""

Ask: TypeAlias = Callable[[Sequence[str]], list[Value]]
"""Asks a ledger queries in one go, and gives one value for each."""

_SAMPLE = 1_000
"""Rows of one migration in one table that are looked for; of more, as many spread over all of them."""
_TEXT = 60_000
"""Characters of rows in one query: D1 allows a statement 100,000 bytes."""
MADE_ANEW = re.compile(r"\(|\bCURRENT_", re.IGNORECASE)
"""In a column's default: its value is made anew for each row."""


@dataclass(frozen=True, slots=True)
class Found:
    """How many different rows a migration puts into a table, and how many of them a ledger lacks."""

    table: str
    rows: int
    lacking: int

    def __str__(self) -> str:
        """In words, such as `2 of the 3 rows that it puts into plans are not there`."""
        if self.rows == 1:
            return f"the row that it puts into {self.table} is not there"
        verb = "is" if self.lacking == 1 else "are"
        return f"{self.lacking:,} of the {self.rows:,} rows that it puts into {self.table} {verb} not there"


def asking(database: Database) -> Ask:
    """Give what asks a ledger, in one request."""

    def ask(queries: Sequence[str]) -> list[Value]:
        answers = database.batch(map(Statement, queries), write=False) if queries else []
        return [next(iter(rows))[0] for rows in answers]

    return ask


class Seeds:
    """Notes, one migration after the other, which rows each of them puts into an empty ledger."""

    def __init__(self, ledger: EmptyLedger) -> None:
        self._ledger = ledger
        self._rows: dict[str, list[_Seed]] = {}
        self._put: list[dict[str, list[_Seed]]] = []

    def note(self, filled: Collection[str]) -> None:
        """Take note of a migration that has just run, and has put rows into some tables."""
        put = {}
        for name in {*self._rows, *filled}:
            before, self._rows[name] = self._rows.get(name, []), self._read(name)
            if name in filled:
                known = {tuple(row.items()) for row in before}
                put[name] = [row for row in self._rows[name] if tuple(row.items()) not in known]
        self._put.append(put)

    def compare(self, columns: Mapping[str, Collection[str]], ask: Ask) -> list[list[Found]]:
        """Look in a ledger for the rows of each migration that no later one changes or removes.

        `columns` are those of the ledger's tables; all names are in small letters.
        """
        asked: list[tuple[int, str, int]] = []
        queries: list[str] = []
        for place, put in enumerate(self._put):
            for name, seeds in put.items():
                for rows, query in self._queries(name, seeds, columns.get(name, ())):
                    asked.append((place, name, rows))
                    queries.append(query)
        totals: dict[tuple[int, str], tuple[int, int]] = {}
        for (place, name, rows), lacking in zip(asked, ask(queries) if queries else [], strict=True):
            total, missing = totals.get((place, name), (0, 0))
            totals[place, name] = total + rows, missing + int(str(lacking))
        return [
            [Found(name, *totals[place, name]) for name in put if (place, name) in totals]
            for place, put in enumerate(self._put)
        ]

    def _queries(
        self, name: str, seeds: Sequence[_Seed], columns: Collection[str]
    ) -> Iterator[tuple[int, str]]:
        final = self._rows[name]
        if not seeds or not final:
            return
        compared = [column for column in final[0] if column in columns and column in seeds[0]]
        if not compared:
            return
        kept = {tuple(row[column] for column in compared) for row in final}
        wanted = [*dict.fromkeys(tuple(row[column] for column in compared) for row in seeds)]
        wanted = [row for row in wanted if row in kept]
        wanted = wanted[:: -(-len(wanted) // _SAMPLE) or 1]
        listed = ", ".join(map(sql.quote_name, compared))
        for rows in _divided(f"({', '.join(map(sql.quote_value, row))})" for row in wanted):
            yield (
                len(rows),
                f"SELECT count(*) FROM (SELECT * FROM (VALUES {', '.join(rows)})"
                f" EXCEPT SELECT {listed} FROM {sql.quote_name(name)})",
            )

    def _read(self, name: str) -> list[_Seed]:
        """Read a table's rows, but for values that are made anew each time: rowids, and the time of day."""
        described = self._ledger.connection.execute(
            "SELECT lower(name), type, dflt_value, pk FROM pragma_table_xinfo(?) WHERE hidden = 0", (name,)
        ).fetchall()
        keys = [column for column, _, _, place in described if place]
        columns = [
            column
            for column, kind, default, place in described
            if not (default and MADE_ANEW.search(default))
            and not (len(keys) == 1 and place and kind.upper() == "INTEGER")
        ] or keys
        if not columns:
            return []
        listed = ", ".join(map(sql.quote_name, columns))
        rows = self._ledger.connection.execute(f"SELECT {listed} FROM {sql.quote_name(name)}").fetchall()
        return [dict(zip(columns, row, strict=True)) for row in rows]


def _divided(rows: Iterable[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for row in rows:
        if part and size + len(row) > _TEXT:
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row)
    if part:
        yield part
