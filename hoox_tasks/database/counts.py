"""The tables of a ledger and their numbers of rows, asked by queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from hoox_tasks import sql
from hoox_tasks.database.interface import CountedTable
from hoox_tasks.database.schema import shadow_tables
from hoox_tasks.errors import StatementError
from hoox_tasks.values import Row

TABLES_QUERY = (
    "SELECT l.name, l.type, CASE l.type WHEN 'virtual' THEN s.sql ELSE '' END FROM pragma_table_list l"
    " LEFT JOIN sqlite_schema s ON s.name = l.name WHERE l.schema = 'main' AND l.type <> 'view' ORDER BY 1"
)
"""Asks for all tables, their kinds, and the definitions of virtual ones."""
_COUNTS = 80
"""Tables counted by one statement: a column each, and D1 allows 100 of them."""


def count_tables(ask: Callable[[str], Iterable[Row]]) -> list[CountedTable]:
    """Return all tables with their numbers of rows; `ask` runs a query.

    That takes two queries, and one more for every further 80 tables; and some more where a search table
    cannot be counted, whose rows are None.
    """
    kinds = table_kinds(ask(TABLES_QUERY))
    names = [name for name in kinds if not name.startswith("_cf_")]
    counts: dict[str, int] = {}
    for start in range(0, len(names), _COUNTS):
        some = names[start : start + _COUNTS]
        try:
            counts |= _count(ask, some)
        except StatementError:
            # A search table without its content, or without any, tells nobody how many rows it has.
            virtual = [name for name in some if kinds[name] == "virtual"]
            counts |= _count(ask, [name for name in some if name not in virtual])
            for name in virtual:
                with suppress(StatementError):
                    counts |= _count(ask, [name])
    return [CountedTable(name, kind, counts.get(name)) for name, kind in kinds.items()]


def _count(ask: Callable[[str], Iterable[Row]], names: list[str]) -> dict[str, int]:
    if not names:
        return {}
    selected = ", ".join(f"(SELECT count(*) FROM {sql.quote_name(name)})" for name in names)
    row = next(iter(ask(f"SELECT {selected}")))
    return dict(zip(names, (int(str(number)) for number in row), strict=True))


def table_kinds(found: Iterable[Row]) -> dict[str, str]:
    """Tell of what kind tables are, of what the query for them gave: table, virtual, shadow or internal."""
    tables = [(str(name), str(kind), str(ddl)) for name, kind, ddl in found]
    shadows = shadow_tables([ddl for _, kind, ddl in tables if kind == "virtual"])
    return {name: _kind(name, kind, shadows) for name, kind, _ in tables}


def _kind(name: str, kind: str, shadows: set[str] | None) -> str:
    if name.startswith(("sqlite_", "_cf_")):
        return "internal"
    return "table" if kind == "shadow" and shadows is not None and name.lower() not in shadows else kind
