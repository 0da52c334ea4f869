"""What is misspelt is answered with what may have been meant, in words that run as they are printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from invoke.exceptions import Exit

from hoox_tasks.console import terminal
from hoox_tasks.program import HooxProgram
from hoox_tasks.suggestions import suggestion
from hoox_tasks.tasks import ns
from tests.support.workspace import Workspace


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["db.query", "--formt", "csv", "SELECT 1"], "No idea what '--formt' is! Did you mean --format?"),
        (["db.query", "SELECT 1", "--remot"], "No idea what '--remot' is! Did you mean --remote?"),
        (["db.lst"], "No idea what 'db.lst' is! Did you mean `inv db.list`?"),
        (["db.migrate.statsu"], "Did you mean `inv db.migrate.status`?"),
    ],
)
def test_tasks_and_flags(workspace: Workspace, command: list[str], says: str) -> None:
    """A misspelt flag is never taken for an argument, whatever comes behind it."""
    assert says in workspace.inv(*command, code=1).err


def test_names_in_a_ledger(seeded: Workspace) -> None:
    """Tables and columns of a query, by the ledger's own schema."""
    assert "Did you mean price?" in seeded.refused("db.query", "SELECT prise FROM trades")
    assert "Did you mean trades?" in seeded.refused("db.query", "SELECT 1 FROM trade")
    run = seeded.inv("db.query", "INSERT INTO trades (tmestamp) VALUES (1)", "--write", code=1)
    assert "It changed nothing. Did you mean timestamp?" in run.err
    assert "Did you mean trades?" in seeded.refused("db.export", "--table", "trade")


def test_names_in_a_configuration(workspace: Workspace) -> None:
    """Scenarios, environments, databases, settings."""
    binding = {"binding": "DB", "database_name": "ledger"}
    config = {"name": "worker", "d1_databases": [binding], "env": {"production": {"d1_databases": [binding]}}}
    (workspace.root / "wrangler.json").write_text(json.dumps(config))
    assert "Did you mean production?" in workspace.refused("db.list", "--env", "prodution")
    assert "Did you mean ledger?" in workspace.refused("db.list", "--database", "legder")
    assert "Did you mean quiet?" in workspace.refused("db.apply", "--scenario", "quite")
    (workspace.root / "invoke.yaml").write_text("hoox:\n  migratons: sql\n")
    assert "Did you mean migrations?" in workspace.refused("db.list")


@pytest.fixture
def hoox(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The `hoox` command, in this process; gives what it exits with."""
    monkeypatch.setattr(terminal, "_program", "hoox")

    def run(*words: str) -> Exit:
        program = HooxProgram(version="1", namespace=ns, name="hoox", binary="hoox", binary_names=["hoox"])
        program.create_config()
        with pytest.raises(Exit) as ended:
            program.parse_core(["hoox", *words])
            program.parse_collection()
            program.parse_tasks()
        return ended.value

    return run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["db", "lst"], "Did you mean `hoox db list`?"),
        (["db", "migrate", "statsu"], "Did you mean `hoox db migrate status`?"),
        (["db", "query", "--formt", "csv", "SELECT 1"], "Did you mean --format?"),
    ],
)
def test_hoox_advises_hoox(hoox: Any, words: list[str], says: str) -> None:
    """The other command words its advice with spaces, and exits with 2."""
    ended = hoox(*words)
    assert says in ended.message
    assert ended.code == 2


def test_what_is_nothing_like_it_is_not_suggested() -> None:
    """A suggestion is near, or there is none; names are told apart by case only where they are shown."""
    assert suggestion("xyz", ["trades", "balances"]) == ""
    assert suggestion("TRADE", ["Trades", "balances"]) == "Did you mean Trades?"
    assert suggestion("x", []) == ""
