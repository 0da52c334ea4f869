"""Which rows of a ledger were added, changed and removed."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass
from hoox_tasks.testing.ledgers import Row


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What happened to the rows of one table; each row is a dict of its columns.

    `changed` has pairs of a row before and after. Rows are told apart by their primary key.
    """

    added: list[Row] = field(default_factory=list)
    changed: list[tuple[Row, Row]] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        return f"+{len(self.added)} ~{len(self.changed)} -{len(self.removed)}"


class LedgerDifference(dict[str, TableDifference]):
    """The tables whose rows are not what they were, by name; any other table is an empty difference."""

    def __missing__(self, table: str) -> TableDifference:
        return TableDifference()

    def __str__(self) -> str:
        return ", ".join(f"{table} {changes}" for table, changes in self.items()) or "no difference"


def compare(before: sqlite3.Connection, now: sqlite3.Connection) -> LedgerDifference:
    """Tell how the rows of two ledgers differ, table by table; of SQLite's own tables nothing is said."""
    tables = sorted({*_tables(before), *_tables(now)})
    differences = ((table, _compare(*_rows(before, now, table))) for table in tables)
    return LedgerDifference((table, difference) for table, difference in differences if difference)


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = (
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
    )
    return [name for (name,) in connection.execute(query)]


def _rows(
    before: sqlite3.Connection, now: sqlite3.Connection, table: str
) -> tuple[dict[Any, Row], dict[Any, Row]]:
    """Read a table of both ledgers; rows by their key."""
    key = _key(before, table) or _key(now, table)
    return _keyed(before, table, key), _keyed(now, table, key)


def _key(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    query = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
    return tuple(name for (name,) in _ask(connection, query, table))


def _keyed(connection: sqlite3.Connection, table: str, key: tuple[str, ...]) -> dict[Any, Row]:
    query = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
    without_rowid = [bool(wr) for (wr,) in _ask(connection, query, table)]
    if not without_rowid:
        return {}
    quoted = table.replace('"', '""')
    cursor = _ask(connection, f'SELECT {"NULL" if without_rowid[0] else "_rowid_"}, * FROM "{quoted}"')
    columns = [column[0] for column in cursor.description][1:]
    places = [columns.index(name) for name in key if name in columns]
    rows = {}
    for rowid, *cells in cursor:
        values = tuple(cells[place] for place in places)
        # SQLite lets several rows have NULL in their primary key.
        rows[("rowid", rowid) if not values or None in values else values] = dict(
            zip(columns, cells, strict=True)
        )
    return rows


def _ask(connection: sqlite3.Connection, query: str, *params: str) -> sqlite3.Cursor:
    cursor = connection.cursor()
    cursor.row_factory = None  # The connection is a test's, which may have set one.
    return cursor.execute(query, params)


def _compare(before: dict[Any, Row], now: dict[Any, Row]) -> TableDifference:
    return TableDifference(
        added=[row for key, row in now.items() if key not in before],
        changed=[(row, now[key]) for key, row in before.items() if key in now and now[key] != row],
        removed=[row for key, row in before.items() if key not in now],
    )
