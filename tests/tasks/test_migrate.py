"""`inv db.migrate` and its kin, as a user types them."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.signals import SIGNALS, ends, opened, wait_for
from tests.support.workspace import Workspace

OURS = ["0001_live_ledger.sql", "0002_runbook_columns.sql"]


@pytest.fixture
def own(workspace: Workspace) -> Workspace:
    """A workspace with a migrations folder of its own and an empty ledger that has them all."""
    for name in OURS:
        workspace.migration(name, (ROOT / "migrations" / name).read_bytes())
    workspace.ok("db.apply", "--no-seed")
    return workspace


def states(workspace: Workspace) -> dict[str, str]:
    found = workspace.ok("db.migrate.status", "--json").json["migrations"]
    return {one["name"]: one["state"] for one in found}


def test_pending_migrations_are_applied_in_order(own: Workspace) -> None:
    """Each is told as it is applied, the receipt counts them, and a second run has nothing to do."""
    own.migration("0004_b.sql", "INSERT INTO notes VALUES ('b')")
    own.migration("0003_a.sql", "CREATE TABLE notes (text TEXT);\r\nINSERT INTO notes VALUES ('a');")
    *lines, taken_back = own.ok("db.migrate").out.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "Applied 0003_a.sql",
        "Applied 0004_b.sql",
        "Applied 2 migrations to .hoox/local.sqlite",
    ]
    assert re.fullmatch(r"Take it back with `inv db\.undo --to \S+`\.", taken_back)
    assert own.sql("SELECT text FROM notes") == [("a",), ("b",)]
    assert own.ok("db.migrate").out.startswith("Nothing to do: nothing is pending on .hoox/local.sqlite (")


def test_to_stops_after_that_migration(own: Workspace) -> None:
    """`--to` takes a number or a name; one that is not there is refused."""
    for number in (3, 4, 5):
        own.migration(f"000{number}_x.sql", f"CREATE TABLE t{number} (id)")
    own.ok("db.migrate", "--to", "0003")
    assert list(states(own).values()) == ["applied"] * 3 + ["pending"] * 2
    own.ok("db.migrate", "--to", "0004_x")
    assert list(states(own).values()) == ["applied"] * 4 + ["pending"]
    assert "There is no migration 0009." in own.refused("db.migrate", "--to", "0009")


def test_status_lists_applied_with_when_and_pending(own: Workspace) -> None:
    """The applied ones have their time in UTC, the pending one a dash; nothing is written by looking."""
    own.migration("0003_x.sql", "CREATE TABLE x (id)")
    before = own.files()
    run = own.ok("db.migrate.status")
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    lines = run.out.splitlines()
    assert re.fullmatch(rf"0001_live_ledger\.sql +applied  {moment}", lines[2])
    assert re.fullmatch(r"0003_x\.sql +pending  -", lines[4])
    assert own.files() == before


def test_nobody_is_sent_to_what_refuses(own: Workspace) -> None:
    """While a file is gone `db.migrate` refuses, and neither `status` nor `check` names it for what is pending."""
    own.migration("0003_x.sql", "CREATE TABLE x (id)")
    own.ok("db.migrate")
    (own.root / "migrations/0003_x.sql").unlink()
    own.migration("0004_y.sql", "CREATE TABLE y (id)")
    own.refused("db.migrate")
    for said in (own.ok("db.migrate.status").err, own.inv("db.check").err):
        assert "0003_x.sql" in said
        assert "`inv db.migrate`" not in said


def test_check_tells_ci(own: Workspace) -> None:
    """`status --check` exits 0 on a ledger that is up to date, and 1 when anything is pending or wrong."""
    own.ok("db.migrate.status", "--check")
    path = own.migration("0003_x.sql", "CREATE TABLE x (id)")
    run = own.inv("db.migrate.status", "--check", code=1)
    assert "0003_x.sql is pending. Apply it with `inv db.migrate`." in run.err
    own.ok("db.migrate")
    path.write_text("CREATE TABLE x (id, more)")
    assert "0003_x.sql is edited" in own.inv("db.migrate.status", "--check", code=1).err


def test_status_of_a_ledger_without_history_writes_nothing(workspace: Workspace) -> None:
    """A ledger made by hand is looked at without getting so much as the history table."""
    workspace.ledger.parent.mkdir()
    workspace.sql("CREATE TABLE trades (id TEXT PRIMARY KEY)")
    before = workspace.files()
    assert set(states(workspace).values()) == {"pending"}
    assert workspace.files() == before


def test_every_misfit_is_listed_with_what_to_do(own: Workspace) -> None:
    """Edited, renamed, gone and out of order: migrate names them all and applies nothing."""
    for number in (4, 5, 6, 7):
        own.migration(f"000{number}_x.sql", f"CREATE TABLE t{number} (id)")
    own.ok("db.migrate")
    folder = own.root / "migrations"
    own.migration("0003_late.sql", "CREATE TABLE late (id)")
    (folder / "0004_x.sql").write_text("CREATE TABLE t4 (id, edited)")
    (folder / "0005_x.sql").rename(folder / "0008_y.sql")
    (folder / "0006_x.sql").unlink()
    assert states(own) == {
        **dict.fromkeys(OURS, "applied"),
        "0003_late.sql": "out of order",
        "0004_x.sql": "edited",
        "0008_y.sql": "renamed",
        "0006_x.sql": "missing",
        "0007_x.sql": "applied",
    }
    error = own.refused("db.migrate")
    for line in (
        "0003_late.sql is out of order. Give it the next free number",
        "0004_x.sql is edited. Restore 0004_x.sql",
        "0008_y.sql is renamed. It was applied as 0005_x.sql",
        "0006_x.sql is missing. Bring 0006_x.sql back",
    ):
        assert line in error
    own.ok("db.migrate.mark", "0004")
    own.ok("db.migrate.mark", "0008")
    own.ok("db.migrate.mark", "0006_x.sql", "--forget")
    own.ok("db.migrate", "--allow-out-of-order")
    own.ok("db.migrate.status", "--check")


def test_two_files_with_one_number_apply_and_are_warned_of(own: Workspace) -> None:
    """Two branches that both wrote 0003 are applied as wrangler does, and the status says it."""
    own.migration("0003_b.sql", "CREATE TABLE b (id)")
    own.migration("0003_a.sql", "CREATE TABLE a (id)")
    warned = own.ok("db.migrate.status").err
    assert "0003_a.sql and 0003_b.sql have one number: they apply in this order." in warned
    own.ok("db.migrate")
    assert list(states(own).values()) == ["applied"] * 4


def test_mark_records_without_running(own: Workspace) -> None:
    """A migration that was done by hand is put into the history, and its statements are not run."""
    own.migration("0003_x.sql", "CREATE TABLE x (id); INSERT INTO x VALUES (1);")
    own.sql("CREATE TABLE x (id)")
    run = own.ok("db.migrate.mark", "0003")
    assert run.out.startswith("Recorded 0003_x.sql as applied, without running it on .hoox/local.sqlite (")
    assert states(own)["0003_x.sql"] == "applied"
    assert own.sql("SELECT count(*) FROM x") == [(0,)]


def test_new_writes_the_next_numbered_file(own: Workspace) -> None:
    """The message becomes the name, the number is the next one."""
    run = own.ok("db.migrate.new", "add fills")
    assert run.out.startswith("Wrote migrations/0003_add_fills.sql (")
    assert (own.root / "migrations/0003_add_fills.sql").is_file()
    assert own.ok("db.migrate.new", "more").out.startswith("Wrote migrations/0004_more.sql (")
    assert "A migration needs a name." in own.refused("db.migrate.new", " / ")


def test_new_in_a_workspace_without_migrations_brings_ours_along(workspace: Workspace) -> None:
    """A folder of the workspace's own replaces the one that came with us, so it starts with a copy."""
    workspace.ok("db.apply", "--no-seed")
    workspace.ok("db.migrate.new", "add fills")
    names = sorted(path.name for path in (workspace.root / "migrations").iterdir())
    assert names == [*OURS, "0003_add_fills.sql"]
    assert states(workspace) == {**dict.fromkeys(OURS, "applied"), "0003_add_fills.sql": "pending"}


