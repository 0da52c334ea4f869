"""Migrations that real projects have: what is right for each, as a user meets it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process import QuickWorkspace

ACCOUNTS = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner TEXT);\n"
BONUS = "INSERT INTO accounts (owner) VALUES ('bonus');\n"


@pytest.fixture
def inv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuickWorkspace:
    """`inv` in an empty workspace that has a folder for its migrations."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "migrations").mkdir()
    (tmp_path / ".hoox").mkdir()
    return QuickWorkspace(tmp_path, tmp_path / "home")


def write(**files: str | bytes) -> None:
    """Write migrations, `_0001_a` for 0001_a.sql."""
    for name, text in files.items():
        data = text if isinstance(text, bytes) else text.encode()
        Path("migrations", f"{name.removeprefix('_')}.sql").write_bytes(data)


def sql(query: str) -> list[Any]:
    """Ask the ledger, or change it, behind the tasks' back."""
    with closing(sqlite3.connect(".hoox/local.sqlite")) as ledger:
        found = (
            ledger.execute(query).fetchall() if ";" not in query else ledger.executescript(query).fetchall()
        )
        ledger.commit()
        return found


def states(inv: QuickWorkspace) -> dict[str, str]:
    return {each["name"]: each["state"] for each in inv.ok("db.migrate.status", "--json").json["migrations"]}


def test_a_ledger_made_by_hand_gets_no_row_twice(inv: QuickWorkspace) -> None:
    """Of what was run by hand the objects are there: it is recorded, after the plan was shown."""
    write(
        _0001_init="CREATE TABLE IF NOT EXISTS deposits (x);\nINSERT INTO deposits VALUES (1);\n",
        _0002_more="CREATE TABLE more (x);\n",
    )
    sql(Path("migrations/0001_init.sql").read_text())
    planned = inv.ok("--dry", "db.migrate").out
    assert "0001_init.sql: record, what it makes is there\n" in planned
    assert "Would apply 0002_more.sql" in planned
    lines = inv.ok("db.migrate").out.splitlines()
    assert lines[:3] == [
        ".hoox/local.sqlite has tables and no history; what it has of the migrations:",
        "  0001_init.sql: record, what it makes is there",
        "  0002_more.sql: apply, it is not there",
    ]
    assert lines[3] == "Recorded 0001_init.sql, which is there already"
    assert sql("SELECT count(*) FROM deposits") == [(1,)]
    assert set(states(inv).values()) == {"applied"}
    inv.ok("db.check")


def test_adopt_says_what_rows_leave_open(inv: QuickWorkspace) -> None:
    """Where only rows would tell whether a migration ran, it is refused, and `adopt --to` decides."""
    write(_0001_a=ACCOUNTS, _0002_b=BONUS)
    sql(ACCOUNTS + BONUS)
    before = Path(".hoox/local.sqlite").read_bytes()
    said = inv.refused("db.migrate")
    assert "0002_b.sql: cannot be told, it writes rows of accounts, which holds some" in said
    assert "If it ran, take the ledger over with `inv db.migrate.adopt --to 0002_b.sql`" in said
    assert "0002_b.sql" in inv.refused("db.migrate.adopt")
    assert Path(".hoox/local.sqlite").read_bytes() == before
    assert (
        inv.ok("db.migrate.adopt", "--to", "2", "--json")
        .json["done"]
        .startswith("Recorded 0001_a.sql, 0002_b")
    )
    assert sql("SELECT owner FROM accounts") == [("bonus",)]
    assert "has a history already" in inv.refused("db.migrate.adopt")


def test_adopt_refuses_what_is_not_there(inv: QuickWorkspace) -> None:
    """A migration whose table is missing is not recorded, whatever `--to` says."""
    write(_0001_a=ACCOUNTS, _0002_b="CREATE TABLE b (x);\n")
    sql(ACCOUNTS)
    assert "0002_b.sql makes table b, which .hoox/local.sqlite does not have" in inv.refused(
        "db.migrate.adopt", "--to", "2"
    )
    inv.ok("db.migrate.adopt")
    assert states(inv) == {"0001_a.sql": "applied", "0002_b.sql": "pending"}


