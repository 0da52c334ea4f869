"""Start-up, export and queries from the command line, against named peers of the same run.

Run with `pytest tests/benchmarks/test_runbook.py`. Each asserts the ratio of two medians, or of two minima
of processor time; the two are measured in turns, so that whatever else the machine does slows both.
Installed packages are compiled to byte code, so the working copy is as well before anything is timed
(Invoke itself never does that).
"""

from __future__ import annotations

import compileall
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import hoox_tasks
from tests.support.programs import program
from tests.support.workspace import INV, Workspace

START_RATIO = 1.2
START_ROUNDS = 40
START_MODULES = 24
EXPORT_RATIO = 1.5
QUERY_RATIO = 4.0
EXPORT_BYTES = 80_000_000
ROWS = 1_000_000


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Byte code for the package, as an installation has it."""
    compileall.compile_dir(Path(hoox_tasks.__file__).parent, quiet=1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose trades table has a million rows."""
    folder = tmp_path_factory.mktemp("benchmark")
    made = Workspace(folder / "work", folder / "home")
    made.ok("db.apply", "--no-seed")
    with closing(sqlite3.connect(made.ledger, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            f"""
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
            INSERT INTO trades
                (id, timestamp, exchange, symbol, action, quantity, price, leverage, status, raw_response,
                 created_at, fee, order_id, realized_pnl)
            SELECT printf('%08x-%04x', i * 2654435761 % 4294967296, i % 65536), 1700000000 + i, 'bybit',
                'BTCUSDT', iif(i % 2, 'LONG', 'CLOSE_LONG'), (i * 7919 % 10007) / 1e3,
                60000 + (i * 104729 % 999983) / 1e2, 5, 'EXECUTED', '{{"retCode": 0, "retMsg": "OK"}}',
                1700000000 + i, i % 997 / 1e4,
                printf('%019d', i), iif(i % 2, NULL, (i % 2003 - 1001) / 7.0)
            FROM n
            """
        )
    return made


def in_turns(benchmark: Any, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> float:
    """Run both in turns, ours first; returns the ratio of their median times."""
    peers: list[float] = []

    def peer() -> None:
        started = time.perf_counter()
        theirs()
        peers.append(time.perf_counter() - started)

    benchmark.pedantic(ours, setup=peer, rounds=rounds, warmup_rounds=1)
    ratio: float = benchmark.stats.stats.median / statistics.median(peers[1:])
    benchmark.extra_info["ratio"] = round(ratio, 2)
    return ratio


def runner(workspace: Workspace, command: list[str], result: Path | None = None) -> Callable[[], None]:
    def run() -> None:
        with open(result or "/dev/null", "wb") as output:  # noqa: PTH123
            subprocess.run(
                command,
                cwd=workspace.root,
                env=workspace.environment(),
                stdout=output,
                stderr=output,
                check=True,
            )

    return run


def processor_seconds(workspace: Workspace, command: list[str]) -> float:
    """Give the processor time that a command takes, in user and system mode."""
    process = subprocess.Popen(
        command,
        cwd=workspace.root,
        env=workspace.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_start_up(benchmark: Any, workspace: Workspace) -> None:
    """A first query costs at most a fifth more than an Invoke task that does nothing, in processor time."""
    empty = Workspace(workspace.root.parent / "empty", workspace.home)
    (empty.root / "tasks.py").write_text(
        'from invoke import task\n\n\n@task\ndef nothing(c):\n    """Do nothing."""\n'
    )
    ours, theirs = [], []
    for _ in range(START_ROUNDS):
        theirs.append(processor_seconds(empty, [*INV, "nothing"]))
        ours.append(processor_seconds(workspace, [*INV, "db.query", "SELECT 1"]))
    ratio = min(ours) / min(theirs)
    benchmark.extra_info["ratio"] = round(ratio, 3)
    benchmark.pedantic(runner(workspace, [*INV, "db.query", "SELECT 1"]), rounds=3)
    assert ratio <= START_RATIO


def test_start_up_executes_few_modules(workspace: Workspace) -> None:
    """A query executes only the modules that it uses; a package's own file, which is empty, is none."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.programs.executed_modules", "db.query", "SELECT 1"],
        cwd=workspace.root,
        env=workspace.environment({"PYTHONPATH": str(Path(__file__).parents[2])}),
        capture_output=True,
        text=True,
        check=True,
    )
    executed = [name for name in run.stderr.splitlines() if name.startswith("hoox_tasks")]
    assert 0 < len(executed) <= START_MODULES, executed


def test_export(benchmark: Any, workspace: Workspace) -> None:
    """A million trades are exported about as fast as the sqlite3 shell dumps them, in flat memory."""
    shell = shutil.which("sqlite3")
    assert shell
    ours, theirs = workspace.root / "ours.sql", workspace.root / "theirs.sql"
    command = [*INV, "db.export", "--output", "-"]
    ratio = in_turns(
        benchmark,
        runner(workspace, command, ours),
        runner(workspace, [shell, str(workspace.ledger), ".dump"], theirs),
        rounds=3,
    )
    assert ours.read_bytes().count(b"\nINSERT INTO ") >= ROWS
    memory = peak(workspace, command)
    benchmark.extra_info["peak_bytes"] = memory
    assert ratio <= EXPORT_RATIO
    assert memory < EXPORT_BYTES


def peak(workspace: Workspace, command: list[str]) -> int:
    """Give the largest resident size, in bytes, of any one process of a command."""
    done = subprocess.run(
        [*program("peak_of"), os.devnull, *command],
        cwd=workspace.root,
        env=workspace.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_query(benchmark: Any, workspace: Workspace) -> None:
    """A million rows of the columns that the runbook asks for, as CSV, against the sqlite3 shell."""
    shell = shutil.which("sqlite3")
    assert shell
    sql = "SELECT created_at, symbol, action, price, quantity FROM trades"
    ours, theirs = workspace.root / "ours.csv", workspace.root / "theirs.csv"
    ratio = in_turns(
        benchmark,
        runner(workspace, [*INV, "db.query", sql, "--format", "csv"], ours),
        runner(workspace, [shell, "-csv", str(workspace.ledger), sql], theirs),
        rounds=3,
    )
    # The query's rows and time stand in the file as well: its last line.
    assert ours.read_bytes().count(b"\n") == ROWS + 2
    assert theirs.read_bytes().count(b"\n") == ROWS
    assert ratio <= QUERY_RATIO
