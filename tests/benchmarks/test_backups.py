"""How long export, verification and restore take, against the `sqlite3` shell and wrangler on the same ledger.

Run with `pytest -s tests/benchmarks/test_backups.py`; `HOOX_BENCHMARK_ROWS` sets the size. Ratios of times of
one run hold on any machine that is not busy with something else.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks import backups, migrations
from hoox_tasks.config import settings
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Migrations

ROWS = int(os.environ.get("HOOX_BENCHMARK_ROWS", "1000000"))
FILES = migrations.discover(settings.bundled("migrations"))


def trades() -> Iterator[tuple[object, ...]]:
    """Trades as the workers write them: random ids, three doubles, a response in JSON."""
    draw = random.Random(1)
    for number in range(ROWS):
        moment = 1_700_000_000 + number
        identity = f"{draw.getrandbits(128):032x}"
        order = f"{draw.getrandbits(60)}"
        yield (
            *(identity, f"signal-{number}", moment, draw.choice(["bybit", "binance", "mexc"])),
            *(draw.choice(["BTCUSDT", "ETHUSDT"]), draw.choice(["LONG", "SHORT"]), draw.random() * 10),
            *(draw.uniform(100, 60_000), draw.randint(1, 50), "EXECUTED", None),
            *(f'{{"retCode":0,"orderId":"{order}"}}', moment, draw.random(), order, None),
        )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    with closing(LocalDatabase(ledger, create=True)) as database:
        Migrations(FILES).apply(database)
        with database.transaction() as connection:
            connection.executemany(f"INSERT INTO trades VALUES ({','.join('?' * 16)})", trades())
    return ledger


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def test_backups_keep_up_with_the_shell(path: Path, tmp_path: Path) -> None:
    """An export takes 1.5 times as long as `.dump`, a restore 1.5 times as long as loading that in the shell."""
    if not shutil.which("sqlite3"):
        pytest.skip("There is no sqlite3 shell here.")
    dump, ours = tmp_path / "shell.sql", tmp_path / "ours.sql"

    def dumped() -> None:
        with dump.open("wb") as output:
            subprocess.run(["sqlite3", path, ".dump"], stdout=output, check=True)

    def loaded() -> None:
        with dump.open("rb") as source:
            subprocess.run(["sqlite3", tmp_path / "shell.sqlite"], stdin=source, check=True)

    def exported(verify: bool) -> None:
        with closing(LocalDatabase(path)) as database:
            backups.export(database, ours, verify=verify, migrations_table="d1_migrations")

    def restored() -> None:
        with (
            backups.checked(ours, Migrations(FILES)) as backup,
            closing(LocalDatabase(tmp_path / "new.sqlite", create=True)) as database,
        ):
            backups.restore(database, backup)

    times = {
        "sqlite3 .dump": seconds(dumped),
        "export": seconds(lambda: exported(False)),
        "export, verified": seconds(lambda: exported(True)),
        "sqlite3 < dump": seconds(loaded),
        "restore": seconds(restored),
    }
    memory = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    for name, taken in times.items():
        print(f"{name}: {taken:.1f} s")
    print(f"largest process: {memory // 1024} MB")
    assert times["export"] <= 1.5 * times["sqlite3 .dump"]
    assert times["restore"] <= 1.5 * times["sqlite3 < dump"]
    # Nothing verifies faster than the file can be loaded, and its indexes checked.
    assert times["export, verified"] <= times["export"] + 1.5 * times["sqlite3 < dump"]
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM trades").fetchone() == (ROWS,)
