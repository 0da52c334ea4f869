"""Who sits at a terminal is asked before a remote ledger changes; --confirm answers, and CI goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.served import served
from tests.support.workspace import Workspace


@pytest.fixture
def remote(workspace: Workspace, applied: Path) -> Path:
    """The file of a remote ledger, and a migration that it lacks."""
    path = workspace.root.parent / "remote.sqlite"
    path.write_bytes(applied.read_bytes())
    shutil.copytree(Path(__file__).parents[2] / "migrations", workspace.root / "migrations")
    workspace.migration("0003_fills.sql", "CREATE TABLE fills (id TEXT PRIMARY KEY);")
    return path


def tables(workspace: Workspace, path: Path) -> list[str]:
    return [row[0] for row in workspace.sql("SELECT name FROM sqlite_schema WHERE name = 'fills'", path=path)]


def test_a_migration_is_asked_about(workspace: Workspace, remote: Path) -> None:
    """It says what it will do and wants the database's name; another word changes nothing."""
    with served(workspace, remote) as env:
        other = workspace.terminal("db.migrate", "--remote", typed="yes\n", env=env)
        assert "This will apply 0003_fills.sql on D1 database ledger." in other.out
        assert "Type ledger to go on:" in other.out
        assert "That was not the name, so nothing was changed." in other.out
        assert (other.code, tables(workspace, remote)) == (2, [])
        run = workspace.terminal("db.migrate", "--remote", typed="ledger\n", env=env)
        assert "Applied 0003_fills.sql" in run.out
        assert (run.code, tables(workspace, remote)) == (0, ["fills"])
        again = workspace.terminal("db.migrate", "--remote", env=env)
        assert "Type ledger" not in again.out


def test_confirm_and_ci_are_not_asked(workspace: Workspace, remote: Path) -> None:
    """--confirm answers beforehand; in CI, and without a terminal, a task goes on."""
    with served(workspace, remote) as env:
        write = ("db.query", "DELETE FROM balances WHERE rowid = 1", "--write", "--remote")
        assert workspace.terminal(*write, typed="no\n", env=env).code == 2
        assert "This will run DELETE FROM balances" in workspace.terminal(*write, typed="\n", env=env).out
        for run in (
            workspace.terminal(*write, "--confirm", env=env),
            workspace.terminal(*write, env={**env, "CI": "true"}),
            workspace.ok(*write, env=env),
        ):
            assert (run.code, "Type ledger" in run.out) == (0, False)
        released = workspace.terminal("db.release", "--remote", typed="no\n", env=env)
        assert "Rehearsed on a copy" in released.out
        assert (released.code, tables(workspace, remote)) == (1, [])


def test_a_pull_over_local_rows_is_asked_about(workspace: Workspace, remote: Path) -> None:
    """The local ledger's name is wanted where rows would be replaced, and not where there are none."""
    with served(workspace, remote) as env:
        first = workspace.terminal("db.pull", env=env)
        assert (first.code, "Type " in first.out) == (0, False)
        second = workspace.terminal("db.pull", typed="no\n", env=env)
        assert "by D1 database ledger." in second.out
        assert second.code == 2
        assert workspace.terminal("db.pull", "--confirm", env=env).code == 0
