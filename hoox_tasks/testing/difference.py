"""Which rows of a ledger were added, changed and removed."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
"""A row of a table: its cells by the names of their columns."""


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What happened to the rows of one table; each row is a dict of its columns.

    `changed` has pairs of a row before and after. Rows are told apart by their primary key.
    """

    added: list[Row] = field(default_factory=list)
    changed: list[tuple[Row, Row]] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything happened."""
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        """Counts: `+1 ~2 -0` for one row added, two changed and none removed."""
        return f"+{len(self.added)} ~{len(self.changed)} -{len(self.removed)}"


class LedgerDifference(dict[str, TableDifference]):
    """The tables whose rows are not what they were, by name; any other table is an empty difference.

    `tables` are all tables of the ledger. Asking about any other name raises `KeyError`: a misspelt table
    would otherwise never differ.
    """

    tables: frozenset[str]

    def __init__(self, differences: Iterable[tuple[str, TableDifference]], tables: Iterable[str]) -> None:
        super().__init__(differences)
        self.tables = frozenset(tables)

    def __missing__(self, table: str) -> TableDifference:
        self._check(table)
        return TableDifference()

    def __contains__(self, table: object) -> bool:
        self._check(table)
        return super().__contains__(table)

    def get(self, table: str, default: Any = None) -> Any:
        """Like that of a dict, but for a name that is no table's."""
        self._check(table)
        return super().get(table, default)

    def _check(self, table: object) -> None:
        if table not in self.tables:
            near = difflib.get_close_matches(str(table).lower(), self.tables, 1, cutoff=0.5)
            names = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(self.tables))}."
            raise KeyError(f"The ledger has no table {table}. {names}")

    def __str__(self) -> str:
        """The tables with their counts: `trades +0 ~1 -0`."""
        return ", ".join(f"{table} {changes}" for table, changes in self.items()) or "no difference"


class Contents:
    """The rows of a ledger, read table by table when they are asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tables: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}

    def names(self) -> list[str]:
        """The names of the tables; SQLite's own are left out."""
        query = (
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
            r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
        )
        return [name for (name,) in self._ask(query)]

    def key(self, table: str) -> tuple[str, ...]:
        """The columns of a table's primary key."""
        query = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
        return tuple(name for (name,) in self._ask(query, table))

    def rows(self, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The columns of a table, and its rows with their rowid (or None) before their cells."""
        if table not in self._tables:
            query = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
            without_rowid = [bool(wr) for (wr,) in self._ask(query, table)]
            if not without_rowid:
                return [], []
            quoted = table.replace('"', '""')
            cursor = self._ask(f'SELECT {"NULL" if without_rowid[0] else "_rowid_"}, * FROM "{quoted}"')
            columns = [column[0] for column in cursor.description][1:]
            self._tables[table] = columns, cursor.fetchall()
        return self._tables[table]

    def _ask(self, query: str, *params: str) -> sqlite3.Cursor:
        cursor = self._connection.cursor()
        cursor.row_factory = None  # The connection is a test's, which may have set one.
        return cursor.execute(query, params)


def compare(before: Contents, now: Contents) -> LedgerDifference:
    """Compare the rows of two ledgers, table by table."""
    tables = sorted({*before.names(), *now.names()})
    differences = ((table, _compare(before, now, table)) for table in tables)
    return LedgerDifference([(table, found) for table, found in differences if found], tables)


def _compare(before: Contents, now: Contents, table: str) -> TableDifference:
    then_columns, then_rows = before.rows(table)
    now_columns, now_rows = now.rows(table)
    if then_columns == now_columns:
        # Most rows are the same in both, at the same place: only the others are looked at one by one.
        if then_rows == now_rows:
            return TableDifference()
        then_set, now_set = set(then_rows), set(now_rows)
        then_rows = [row for row in then_rows if row not in now_set]
        now_rows = [row for row in now_rows if row not in then_set]
    key = before.key(table) or now.key(table)
    then, current = _keyed(then_columns, then_rows, key), _keyed(now_columns, now_rows, key)
    return TableDifference(
        added=[row for place, row in current.items() if place not in then],
        changed=[
            (row, current[place]) for place, row in then.items() if place in current and current[place] != row
        ],
        removed=[row for place, row in then.items() if place not in current],
    )


def _keyed(columns: list[str], rows: list[tuple[Any, ...]], key: tuple[str, ...]) -> dict[Any, Row]:
    places = [columns.index(name) for name in key if name in columns]
    keyed = {}
    for rowid, *cells in rows:
        values = tuple(cells[place] for place in places)
        # SQLite lets several rows have NULL in their primary key.
        place = ("rowid", rowid) if not values or None in values else values
        keyed[place] = dict(zip(columns, cells, strict=True))
    return keyed