@pytest.mark.parametrize(
    "pending",
    [
        b"CREATE TABEL b (x);",
        b"BEGIN; CREATE TABLE b (x); COMMIT;",
        b"SELECT 'caf\xe9';",
        b"ALTER TABLE nowhere ADD COLUMN x;",
        b"SELECT '\x00';",
    ],
)
def test_a_broken_pending_file_blocks_no_backup(inv: QuickWorkspace, pending: bytes) -> None:
    """Verify, restore, undo, check, export and status work, whatever a pending file says."""
    write(_0001_a=ACCOUNTS + BONUS)
    inv.ok("db.apply", "--no-seed")
    inv.ok("db.export", "--output", "b.sql")
    write(_0002_b=pending)
    inv.ok("db.migrate.status")
    inv.ok("db.verify", "b.sql")
    inv.ok("db.verify", "b.sql", "--exact")
    sql("DELETE FROM accounts")
    inv.ok("db.restore", "b.sql", "--confirm")
    assert sql("SELECT owner FROM accounts") == [("bonus",)]
    inv.ok("db.undo", "--confirm")
    assert sql("SELECT owner FROM accounts") == []
    inv.ok("db.export", "--output", "c.sql")
    inv.ok("db.schema")
    inv.ok("db.list")
    check = inv.inv("db.check")
    assert (check.code, "0002_b.sql is pending" in check.out) == (1, True)
    assert inv.inv("db.migrate").code in {1, 2}
    assert sql("SELECT count(*) FROM sqlite_schema WHERE name = 'b'") == [(0,)]


def test_a_backup_is_restored_without_any_migrations(inv: QuickWorkspace) -> None:
    """Where the folder of migrations is gone, a sound backup is verified and restored, and says so."""
    write(_0001_a=ACCOUNTS + BONUS, _0002_b="CREATE TABLE b (x);\n")
    inv.ok("db.apply", "--no-seed")
    inv.ok("db.export", "--output", "b.sql")
    Path("migrations/0001_a.sql").unlink()
    sql("DELETE FROM accounts")
    assert (
        "Migrations in it are not among yours: 0001_a.sql." in inv.ok("db.restore", "b.sql", "--confirm").err
    )
    assert sql("SELECT owner FROM accounts") == [("bonus",)]


def test_patches_of_a_base_made_by_hand(inv: QuickWorkspace) -> None:
    """A ledger whose first tables no migration makes is migrated, checked, exported, restored and released."""
    sql("CREATE TABLE mails (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO mails VALUES (1, 'x');")
    write(
        _0001_read="ALTER TABLE mails ADD COLUMN read_at INTEGER;\nCREATE INDEX unread ON mails (read_at);\n"
    )
    inv.ok("db.migrate")
    checked = inv.ok("db.check")
    assert "No migration makes mails: taken as the ledger has it." in checked.err
    inv.ok("db.export", "--output", "b.sql")
    inv.ok("db.verify", "b.sql")
    inv.ok("db.restore", "b.sql", "--confirm")
    write(_0002_n="CREATE TABLE n (x);\n")
    inv.ok("db.release")
    assert sql("SELECT * FROM mails") == [(1, "x", None)]


def test_a_release_takes_a_ledger_over(inv: QuickWorkspace) -> None:
    """`db.release` records what is there, rehearses and applies the rest, and loses nothing."""
    write(_0001_a=ACCOUNTS + BONUS, _0002_n="CREATE TABLE n (x);\n")
    sql(ACCOUNTS + BONUS)
    released = inv.ok("db.release")
    assert "0001_a.sql: record, what it makes is there" in released.out
    assert sql("SELECT owner FROM accounts") == [("bonus",)]
    assert set(states(inv).values()) == {"applied"}
    write(_0003_x=BONUS)
    sql("DROP TABLE d1_migrations; DROP TABLE hoox_checksums;")
    assert "it cannot be told" in inv.inv("db.release").err
    assert sql("SELECT owner FROM accounts") == [("bonus",)]


def test_rows_that_a_later_migration_deletes(inv: QuickWorkspace) -> None:
    """In a fresh clone a migration may delete what one before it has put in."""
    write(
        _0001_plans="CREATE TABLE plans (name TEXT);\nINSERT INTO plans VALUES ('a'), ('b'), ('c');\n",
        _0002_less="DELETE FROM plans WHERE name = 'c';\n",
    )
    inv.ok("db.apply")
    assert sql("SELECT name FROM plans") == [("a",), ("b",)]


def test_a_dropped_table_names_its_rows_and_the_consent(inv: QuickWorkspace) -> None:
    """Dropping a table that holds rows says what is lost, and how to consent, and nothing of cascades."""
    write(_0001_r="CREATE TABLE retired (x);\n")
    inv.ok("db.apply", "--no-seed")
    sql("INSERT INTO retired VALUES (1)")
    write(_0002_d="DROP TABLE retired;\n")
    run = inv.inv("db.migrate")
    assert run.code == 1
    assert "retired: 1 row gone. If that is meant, write `-- hoox: allow-data-loss retired`" in run.err
    assert "CASCADE" not in run.err
    inv.ok("db.migrate", "--allow-data-loss=retired")


