"""Whole commands on a large ledger against named peers, in processor time, and the memory that they take.

Run with `pytest -s tests/benchmarks/test_commands.py`. The ledger is two thirds of the scenario `busy`: some
520,000 rows, 167 MB. `HOOX_BENCHMARK_SCALE` makes it smaller or larger, and `HOOX_BENCHMARK_ROUNDS` sets how
often each command is run. `inv bench --report` makes docs/benchmarks.md of what is found.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import hoox_tasks
from hoox_tasks import ledger
from hoox_tasks.config.settings import bundled
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Migrations
from hoox_tasks.seeding import load_scenario
from tests.support.measuring import in_turns, note, run
from tests.support.workspace import INV, Workspace

SCALE = float(os.environ.get("HOOX_BENCHMARK_SCALE", "0.65"))
MEMORY = 100_000_000

pytestmark = pytest.mark.skipif(not shutil.which("sqlite3"), reason="The sqlite3 shell is the peer.")


def make(path: Path, scale: float) -> None:
    """Make a ledger of the scenario `busy`, so many times as large."""
    with closing(LocalDatabase(path, create=True)) as database:
        Migrations.read(bundled("migrations")).apply(database)
        ledger.seed(database, load_scenario("busy", [bundled("fixtures")]), scale=scale)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the large ledger, its dump by the shell, and our export of it."""
    compileall.compile_dir(Path(hoox_tasks.__file__).parent, quiet=1)
    folder = tmp_path_factory.mktemp("commands")
    made = Workspace(folder / "work", folder / "home")
    make(made.root / "large.sqlite", SCALE)
    subprocess.run("sqlite3 large.sqlite .dump > shell.sql", shell=True, cwd=made.root, check=True)
    subprocess.run(
        [*INV, "db.export", "--path", "large.sqlite", "--output", "ours.sql"],
        cwd=made.root,
        env=made.environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return made


def shell(command: str) -> str:
    """A line for the shell, in which `inv` is this one."""
    return command.replace("inv ", f"{' '.join(INV)} ")


LOAD = "rm -f theirs.sqlite; sqlite3 theirs.sqlite < shell.sql"
ROWS_OF_TRADES = "SELECT * FROM trades"
COMMANDS = {
    "db.export --no-verify": (
        "inv db.export --path large.sqlite --output plain.sql --no-verify",
        ("sqlite3 .dump", "sqlite3 large.sqlite .dump > theirs.sql"),
        2.5,
    ),
    "db.export": (
        "inv db.export --path large.sqlite --output proven.sql",
        ("sqlite3 .dump; sqlite3 new.db < dump", f"sqlite3 large.sqlite .dump > shell.sql; {LOAD}"),
        2.5,
    ),
    "db.verify": ("inv db.verify ours.sql", ("sqlite3 new.db < dump", LOAD), 2.2),
    "db.restore": (
        "rm -f back.sqlite*; inv db.restore ours.sql --path large.sqlite --into back.sqlite --confirm",
        ("sqlite3 new.db < dump", LOAD),
        2.4,
    ),
    "db.query --format csv": (
        f"inv db.query '{ROWS_OF_TRADES}' --path large.sqlite --format csv > ours.csv",
        ("sqlite3 -csv", f"sqlite3 -csv large.sqlite '{ROWS_OF_TRADES}' > theirs.csv"),
        4.5,
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_beside_its_peer(workspace: Workspace, name: str) -> None:
    """Each takes no more processor time than its bar allows, as a ratio to its peer, and less than 100 MB."""
    ours, (peer, theirs), bar = COMMANDS[name]
    cost, other = in_turns(shell(ours), theirs, workspace.root, workspace.environment())
    ratio = note(name, peer, cost, other, bar)
    assert ratio <= bar
    assert cost.memory < MEMORY


def test_a_csv_beside_sqlite_utils(workspace: Workspace) -> None:
    """All columns of all trades as CSV take no longer than with `sqlite-utils query --csv`."""
    peer = f"{sys.executable} -m sqlite_utils query large.sqlite '{ROWS_OF_TRADES}' --csv > utils.csv"
    ours, _, _ = COMMANDS["db.query --format csv"]
    cost, other = in_turns(shell(ours), peer, workspace.root, workspace.environment())
    assert note("db.query --format csv", "sqlite-utils --csv", cost, other, 1.0) <= 1.0


@pytest.mark.parametrize("task", ["db.list", "db.check", "db.report --output report.html"])
def test_memory_stays_small(workspace: Workspace, task: str) -> None:
    """Looking at a large ledger takes less than 100 MB; drawing the charts is most of that for a report."""
    cost = run(shell(f"inv {task} --path large.sqlite"), workspace.root, workspace.environment())
    print(f"\n{task}: {cost.processor:.2f} s of processor, {cost.memory / 1e6:.0f} MB")
    assert cost.memory < MEMORY