def test_a_failing_migration_names_file_line_and_statement(own: Workspace) -> None:
    """It leaves the ledger as it was; the ones before it stay, and are told."""
    own.migration("0003_good.sql", "CREATE TABLE good (id);")
    own.migration("0004_bad.sql", "CREATE TABLE half (id);\n\nINSERT INTO\n  nowhere VALUES (1);\n")
    run = own.inv("db.migrate", code=1)
    assert run.out.startswith("Applied 0003_good.sql (")
    assert "Migration 0004_bad.sql failed in line 4: no such table: " in run.err
    assert "      nowhere VALUES (1)\n      ^" in run.err
    assert states(own) == {
        **dict.fromkeys(OURS, "applied"),
        "0003_good.sql": "applied",
        "0004_bad.sql": "pending",
    }
    assert own.sql("SELECT name FROM sqlite_schema WHERE name IN ('good', 'half')") == [("good",)]


def test_a_migration_that_loses_rows_is_undone(own: Workspace) -> None:
    """A rebuilt parent takes its children along: the tables and counts are named, unless it is allowed."""
    own.migration(
        "0003_orders.sql",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY);"
        "CREATE TABLE fills (id INTEGER PRIMARY KEY, order_id REFERENCES orders ON DELETE CASCADE);"
        "INSERT INTO orders VALUES (1), (2); INSERT INTO fills VALUES (1, 1), (2, 1), (3, 2);",
    )
    own.ok("db.migrate")
    own.migration(
        "0004_rebuild.sql",
        "CREATE TABLE new (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO new (id) SELECT id FROM orders;"
        "DROP TABLE orders; ALTER TABLE new RENAME TO orders;",
    )
    run = own.inv("db.migrate", code=1)
    assert "fills: 3 rows gone" in run.err
    assert own.sql("SELECT count(*) FROM fills") == [(3,)]
    own.ok("db.migrate", "--allow-data-loss")
    assert own.sql("SELECT count(*) FROM fills") == [(0,)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"CREATE TABLE x (id); -- \xff", "Migration 0003_x.sql is not UTF-8 (byte 24)."),
        (b"BEGIN;\nCREATE TABLE x (id);\nCOMMIT;", "Migration 0003_x.sql says BEGIN in line 1."),
    ],
)
def test_a_migration_that_cannot_be_taken_is_refused(own: Workspace, text: bytes, says: str) -> None:
    """What is wrong with the file is said before anything runs."""
    own.migration("0003_x.sql", text)
    before = own.files()
    assert says in own.refused("db.migrate")
    assert own.files() == before


