"""Ctrl-C and SIGTERM anywhere: a sentence, soon, and nothing half done."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.signals import SIGNALS, ends, opened, wait_for
from tests.support.statements import doubling
from tests.support.workspace import Run, Workspace

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """Give the processor time that a process took so far (Linux), or infinity."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return float("inf")
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


@SIGNALS
def test_a_long_query_ends_soon(seeded: Workspace, number: signal.Signals) -> None:
    """SQLite is stopped in the middle of one statement that would never end."""
    with seeded.start("db.query", ENDLESS) as process:
        wait_for(lambda: opened(seeded.ledger, process), process)
        begun = processor_seconds(process)
        wait_for(lambda: processor_seconds(process) > begun + 0.3, process)
        ends(process, number)


def test_what_hears_nothing_is_ended_soon(seeded: Workspace) -> None:
    """While SQLite compiles a query for an hour it hears no signal; the process ends all the same."""
    with seeded.start("db.query", doubling(27)) as process:
        wait_for(lambda: opened(seeded.ledger, process), process)
        begun = processor_seconds(process)
        wait_for(lambda: processor_seconds(process) > begun + 0.3, process)
        ends(process, signal.SIGTERM)


def test_a_change_that_hears_nothing_is_undone_in_time(seeded: Workspace) -> None:
    """The time limit holds for it too, and what was changed by then in its transaction is as it was."""
    before = seeded.sql("SELECT count(*) FROM trades")
    change = f"DELETE FROM trades; UPDATE balances SET equity = ({doubling(27)})"
    done = seeded.inv("db.query", change, "--write", "--json", "--timeout=0.1")
    assert (done.code, done.json["changed"]) == (1, False)
    assert done.err.startswith("The SQL did not end in 0.1 seconds.")
    assert seeded.sql("SELECT count(*) FROM trades") == before


@contextmanager
def held(ledger: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Hold the ledger's lock for a block."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute(how)
        yield
        connection.execute("ROLLBACK")


@SIGNALS
def test_waiting_for_a_lock_ends_soon(seeded: Workspace, number: signal.Signals) -> None:
    """However long it would wait for somebody else's lock."""
    before = seeded.files()[".hoox/local.sqlite"]
    with held(seeded.ledger):
        write = ["db.query", "DELETE FROM trades", "--write"]
        with seeded.start(*write, env={"INVOKE_HOOX_BUSY_TIMEOUT": "60"}) as process:
            wait_for(lambda: opened(seeded.ledger, process), process)
            ends(process, number)
    assert seeded.files()[".hoox/local.sqlite"] == before


@SIGNALS
def test_an_interrupted_export_leaves_no_file(workspace: Workspace, number: signal.Signals) -> None:
    """Neither the export nor its temporary file is there afterwards, and no reader process lives on."""
    workspace.ledger.parent.mkdir()
    workspace.sql("PRAGMA journal_mode = WAL")
    workspace.sql("CREATE TABLE trades (id INTEGER PRIMARY KEY, note TEXT)")
    workspace.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)"
        " INSERT INTO trades SELECT i, hex(zeroblob(100)) FROM n"
    )
    folder = workspace.root / "backups"
    with workspace.start("db.export") as process:
        wait_for(
            lambda: (
                folder.is_dir()
                and any(path.stat().st_size for path in folder.iterdir() if path.name != ".gitignore")
            ),
            process,
        )
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        readers = children.read_text().split() if children.exists() else []
        ends(process, number)
    assert [path.name for path in folder.iterdir()] == [".gitignore"]
    assert not any(Path(f"/proc/{reader}").exists() for reader in readers)


def test_a_locked_ledger_is_waited_for_and_named(seeded: Workspace) -> None:
    """It waits as long as it is told, then says which ledger, who holds it and how long it waited."""
    with held(seeded.ledger):
        before = seeded.files()
        started = time.monotonic()
        error = seeded.refused(
            "db.query", "DELETE FROM trades", "--write", env={"INVOKE_HOOX_BUSY_TIMEOUT": "0.6"}
        )
        assert time.monotonic() - started >= 0.6
        assert f"The ledger {seeded.ledger} is locked by " in error
        assert "waited 0." in error
        assert seeded.files() == before
        # Readers do not wait for a writer.
        seeded.ok("db.query", "SELECT count(*) FROM trades")


def test_a_lock_that_is_let_go_in_time_is_no_error(seeded: Workspace) -> None:
    """The command goes on as soon as the other has ended."""
    with held(seeded.ledger):
        process = seeded.start("db.query", "DELETE FROM balances", "--write")
        wait_for(lambda: opened(seeded.ledger, process), process)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert seeded.sql("SELECT count(*) FROM balances") == [(0,)]


INTERRUPTS_ITSELF = """\
import os, signal, sys

class Interrupting:
    def find_spec(name, path, target=None):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
"""


@pytest.mark.parametrize(
    ("program", "module"),
    [
        ("hoox_tasks", "invoke.collection"),
        ("hoox_tasks", "hoox_tasks.tasks.exits"),
        ("invoke", "hoox_tasks.tasks.exits"),
        ("invoke", "hoox_tasks.tasks.parsing"),
        ("invoke", "hoox_tasks.tasks.ledger"),
    ],
)
def test_ctrl_c_while_a_task_starts_is_silent(workspace: Workspace, program: str, module: str) -> None:
    """In the middle of an import it ends the process as it ends any program: by the signal, without a word."""
    (workspace.home / "sitecustomize.py").write_text(INTERRUPTS_ITSELF)
    done = subprocess.run(
        [sys.executable, "-m", program, *(["db", "list"] if program == "hoox_tasks" else ["db.list"])],
        cwd=workspace.root,
        env=workspace.environment({"AT": module, "PYTHONPATH": f"{workspace.home}:{ROOT}"}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_between_import_and_task_is_silent_and_in_others_tasks_theirs(workspace: Workspace) -> None:
    """Invoke would say 1, as for a failure; a task of somebody else's gets its KeyboardInterrupt as ever."""
    (workspace.root / "tasks.py").write_text(
        "import os, signal\n"
        "from invoke import Collection, task\n"
        "from hoox_tasks import db\n"
        "@task\n"
        "def own(c):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        print('mine')\n"
        "ns = Collection(db, own)\n"
        "if 'EARLY' in os.environ:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    how: dict[str, Any] = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    assert workspace.inv("own", **how) == Run(0, "mine\n", "")
    assert workspace.inv("own", env={"EARLY": "1"}, **how) == Run(-signal.SIGINT, "", "")
