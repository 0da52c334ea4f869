"""Fixtures for ledgers between faults."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks import ledger, migrations, seeding
from hoox_tasks.config.settings import bundled
from hoox_tasks.migrations import Migration, Migrations
from tests.support.faults import HISTORY, MIGRATIONS, Place
from tests.support.proxy import Faults


@pytest.fixture
def files(tmp_path: Path) -> list[Migration]:
    """A few migrations of every kind."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, text in MIGRATIONS.items():
        (folder / name).write_text(text)
    return migrations.discover(folder)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Place]:
    """Make the place of a seed, perhaps a copy of a template."""

    def make(seed: int, template: Path | None = None, rate: float = 0.3) -> Place:
        path = tmp_path / f"run-{seed}.sqlite"
        if template is not None:
            shutil.copy(template, path)
        return Place(path, Faults(seed, rate=rate))

    return make


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    """A ledger file with our migrations and the rows of the quiet scenario."""
    place = Place(tmp_path / "seeded.sqlite", Faults(0))
    ours = migrations.discover(bundled("migrations"))
    with place.remote() as database:
        Migrations(ours).apply(database)
        ledger.seed(database, seeding.load_scenario("quiet", [bundled("fixtures")]))
    with closing(sqlite3.connect(place.path)) as file:
        file.execute(f"UPDATE {HISTORY} SET applied_at = '2026-01-01 00:00:00'")
        file.commit()
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return place.path
