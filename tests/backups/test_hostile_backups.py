"""Backups of unknown origin: loaded by a process that is confined, ended at any time, and refused if forged."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks import second_process
from hoox_tasks.backups import verification
from hoox_tasks.database import load_program
from hoox_tasks.errors import Refused
from tests.support.statements import doubling

SOON = 2.0
# It compares texts of megabytes at each of their characters, within one step of SQLite's virtual machine.
DEAF = "CREATE TABLE t (a);\n" + "".join(
    f"INSERT INTO t VALUES(instr(zeroblob(16000000), zeroblob({size}) || x'01'));\n"
    for size in (8_000_000, 7_999_999)
)


def forged(path: Path, definition: str) -> Path:
    """A database whose text of a definition was written over, as by a program that means harm."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE trades (a)")
        connection.execute("CREATE INDEX i ON trades (a)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'trades'", (definition,))
        connection.commit()
    return path


@pytest.mark.parametrize(
    "definition",
    [
        "CREATE TABLE trades (a); DROP TABLE balances",
        "CREATE TABLE trades (a) /* ",
        "CREATE TABLE trades (a);\nINSERT INTO trades VALUES (1)",
    ],
)
def test_a_definition_is_one_statement(tmp_path: Path, definition: str) -> None:
    """What a forged database has behind a definition, and SQLite never looks at, is not sent to D1."""
    source = forged(tmp_path / "forged.sqlite", definition)
    with closing(sqlite3.connect(source)) as connection:
        assert connection.execute("SELECT count(*) FROM trades").fetchone() == (0,)
    with (
        pytest.raises(Refused, match="The definition of the table trades is not one CREATE statement"),
        verification.loaded(source),
    ):
        pass


def test_a_process_that_loads_is_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports nothing from the current folder, and is given neither tokens nor settings of Python's."""
    source = tmp_path / "dump.sql"
    source.write_text("CREATE TABLE t (a);\n")
    for name in ("json", "types", "sqlite3", "hoox_tasks", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    for name in (
        "CLOUDFLARE_API_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "LD_PRELOAD",
    ):
        monkeypatch.setenv(name, str(tmp_path))
    seen: list[str] = []
    started = subprocess.Popen

    def watched(*arguments: Any, **how: Any) -> Any:
        seen.extend(how["env"])
        return started(*arguments, **how)

    monkeypatch.setattr(subprocess, "Popen", watched)
    with verification.loaded(source) as scratch:
        assert [item.name for item in scratch.schema] == ["t"]
    assert set(seen) == set(second_process.environment())
    assert "PATH" in seen


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits.")
@pytest.mark.parametrize(
    ("limit", "value", "script", "words"),
    [
        ("_MEMORY", 200 << 20, "INSERT INTO t VALUES('" + "x" * 60_000_000 + "');\n", "GB of memory"),
        ("_TIME", 1, DEAF.partition("\n")[2], "more time or memory"),
        ("_VIEWS", 1, f"CREATE VIEW v AS {doubling(27)};\n", "more time or memory"),
    ],
)
def test_a_process_that_loads_has_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, script: str, words: str
) -> None:
    """Beyond its memory or its time it is ended, and whoever asked is told so in a sentence."""
    source = tmp_path / "dump.sql"
    source.write_text(f"CREATE TABLE t (a);\n{script}")
    start = f"from hoox_tasks.database import load_program as it; it.{limit} = {value}; it.main()"
    monkeypatch.setattr(verification, "_START", start)
    with pytest.raises(Refused, match=words), verification.loaded(source):
        pass


@pytest.mark.parametrize(
    ("number", "task"),
    [(signal.SIGINT, "db.verify"), (signal.SIGTERM, "db.restore")],
    ids=["verify", "restore"],
)
def test_loading_ends_even_within_one_function(tmp_path: Path, number: signal.Signals, task: str) -> None:
    """Ctrl-C and SIGTERM end it within two seconds, though SQLite itself listens to nobody meanwhile."""
    (tmp_path / "dump.sql").write_text(DEAF)
    (tmp_path / "tasks.py").write_text("from hoox_tasks import ns\n")
    command = [sys.executable, "-m", "invoke", task, "dump.sql"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not (child := _child(process.pid)) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
        while not _busy(child) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        told = time.monotonic()
        process.wait(60)
        assert time.monotonic() - told < SOON
        assert process.stderr is not None
        assert process.stderr.read().decode() == "Interrupted; nothing was changed.\n"
    assert process.returncode == 130
    assert not Path(f"/proc/{child}").exists()


def _child(pid: int) -> int:
    """The process that another has started; 0 for none yet."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.parent.parent.parent.exists():
        pytest.skip("There is no /proc here to see what a process does.")
    try:
        return int((listed.read_text().split() or ["0"])[0])
    except OSError:
        return 0


def _busy(pid: int) -> bool:
    """Whether a process has used more CPU than any start of Python."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[11]) / os.sysconf("SC_CLK_TCK") > 0.5


def test_nothing_of_a_large_database_is_deaf(tmp_path: Path) -> None:
    """A SQLite database is copied in pieces, and checked so that a signal can end it."""
    source = tmp_path / "l.sqlite"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("CREATE TABLE trades (a)")
    steps = load_program.steps(source, tmp_path / "scratch.sqlite", "")
    assert [next(steps), next(steps)] == [{"loaded": True}, {"violations": 0}]
