"""Migrations taken back and applied again, to tell what they wrote from what was written since."""

from __future__ import annotations

from dataclasses import dataclass

from hoox_tasks import sql
from hoox_tasks.migrations.tables import Stored


@dataclass(frozen=True, slots=True)
class Again:
    """What tells the rows and values of migrations from those that were written since.

    `back` are the statements that take them back, `forth` their own. What both together bring again is
    theirs: the rows of the tables `made`, compared by the columns that are named, and in the tables `grown`
    the values of the columns that are named.
    """

    back: tuple[str, ...]
    forth: tuple[str, ...]
    made: tuple[tuple[Stored, tuple[str, ...]], ...]
    grown: tuple[tuple[Stored, tuple[str, ...]], ...]

    @property
    def tables(self) -> list[str]:
        """The names of the tables."""
        return [table.name for table, _ in (*self.made, *self.grown)]


def copy_kept(again: Again, into: list[str]) -> list[tuple[Stored, tuple[str, ...], str]]:
    """Write statements that copy the tables; gives each table, what is compared of it, and its copy."""
    kept = []
    for place, (table, columns) in enumerate((*again.grown, *again.made)):
        copy = f"hoox_guard_again_{place}"
        kept.append((table, columns, copy))
        key = _key(table)
        names = [f"k{i}" for i, _ in enumerate(key)] + [f"c{i}" for i, _ in enumerate(columns)]
        selected = ", ".join([*key, *map(sql.quote_name, columns)])
        into.append(f"CREATE TABLE {copy} ({', '.join(names)})")
        into.append(f"INSERT INTO {copy} SELECT {selected} FROM {sql.quote_name(table.name)}")
    return kept


def lost_rows(table: Stored, columns: tuple[str, ...], copy: str) -> str:
    """Write how many rows of a copy have not come again."""
    now = sql.quote_name(table.name)
    if not columns:
        return f"(SELECT count(*) FROM {copy}) - (SELECT count(*) FROM {now})"
    names = ", ".join(f"c{i}" for i, _ in enumerate(columns))
    listed = ", ".join(map(sql.quote_name, columns))
    rows = f"SELECT 1 AS w, {names} FROM {copy} UNION ALL SELECT -1, {listed} FROM {now}"
    lost = f"SELECT sum(w) AS d FROM ({rows}) GROUP BY {names} HAVING sum(w) > 0"
    return f"(SELECT sum(d) FROM ({lost}))"


def lost_values(table: Stored, columns: tuple[str, ...], copy: str) -> tuple[list[str], str]:
    """Write how many values of each column of a copy have not come again, and the source of these counts."""
    matched = " AND ".join(f"n.{column} IS +b.k{i}" for i, column in enumerate(_key(table)))
    lost = [
        f"sum(b.c{i} IS NOT NULL AND NOT (b.c{i} IS n.{sql.quote_name(column)} COLLATE BINARY))"
        for i, column in enumerate(columns)
    ]
    return lost, f"{copy} AS b LEFT JOIN {sql.quote_name(table.name)} AS n ON {matched}"


def _key(table: Stored) -> list[str]:
    return [table.rowid] if table.rowid else [sql.quote_name(column) for column in table.key]
