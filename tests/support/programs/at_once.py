"""Do `argv[1]` many times in the folder `argv[2]`, as the process with the id of all others, as in containers.

It says "ready", waits for a line, and then prints what it has made. `argv[3]` is a name of its own.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hoox_tasks import backups, files
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.recovery.recording import recording

PATIENCE = 60
"""Seconds that a ledger may be locked by the others."""


def reserve(folder: Path, mine: str) -> None:
    """Write files that are all to have one name."""
    for number in range(25):
        with files.draft(folder / "db-backup-x.sql") as draft:
            draft.output.write(f"{mine}.{number}".encode())
            print(draft.reserve(companion=".json"), f"{mine}.{number}")


def number(folder: Path, mine: str) -> None:
    """Draw numbers."""
    for _ in range(50):
        number = files.next_number(folder)
        print(number.value)
        number.close()


def scratch(folder: Path, mine: str) -> None:
    """Use scratch folders, which nobody else may remove."""
    for _ in range(60):
        with files.scratch_folder(folder) as first, files.scratch_folder(folder) as second:
            for made in (first, second):
                (made / "x").write_text("x")
            assert (first / "x").exists()
            assert (second / "x").exists()


def export(folder: Path, mine: str) -> None:
    """Export the ledger `mine`."""
    with closing(LocalDatabase(folder / mine)) as database:
        for _ in range(30):
            path = backups.default_path(folder / "backups")
            made = backups.export(database, path, reserve=True, migrations_table="d1_migrations")
            print(made.path, mine)


def change(folder: Path, mine: str) -> None:
    """Change the ledger `mine`, each time as a task of its own."""
    for _ in range(25):
        with (
            closing(LocalDatabase(folder / mine, root=folder, busy_timeout=PATIENCE)) as database,
            recording(database, folder / ".hoox" / "snapshots", "x", keep=1) as recorder,
        ):
            database.query("INSERT INTO t (x) VALUES (1)", write=True)
        assert recorder.point is not None
        print(mine, recorder.point.id, recorder.point.tables["t"])


def insert(folder: Path, mine: str) -> None:
    """Insert rows into the ledger `mine`, as a worker that knows nothing of us."""
    with closing(sqlite3.connect(folder / mine, timeout=PATIENCE, isolation_level=None)) as connection:
        for _ in range(300):
            connection.execute("INSERT INTO t (x) VALUES (9)")


def update(folder: Path, mine: str) -> None:
    """Change the first row of the ledger `mine`, each time as a task of its own."""
    for number in range(15):
        with (
            closing(LocalDatabase(folder / mine, root=folder, busy_timeout=PATIENCE)) as database,
            recording(database, folder / ".hoox" / "snapshots", str(number), keep=10),
        ):
            database.query(f"UPDATE t SET x = {number} WHERE id = 1", write=True)


def ask(folder: Path, mine: str) -> None:
    """Say whether the number `mine` is in use."""
    print(files.number_in_use(folder, int(mine)))


WORK: dict[str, Callable[[Path, str], None]] = {
    work.__name__: work for work in (reserve, number, scratch, export, change, insert, update, ask)
}

if __name__ == "__main__":
    os.getpid = lambda: 7
    print("ready", flush=True)
    sys.stdin.readline()
    WORK[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
