"""The runbook's first page: apply, list, query, export, reset, schema."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.workspace import Workspace

TABLES = ["balances", "positions", "system_logs", "trade_signals", "trades"]
SEEDED = {"system_logs": "WHERE service <> 'hoox_tasks'"}
"""Without the rows that note when a migration was applied."""
QUERIES = {
    "B": "SELECT COUNT(*) FROM trades",
    "C": "SELECT created_at, symbol, action, price, quantity FROM trades ORDER BY created_at DESC LIMIT 5",
    "D": "SELECT symbol, side, size, entry_price FROM positions WHERE size > 0",
}


def test_apply_makes_a_migrated_and_seeded_ledger_and_says_so(workspace: Workspace) -> None:
    """One command in an empty folder gives all five tables with rows, and a receipt."""
    run = workspace.ok("db.apply")
    lines = run.out.splitlines()
    assert [line.split(" (")[0] for line in lines[:2]] == [
        "Applied 0001_live_ledger.sql",
        "Applied 0002_runbook_columns.sql",
    ]
    rows = {table: workspace.sql(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    assert all(rows.values()), rows
    receipt = r"Applied 2 migrations, seeded ([\d,]+) rows on \.hoox/local\.sqlite \([\d.]+ m?s\)\."
    assert re.fullmatch(receipt, lines[2]), lines[2]
    assert f"seeded {sum(rows.values()):,} rows" in lines[2]
    assert run.err == ""


def test_a_second_apply_changes_nothing_and_says_so(seeded: Workspace) -> None:
    """The runbook's first command can be typed as often as one likes."""
    before = seeded.files()
    run = seeded.ok("db.apply")
    assert re.fullmatch(r"Nothing to do: \.hoox/local\.sqlite is ready \([\d.]+ m?s\)\.\n", run.out)
    assert seeded.files() == before


def test_two_workspaces_are_seeded_alike(workspace: Workspace, applied: Path) -> None:
    """The seeded rows are the same on every machine."""
    workspace.ok("db.apply")
    for table in TABLES:
        rows = f"SELECT * FROM {table} {SEEDED.get(table, '')} ORDER BY 1"
        assert workspace.sql(rows) == workspace.sql(rows, path=applied), table


