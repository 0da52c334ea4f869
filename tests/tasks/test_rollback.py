"""`inv db.migrate.rollback` and the drafts of down files, as a user types them."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoox_tasks.server import Api
from tests.support.d1_api import ACCOUNT, DATABASE, listening
from tests.support.workspace import Run, Workspace

BASE = "CREATE TABLE trades (id TEXT PRIMARY KEY, price REAL);\nINSERT INTO trades VALUES ('t1', 1.5), ('t2', 2.5);\n"
ADDED = (
    "ALTER TABLE trades ADD COLUMN venue TEXT;\nCREATE TABLE fills (id INTEGER PRIMARY KEY, trade TEXT);\n"
)


@pytest.fixture
def migrated(workspace: Workspace) -> Workspace:
    """A workspace with two migrations of its own, both applied."""
    workspace.migration("0001_base.sql", BASE)
    workspace.migration("0002_added.sql", ADDED)
    workspace.ok("db.apply", "--no-seed")
    return workspace


@pytest.fixture
def served(app: Api) -> Iterator[dict[str, str]]:
    """The variables that lead to a remote ledger."""
    with listening(app) as url:
        yield {
            "CLOUDFLARE_API_BASE_URL": url,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": "right",
            "INVOKE_HOOX_DATABASE_ID": DATABASE,
        }


def test_the_way_of_a_rollback(migrated: Workspace, served: dict[str, str]) -> None:
    """Asked for, refused for what was written since, consented to: here on D1."""

    def on(*arguments: str) -> Run:
        return migrated.inv(*arguments, "--remote", env=served)

    on("db.migrate")
    shown = on("--dry", "db.migrate.rollback", "--json").json
    assert shown["rolled_back"] == ["0002_added.sql"]
    assert shown["statements"] == ["ALTER TABLE trades DROP COLUMN venue", "DROP TABLE fills"]
    asked = on("db.migrate.rollback")
    assert (asked.code, "Nobody is here to confirm that. Give --confirm" in asked.err) == (2, True)
    on("db.query", "INSERT INTO trades VALUES ('t3', 3.5, 'mexc')", "--write")
    refused = on("db.migrate.rollback", "--confirm")
    assert (refused.code, refused.out) == (2, "")
    assert "trades.venue: 1 row dropped. If that is meant, give --allow-data-loss=trades." in refused.err
    done = on("db.migrate.rollback", "--confirm", "--json", "--allow-data-loss=trades").json
    effect = {"table": "trades", "column": "venue", "what": "dropped", "rows": 1}
    assert (done["rolled_back"], done["version"]) == (["0002_added.sql"], "0001_base.sql")
    assert (done["effects"], bool(done["recovery_point"])) == ([effect], True)
    found = on("db.query", "SELECT * FROM trades ORDER BY id", "--format", "csv")
    assert found.out.split() == ["id,price", "t1,1.5", "t2,2.5", "t3,3.5"]
    assert "0002_added.sql  pending" in on("db.migrate.status").out


def test_a_rehearsal_ends_on_the_copy(migrated: Workspace) -> None:
    """With --rehearse --check the copy shows what becomes of the tables, and the ledger is not touched."""
    before = migrated.files()
    run = migrated.ok("db.migrate.rollback", "--rehearse", "--check")
    assert re.search(r"^fills +0 +- +dropped", run.out, re.M)
    assert migrated.files() == before
    assert "--check only goes with --rehearse" in migrated.refused("db.migrate.rollback", "--check")
    migrated.ok("db.query", "INSERT INTO fills (trade) VALUES ('t1')", "--write")
    said = migrated.refused("db.migrate.rollback", "--rehearse", "--confirm")
    assert "On a copy of .hoox/local.sqlite, which was not touched itself:" in said
    assert "fills: 1 row gone" in said


def test_what_cannot_be_derived_is_written_by_hand(migrated: Workspace) -> None:
    """The refusal names the command that writes a draft; completed, it takes the migration back."""
    migrated.migration("0003_double.sql", "UPDATE trades SET id = id || '!';")
    migrated.ok("db.migrate")
    said = migrated.refused("db.migrate.rollback", "--confirm")
    assert "it changes trades.id" in said
    assert "`inv db.migrate.new --down 0003_double.sql`" in said
    made = migrated.ok("db.migrate.new", "--down", "0003_double.sql", "--json").json
    assert "is a draft" in migrated.refused("db.migrate.rollback", "--confirm")
    down = Path(made["down"])
    down.write_text("UPDATE trades SET id = rtrim(id, '!');\n")
    consent = "`-- hoox: allow-value-changes trades.id`"
    assert f"write {consent} into its down file" in migrated.refused("db.migrate.rollback", "--confirm")
    down.write_text(f"{consent.strip('`')}\n{down.read_text()}")
    out = migrated.ok("db.migrate.rollback", "--confirm").out
    assert "trades.id: 2 rows changed" in out
    assert "Pending again, until the file is corrected or removed: 0003_double.sql" in out
    assert migrated.sql("SELECT id FROM trades") == [("t1",), ("t2",)]
    both = migrated.ok("db.migrate.new", "add fees", "--down", "--json").json
    assert [Path(both[each]).name for each in ("path", "down")] == ["0004_add_fees.sql"] * 2
    assert "There is no migration 9" in migrated.refused("db.migrate.new", "9", "--down")


def test_a_killed_rollback_leaves_all_or_nothing(migrated: Workspace) -> None:
    """Killed while it runs, it has happened whole or not at all, and can be run again."""
    migrated.sql(
        "INSERT INTO trades (id, price) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 30000) SELECT 'n' || i, i FROM n"
    )
    migrated.sql("INSERT INTO fills (trade) SELECT id FROM trades")
    for delay in (0.25, 0.5):
        with migrated.start("db.migrate.rollback", "--confirm", "--allow-data-loss") as process:
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        applied = migrated.sql("SELECT count(*) FROM d1_migrations") == [(2,)]
        columns = len(migrated.sql("SELECT 1 FROM pragma_table_info('trades')"))
        assert (columns == 3) == applied
        assert migrated.sql("SELECT count(*) FROM trades") == [(30002,)]
    if applied:
        migrated.ok("db.migrate.rollback", "--confirm", "--allow-data-loss")
    migrated.ok("db.migrate")
    migrated.ok("db.check")
