"""The tables of a ledger and their numbers of rows, asked by queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hoox_tasks import sql
from hoox_tasks.database.interface import CountedTable
from hoox_tasks.values import Row

TABLES_QUERY = (
    "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type <> 'view' ORDER BY name"
)
_COUNTS = 80
"""Tables counted by one statement: a column each, and D1 allows 100 of them."""


def count_tables(ask: Callable[[str], Iterable[Row]]) -> list[CountedTable]:
    """Return all tables with their numbers of rows; `ask` runs a query.

    That takes two queries, and one more for every further 80 tables.
    """
    kinds = {str(name): table_kind(str(name), str(kind)) for name, kind in ask(TABLES_QUERY)}
    names = [name for name in kinds if not name.startswith("_cf_")]
    counts: dict[str, int] = {}
    for start in range(0, len(names), _COUNTS):
        some = names[start : start + _COUNTS]
        selected = ", ".join(f"(SELECT count(*) FROM {sql.quote_name(name)})" for name in some)
        row = next(iter(ask(f"SELECT {selected}")))
        counts.update(zip(some, (int(str(number)) for number in row), strict=True))
    return [CountedTable(name, kind, counts.get(name)) for name, kind in kinds.items()]


def table_kind(name: str, kind: str) -> str:
    """Tell the engine's own tables from others of their kind in `pragma_table_list`."""
    return "internal" if name.startswith(("sqlite_", "_cf_")) else kind