def test_no_seed_leaves_the_ledger_empty(workspace: Workspace) -> None:
    """`--no-seed` migrates only; a later apply without it seeds."""
    workspace.ok("db.apply", "--no-seed")
    assert [workspace.sql(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES] == [0] * 5
    assert workspace.ok("db.apply").out.startswith("Seeded ")


def test_a_ledger_that_holds_a_trade_is_never_seeded(workspace: Workspace) -> None:
    """Made-up rows never get among real ones."""
    workspace.ok("db.apply", "--no-seed")
    workspace.sql(
        "INSERT INTO trades (id, timestamp, exchange, symbol, action, status)"
        " VALUES ('real', 1, 'bybit', 'BTCUSDT', 'LONG', 'EXECUTED')"
    )
    workspace.ok("db.apply")
    assert workspace.sql("SELECT id FROM trades") == [("real",)]
    assert "holds trades already" in workspace.refused("db.apply", "--scenario", "busy")
    assert "holds trades already" in workspace.refused("db.seed")
    assert workspace.sql("SELECT id FROM trades") == [("real",)]


def test_a_namespace_of_ones_own_takes_our_collection(workspace: Workspace) -> None:
    """A workspace with tasks of its own adds `db` to them."""
    (workspace.root / "tasks.py").write_text(
        "from invoke import Collection, task\nfrom hoox_tasks import db\n\n"
        "@task\ndef own(c):\n    '''Do something else.'''\n\nns = Collection(own, db)\n"
    )
    workspace.ok("db.apply", "--no-seed")
    assert "own" in workspace.ok("--list").out
    assert workspace.ledger.exists()


def test_list_shows_tables_with_their_row_counts(seeded: Workspace) -> None:
    """The five tables, each with what SQLite counts in it."""
    run = seeded.ok("db.list")
    shown = dict(line.split() for line in run.out.splitlines()[2:])
    assert shown == {table: f"{seeded.sql(f'SELECT count(*) FROM {table}')[0][0]:,}" for table in TABLES}
    assert run.err == "5 tables in .hoox/local.sqlite\n"


def test_list_shows_internal_tables_only_with_all(seeded: Workspace) -> None:
    """What serves tools and engine is out of the way."""
    seeded.sql("CREATE TABLE _cf_METADATA (key INTEGER PRIMARY KEY, value BLOB)")
    document = seeded.ok("db.list", "--all", "--json").json
    internal = {table["name"] for table in document["tables"] if table["internal"]}
    assert {"d1_migrations", "hoox_checksums", "sqlite_sequence", "_cf_METADATA"} == internal
    assert [table["name"] for table in seeded.ok("db.list", "--json").json["tables"]] == TABLES


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_runbooks_queries_run_as_they_stand(seeded: Workspace, query: str) -> None:
    """Queries B, C and D give what SQLite gives; rows and time go to standard error."""
    run = seeded.ok("db.query", query)
    expected = seeded.sql(query)
    assert expected
    assert len(run.out.splitlines()) == 2 + len(expected)
    assert re.fullmatch(rf"{len(expected)} rows? in [\d.]+ m?s\n", run.err)
    rows = seeded.ok("db.query", query, "--json").json
    assert [tuple(row.values()) for row in rows] == expected


def load(path: Path, into: Path) -> None:
    with path.open("rb") as file:
        subprocess.run(["sqlite3", "-bail", str(into)], stdin=file, check=True, capture_output=True)


def test_export_writes_the_runbooks_file(seeded: Workspace) -> None:
    """Name and structure are the runbook's, and the sqlite3 shell loads the same rows from it."""
    run = seeded.ok("db.export")
    (path,) = (seeded.root / "backups").glob("*.sql")
    assert re.fullmatch(r"db-backup-\d{4}-\d\d-\d\d-\d{6}\.sql", path.name)
    assert f"to backups/{path.name} ({path.stat().st_size:,} bytes, verified)" in run.out
    lines = path.read_text().splitlines()
    assert lines[:2] == ["PRAGMA foreign_keys=OFF;", "BEGIN TRANSACTION;"]
    assert lines[2].startswith("CREATE TABLE IF NOT EXISTS ")
    assert lines[-1] == "COMMIT;"
    first_row = next(at for at, line in enumerate(lines) if line.startswith("INSERT INTO "))
    assert not any(line.startswith("CREATE TABLE") for line in lines[first_row:])
    assert not any(line.startswith("CREATE INDEX") for line in lines[:first_row])
    copy = seeded.root / "copy.sqlite"
    load(path, copy)
    for table in TABLES:
        rows = f"SELECT * FROM {table} {SEEDED.get(table, '')} ORDER BY 1"
        assert seeded.sql(rows, path=copy) == seeded.sql(rows), table


def test_export_takes_tables_parts_and_places(seeded: Workspace) -> None:
    """`--output`, `-`, `--table`, `--no-data`, `--no-schema` and `--gzip` do what they say."""
    seeded.ok("db.export", "--output", "out/all.sql")
    run = seeded.ok("db.export", "--output", "-")
    assert run.out == (seeded.root / "out/all.sql").read_text()
    assert re.fullmatch(r"Exported [\d,]+ rows of .* in [\d.]+ m?s\.\n|.*\([\d.]+ m?s\)\.\n", run.err)
    some = seeded.ok(
        "db.export", "--output", "-", "--table", "trades", "--table", "balances", "--no-data"
    ).out
    assert sorted(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", some)) == ["balances", "trades"]
    assert "INSERT" not in some
    rows = seeded.ok("db.export", "--output", "-", "--table", "trades", "--no-schema").out
    assert "CREATE" not in rows
    assert rows.count("INSERT INTO trades") == seeded.sql("SELECT count(*) FROM trades")[0][0]
    seeded.ok("db.export", "--gzip")
    (packed,) = (seeded.root / "backups").glob("*.sql.gz")
    assert gzip.decompress(packed.read_bytes()) == (seeded.root / "out/all.sql").read_bytes()


def test_reset_with_confirm_wipes_and_migrates(seeded: Workspace) -> None:
    """The ledger is left as `apply --no-seed` would, after an export that holds all that was there."""
    before = {table: seeded.sql(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}
    run = seeded.ok("db.reset", "--confirm")
    assert [seeded.sql(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES] == [0] * 5
    (backup,) = (seeded.root / "backups").glob("*.sql")
    assert f"to backups/{backup.name}" in run.out
    copy = seeded.root / "copy.sqlite"
    load(backup, copy)
    assert {table: seeded.sql(f"SELECT * FROM {table} ORDER BY 1", path=copy) for table in TABLES} == before
    fresh = Workspace(seeded.root.parent / "fresh", seeded.home)
    fresh.ok("db.apply", "--no-seed")
    assert seeded.ok("db.schema").out == fresh.ok("db.schema").out
    assert seeded.ok("db.migrate.status", "--check").code == 0


def test_the_export_of_a_reset_knows_its_version(workspace: Workspace) -> None:
    """Whatever the migrations table is called, the export before a reset names the last migration."""
    database = {"binding": "DB", "database_name": "ledger", "database_id": "x", "migrations_table": "history"}
    (workspace.root / "wrangler.jsonc").write_text(json.dumps({"d1_databases": [database]}))
    workspace.ok("db.apply", "--no-seed")
    workspace.ok("db.reset", "--confirm")
    (manifest,) = (workspace.root / "backups").glob("*.json")
    assert json.loads(manifest.read_text())["schema_version"] == "0002_runbook_columns.sql"


def test_reset_without_backup_writes_no_export(seeded: Workspace) -> None:
    """`--no-backup` is taken at its word."""
    seeded.ok("db.reset", "--confirm", "--no-backup")
    assert not (seeded.root / "backups").exists()


def test_reset_without_a_terminal_refuses(seeded: Workspace) -> None:
    """Nobody is there to type the name: exit code 2, and nothing touched."""
    before = seeded.files()
    assert "Give --confirm" in seeded.refused("db.reset")
    assert "Give --confirm" in seeded.refused("db.reset", stdin="local.sqlite\n")
    assert seeded.files() == before


def test_reset_at_a_terminal_wants_the_name_typed(seeded: Workspace) -> None:
    """The right name wipes the ledger, another leaves it alone."""
    before = seeded.files()
    wrong = seeded.terminal("db.reset", typed="yes\n")
    assert wrong.code == 2
    assert "Type local.sqlite to go on:" in wrong.out
    assert seeded.files() == before
    assert seeded.terminal("db.reset", typed="local.sqlite\n").code == 0
    assert seeded.sql("SELECT count(*) FROM trades") == [(0,)]


def test_schema_prints_ddl_that_makes_the_same_schema(seeded: Workspace) -> None:
    """What is printed is SQL, is the same whatever way the ledger came about, and ends with a line end."""
    text = seeded.ok("db.schema").out
    with closing(sqlite3.connect(seeded.root / "again.sqlite")) as again:
        again.executescript(text)
    assert seeded.ok("db.schema", "--path", "again.sqlite").out == text
    assert seeded.ok("db.schema", "--json").json == {"database": ".hoox/local.sqlite", "sql": text}
    assert "d1_migrations" not in text
    assert text.endswith(";\n")


def test_scenarios_are_listed_and_can_be_chosen(workspace: Workspace) -> None:
    """Every scenario that is listed names its rows, and seeding with one gives that many."""
    listed = {one["name"]: one for one in workspace.ok("db.scenarios", "--json").json}
    workspace.ok("db.apply", "--scenario", "quiet")
    expected = listed["quiet"]["tables"]["trades"]
    assert workspace.sql("SELECT count(*) FROM trades")[0][0] == pytest.approx(expected, rel=0.2)
    assert "quiet" in workspace.ok("db.scenarios").out


CHANGING = [
    ["db.apply"],
    ["db.migrate"],
    ["db.migrate.new", "more"],
    ["db.migrate.mark", "0003"],
    ["db.query", "DELETE FROM trades", "--write"],
    ["db.reset", "--confirm"],
    ["db.export"],
]


@pytest.mark.parametrize("command", CHANGING, ids=lambda command: command[0])
def test_dry_touches_nothing(seeded: Workspace, command: list[str]) -> None:
    """Invoke's own --dry says what would be done, and no file is any different."""
    for name in ("0001_live_ledger.sql", "0002_runbook_columns.sql"):
        seeded.migration(name, (ROOT / "migrations" / name).read_bytes())
    seeded.migration("0003_more.sql", "CREATE TABLE more (id TEXT);")
    if command[0] == "db.migrate.mark":  # Only what is there can be recorded.
        with closing(sqlite3.connect(seeded.ledger)) as ledger:
            ledger.execute("CREATE TABLE more (id TEXT)")
    before = seeded.files()
    run = seeded.ok("--dry", *command)
    assert "Would " in run.out + run.err
    assert seeded.files() == before


def test_dry_apply_and_seed_of_new_ledgers_touch_nothing(workspace: Workspace) -> None:
    """A ledger that is not there is not made by asking what would be done."""
    before = workspace.files()
    run = workspace.ok("--dry", "db.apply")
    assert run.out.splitlines()[:2] == [
        "Would apply 0001_live_ledger.sql",
        "Would apply 0002_runbook_columns.sql",
    ]
    assert workspace.files() == before
    assert not workspace.ledger.parent.exists()
    workspace.ok("db.apply", "--no-seed")
    before = workspace.files()
    assert "Would seed" in workspace.ok("--dry", "db.seed").out
    assert workspace.files() == before


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        (["db.apply"], {"database", "applied", "seeded", "version", "seconds"}),
        (["db.migrate"], {"database", "applied", "version", "seconds"}),
        (["db.migrate.status"], {"database", "version", "up_to_date", "migrations"}),
        (["db.migrate.new", "more"], {"path", "copied", "seconds"}),
        (["db.migrate.mark", "1"], {"database", "done", "seconds"}),
        (["db.list"], {"database", "tables"}),
        (["db.schema"], {"database", "sql"}),
        (["db.reset", "--confirm"], {"database", "version", "backup", "recovery_point", "seconds"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_json_is_one_document_with_the_documented_fields(
    seeded: Workspace, command: list[str], fields: set[str]
) -> None:
    """`--json` prints one document and nothing else, and docs/tasks.md names its fields."""
    document = seeded.ok(*command, "--json").json
    assert set(document) == fields
    _, _, told = (ROOT / "docs/tasks.md").read_text().partition(f"\n## {command[0]}\n")
    told = told.partition("\n## ")[0].partition("`--json`")[2]
    assert {field for field in fields if not re.search(rf"\b{field}\b", told)} == set()
