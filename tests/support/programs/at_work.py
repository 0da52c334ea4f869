"""Do `argv[3]` (export, restore, undo or migrate) to the ledger `argv[1]` in the folder `argv[2]`.

It says "ready", waits for a line, then says "begun", "changing" before it changes the ledger, and "ended".
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoox_tasks import backups
from hoox_tasks.backups import verification
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Migrations
from hoox_tasks.recovery import points
from hoox_tasks.recovery.recording import recording
from hoox_tasks.recovery.undo import undo_to

path, folder = map(Path, sys.argv[1:3])
transaction = LocalDatabase.transaction


def changing(self: LocalDatabase, **how: Any) -> Any:
    """Say that a change begins."""
    print("changing", flush=True)
    return transaction(self, **how)


def export() -> None:
    """Write a backup."""
    backups.export(LocalDatabase(path), folder / "b.sql", progress=None, migrations_table="d1_migrations")


def restore() -> None:
    """Bring a backup in."""
    with verification.loaded(folder / "new.sql") as copy:
        LocalDatabase(path).replace(copy.path)


def undo() -> None:
    """Go back to the last point."""
    database = LocalDatabase(path)
    saved = folder / "points"
    with recording(database, saved, "undo", keep=10):
        undo_to(database, saved, points.history(database, saved)[-1])


def migrate() -> None:
    """Apply all migrations."""
    Migrations.read(folder / "migrations").apply(LocalDatabase(path))


WORK: dict[str, Callable[[], None]] = {
    "export": export,
    "restore": restore,
    "undo": undo,
    "migrate": migrate,
}

if __name__ == "__main__":
    LocalDatabase.transaction = changing  # type: ignore[method-assign]
    print("ready", flush=True)
    sys.stdin.readline()
    print("begun", flush=True)
    WORK[sys.argv[3]]()
    print("ended", flush=True)
