"""How tasks end: the exit code is true, and what was changed is told with the way back, whatever fails."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.config.settings import bundled
from tests.support.signals import SIGNALS, wait_for
from tests.support.workspace import INV, Workspace

WAY_BACK = "Take it back with `inv db.undo --to "
UPDATE = "UPDATE trades SET fee = 1 RETURNING id, symbol, raw_response"
"""It changes all trades, and gives more than a pipe holds."""


@pytest.fixture
def pending(seeded: Workspace) -> Workspace:
    """A workspace with trades whose third migration is pending."""
    shutil.copytree(bundled("migrations"), seeded.root / "migrations")
    seeded.migration("0003_more.sql", "CREATE TABLE more (id INTEGER PRIMARY KEY);")
    return seeded


PATIENT = {"INVOKE_HOOX_BUSY_TIMEOUT": "60"}
"""For a machine that has other work as well."""

CHANGES = {
    "query": (["db.query", UPDATE, "--write"], "SELECT min(fee) FROM trades"),
    "json": (["db.query", UPDATE, "--write", "--format", "json"], "SELECT min(fee) FROM trades"),
    "reset": (["db.reset", "--confirm"], "SELECT count(*) FROM trades"),
    "reset-json": (["db.reset", "--confirm", "--json"], "SELECT count(*) FROM trades"),
    "migrate": (["db.migrate"], "SELECT name FROM d1_migrations"),
    "apply-json": (["db.apply", "--json"], "SELECT name FROM d1_migrations"),
    "release": (["db.release"], "SELECT name FROM d1_migrations"),
}
"""Commands that change a ledger, and queries that see it."""


def shell(workspace: Workspace, command: list[str], redirection: str) -> tuple[int, str]:
    """Run a command with its output redirected; returns its own exit code, and its standard error."""
    words = shlex.join([*INV, *command])
    run = subprocess.run(
        ["bash", "-c", f"{words} {redirection}; exit ${{PIPESTATUS[0]}}"],
        cwd=workspace.root,
        env=workspace.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
    )
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr
    return run.returncode, run.stderr


LOST = pytest.mark.parametrize(
    "redirection", ["> /dev/full", "| head -0", ">&-"], ids=["full", "pipe", "closed"]
)


@pytest.mark.parametrize("change", CHANGES)
@LOST
def test_output_that_is_lost_hides_no_change(pending: Workspace, change: str, redirection: str) -> None:
    """On a full disk, in a closed pipe, with output closed: it is done, and told on standard error."""
    command, query = CHANGES[change]
    before = pending.sql(query)
    code, error = shell(pending, command, redirection)
    assert pending.sql(query) != before, error
    assert code == (0 if "head" in redirection else 1), error
    assert "Standard output cannot be written: " in error
    assert WAY_BACK in error


@pytest.mark.parametrize(("redirection", "code"), [("> /dev/full", 2), ("| head -0", 141), (">&-", 2)])
def test_output_that_is_lost_of_a_query_is_no_success(seeded: Workspace, redirection: str, code: int) -> None:
    """Nothing was changed, and the exit code tells that the answer was not seen."""
    code, error = shell(seeded, ["db.query", "SELECT raw_response FROM trades"], redirection)
    assert code == (141 if "head" in redirection else 2), error
    assert WAY_BACK not in error


@LOST
def test_output_that_is_lost_of_a_difference_is_a_difference(seeded: Workspace, redirection: str) -> None:
    """What `db.diff` has found stays its exit code, 1, whatever becomes of its output."""
    shutil.copy(seeded.ledger, seeded.root / "a.sqlite")
    seeded.sql("DELETE FROM balances WHERE rowid < 4")
    code, error = shell(seeded, ["db.diff", "a.sqlite", "ledger"], redirection)
    assert code == 1, error
    assert ("Standard output cannot be written: " in error) is ("head" not in redirection)
    assert "balances: 3 only in a" in error


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("format", ["table", "csv", "json", "ndjson", "markdown"])
def test_no_encoding_stops_a_result(seeded: Workspace, encoding: str, format: str) -> None:
    """A change whose rows a pipe's encoding does not have is done, and all of its rows are shown."""
    statement = "UPDATE trades SET symbol = 'é≈⏎' || char(10) || '中' WHERE rowid <= 3 RETURNING symbol, id"
    env = {"PYTHONIOENCODING": encoding}
    run = subprocess.run(
        [*INV, "db.query", statement, "--write", "--format", format],
        cwd=seeded.root,
        env=seeded.environment(env),
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    text = run.stdout.decode(encoding)
    for (name,) in seeded.sql("SELECT id FROM trades WHERE rowid <= 3"):
        assert name in text
    if format == "json":
        assert {row["symbol"] for row in json.loads(text)} == {"é≈⏎\n中"}
    assert WAY_BACK.encode() in run.stderr


def test_a_misspelt_scenario_is_refused_before_anything_is_migrated(pending: Workspace) -> None:
    """Exit code 2, and neither the pending migration nor a recovery point has happened."""
    before = pending.files()
    assert "There is no scenario 'dmeo'" in pending.refused("db.apply", "--scenario", "dmeo")
    assert "holds trades already" in pending.refused("db.apply", "--scenario", "demo")
    assert "do not go together" in pending.refused("db.apply", "--scenario", "demo", "--no-seed")
    assert pending.files() == before


def test_a_refused_first_apply_leaves_no_ledger(workspace: Workspace) -> None:
    """Neither a misspelt scenario, nor migrations that are not there or do not run, make an empty file."""
    workspace.refused("db.apply", "--scenario", "dmeo")
    (workspace.root / "invoke.yaml").write_text("hoox:\n  migrations: sql\n")
    workspace.refused("db.apply")
    (workspace.root / "sql").mkdir()
    (workspace.root / "sql" / "0001_bad.sql").write_text("CREATE TABLE t (a,);")
    before = workspace.files()
    workspace.inv("db.apply", code=1)
    assert workspace.files() == before
    assert not workspace.ledger.exists()


def test_a_ledger_of_another_domain_is_migrated_and_not_seeded(workspace: Workspace) -> None:
    """A note says why, and the exit code is 0, the second time as well."""
    workspace.migration("0001_customers.sql", "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);")
    first = workspace.ok("db.apply")
    assert "has no table trades, so it is not seeded." in first.err
    assert "Nothing to do" in workspace.ok("db.apply").out
    assert workspace.sql("SELECT count(*) FROM customers") == [(0,)]
    error = workspace.refused("db.apply", "--scenario", "demo")
    assert "The migrations make no table " in error


def test_two_first_applies_at_once_both_end_well(workspace: Workspace) -> None:
    """One waits for the other, and the rows go in once."""
    processes = [workspace.start("db.apply", env=PATIENT) for _ in range(2)]
    ended = [(process.communicate(timeout=60), process.returncode) for process in processes]
    assert [code for _, code in ended] == [0, 0], ended
    once = workspace.sql("SELECT count(*) FROM trades")
    other = Workspace(workspace.root.parent / "other", workspace.home)
    other.ok("db.apply")
    assert once == other.sql("SELECT count(*) FROM trades")


def test_of_two_seeds_at_once_one_is_let_in(workspace: Workspace) -> None:
    """The other is told that the ledger holds trades, and nothing is doubled."""
    workspace.ok("db.apply", "--no-seed")
    processes = [workspace.start("db.seed", "--scenario", "quiet", env=PATIENT) for _ in range(2)]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert sorted(code for _, code in ended) == [0, 2], ended
    assert sum(b"holds trades already" in error for error, _ in ended) == 1


def test_a_write_that_fails_is_a_failure(seeded: Workspace) -> None:
    """What was sent to be written was tried: exit code 1, and nothing of it stays."""
    before = seeded.files()
    run = seeded.inv("db.query", "INSERT INTO trades SELECT * FROM trades", "--write", code=1)
    assert "UNIQUE constraint failed" in run.err
    assert "It changed nothing." in run.err
    assert seeded.files()[".hoox/local.sqlite"] == before[".hoox/local.sqlite"]
    assert "Nothing was changed." in seeded.refused("db.query", "SELECT nope FROM trades")


def test_the_shell_tells_what_came_before_a_failure(seeded: Workspace) -> None:
    """Its first change is preceded by a recovery point, and a later failure hides neither of them."""
    run = seeded.inv(
        "db.shell",
        "--write",
        stdin="DELETE FROM balances;\nDELETE FROM nowhere;\nDELETE FROM trades;\n",
        code=1,
    )
    assert "Before this it became recovery point 1. Take it back with" in run.err
    assert "The ledger was changed before that." in run.err
    assert seeded.sql("SELECT count(*) FROM balances") == [(0,)]
    assert seeded.sql("SELECT count(*) FROM trades") != [(0,)]
    seeded.ok("db.undo", "--to", "1", "--confirm")
    assert seeded.sql("SELECT count(*) FROM balances") != [(0,)]


def test_a_dump_of_one_table_takes_no_other_away(seeded: Workspace) -> None:
    """`sqlite3 .dump trades` has no manifest: it is restored table by table, or beside."""
    tool = shutil.which("sqlite3")
    assert tool
    dump = subprocess.run([tool, str(seeded.ledger), ".dump trades"], capture_output=True, check=True)
    (seeded.root / "trades.sql").write_bytes(dump.stdout)
    before = seeded.files()
    error = seeded.refused("db.restore", "trades.sql", "--confirm")
    assert "The file has no table balances, positions, system_logs, trade_signals" in error
    assert "Give --tables trades to restore only the rows that it has" in error
    assert seeded.files() == before
    rows = seeded.sql("SELECT count(*) FROM trades")
    seeded.sql("DELETE FROM trades WHERE rowid > 5")
    seeded.ok("db.restore", "trades.sql", "--confirm", "--tables", "trades")
    assert seeded.sql("SELECT count(*) FROM trades") == rows
    assert seeded.sql("SELECT count(*) FROM balances") != [(0,)]


@SIGNALS
def test_an_interruption_tells_what_was_committed(seeded: Workspace, number: signal.Signals) -> None:
    """After the first of two migrations it names that one and the way back; the second left nothing."""
    shutil.copytree(bundled("migrations"), seeded.root / "migrations")
    seeded.migration("0003_quick.sql", "CREATE TABLE quick (id INTEGER PRIMARY KEY);")
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000000)"
    seeded.migration(
        "0004_slow.sql", f"CREATE TABLE slow (i);\n{slow} INSERT INTO slow SELECT count(*) FROM n, trades;"
    )
    with seeded.start("db.migrate") as process:
        wait_for(lambda: recorded(seeded.ledger) == 3, process)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130, error
    assert "Interrupted." in error
    assert "Done before that: applied 0003_quick.sql." in error
    assert WAY_BACK in error
    assert recorded(seeded.ledger) == 3


