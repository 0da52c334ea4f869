"""`inv db.pull`: production's rows in the local ledger that `wrangler dev` opens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks import server
from hoox_tasks.database.local.database import LocalDatabase
from tests.support import npm
from tests.support.d1_api import ACCOUNT, DATABASE, listening

QUERY = "SELECT id, price, timestamp FROM trades ORDER BY id"
CONFIG = {
    "name": "worker",
    "compatibility_date": "2025-01-01",
    "d1_databases": [{"binding": "DB", "database_name": "hoox", "database_id": DATABASE}],
}


class Workspace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = npm.quiet_environment()
        (folder / "wrangler.json").write_text(json.dumps(CONFIG))

    def hoox(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / "hoox", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def local(self) -> Any:
        return json.loads(self.hoox("db", "query", QUERY, "--json").stdout)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose remote ledger is a served file with a month of demo trades."""
    workspace = Workspace(tmp_path)
    production = tmp_path / "production.sqlite"
    done = workspace.hoox("db", "apply", f"--path={production}")
    assert done.returncode == 0, done.stderr
    app = server.create_app(production, name="hoox", database_id=DATABASE, token="t")
    with closing(app), listening(app) as url:
        workspace.environment |= {
            "CLOUDFLARE_API_BASE_URL": url,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": "t",
        }
        yield workspace


def production_rows(workspace: Workspace) -> list[dict[str, Any]]:
    with closing(LocalDatabase(workspace.folder / "production.sqlite")) as ledger:
        result = ledger.query(QUERY)
        return [dict(zip(result.columns, row, strict=True)) for row in result]


def test_wrangler_sees_what_was_pulled(workspace: Workspace, wrangler: npm.Wrangler) -> None:
    """After a pull `wrangler d1 execute --local` gives production's rows, and knows its migrations."""
    before = ["CREATE TABLE mine (a)", "INSERT INTO mine VALUES (1)"]
    wrangler("d1", "execute", "hoox", "--local", f"--command={'; '.join(before)}", cwd=workspace.folder)
    done = workspace.hoox("db", "pull", "--json")
    assert done.returncode == 0, done.stderr
    shown = wrangler("d1", "execute", "hoox", "--local", "--json", f"--command={QUERY}", cwd=workspace.folder)
    assert json.loads(shown.stdout)[0]["results"] == production_rows(workspace)
    listed = wrangler(
        "d1",
        "execute",
        "hoox",
        "--local",
        "--json",
        "--command=SELECT name FROM d1_migrations",
        cwd=workspace.folder,
    )
    assert {"name": json.loads(done.stdout)["version"]} in json.loads(listed.stdout)[0]["results"]


def test_a_pull_is_undone(workspace: Workspace) -> None:
    """What was in the local ledger before is a recovery point."""
    assert workspace.hoox("db", "apply", "--scenario=quiet").returncode == 0
    before = workspace.local()
    done = workspace.hoox("db", "pull")
    assert done.returncode == 0, done.stderr
    assert workspace.local() == production_rows(workspace)
    assert workspace.local() != before
    assert workspace.hoox("db", "undo", "--confirm").returncode == 0
    assert workspace.local() == before


def test_a_pull_that_fails_leaves_the_local_ledger(workspace: Workspace) -> None:
    """Where production cannot be read, or is ahead of the files here, nothing changes here."""
    assert workspace.hoox("db", "apply", "--scenario=quiet").returncode == 0
    before = workspace.local()
    with closing(LocalDatabase(workspace.folder / "production.sqlite")) as ledger:
        ledger.connection.execute("INSERT INTO d1_migrations (name) VALUES ('0009_ahead.sql')")
    done = workspace.hoox("db", "pull")
    assert done.returncode == 2
    assert "0009_ahead.sql" in done.stderr
    workspace.environment["CLOUDFLARE_API_TOKEN"] = "wrong"
    assert workspace.hoox("db", "pull").returncode in {1, 2}
    assert workspace.local() == before


def test_nothing_is_pulled_from_an_empty_ledger(workspace: Workspace) -> None:
    """A remote ledger without tables is refused: whoever meant another database keeps his rows."""
    assert workspace.hoox("db", "apply", "--scenario=quiet").returncode == 0
    before, points = workspace.local(), workspace.hoox("db", "history", "--json").stdout
    for query in (
        "PRAGMA foreign_keys = OFF; DROP TABLE trades; DROP TABLE positions; DROP TABLE balances;"
        " DROP TABLE trade_signals; DROP TABLE system_logs",
        "DROP TABLE d1_migrations; DROP TABLE hoox_checksums",
    ):
        with closing(LocalDatabase(workspace.folder / "production.sqlite")) as ledger:
            ledger.connection.executescript(query)
        done = workspace.hoox("db", "pull")
        assert done.returncode == 2
        assert "D1 database hoox is empty" in done.stderr
        assert "hoox db migrate --remote" in done.stderr
    assert workspace.local() == before
    assert workspace.hoox("db", "history", "--json").stdout == points


def test_a_dry_pull_reads_nothing(workspace: Workspace) -> None:
    """With --dry it says what it would do, and makes no local ledger."""
    done = workspace.hoox("--dry", "db", "pull")
    assert done.returncode == 0, done.stderr
    assert not (workspace.folder / ".wrangler").exists()