def test_line_ends_inside_of_texts_are_data(inv: QuickWorkspace) -> None:
    """CRLF inside a text literal is stored as it is written; outside it means nothing."""
    write(_0001_a="CREATE TABLE z (v);\r\nINSERT INTO z VALUES ('a\r\nb');\r\n")
    inv.ok("db.apply", "--no-seed")
    assert sql("SELECT v FROM z") == [("a\r\nb",)]


@pytest.mark.parametrize(
    ("name", "text", "warned"),
    [
        ("0002_b", "CREATE TABLE b (x)", "0002_b.sql lacks its last semicolon: wrangler would fail at it."),
        ("0002_it's", "CREATE TABLE b (x);", "0002_it's.sql has an apostrophe in its name"),
        ("0002_b", "CREATE TABLE b (x); /* open", "0002_b.sql does not close its last comment"),
        ("0002_b", "-- to be done\n", "0002_b.sql holds no statement: it is recorded, and does nothing."),
    ],
)
def test_what_wrangler_would_make_of_a_file_is_said(
    inv: QuickWorkspace, name: str, text: str, warned: str
) -> None:
    """A file that wrangler refuses, or that holds nothing, is named in status, in the plan and when applied."""
    write(_0001_a=ACCOUNTS, **{name: text})
    for words in (("db.migrate.status",), ("--dry", "db.migrate"), ("db.migrate",)):
        if words[0] == "db.migrate.status":
            sql("SELECT 1")
        assert warned in inv.ok(*words).err, words


def test_one_transaction_around_a_file_is_passed_over(inv: QuickWorkspace) -> None:
    """`BEGIN TRANSACTION; ... COMMIT;` is left out, as by wrangler; anything else of the kind is refused."""
    write(_0001_a=f"BEGIN TRANSACTION;\n{ACCOUNTS}COMMIT;\n")
    inv.ok("db.apply", "--no-seed")
    write(_0002_b="BEGIN TRANSACTION;\nCREATE TABLE b (x);\nROLLBACK;\n")
    assert "says ROLLBACK in line 3" in inv.refused("db.migrate")


@pytest.mark.parametrize("change", ["newline", "blank", "crlf", "mark"])
def test_what_means_nothing_is_no_change(inv: QuickWorkspace, change: str) -> None:
    """A final newline, a blank end, CRLF and a byte order mark leave a migration the same."""
    write(_0001_a=ACCOUNTS)
    inv.ok("db.apply", "--no-seed")
    texts = {
        "newline": ACCOUNTS.rstrip(),
        "blank": ACCOUNTS + " \n\n",
        "crlf": ACCOUNTS.replace("\n", "\r\n"),
    }
    write(_0001_a=texts.get(change, "\ufeff" + ACCOUNTS))
    assert states(inv) == {"0001_a.sql": "applied"}


def test_another_form_of_a_name_is_the_same_name(inv: QuickWorkspace) -> None:
    """A name whose letters were composed differently is the same migration."""
    write(**{"0001_bo\u0308rse": ACCOUNTS + BONUS})
    inv.ok("db.apply", "--no-seed")
    Path("migrations/0001_bo\u0308rse.sql").unlink()
    write(**{"0001_b\u00f6rse": ACCOUNTS + BONUS})
    assert list(states(inv).values()) == ["applied"]
    inv.ok("db.check")
    inv.ok("db.migrate")
    inv.ok("db.export", "--output", "b.sql")
    inv.ok("db.restore", "b.sql", "--confirm")
    assert sql("SELECT owner FROM accounts") == [("bonus",)]


def test_what_is_no_migration_is_said(inv: QuickWorkspace) -> None:
    """A symbolic link and a name that ends in .SQL are passed over, as by wrangler, and named."""
    write(_0001_a=ACCOUNTS)
    inv.ok("db.apply", "--no-seed")
    Path("real.sql").write_text("CREATE TABLE b (x);")
    Path("migrations/0002_b.sql").symlink_to(Path("real.sql").resolve())
    Path("migrations/0003_c.SQL").write_text("CREATE TABLE c (x);")
    said = inv.ok("db.migrate.status").err
    assert "0002_b.sql is passed over" in said
    assert "0003_c.SQL is passed over" in said


def test_a_new_migration_is_one_line_and_one_file(inv: QuickWorkspace) -> None:
    """The message is a comment of one line; no name makes no file; a number is never given twice."""
    write(_0002_a=ACCOUNTS, _0002_b="")
    run = inv.ok("db.migrate.new", "x\n\nDROP TABLE t;", "--json").json
    assert Path(run["path"]).read_text() == "-- x DROP TABLE t;\n"
    assert Path(run["path"]).name.startswith("0003_")
    for path in Path("migrations").iterdir():
        path.unlink()
    Path("migrations").rmdir()
    assert "A migration needs a name." in inv.refused("db.migrate.new", " / ")
    assert not Path("migrations").exists()