def recorded(ledger: Path) -> int:
    with closing(sqlite3.connect(ledger)) as connection:
        try:
            found: int = connection.execute("SELECT count(*) FROM d1_migrations").fetchone()[0]
        except sqlite3.OperationalError:
            return 0
        return found


@pytest.mark.parametrize(
    ("command", "advised"),
    [
        (["db", "query", "DELETE FROM balances", "--write"], ["db", "undo", "--to", "1"]),
        (["db", "list", "--path", "nowhere.sqlite"], ["db", "apply", "--path", "nowhere.sqlite"]),
        (["db", "restore", "nowhere.sql"], []),
    ],
    ids=lambda value: " ".join(value),
)
def test_hoox_advises_what_can_be_typed(seeded: Workspace, command: list[str], advised: list[str]) -> None:
    """The `hoox` command speaks of itself, in its own words, and never of `inv`."""
    (seeded.root / "tasks.py").unlink()
    hoox = Path(INV[0]).with_name("hoox")
    run = subprocess.run(
        [hoox, *command],
        cwd=seeded.root,
        env=seeded.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = run.stdout + run.stderr
    assert "inv " not in said
    if advised:
        words = next(part for part in said.split("`") if part.startswith("hoox ")).split()
        assert words == ["hoox", *advised]
        help = subprocess.run(
            [hoox, *words[1:3], "--help"],
            cwd=seeded.root,
            env=seeded.environment(),
            capture_output=True,
            timeout=60,
        )
        assert help.returncode == 0


def test_hoox_finds_the_workspaces_configuration_from_below(workspace: Workspace) -> None:
    """`invoke.yaml` of the workspace holds for `hoox` in every folder of it, as for `inv`."""
    (workspace.root / "invoke.yaml").write_text("hoox:\n  path: ledgers/main.sqlite\n")
    below = workspace.root / "src"
    below.mkdir()
    run = subprocess.run(
        [Path(INV[0]).with_name("hoox"), "db", "apply", "--no-seed"],
        cwd=below,
        env=workspace.environment(),
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert (workspace.root / "ledgers" / "main.sqlite").is_file()
    assert list(below.iterdir()) == []


@pytest.mark.parametrize("command", [["--list"], ["--help", "db.query"]], ids=["list", "help"])
def test_a_list_whose_reader_has_left_ends_silently(workspace: Workspace, command: list[str]) -> None:
    """`inv --list | head` ends as other programs do, by SIGPIPE, without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:  # noqa: PTH123
        run = subprocess.run(
            [*INV, *command],
            cwd=workspace.root,
            env=workspace.environment({"PYTHONUNBUFFERED": "1"}),
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (run.returncode, run.stderr) == (-signal.SIGPIPE, b"")
