"""What is misspelt is answered with what may have been meant, in words that run as they are printed."""

from __future__ import annotations

import json

import pytest

from hoox_tasks.console import terminal
from hoox_tasks.suggestions import suggestion
from tests.support.in_process import QuickWorkspace
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
def test_tasks_and_flags(quick: QuickWorkspace, command: list[str], says: str) -> None:
    """A misspelt flag is never taken for an argument, whatever comes behind it."""
    assert says in quick.inv(*command, code=2).err


def test_names_in_a_ledger(quick_seeded: QuickWorkspace) -> None:
    """Tables and columns of a query, by the ledger's own schema."""
    assert "Did you mean price?" in quick_seeded.refused("db.query", "SELECT prise FROM trades")
    assert "Did you mean trades?" in quick_seeded.refused("db.query", "SELECT 1 FROM trade")
    run = quick_seeded.inv("db.query", "INSERT INTO trades (tmestamp) VALUES (1)", "--write", code=1)
    assert "It changed nothing. Did you mean timestamp?" in run.err
    assert "Did you mean trades?" in quick_seeded.refused("db.export", "--table", "trade")


def test_names_in_a_configuration(quick: QuickWorkspace) -> None:
    """Scenarios, environments, databases, settings."""
    binding = {"binding": "DB", "database_name": "ledger"}
    config = {"name": "worker", "d1_databases": [binding], "env": {"production": {"d1_databases": [binding]}}}
    (quick.root / "wrangler.json").write_text(json.dumps(config))
    assert "Did you mean production?" in quick.refused("db.list", "--env", "prodution")
    assert "Did you mean ledger?" in quick.refused("db.list", "--database", "legder")
    assert "Did you mean quiet?" in quick.refused("db.apply", "--scenario", "quite")
    (quick.root / "invoke.yaml").write_text("hoox:\n  migratons: sql\n")
    assert "Did you mean migrations?" in quick.refused("db.list")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["db", "lst"], "Did you mean `hoox db list`?"),
        (["db", "migrate", "statsu"], "Did you mean `hoox db migrate status`?"),
        (["db", "query", "--formt", "csv", "SELECT 1"], "Did you mean --format?"),
    ],
)
def test_hoox_advises_hoox(
    quick: QuickWorkspace, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    """The other command words its advice with spaces, and exits with 2."""
    monkeypatch.setattr(terminal, "_program", "hoox")
    assert says in quick.refused(*words)


def test_inv_itself_says_it(workspace: Workspace) -> None:
    """Invoke's own program has the same parser."""
    run = workspace.inv("db.query", "--formt", "csv", "SELECT 1", code=1)
    assert run.err == "No idea what '--formt' is! Did you mean --format?\n"


def test_what_is_nothing_like_it_is_not_suggested() -> None:
    """A suggestion is near, or there is none; names are told apart by case only where they are shown."""
    assert suggestion("xyz", ["trades", "balances"]) == ""
    assert suggestion("TRADE", ["Trades", "balances"]) == "Did you mean Trades?"
    assert suggestion("x", []) == ""