def test_a_live_ledger_without_history_is_adopted(workspace: Workspace) -> None:
    """All five tables, made by the workers, with rows: migrating loses nothing and records everything."""
    workspace.ledger.parent.mkdir()
    for statement in (ROOT / "migrations" / OURS[0]).read_text().split(";\n"):
        workspace.sql(statement)
    workspace.sql(
        "INSERT INTO trades (id, timestamp, exchange, symbol, action, status)"
        " VALUES ('real', 1, 'bybit', 'BTCUSDT', 'LONG', 'EXECUTED')"
    )
    workspace.ok("db.migrate")
    assert workspace.sql("SELECT id, exchange, fee FROM trades") == [("real", "bybit", 0.0)]
    workspace.ok("db.migrate.status", "--check")


def test_two_runs_at_once_apply_each_migration_once(own: Workspace) -> None:
    """Both end well, and between them every migration ran exactly once, in order."""
    own.migration("0003_log.sql", "CREATE TABLE log (n INTEGER)")
    for number in range(4, 14):
        own.migration(f"{number:04d}_x.sql", f"INSERT INTO log VALUES ({number})")
    runs = [own.start("db.migrate", stderr=subprocess.STDOUT) for _ in range(2)]
    printed = [run.communicate(timeout=60)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    assert own.sql("SELECT n FROM log ORDER BY rowid") == [(n,) for n in range(4, 14)]
    told = [line for text in printed for line in text.splitlines() if re.match(r"Applied 00\d\d_", line)]
    assert len(told) == 11


@SIGNALS
def test_an_interrupted_migration_leaves_nothing(own: Workspace, number: signal.Signals) -> None:
    """A signal in the middle of a long statement ends it soon, and the ledger is as before."""
    own.sql("CREATE TABLE many (n)")
    own.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " INSERT INTO many SELECT i FROM n"
    )
    own.migration(
        "0003_long.sql",
        "CREATE TABLE half (n);INSERT INTO half SELECT sum(a.n * b.n * c.n) FROM many a, many b, many c;",
    )
    with own.start("db.migrate") as process:
        wait_for(lambda: locked(own.ledger), process)
        ends(process, number)
    assert states(own)["0003_long.sql"] == "pending"
    assert own.sql("SELECT count(*) FROM sqlite_schema WHERE name = 'half'") == [(0,)]


