"""Ledgers of a scenario."""

from __future__ import annotations

from pathlib import Path

from hoox_tasks import ledger, migrations, seeding
from hoox_tasks.config.settings import bundled
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Migrations


def make_ledger(path: Path, scenario: str, *, up_to: int = 2) -> LocalDatabase:
    """A migrated ledger, seeded with a scenario unless that is `empty`."""
    database = LocalDatabase(path, create=True)
    files = migrations.discover(bundled("migrations"))[:up_to]
    ledger.reset(database, Migrations(files))
    if scenario != "empty":
        ledger.seed(database, seeding.load_scenario(scenario, [bundled("fixtures")]))
    return database