def test_what_is_written_into_an_empty_migration_later(inv: QuickWorkspace) -> None:
    """`mark` looks whether what a file makes is there; forgotten, it runs after all."""
    write(_0001_a=ACCOUNTS)
    inv.ok("db.apply", "--no-seed")
    inv.ok("db.migrate.new", "fills")
    assert "0002_fills.sql holds no statement" in inv.ok("db.migrate").err
    write(_0002_fills="CREATE TABLE fills (x);\n")
    assert states(inv)["0002_fills.sql"] == "edited"
    assert "makes table fills, which the ledger does not have" in inv.refused("db.migrate.mark", "2")
    inv.ok("db.migrate.mark", "2", "--forget")
    inv.ok("db.migrate")
    assert sql("SELECT * FROM fills") == []
    inv.ok("db.check")


def test_mark_refuses_what_did_not_run(inv: QuickWorkspace) -> None:
    """A pending migration whose table is missing did not run; once it was made by hand it is recorded."""
    write(_0001_a=ACCOUNTS)
    inv.ok("db.apply", "--no-seed")
    write(_0002_b="CREATE TABLE b (x);\nCREATE INDEX bx ON b (x);\n")
    assert "makes table b, index bx, which the ledger does not have" in inv.refused("db.migrate.mark", "2")
    sql("CREATE TABLE b (x); CREATE INDEX bx ON b (x);")
    inv.ok("db.migrate.mark", "2")
    inv.ok("db.check")


def test_a_lost_migration_is_forgotten_by_its_number(inv: QuickWorkspace) -> None:
    """`--forget` takes a number, as the help says."""
    write(_0001_a=ACCOUNTS, _0002_b=BONUS)
    inv.ok("db.apply", "--no-seed")
    Path("migrations/0002_b.sql").unlink()
    inv.ok("db.migrate.mark", "2", "--forget")
    assert states(inv) == {"0001_a.sql": "applied"}


def test_another_history_table_has_its_version(inv: QuickWorkspace) -> None:
    """The manifest of the export before a reset has the schema version, whatever the history is called."""
    Path("wrangler.json").write_text(
        json.dumps(
            {
                "name": "x",
                "d1_databases": [
                    {"binding": "DB", "database_name": "d", "database_id": "i", "migrations_table": "steps"}
                ],
            }
        )
    )
    write(_0001_a=ACCOUNTS)
    inv.ok("db.apply", "--no-seed")
    backup = Path(inv.ok("db.reset", "--confirm", "--json").json["backup"])
    manifest = json.loads(backup.with_name(f"{backup.name}.json").read_text())
    assert manifest["schema_version"] == "0001_a.sql"


SEARCH = "CREATE TABLE docs (id INTEGER PRIMARY KEY, body TEXT);\nINSERT INTO docs VALUES (1, 'hello');\n"


@pytest.mark.parametrize(
    "text",
    [
        SEARCH
        + "CREATE VIRTUAL TABLE f USING fts5(body, content='docs', content_rowid='id');\n"
        + "INSERT INTO f (f) VALUES ('rebuild');\nDROP TABLE docs;\n",
        "CREATE VIRTUAL TABLE f USING fts5(body, content='', columnsize=0);\nINSERT INTO f (rowid, body) VALUES (1, 'x');\n",
        "CREATE VIRTUAL TABLE f USING fts5(body, content='');\nINSERT INTO f (rowid, body) VALUES (1, 'x');\n",
    ],
    ids=["its content is gone", "without content and sizes", "without content"],
)
def test_search_tables_whose_rows_nobody_knows(inv: QuickWorkspace, text: str) -> None:
    """A search table whose rows cannot be read stops nothing, and is repaired by dropping it."""
    write(_0001_f=text, _0002_a=ACCOUNTS)
    inv.ok("db.apply", "--no-seed")
    rows = {each["name"]: each["rows"] for each in inv.ok("db.list", "--json").json["tables"]}
    assert "f" in rows
    write(_0003_b=BONUS)
    inv.ok("db.migrate")
    inv.ok("db.export", "--output", "b.sql")
    inv.ok("db.verify", "b.sql")
    inv.ok("db.restore", "b.sql", "--confirm")
    inv.ok("db.check")
    inv.ok("db.undo", "--confirm")
    write(_0004_d="DROP TABLE f;\n")
    inv.ok("db.migrate", "--allow-data-loss=f")
    inv.ok("db.reset", "--confirm", "--no-backup")