@SIGNALS
def test_an_endless_migration_is_ended_before_it_touches_the_ledger(
    own: Workspace, number: signal.Signals
) -> None:
    """Each migration is tried on an empty copy first; that can be interrupted as well."""
    own.migration(
        "0003_endless.sql",
        "CREATE TABLE half AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT count(*) AS n FROM n;",
    )
    before = own.files()
    with own.start("db.migrate") as process:
        wait_for(lambda: opened(own.ledger, process), process)
        ends(process, number)
    assert own.files() == before


def locked(ledger: Path) -> bool:
    """Tell whether somebody is writing to a ledger."""
    with closing(sqlite3.connect(ledger, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def test_what_may_be_lost_is_named_on_the_command_line(own: Workspace) -> None:
    """Losses and changed amounts are undone with the way to allow them; the flags let through what they name."""
    own.sql("CREATE TABLE retired (x)")
    own.sql("INSERT INTO retired VALUES (1), (2)")
    own.sql(
        "INSERT INTO trades (id, timestamp, exchange, symbol, action, status, price)"
        " VALUES ('t', 1, 'bybit', 'BTCUSDT', 'LONG', 'EXECUTED', 5)"
    )
    own.migration("0003_x.sql", "DROP TABLE retired; UPDATE trades SET price = 7, symbol = 'BTC';")
    files = own.files()
    for flags, words in (
        ((), "would lose rows, so it was undone: retired: 2 rows gone. If that is meant, write `-- hoox:"),
        (("--allow-data-loss=trades",), "give --allow-data-loss=retired to `inv db.migrate`"),
        (("--allow-data-loss",), "would change amounts, so it was undone: trades.price: 1 row changed."),
        (("--allow-data-loss", "--json"), "give --allow-value-changes=trades.price to `inv db.migrate`"),
    ):
        run = own.inv("db.migrate", *flags)
        assert (run.code, words in run.err) == (1, True), run.err
        assert own.sql("SELECT price, symbol FROM trades") == [(5, "BTCUSDT")]
    assert own.files().keys() >= files.keys()
    both = ["--allow-data-loss=retired", "--allow-value-changes=trades.price"]
    lines = own.ok("db.migrate", *both).out.splitlines()
    assert lines[0].startswith("Applied 0003_x.sql")
    assert lines[1:4] == [
        "  retired: 2 rows gone",
        "  trades.symbol: 1 row changed",
        "  trades.price: 1 row changed",
    ]


def test_a_recorded_migration_is_marked_without_a_trace(own: Workspace) -> None:
    """To mark what is recorded says so, and leaves every file as it was: no recovery point is taken."""
    before = own.files()
    said = own.ok("db.migrate.mark", "1").out
    assert "0001_live_ledger.sql is recorded as applied already; nothing was changed" in said
    assert own.files() == before


def test_what_was_marked_by_mistake_is_taken_out(own: Workspace) -> None:
    """`mark --forget` makes it pending again; of what ran it is refused, dry as well, with the way back."""
    own.migration("0003_b.sql", "INSERT INTO system_logs (level) VALUES ('x')")
    own.ok("db.migrate.mark", "3")
    assert "Would forget 0003_b.sql" in own.ok("--dry", "db.migrate.mark", "3", "--forget").out
    own.ok("db.migrate.mark", "3", "--forget")
    assert states(own)["0003_b.sql"] == "pending"
    for dry in ([], ["--dry"]):
        assert "`inv db.migrate.rollback`" in own.refused(*dry, "db.migrate.mark", "2", "--forget")


def test_a_down_file_is_not_written_for_what_is_not_there(own: Workspace) -> None:
    """A word that is no migration is refused with `--down`, and nothing is written; a sentence makes both files."""
    error = own.refused("db.migrate.new", "--down", "nope")
    assert "There is no migration nope." in error
    assert "`inv db.migrate.new nope`" in error
    assert sorted(path.name for path in (own.root / "migrations").iterdir()) == OURS


def test_the_last_line_of_status_leads_on(own: Workspace) -> None:
    """Where something is wrong, `status --check` ends with the command that comes first."""
    folder = own.root / "migrations"
    own.migration("0003_b.sql", "CREATE TABLE b (x)")
    own.ok("db.migrate")
    own.migration("0004_c.sql", "CREATE TABLE c (x)")
    (folder / "0003_b.sql").rename(folder / "-3_b.sql")
    last = own.inv("db.migrate.status", "--check", code=1).err.splitlines()[-1]
    assert last.endswith("record the new name with `inv db.migrate.mark --name=-3_b.sql`.")
    own.ok("db.migrate.mark", "--name=-3_b.sql")
    own.ok("db.migrate")
