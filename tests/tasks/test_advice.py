"""What is advised can be typed as it stands: for the ledger that was meant, and it helps."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from hoox_tasks.console import terminal
from hoox_tasks.database.local.connection import translated
from hoox_tasks.errors import HooxError
from hoox_tasks.tasks import ns
from tests.support.in_process import QuickWorkspace


@pytest.mark.parametrize("path", ["ledgers/a b.sqlite", "-x.sqlite", "it's.sqlite"])
def test_the_way_to_a_ledger_makes_that_very_ledger(quick: QuickWorkspace, path: str) -> None:
    """Where there is none at --path, the command that is advised makes one there, as it is printed."""
    error = quick.refused("db.list", f"--path={path}")
    command = re.search(r"`inv (.*?)`", error)
    assert command
    quick.ok(*shlex.split(command[1]))
    assert (quick.root / path).is_file()
    assert not quick.ledger.exists()
    document = quick.inv("db.list", f"--path={path}x", "--json").json
    assert shlex.split(re.findall(r"`inv (.*?)`", document["remedy"])[0])[0] == "db.apply"
    assert f"{path}x" in " ".join(shlex.split(re.findall(r"`inv (.*?)`", document["remedy"])[0]))


def test_advice_gives_each_task_the_flags_that_it_takes() -> None:
    """A flag that chose the ledger goes into a command where its task has it, and only once."""
    for name in ns.task_names:
        taken = {f"--{argument.name}" for argument in ns[name].get_arguments()} & terminal.ALL_FLAGS
        assert terminal.FEWER_FLAGS.get(name, terminal.ALL_FLAGS) == taken, name
    flags = ["--env=the staging", "--remote"]
    for text, expected in {
        "See `inv db.list`.": "See `inv db.list --env 'the staging' --remote`.",
        "See `inv db.backups`.": "See `inv db.backups --env 'the staging'`.",
        "See `inv db.list --remote`.": "See `inv db.list --remote`.",
        "Run `inv --dry db.migrate --to 3`.": "Run `inv --dry db.migrate --to 3 --env 'the staging' --remote`.",
        "See `inv --list`.": "See `inv --list`.",
    }.items():
        assert terminal.addressed(text, flags) == expected


@pytest.mark.parametrize(
    "statement", ["ATTACH 'x' AS y", "SELECT load_extension('x')", "PRAGMA journal_mode = DELETE", "BEGIN"]
)
def test_leave_to_write_is_not_advised_where_it_does_not_help(
    quick_seeded: QuickWorkspace, statement: str
) -> None:
    """What D1 lets nobody do is refused as that, and not with the advice to give --write."""
    error = quick_seeded.refused("db.query", statement)
    assert "D1 lets nobody do that" in error
    assert "Give --write" not in error
    assert quick_seeded.inv("db.query", statement, "--write").code != 0


@pytest.mark.parametrize("free", [0, 10**9])
def test_a_full_disk_is_not_called_a_failure_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    """SQLite may call both an I/O error; the disk is asked, and the command names the ledger."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    failure = sqlite3.OperationalError("disk I/O error")
    failure.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    path = tmp_path / "a b.sqlite"
    with pytest.raises(HooxError) as raised, translated(path):
        raise failure
    if free:
        assert str(raised.value).endswith(f"`inv db.verify '{path}'`.")
    else:
        assert "There is no room left on the disk" in str(raised.value)
