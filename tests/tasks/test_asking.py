"""Who sits at a terminal is asked before a remote ledger changes; --confirm answers, and CI goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.in_process import QuickWorkspace
from tests.support.served import served
from tests.support.workspace import Workspace


@pytest.fixture
def remote(quick: QuickWorkspace, applied: Path) -> Path:
    """The file of a remote ledger, and a migration that it lacks."""
    path = quick.root.parent / "remote.sqlite"
    path.write_bytes(applied.read_bytes())
    shutil.copytree(Path(__file__).parents[2] / "migrations", quick.root / "migrations")
    quick.migration("0003_fills.sql", "CREATE TABLE fills (id TEXT PRIMARY KEY);")
    return path


def tables(workspace: Workspace, path: Path) -> list[str]:
    return [row[0] for row in workspace.sql("SELECT name FROM sqlite_schema WHERE name = 'fills'", path=path)]


def test_a_migration_is_asked_about(workspace: Workspace, quick: QuickWorkspace, remote: Path) -> None:
    """It says what it will do and wants the database's name; another word changes nothing."""
    with served(workspace, remote) as env:
        run = workspace.terminal("db.migrate", "--remote", typed="ledger\n", env=env)
        assert "This will apply 0003_fills.sql on D1 database ledger." in run.out
        assert "Type ledger to go on:" in run.out
        assert "Applied 0003_fills.sql" in run.out
        assert (run.code, tables(workspace, remote)) == (0, ["fills"])
        quick.at_terminal = True
        assert "Type ledger" not in quick.ok("db.migrate", "--remote", env=env).err
        quick.migration("0004_more.sql", "CREATE TABLE more (id TEXT PRIMARY KEY);")
        other = quick.inv("db.migrate", "--remote", stdin="yes\n", env=env, code=2)
        assert "That was not the name, so nothing was changed." in other.err
        assert "0004" not in str(workspace.sql("SELECT name FROM d1_migrations", path=remote))


def test_confirm_and_ci_are_not_asked(quick: QuickWorkspace, remote: Path) -> None:
    """--confirm answers beforehand; in CI, and without a terminal, a task goes on."""
    write = ("db.query", "DELETE FROM balances WHERE rowid = 1", "--write", "--remote")
    with served(quick, remote) as env:
        goes_on = [quick.ok(*write, env=env)]
        quick.at_terminal = True
        asked = quick.inv(*write, stdin="no\n", env=env, code=2)
        assert "This will run DELETE FROM balances WHERE rowid = 1 on D1 database ledger." in asked.err
        goes_on += [quick.ok(*write, "--confirm", env=env), quick.ok(*write, env={**env, "CI": "true"})]
        assert [run for run in goes_on if "Type ledger" in run.err] == []


def test_a_release_asks_when_it_was_rehearsed(quick: QuickWorkspace, remote: Path) -> None:
    """The question comes behind the rehearsal, and before anything is applied."""
    quick.at_terminal = True
    with served(quick, remote) as env:
        released = quick.inv("db.release", "--remote", stdin="no\n", env=env, code=1)
        assert "Rehearsed on a copy" in released.out
        assert "This will apply what is pending, as it was rehearsed, on D1 database ledger." in released.err
        assert tables(quick, remote) == []
        assert quick.ok("db.release", "--remote", stdin="ledger\n", env=env)
        assert tables(quick, remote) == ["fills"]


def test_without_recovery_points_it_asks_all_the_same(quick: QuickWorkspace, remote: Path) -> None:
    """The question does not hang on what is kept."""
    quick.at_terminal = True
    with served(quick, remote) as env:
        env |= {"INVOKE_HOOX_KEEP_SNAPSHOTS": "0"}
        asked = quick.inv("db.migrate", "--remote", stdin="ledger \n", env=env, code=0)
        assert "This will apply 0003_fills.sql on D1 database ledger." in asked.err


def test_a_local_ledger_is_not_asked_about(quick_seeded: QuickWorkspace) -> None:
    """What can be undone here is done."""
    quick_seeded.at_terminal = True
    run = quick_seeded.ok("db.query", "DELETE FROM balances", "--write")
    assert "Type " not in run.err


def test_a_pull_over_local_rows_is_asked_about(quick: QuickWorkspace, remote: Path) -> None:
    """The local ledger's name is wanted where rows would be replaced, and not where there are none."""
    quick.at_terminal = True
    with served(quick, remote) as env:
        assert "Type " not in quick.ok("db.pull", env=env).err
        asked = quick.inv("db.pull", stdin="no\n", env=env, code=2)
        assert "by D1 database ledger." in asked.err
        assert "Type " not in quick.ok("db.pull", "--confirm", env=env).err
