"""What a recovery point of a large ledger costs, against a copy of its file that is brought to the disk.

Run with `pytest -s tests/benchmarks/test_points.py`. The ledger is about 160 MB, in WAL mode, once with all of
it in the file and once with the last changes in the log.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from hoox_tasks.database.local.database import LocalDatabase
from tests.support.measuring import Cost, note

ROWS = 900_000
TURNS = 7
RATIO = 1.5


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of about 160 MB."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "CREATE TABLE trades (id TEXT PRIMARY KEY, timestamp INTEGER, price REAL, note TEXT)"
        )
        connection.execute("CREATE INDEX by_time ON trades (timestamp)")
        connection.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) INSERT INTO trades"
            " SELECT printf('%08x-%d', i * 2654435761 % 4294967296, i), 1700000000 + i, i / 7.0, hex(randomblob(40))"
            " FROM n"
        )
    return path


@pytest.mark.parametrize("log", [False, True], ids=["all in the file", "some in the log"])
def test_a_point_costs_little_more_than_a_copy(path: Path, tmp_path: Path, log: bool) -> None:
    """Saving the moment of a change, with its digest, takes at most 1.5 times as long as copying the file."""
    numbers = count()

    def save(database: LocalDatabase) -> Callable[[], object]:
        def run() -> None:
            with database.holding() as held:
                held.save(tmp_path, f"point{next(numbers)}")

        return run

    def copy() -> None:
        target = tmp_path / f"copy{next(numbers)}"
        shutil.copyfile(path, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())

    with closing(LocalDatabase(path)) as database:
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(TURNS):
            if log:
                database.query("UPDATE trades SET price = price + 1 WHERE timestamp % 1000 = 0", write=True)
            for name, run in (("ours", save(database)), ("theirs", copy)):
                times[name].append(_seconds(run))
                for made in tmp_path.iterdir():
                    made.unlink()
    ours, theirs = min(times["ours"]), min(times["theirs"])
    work = f"a recovery point, {'some' if log else 'none'} of it in the log"
    note(work, "cp, and to the disk", Cost(0, ours, 0), Cost(0, theirs, 0), RATIO, clock=True)
    assert ours <= RATIO * theirs


def _seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
