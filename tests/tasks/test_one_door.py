"""Every task that changes a ledger goes through one door: a recovery point before, and nothing with --dry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks import ns, server
from hoox_tasks.config.settings import bundled
from tests.support.d1_api import ACCOUNT, DATABASE, listening
from tests.support.workspace import Workspace

CHANGING = {
    "db.apply": ["--no-seed"],
    "db.insert": ["balances", "rows.csv"],
    "db.migrate": [],
    "db.migrate.adopt": ["--to", "0002"],
    "db.migrate.mark": ["0003_more.sql"],
    "db.migrate.rollback": ["--confirm"],
    "db.query": ["DELETE FROM balances", "--write"],
    "db.shell": ["--write"],
    "db.seed": [],
    "db.reset": ["--confirm"],
    "db.restore": ["backup.sql", "--confirm"],
    "db.undo": ["--confirm"],
    "db.release": [],
    "db.pull": [],
}
"""The tasks that change a ledger, with arguments by which they do."""

CAUSES = {"db.query": "db.query --write", "db.shell": "db.shell --write", "db.undo": "undo to 1"}
"""What their recovery points call them, where that is not the name."""

OTHERS = {
    "db.list": [],
    "db.info": [],
    "db.diff": ["backup.sql", "backup.sql"],
    "db.schema": [],
    "db.scenarios": [],
    "db.export": [],
    "db.verify": ["backup.sql"],
    "db.backups": ["--prune", "--keep", "1"],
    "db.check": [],
    "db.history": [],
    "db.serve": ["--port", "0"],
    "db.browse": ["--port", "0"],
    "db.report": [],
    "db.migrate.status": [],
    "db.migrate.new": ["more"],
}
"""All other tasks: they change no ledger, but some write files."""

TYPED = {"db.shell": "DELETE FROM balances;\n"}


@pytest.fixture
def remote(tmp_path: Path, applied: Path) -> Iterator[dict[str, str]]:
    """A remote ledger for `db.pull`: the variables that lead to it."""
    path = tmp_path / "remote.sqlite"
    shutil.copy(applied, path)
    app = server.create_app(path, name="ledger", database_id=DATABASE, token="t")
    with closing(app), listening(app) as url:
        yield {
            "CLOUDFLARE_API_BASE_URL": url,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": "t",
            "INVOKE_HOOX_DATABASE_ID": DATABASE,
        }


@pytest.fixture
def ready(seeded: Workspace) -> Workspace:
    """A workspace with trades, a pending migration, a backup, and a recovery point to go back to."""
    seeded.ok("db.export", "--output", "backup.sql")
    shutil.copytree(bundled("migrations"), seeded.root / "migrations")
    seeded.migration("0003_more.sql", "CREATE TABLE more (id INTEGER PRIMARY KEY);")
    seeded.ok("db.query", "DELETE FROM balances WHERE rowid = 1", "--write")
    return seeded


def test_no_task_is_forgotten() -> None:
    """Each task of the runbook is in one of the two lists, so that a new one has to be put there."""
    typed = {aliases[0] if aliases else name for name, aliases in ns.task_names.items()}
    assert sorted({**CHANGING, **OTHERS}) == sorted(typed)
    assert not set(CHANGING) & set(OTHERS)


@pytest.mark.parametrize("task", CHANGING)
def test_a_task_that_changes_a_ledger_leaves_a_recovery_point(
    ready: Workspace, remote: dict[str, str], task: str
) -> None:
    """Its first change comes after a point of the moment before, which is called after the task."""
    prepare(ready, task)
    before = history(ready)
    tables = {name: ready.sql(f"SELECT count(*) FROM {name}")[0][0] for name in names(ready)}
    ready.ok(task, *CHANGING[task], stdin=TYPED.get(task), env=remote)
    (point,) = [point for point in history(ready) if point not in before]
    assert point["cause"] == CAUSES.get(task, task)
    assert {name: rows for name, rows in point["tables"].items() if name in tables} == tables
    ready.ok("db.undo", "--to", point["id"], "--confirm")
    assert {name: ready.sql(f"SELECT count(*) FROM {name}")[0][0] for name in names(ready)} == tables


@pytest.mark.parametrize("task", [*CHANGING, *OTHERS])
def test_dry_never_writes(ready: Workspace, remote: dict[str, str], task: str) -> None:
    """`inv --dry` leaves every file of the workspace and the home as it is, whatever the task."""
    prepare(ready, task)
    before = ready.files(), home(ready)
    # The shell refuses what would change something, and a check finds the pending migration.
    code = {"db.shell": 2, "db.check": 1}.get(task, 0)
    arguments = {**CHANGING, **OTHERS}[task]
    ready.inv("--dry", task, *arguments, stdin=TYPED.get(task), env=remote, code=code)
    assert (ready.files(), home(ready)) == before


def test_what_changes_nothing_leaves_no_recovery_point(ready: Workspace) -> None:
    """Ten writes without effect do not push out the point before the last change."""
    before = history(ready)
    for statement in (
        "SELECT 1",
        "DELETE FROM balances WHERE rowid = 1",
        "UPDATE trades SET fee = 1 WHERE 0",
    ):
        ready.ok("db.query", statement, "--write")
    ready.ok("db.migrate", "--to", "0002")
    assert history(ready) == before


def prepare(workspace: Workspace, task: str) -> None:
    """Let a task have something to do."""
    if task == "db.seed":
        workspace.ok("db.reset", "--confirm")
    if task == "db.migrate.rollback":
        workspace.ok("db.migrate")
    if task == "db.migrate.mark":
        workspace.sql("CREATE TABLE more (id INTEGER PRIMARY KEY)")
    if task == "db.migrate.adopt":
        for table in ("d1_migrations", "hoox_checksums"):
            workspace.sql(f"DROP TABLE {table}")
    if task == "db.insert":
        header, row = workspace.ok(
            "db.query", "SELECT * FROM balances LIMIT 1", "--format", "csv"
        ).out.splitlines()
        place = header.split(",").index("id")
        cells = row.split(",")
        cells[place] = "another"
        (workspace.root / "rows.csv").write_text(f"{header}\n{','.join(cells)}\n")


def history(workspace: Workspace) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = workspace.ok("db.history", "--json").json["points"]
    return points


def names(workspace: Workspace) -> list[str]:
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [str(row[0]) for row in workspace.sql(query)]


def home(workspace: Workspace) -> list[str]:
    return sorted(str(path) for path in workspace.home.rglob("*"))


def test_the_variables_of_the_remote_ledger_are_heeded(ready: Workspace, remote: dict[str, str]) -> None:
    """Else `db.pull` would say that it knows no database: the tests above would prove nothing of it."""
    assert json.loads(ready.ok("db.list", "--remote", "--json", env=remote).out)["tables"]
