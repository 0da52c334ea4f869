"""How fast rows are made, against inserting the same rows when they are there already.

Run with `pytest tests/benchmarks/test_seeding.py`. Ratios hold on any machine, the rate of rows only on
one like the project's that has nothing else to do. Times are those of the process alone.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import pytest

from hoox_tasks.seeding import Batch, generate, load_scenario
from tests.support import ROOT
from tests.support.programs import program

SCENARIO = load_scenario("busy", [ROOT / "fixtures"])
ROUNDS = 5


def empty_ledger() -> sqlite3.Connection:
    """All five tables without their secondary indexes, which are faster made when the rows are in."""
    db = sqlite3.connect(":memory:")
    for file in sorted((ROOT / "migrations").glob("*.sql")):
        db.executescript(file.read_text())
    for (name,) in db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall():
        db.execute(f"DROP INDEX {name}")
    return db


def insert(batches: Iterable[Batch]) -> int:
    db, rows = empty_ledger(), 0
    with db:
        for batch in batches:
            names, marks = ", ".join(batch.columns), ", ".join("?" * len(batch.columns))
            db.executemany(f"INSERT INTO {batch.table} ({names}) VALUES ({marks})", batch.rows)
            rows += len(batch.rows)
    return rows


def best(run: Callable[[], int]) -> tuple[float, int]:
    """The shortest time of some rounds, in seconds, and what was returned."""
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        result = run()
        times.append(time.process_time() - begin)
    return min(times), result


def test_rows_are_made_at_150_000_a_second() -> None:
    """Making rows takes at most four times as long as SQLite takes to insert them, at 150,000 a second."""
    built = list(generate(SCENARIO, scale=0.25))
    bare, rows = best(lambda: insert(built))
    making, _ = best(lambda: sum(len(batch.rows) for batch in generate(SCENARIO, scale=0.25)))
    print(
        f"\n{rows} rows: {rows / making:,.0f} rows/s, inserted {rows / bare:,.0f} rows/s, {making / bare:.2f}"
    )
    assert making / bare <= 4
    assert rows / making >= 150_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_ledger() -> None:
    """A ledger of half a million trades is made in less than 150 MB, of which Python and Faker are a part."""
    done = subprocess.run(
        [*program("seeding_peak"), str(ROOT / "fixtures")], capture_output=True, text=True, check=True
    )
    trades, kilobytes = map(int, done.stdout.split())
    print(f"\n{trades} trades, {kilobytes / 1000:.0f} MB")
    assert trades > 450_000
    assert kilobytes * 1024 < 150e6


def test_counting_is_cheap() -> None:
    """Counting all scenarios takes a fraction of making the largest."""
    from hoox_tasks.seeding import counts, find_scenarios

    folders = [ROOT / "fixtures"]
    scenarios = [load_scenario(name, folders) for name in find_scenarios(folders)]
    making, _ = best(lambda: sum(len(batch.rows) for batch in generate(SCENARIO)))
    counting, _ = best(lambda: sum(sum(counts(each).values()) for each in scenarios))
    assert counting < making / 3
