"""Tasks that change a local ledger beside a process that keeps writing: no acknowledged row is lost."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks import server
from hoox_tasks.config.settings import bundled
from tests.support.d1_api import ACCOUNT, DATABASE, listening
from tests.support.sqlite_files import ask, execute
from tests.support.workspace import Workspace
from tests.support.writers import writing

RUNS = int(os.environ.get("HOOX_WRITER_RUNS", "1"))
"""How often each task is tried."""
INSERT = (
    "INSERT INTO trades (id, timestamp, exchange, symbol, action, quantity, price, status)"
    " VALUES ('w' || ?1, 1700000000 + ?1, 'bybit', 'BTCUSDT', 'LONG', 0.1, 60000.5, 'EXECUTED')"
)
NUMBERS = "SELECT CAST(substr(id, 2) AS INTEGER) FROM trades WHERE id LIKE 'w%'"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with a ledger of two trades, a backup of it, and a recovery point."""
    workspace = Workspace(tmp_path / "work", tmp_path / "home")
    workspace.ok("db.apply", "--no-seed")
    execute(workspace.ledger, INSERT.replace("'w' ||", "'old' ||").replace("?1", "1"))
    workspace.ok("db.export", "--output", "backup.sql")
    workspace.ok("db.query", INSERT.replace("'w' ||", "'old' ||").replace("?1", "2"), "--write")
    return workspace


@pytest.fixture
def production(tmp_path: Path, workspace: Workspace) -> Iterator[dict[str, str]]:
    """A remote ledger with the same migrations; gives the variables that lead to it."""
    path = tmp_path / "production.sqlite"
    workspace.ok("db.apply", "--no-seed", "--path", str(path))
    app = server.create_app(path, name="hoox", database_id=DATABASE, token="t")
    with closing(app), listening(app) as url:
        yield {
            "CLOUDFLARE_API_BASE_URL": url,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": "t",
            "INVOKE_HOOX_DATABASE_ID": DATABASE,
        }


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize(
    "task",
    [
        ["db.reset", "--confirm"],
        ["db.restore", "backup.sql", "--confirm"],
        ["db.restore", "backup.sql", "--tables", "trades", "--confirm"],
        ["db.undo", "--confirm"],
        ["db.query", "DELETE FROM trades", "--write"],
        ["db.pull", "--confirm"],
    ],
    ids=["reset", "restore", "restore trades", "undo", "query", "pull"],
)
def test_no_acknowledged_row_is_nowhere(
    workspace: Workspace, task: list[str], seed: int, request: pytest.FixtureRequest
) -> None:
    """Every row that a worker was told is committed is in the task's recovery point, or in the ledger."""
    env = request.getfixturevalue("production") if task[0] == "db.pull" else None
    folder = workspace.root / ".hoox" / "snapshots"
    before = set(folder.glob("*.sqlite"))
    chance = random.Random(seed)
    with writing(workspace.ledger, INSERT) as worker:
        worker.wait_for_row()
        time.sleep(chance.uniform(0, 0.3))
        workspace.ok(*task, env=env)
        time.sleep(chance.uniform(0, 0.3))
    (point,) = set(folder.glob("*.sqlite")) - before
    in_point, in_ledger = ([row[0] for row in ask(file, NUMBERS)] for file in (point, workspace.ledger))
    assert worker.acknowledged <= {*in_point, *in_ledger}
    assert not set(in_point) & set(in_ledger)
    print(f"{task[0]}: {len(worker.acknowledged)} rows acknowledged, {len(in_point)} in the point")
    if task[0] == "db.reset":
        (backup,) = (workspace.root / "backups").glob("*.sql")
        held = backup.read_text("utf-8")
        assert all(f"'w{number}'" in held for number in in_point)
        assert held.count("'EXECUTED'") == len(in_point) + 2


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize("task", ["export", "release"])
def test_a_backup_of_a_ledger_at_work_is_one_moment(workspace: Workspace, task: str, seed: int) -> None:
    """The backup has each row that was acknowledged before its last one; so has a release's recovery point."""
    folder = workspace.root / ".hoox" / "snapshots"
    before = set(folder.glob("*.sqlite"))
    shutil.copytree(bundled("migrations"), workspace.root / "migrations")
    workspace.migration("0003_more.sql", "CREATE TABLE more (id INTEGER PRIMARY KEY);")
    chance = random.Random(seed)
    with writing(workspace.ledger, INSERT) as worker:
        worker.wait_for_row()
        time.sleep(chance.uniform(0, 0.3))
        worker.wait_for_row()
        first = max(worker.acknowledged)
        workspace.ok(f"db.{task}")
        time.sleep(chance.uniform(0, 0.3))
    in_ledger = {row[0] for row in ask(workspace.ledger, NUMBERS)}
    assert worker.acknowledged <= in_ledger
    (backup,) = (file for file in (workspace.root / "backups").iterdir() if file.suffix in {".sql", ".gz"})
    text = (gzip.decompress(backup.read_bytes()) if backup.suffix == ".gz" else backup.read_bytes()).decode()
    moments = [{int(number) for number in re.findall(r"'w(\d+)'", text)}]
    if task == "release":
        (point,) = set(folder.glob("*.sqlite")) - before
        moments.append({row[0] for row in ask(point, NUMBERS)})
    print(f"db.{task}: {len(worker.acknowledged)} rows acknowledged, {len(moments[0])} in the backup")
    for held in moments:
        assert max(held) >= first
        assert held == {number for number in in_ledger if number <= max(held)}
