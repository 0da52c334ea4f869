"""What a migrated ledger has to pass: its schema, and the runbook's queries."""

from __future__ import annotations

from collections.abc import Sequence

from hoox_tasks import sql
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations import Migrations
from hoox_tasks.release.receipt import Smoke
from hoox_tasks.values import Value

RUNBOOK: dict[str, tuple[str, ...]] = {
    "trades": (
        "SELECT COUNT(*) FROM trades",
        "SELECT created_at, symbol, action, price, quantity FROM trades ORDER BY created_at DESC LIMIT 5",
    ),
    "positions": ("SELECT symbol, side, size, entry_price FROM positions WHERE size > 0",),
}
"""The runbook's queries by the table that they ask; one that a ledger does not have is not asked."""


def check(database: Database, migrations: Migrations, what: str) -> tuple[str, ...]:
    """Look whether a ledger, called `what`, is what its migrations say; gives the objects it has besides.

    Raises `HooxError` that names every migration that is not applied, and of every object that is missing
    or different.
    """
    found = migrations.check(database)
    wrong = [f"{entry.name} is {entry.state.value}" for entry in found.wrong]
    wrong += [str(difference) for difference in found.differences if difference.what != "extra"]
    if wrong:
        raise HooxError(
            f"{what} is not what its migrations say.",
            "Write a migration that brings it there; `inv db.check` compares the ledger itself.",
            detail="\n".join(wrong),
        )
    return tuple(f"{difference.type} {difference.name}" for difference in found.differences)


def smoke(database: Database, queries: Sequence[str], *, timeout: float | None = None) -> tuple[Smoke, ...]:
    """Run the runbook's queries on a ledger, and then `queries`; none of them may write.

    Raises `HooxError` where one fails, or takes longer than `timeout` seconds.
    """
    tables = {item.name for item in database.schema() if item.type == "table"}
    chosen = [query for table, own in RUNBOOK.items() if table in tables for query in own]
    results = []
    for query in [*chosen, *queries]:
        try:
            rows = iter(database.query(query, timeout=timeout))
            first = next(rows, None)
            count = sum(1 for _ in rows) + (first is not None)
        except HooxError as error:
            raise HooxError(f"The query {query} does not run: {error.problem}", error.remedy) from error
        value = first[0] if first and count == 1 and len(first) == 1 else None
        results.append(Smoke(query, count, _shown(value)))
    return tuple(results)


def _shown(value: Value) -> Value:
    return sql.quote_value(value) if isinstance(value, bytes) else value
