"""What the pytest plugin costs, as ratios within one run.

Run with `pytest -s tests/benchmarks/test_plugin.py`; the figures are printed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest

from hoox_tasks import ledger
from hoox_tasks.config.settings import bundled
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Migrations
from hoox_tasks.seeding import counts, load_scenario
from hoox_tasks.testing.ledgers import LedgerFactory
from hoox_tasks.testing.recipe import Recipe
from hoox_tasks.testing.templates import Templates
from tests.support import ROOT

TRADES = 5_000
QUERY = "SELECT * FROM positions LIMIT 1"
OTHERS = ("-p", "no:faker", "-p", "no:hypothesispytest", "-p", "no:benchmark")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """A ledger of about 5,000 trades."""
    scenario = load_scenario("demo", [bundled("fixtures")])
    scale = TRADES / counts(scenario)["trades"]
    return Recipe(
        bundled("migrations"), "*.sql", "d1_migrations", (bundled("fixtures"),), "demo", scale=scale
    )


@pytest.fixture(scope="module")
def kept(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Templates that have the recipe's already."""
    found = Templates(tmp_path_factory.mktemp("templates"))
    found.get(recipe)
    return found


def timed(run: Callable[[], object], rounds: int) -> float:
    """The median time of a run, in milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return median(times) * 1000


def test_a_fresh_ledger_costs_little_more_than_a_copy(recipe: Recipe, kept: Templates) -> None:
    """What `hoox_db` does for a test takes at most 3 times a bare deserialize and one query."""
    data = kept.get(recipe).data

    def bare() -> None:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(data)
        connection.execute(QUERY).fetchall()
        connection.close()

    def ours() -> None:
        factory = LedgerFactory(kept, recipe, Path)
        factory().execute(QUERY).fetchall()
        factory.close()

    bare_time, our_time = min((timed(bare, 100), timed(ours, 100)) for _ in range(5))
    print(
        f"\n{len(data) / 1e6:.1f} MB: bare {bare_time:.3f} ms, ours {our_time:.3f} ms,"
        f" ratio {our_time / bare_time:.2f}"
    )
    assert our_time / bare_time <= 3


def test_a_fresh_ledger_is_much_faster_than_making_one(
    recipe: Recipe, kept: Templates, tmp_path: Path
) -> None:
    """A copy of a template is at least 300 times as fast as migrating and seeding anew."""

    def ours() -> None:
        factory = LedgerFactory(kept, recipe, Path)
        factory().execute(QUERY).fetchall()
        factory.close()

    scenario = load_scenario("demo", recipe.fixtures_dirs)

    def from_nothing() -> None:
        path = tmp_path / "anew.sqlite"
        with closing(LocalDatabase(path, create=True)) as database:
            Migrations.read(recipe.migrations_dir).apply(database)
            ledger.seed(database, scenario, scale=recipe.scale)
            database.connection.execute(QUERY).fetchall()
        path.unlink()

    pairs = [(timed(from_nothing, 1), timed(ours, 50)) for _ in range(5)]
    anew, our_time = (median(times) for times in zip(*pairs, strict=True))
    print(f"\nanew {anew:.0f} ms, ours {our_time:.3f} ms, ratio {anew / our_time:.0f}")
    assert anew / our_time >= 300


def run_suite(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), *OTHERS, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder for a suite, which counts as its rootdir."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nhoox_scenario = demo\n")
    return tmp_path


def test_the_first_fixture_of_a_warm_session_is_quick(suite: Path) -> None:
    """Where the template is there already, the first test's set-up takes less than 30 ms."""
    (suite / "test_first.py").write_text("def test_first(hoox_db): pass\n")
    (suite / "conftest.py").write_text(
        "def pytest_runtest_logreport(report):\n"
        "    if report.when == 'setup': print('SETUP', report.duration * 1000, 'ms')\n"
    )
    times = []
    for _ in range(6):
        found = re.search(r"SETUP ([\d.]+) ms", run_suite(suite, "-s"))
        assert found
        times.append(float(found[1]))
    print(f"\ncold {times[0]:.0f} ms, warm {min(times[2:]):.1f} ms")
    assert min(times[2:]) < 30


@pytest.mark.parametrize(("scenario", "ratio"), [("quiet", 2.5), ("demo", 1.25)])
def test_what_fixtures_cost(tmp_path: Path, scenario: str, ratio: float) -> None:
    """As CPU, the least of many runs in turns: `hoox_db` beside a fixture of three lines over the same bytes.

    The other fixtures are beside it as well: a difference, a local D1 API that is asked, and the first ledger
    of a run whose template is there, are so many times what the three lines cost on `demo`.
    """
    shutil.copytree(ROOT / "tests/support/suites/costs", tmp_path, dirs_exist_ok=True)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nhoox_scenario = {scenario}\n")
    for _ in range(2):
        shown = run_suite(tmp_path, "-q", "-s", "-p", "no:xdist")
    costs = json.loads(shown.split("COSTS ")[1].splitlines()[0])
    print(f"\n{scenario}: " + ", ".join(f"{name} {cost:.2f} ms" for name, cost in costs.items()))
    assert costs["test_ours"] <= ratio * costs["test_bare"]


WORKING = """
import pytest

@pytest.mark.parametrize("number", range(400))
def test_work(hoox_db, number):
    for _ in range({loops}):
        hoox_db.execute("SELECT sum(price * quantity) FROM trades").fetchall()
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two workers need two processors")
def test_two_workers_are_nearly_twice_as_fast(suite: Path) -> None:
    """400 tests of some 50 ms take at least 1.7 times as long in one process as under `-n 2`."""
    (suite / "test_work.py").write_text(WORKING.format(loops=50))
    run_suite(suite, "-q")

    def whole(*arguments: str) -> float:
        began = time.perf_counter()
        run_suite(suite, "-q", *arguments)
        return time.perf_counter() - began

    one, two = whole(), whole("-n2")
    print(f"\none process {one:.1f} s, two workers {two:.1f} s, ratio {one / two:.2f}")
    assert one / two >= 1.7
