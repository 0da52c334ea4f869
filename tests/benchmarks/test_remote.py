"""What the tasks cost on a remote ledger: requests, bytes, memory, and time beside wrangler's.

Everything is measured against the local D1 API in the same run, so that the ratios hold on any machine.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from hoox_tasks import backups, ledger, migrations, seeding
from hoox_tasks.config.settings import bundled
from hoox_tasks.d1 import D1Client
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.migrations import Migrations
from hoox_tasks.server import Api, create_app
from tests.support import npm
from tests.support.d1_api import ACCOUNT, BASE, DATABASE, listening
from tests.support.programs import program
from tests.support.workspace import Workspace

HISTORY = "d1_migrations"
TOKEN = "a-token-of-some-length"
ROWS = 100_000
ROUNDS = 3


class Weighing(httpx.BaseTransport):
    """Passes requests on, and adds up how many there are and what they and their answers weigh."""

    def __init__(self, app: Api) -> None:
        self._inner = httpx.WSGITransport(app)
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.requests = self.sent = self.received = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        content = response.read()
        self.requests += 1
        self.sent += len(request.read())
        self.received += len(content)
        return httpx.Response(response.status_code, headers=response.headers, content=content)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Api]:
    with closing(create_app(tmp_path / "l.sqlite", name="ledger", database_id=DATABASE, token=TOKEN)) as app:
        yield app


def test_requests_and_bytes(app: Api, tmp_path: Path) -> None:
    """Every task stays within its requests, and sends little more than what it is about."""
    ours = migrations.discover(bundled("migrations"))
    text = sum(len(migration.text) for migration in ours)
    wire = Weighing(app)
    client = D1Client(ACCOUNT, TOKEN, database_id=DATABASE, base_url=BASE, transport=wire)
    demo = seeding.load_scenario("demo", [bundled("fixtures")])
    measured: dict[str, tuple[int, int, int]] = {}
    with closing(RemoteDatabase(client, "ledger")) as database:
        tasks: dict[str, tuple[int, Callable[[], object]]] = {
            "migrate (2 pending)": (5, lambda: Migrations(ours).apply(database)),
            "migrate (nothing pending)": (1, lambda: Migrations(ours).apply(database)),
            "status": (1, lambda: Migrations(ours).status(database)),
            "apply's notes": (2, lambda: ledger.audit(database, HISTORY)),
            "seed (demo)": (5, lambda: ledger.seed(database, demo)),
            "list": (2, lambda: ledger.list_tables(database, HISTORY)),
            "query (five trades)": (2, lambda: list(database.query("SELECT * FROM trades LIMIT 5"))),
            "schema": (1, database.schema),
            "export": (
                8,
                lambda: backups.export(database, tmp_path / "export.sql", migrations_table="d1_migrations"),
            ),
            "reset (without its export)": (3, lambda: ledger.reset(database, Migrations(ours))),
        }
        for name, (most, run) in tasks.items():
            wire.clear()
            run()
            measured[name] = (wire.requests, wire.sent, wire.received)
            assert wire.requests <= most
    print()
    for name, (requests, sent, received) in measured.items():
        print(f"{name:28} {requests} requests, {sent:>9,} bytes sent, {received:>9,} received")
    assert measured["migrate (2 pending)"][1] < 4 * text + 10_000
    assert measured["status"][1] < 2_000
    assert measured["export"][2] < 3 * (tmp_path / "export.sql").stat().st_size


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A ledger of 100,000 trades."""
    path = tmp_path / "large.sqlite"
    with closing(sqlite3.connect(path)) as file:
        for migration in migrations.discover(bundled("migrations")):
            file.executescript(migration.text)
        file.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO trades (id, signal_id, timestamp, exchange, symbol, action, quantity, price,"
            " leverage, status, order_id) SELECT 't' || i, 's' || i, 1767225600 + i, 'bybit', 'BTCUSDT',"
            " 'LONG', 0.001 * i, 90000.5 + i, 3, 'EXECUTED', 'o' || i FROM n",
            [ROWS],
        )
        file.commit()
    return path


def place(tmp_path: Path, base_url: str) -> tuple[Workspace, dict[str, str]]:
    workspace = Workspace(tmp_path / "work", tmp_path / "home")
    binding = {"binding": "DB", "database_name": "ledger", "database_id": DATABASE}
    config = {"name": "worker", "compatibility_date": "2026-01-01", "d1_databases": [binding]}
    (workspace.root / "wrangler.jsonc").write_text(json.dumps(config))
    env = {
        "CLOUDFLARE_API_BASE_URL": base_url,
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "CLOUDFLARE_API_TOKEN": TOKEN,
    }
    return workspace, env


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_large_result_takes_little_memory(large: Path, tmp_path: Path) -> None:
    """100,000 rows of 16 columns pass through in less than 60 MB more than one row takes."""
    with (
        closing(create_app(large, name="ledger", database_id=DATABASE, token=TOKEN)) as app,
        listening(app) as base_url,
    ):
        workspace, more = place(tmp_path, base_url)
        env = workspace.environment(more)
        peaks = {}
        for rows in (1, ROWS):
            query = ["db.query", f"SELECT * FROM trades LIMIT {rows}", "--remote", "--format", "csv"]
            begin = time.perf_counter()
            with (tmp_path / "out.csv").open("wb") as file:
                done = subprocess.run(
                    [*program("inv_peak"), *query],
                    cwd=workspace.root,
                    env=env,
                    stdout=file,
                    stderr=subprocess.PIPE,
                    check=True,
                )
            seconds = time.perf_counter() - begin
            peaks[rows] = int(done.stderr.split()[-1]) * 1024
        size = (tmp_path / "out.csv").stat().st_size
        lines = (tmp_path / "out.csv").read_bytes().count(b"\n")
    little, much = peaks[1], peaks[ROWS]
    print(
        f"\n{ROWS:,} rows, {size / 1e6:.1f} MB of csv: {seconds:.1f} s, peak {much / 1e6:.0f} MB,"
        f" with one row {little / 1e6:.0f} MB"
    )
    assert lines == ROWS + 1
    assert much - little < 60e6


def test_a_query_beside_wranglers(large: Path, tmp_path: Path) -> None:
    """A query of five trades takes at most half of the time of `wrangler d1 execute --remote`."""
    wrangler = npm.Wrangler(npm.install(), tmp_path / "logs")
    statement = "SELECT * FROM trades ORDER BY created_at DESC LIMIT 5"
    with (
        closing(create_app(large, name="ledger", database_id=DATABASE, token=TOKEN)) as app,
        listening(app) as base_url,
    ):
        workspace, env = place(tmp_path, base_url)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            shown = workspace.ok("db.query", statement, "--remote", "--json", env=env).json
            ours.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            done = wrangler(
                "d1", "execute", "ledger", "--remote", "--json", "--command", statement,
                cwd=workspace.root, env=env,
            )  # fmt: skip
            theirs.append(time.perf_counter() - begin)
            assert json.loads(done.stdout)[0]["results"] == shown
    print(f"\nours {min(ours):.2f} s, wrangler {min(theirs):.2f} s, ratio {min(ours) / min(theirs):.2f}")
    assert min(ours) <= 0.5 * min(theirs)
