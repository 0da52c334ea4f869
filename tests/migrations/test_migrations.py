"""Migrations happen once, in order, whole or not at all, and lose nothing unnoticed."""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks import migrations
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import MigrationFailed, Migrations, State, consent
from tests.support import ROOT
from tests.support.programs import program
from tests.support.sqlite_files import ask, dumped, execute, opened
from tests.support.strategies import examples

HISTORY = "d1_migrations"
SECONDS = 60
OURS = ROOT / "migrations"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty migrations folder."""
    path = tmp_path / "migrations"
    path.mkdir()
    return path


@pytest.fixture
def database(tmp_path: Path) -> Iterator[LocalDatabase]:
    """An empty ledger."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as opened_database:
        yield opened_database


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write migration files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def apply(database: LocalDatabase, folder: Path, *, strict: bool = True, **options: Any) -> list[str]:
    """Apply what is pending; gives the names of what was applied."""
    applied, _ = Migrations.read(folder, strict=strict).apply(database, **options)
    return [one.name for one in applied]


def states(database: LocalDatabase, folder: Path) -> dict[str, State]:
    """Give every migration's state."""
    current = Migrations.read(folder).status(database)
    return {entry.name: entry.state for entry in current.entries}


def recorded(path: Path) -> list[str]:
    """Give the names in the history, in order."""
    return [row[0] for row in ask(path, f"SELECT name FROM {HISTORY} ORDER BY id")]


# ------------------------------------------------------------------------------- finding and ordering


def test_order_is_wranglers() -> None:
    """Names sort by segment: by the number before the first underscore, numbered first, then by code unit."""
    ordered = [
        "-1_before.sql",
        "0001_x.sql",
        "2_b.sql",
        "0003-c.sql",
        " 4_d.sql",
        "+5_e.sql",
        "0010_f.sql",
        "2024abc.sql",
        "20240101_g/a.sql",
        "20240101_g/b.sql",
        "B_capital.sql",
        "_0000_no_number.sql",
        "a_small.sql",
        "\U0001f600.sql",
        "\uff5e.sql",
    ]
    shuffled = list(ordered)
    random.Random(3).shuffle(shuffled)
    assert sorted(shuffled, key=migrations.order) == ordered


def test_equal_numbers_sort_by_the_whole_name() -> None:
    """Of names with one number the one whose text comes first is first, and 0001 before 1."""
    assert sorted(["1_a", "0001_b", "01_c"], key=migrations.order) == ["0001_b", "01_c", "1_a"]


def test_discovery_is_wranglers(folder: Path) -> None:
    """Regular files that end in .sql are found, not below folders, not hidden, not by way of links."""
    write(
        folder,
        {
            "0002_b.sql": "",
            "0001_a.sql": "",
            ".0003.sql": "",
            "note.txt": "",
            "sub/0004.sql": "",
            "x.SQL": "",
        },
    )
    (folder / "0005_folder.sql").mkdir()
    (folder / "0006_link.sql").symlink_to(folder / "0001_a.sql")
    assert [found.name for found in migrations.discover(folder)] == ["0001_a.sql", "0002_b.sql"]


def test_a_pattern_may_name_folders(folder: Path) -> None:
    """With a pattern, migrations in folders of their own have their path as name, with slashes."""
    write(
        folder, {"10_b/migration.sql": "", "9_a/migration.sql": "", ".hidden/migration.sql": "", "1.sql": ""}
    )
    names = [found.name for found in migrations.discover(folder, "*/migration.sql")]
    assert names == ["9_a/migration.sql", "10_b/migration.sql"]


def test_two_files_may_have_one_number(database: LocalDatabase, folder: Path) -> None:
    """Files with one number apply in the order of their whole names, also where the first of them came later."""
    write(folder, {"0002_b.sql": "CREATE TABLE b (x);", "0001_a.sql": "CREATE TABLE a (x);"})
    assert apply(database, folder) == ["0001_a.sql", "0002_b.sql"]
    write(folder, {"2_a.sql": "INSERT INTO b VALUES (1);", "0002_a.sql": "INSERT INTO b VALUES (0);"})
    found = Migrations.read(folder)
    assert found.shared_numbers == [("0002_a.sql", "0002_b.sql", "2_a.sql")]
    assert set(states(database, folder).values()) == {State.APPLIED, State.PENDING}
    assert apply(database, folder) == ["0002_a.sql", "2_a.sql"]
    assert apply(database, folder) == []
    with pytest.raises(Refused, match=r"Give the name: 0002_a\.sql, 0002_b\.sql, 2_a\.sql"):
        found.find("2")


def test_dates_of_one_year_are_no_number(folder: Path) -> None:
    """Names that begin with a date are migrations of their own, and nobody is warned of them."""
    write(folder, {"2024-01-05-users.sql": "", "2024-03-09-posts.sql": ""})
    found = Migrations.read(folder)
    assert [migration.name for migration in found.files] == ["2024-01-05-users.sql", "2024-03-09-posts.sql"]
    assert found.shared_numbers == []


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A migrations folder that is not there is refused by its path."""
    with pytest.raises(Refused, match=r"There is no migrations folder .*nowhere"):
        migrations.discover(tmp_path / "nowhere")


def test_a_file_that_is_not_utf8_is_refused(folder: Path) -> None:
    """A migration that is not UTF-8 is refused, with the byte that is not."""
    (folder / "0001_a.sql").write_bytes(b"SELECT 'caf\xe9';")
    (found,) = migrations.discover(folder)
    with pytest.raises(Refused, match=r"0001_a\.sql is not UTF-8 \(byte 11\)"):
        assert found.pieces


def test_line_ends_and_a_byte_order_mark_do_not_count(folder: Path) -> None:
    """A file has the same checksum and the same statements as Windows checks it out."""
    write(folder, {"0001_a.sql": "SELECT 1;\nSELECT 2;\n", "0002_b.sql": "\ufeffSELECT 1;\r\nSELECT 2;\r\n"})
    first, second = migrations.discover(folder)
    assert first.checksum == second.checksum
    assert first.pieces == second.pieces


def test_new_files_get_the_next_number(folder: Path) -> None:
    """A new migration's number is one more than the highest, its name the message with underscores."""
    write(folder, {"0002_b.sql": "", "0009-c.sql": "", "notes.sql": ""})
    path = migrations.create(folder, " add fills & fees/é ")
    assert path.name == "0010_add_fills_fees_é.sql"
    assert migrations.discover(folder)[2].pieces == []
    assert migrations.create(folder, "next").name == "0011_next.sql"
    with pytest.raises(Refused, match="needs a name"):
        migrations.create(folder, " / ")


def test_migrations_are_found_by_name_and_number(folder: Path) -> None:
    """A migration is found by its file name, the name without .sql, and its number in any writing."""
    write(folder, {"0001_a.sql": "", "0002_b.sql": ""})
    found = migrations.discover(folder)
    assert {migrations.find(found, wanted).name for wanted in ("0002_b.sql", "0002_b", "2", "0002")} == {
        "0002_b.sql"
    }
    with pytest.raises(Refused, match=r"no migration 3\. There are: 0001_a\.sql, 0002_b\.sql"):
        migrations.find(found, "3")


def test_numbers_are_read_as_wrangler_does() -> None:
    """A name that begins with 0x has the number 0, and of numbers of 17 digits those count that a double has."""
    assert migrations.order("0x10_h.sql") < migrations.order("0001_a.sql") < migrations.order("2_b.sql")
    assert migrations.files.leading_number("20240101120000123_a.sql") == 20240101120000124
    assert migrations.files.leading_number(f"{'9' * 400}_a.sql") is None


def test_a_hexadecimal_name_is_warned_of(folder: Path) -> None:
    """Older versions of wrangler read 0x10 as 16, which is said."""
    write(folder, {"0x10_h.sql": "SELECT 1;"})
    (found,) = migrations.discover(folder)
    assert found.warnings == [
        "0x10_h.sql begins with 0x: older versions of wrangler order it as hexadecimal."
    ]


# -------------------------------------------------------------------------------------------- the history


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM d1_migrations",
        "delete from main.[D1_Migrations] where 1",
        "UPDATE OR IGNORE \"main\".'d1_migrations' SET name = 'x'",
        "DROP TABLE IF EXISTS main.`d1_migrations`",
        "ALTER TABLE d1_migrations RENAME TO x",
        "REPLACE INTO d1_migrations VALUES (1, 2, 3)",
        "WITH a AS (SELECT 1) INSERT INTO hoox_checksums SELECT 1, 2",
        "CREATE TRIGGER t AFTER INSERT ON d1_migrations BEGIN SELECT 1; END",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM d1_migrations; END",
    ],
)
def test_the_history_is_not_a_migrations_own(database: LocalDatabase, folder: Path, text: str) -> None:
    """A migration that would change the history is refused before any runs, however it writes the name."""
    write(folder, {"0001_a.sql": "CREATE TABLE a (x);", "0002_b.sql": f"{text};"})
    with pytest.raises(Refused, match=r"0002_b\.sql changes (d1_migrations|hoox_checksums) in line 1"):
        apply(database, folder)
    assert database.schema() == []


def test_a_trigger_of_the_ledger_does_not_change_the_history(database: LocalDatabase, folder: Path) -> None:
    """A migration that sets off a trigger which changes the history is refused as well."""
    write(folder, {"0001_a.sql": "CREATE TABLE a (x);"})
    apply(database, folder)
    execute(database.path, "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM d1_migrations; END")
    write(folder, {"0002_b.sql": "INSERT INTO a VALUES (1);"})
    with pytest.raises(Refused, match=r"0002_b\.sql changes d1_migrations"):
        apply(database, folder)
    assert recorded(database.path) == ["0001_a.sql"]


def test_the_history_may_be_read(database: LocalDatabase, folder: Path) -> None:
    """A migration may look at the history, and make it if it is not there, as dumps do."""
    write(
        folder,
        {
            "0001_a.sql": "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER); CREATE TABLE a AS SELECT name FROM d1_migrations;"
        },
    )
    assert apply(database, folder) == ["0001_a.sql"]


def test_the_history_may_have_any_name(database: LocalDatabase, folder: Path) -> None:
    """A `migrations_table` with a blank in it, which wrangler takes, is taken."""
    write(folder, {"0001_a.sql": "CREATE TABLE a (x);"})
    found = Migrations.read(folder, table="my history")
    found.apply(database)
    assert found.check(database).agrees
    assert ask(database.path, 'SELECT name FROM "my history"') == [("0001_a.sql",)]


# --------------------------------------------------------------------------------------------- states


BASIC = {
    "0001_a.sql": "CREATE TABLE a (x);\n",
    "0002_b.sql": "CREATE TABLE b (x);\n",
    "0003_c.sql": "CREATE TABLE c (x);\n",
}


def test_applying_and_applying_again(database: LocalDatabase, folder: Path) -> None:
    """What is pending is applied in order, with its time in the history; a second run finds nothing."""
    write(folder, BASIC)
    assert set(states(database, folder).values()) == {State.PENDING}
    assert apply(database, folder) == list(BASIC)
    assert recorded(database.path) == list(BASIC)
    assert ask(database.path, "SELECT name FROM sqlite_schema WHERE name IN ('a', 'b', 'c') ORDER BY 1") == [
        ("a",), ("b",), ("c",)
    ]  # fmt: skip
    current = Migrations.read(folder).status(database)
    assert all(entry.state is State.APPLIED and len(entry.applied_at) == 19 for entry in current.entries)
    before = database.path.read_bytes()
    assert apply(database, folder) == []
    assert database.path.read_bytes() == before


def test_the_history_is_wranglers(database: LocalDatabase, folder: Path) -> None:
    """The history table has wrangler's columns, and wrangler's insert of a name alone works on it."""
    write(folder, BASIC)
    apply(database, folder, to="1")
    columns = ask(database.path, f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{HISTORY}')")
    assert columns == [("id", "INTEGER", 0, 1), ("name", "TEXT", 0, 0), ("applied_at", "TIMESTAMP", 1, 0)]
    execute(database.path, f"CREATE TABLE b (x); INSERT INTO {HISTORY} (name) VALUES ('0002_b.sql')")
    assert apply(database, folder) == ["0003_c.sql"]
    assert set(states(database, folder).values()) == {State.APPLIED}


@pytest.mark.parametrize("last", ["0002", "2", "0002_b", "0002_b.sql"])
def test_stopping_after_one(database: LocalDatabase, folder: Path, last: str) -> None:
    """`to` names the last migration that is applied."""
    write(folder, BASIC)
    assert apply(database, folder, to=last) == ["0001_a.sql", "0002_b.sql"]
    assert states(database, folder)["0003_c.sql"] is State.PENDING


def test_every_misfit_is_told_and_nothing_runs(database: LocalDatabase, folder: Path) -> None:
    """Edited, renamed, missing and out-of-order migrations are all told with advice; nothing runs."""
    write(folder, {**BASIC, "0004_d.sql": "CREATE TABLE d (x);", "0006_f.sql": "CREATE TABLE f (x);"})
    apply(database, folder)
    (folder / "0001_a.sql").write_text("CREATE TABLE a (x, y);")
    (folder / "0002_b.sql").rename(folder / "0002_better.sql")
    (folder / "0003_c.sql").unlink()
    write(folder, {"0005_e.sql": "CREATE TABLE e (x);", "0007_g.sql": "CREATE TABLE g (x);"})
    assert states(database, folder) == {
        "0001_a.sql": State.EDITED,
        "0002_better.sql": State.RENAMED,
        "0003_c.sql": State.MISSING,
        "0004_d.sql": State.APPLIED,
        "0005_e.sql": State.OUT_OF_ORDER,
        "0006_f.sql": State.APPLIED,
        "0007_g.sql": State.PENDING,
    }
    before = dumped(database.path)
    with pytest.raises(Refused) as refusal:
        apply(database, folder)
    for said in ("0001_a.sql is edited", "0002_better.sql is renamed", "0003_c.sql is missing",
                 "0005_e.sql is out of order", "0002_b.sql", "--allow-out-of-order", "--forget"):  # fmt: skip
        assert said in str(refusal.value)
    assert dumped(database.path) == before


def test_marking_puts_every_misfit_right(database: LocalDatabase, folder: Path) -> None:
    """Marked, an edited file is accepted and a renamed one gets its new name; a lost one is forgotten."""
    write(folder, BASIC)
    apply(database, folder)
    (folder / "0001_a.sql").write_text("CREATE TABLE a (x); -- edited")
    (folder / "0002_b.sql").rename(folder / "0002_better.sql")
    (folder / "0003_c.sql").unlink()
    found = migrations.discover(folder)
    assert "Accepted" in Migrations(found).mark(database, "1")
    assert "new name" in Migrations(found).mark(database, "0002_better")
    assert "Forgot" in Migrations(found).mark(database, "0003_c.sql", forget=True)
    assert states(database, folder) == {"0001_a.sql": State.APPLIED, "0002_better.sql": State.APPLIED}
    assert recorded(database.path) == ["0001_a.sql", "0002_better.sql"]
    with pytest.raises(Refused, match="forgotten, it would run once more"):
        Migrations(found).mark(database, "0001_a.sql", forget=True)


def test_marking_a_pending_one_runs_nothing(database: LocalDatabase, folder: Path) -> None:
    """A pending migration that is marked is recorded, and its statements are not run."""
    write(folder, {"0001_a.sql": "CREATE TABLE a (x); INSERT INTO a VALUES (1);"})
    execute(database.path, "CREATE TABLE a (x)")
    Migrations.read(folder).mark(database, "0001")
    assert recorded(database.path) == ["0001_a.sql"]
    assert ask(database.path, "SELECT 1 FROM a") == []
    assert apply(database, folder) == []


def test_a_renamed_one_of_two_equal_files(database: LocalDatabase, folder: Path) -> None:
    """Of two migrations with the same content, only the renamed one gets a new name."""
    write(folder, {"0001_a.sql": "-- nothing\n", "0002_b.sql": "-- nothing\n"})
    apply(database, folder)
    (folder / "0002_b.sql").rename(folder / "0002_c.sql")
    Migrations.read(folder).mark(database, "2")
    assert states(database, folder) == {"0001_a.sql": State.APPLIED, "0002_c.sql": State.APPLIED}
    assert recorded(database.path) == ["0001_a.sql", "0002_c.sql"]
    (folder / "0001_a.sql").write_text("SELECT 1;\n")
    assert states(database, folder)["0001_a.sql"] is State.EDITED


def test_out_of_order_can_be_insisted_on(database: LocalDatabase, folder: Path) -> None:
    """With consent a migration is applied behind one that sorts after it."""
    write(folder, {"0001_a.sql": "CREATE TABLE a (x)", "0003_c.sql": "CREATE TABLE c (x)"})
    apply(database, folder)
    write(folder, {"0002_b.sql": "CREATE TABLE b (x)"})
    assert apply(database, folder, allow_out_of_order=True) == ["0002_b.sql"]
    assert set(states(database, folder).values()) == {State.APPLIED}


def test_status_writes_nothing(tmp_path: Path, folder: Path) -> None:
    """Asking for the status changes no byte of the file, with or without a history."""
    write(folder, BASIC)
    path = tmp_path / "ledger.sqlite"
    execute(path, "CREATE TABLE t (x)")
    before = path.read_bytes()
    with closing(LocalDatabase(path)) as database:
        assert set(states(database, folder).values()) == {State.PENDING}
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["ledger.sqlite"]


# -------------------------------------------------------------------------------------------- failing


FAILURES = {
    "syntax": "CREATE TABLE n (x);\n\nCREATE TABEL m (x);\n",
    "a missing table": "CREATE TABLE n (x);\n\nINSERT INTO nowhere VALUES (1);\n",
    "a constraint": "CREATE TABLE n (x UNIQUE);\n\nINSERT INTO n SELECT x FROM a;\n",
    "a conflict that rolls back": "CREATE TABLE n (x UNIQUE);\n\nINSERT OR ROLLBACK INTO n SELECT x"
    " FROM a;\n",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in FAILURES.items()])
def test_a_failing_migration_leaves_nothing(database: LocalDatabase, folder: Path, text: str) -> None:
    """A migration that fails is undone and told with file, line and statement; earlier ones stay."""
    write(folder, {"0001_a.sql": "CREATE TABLE a (x); INSERT INTO a VALUES (1), (1);"})
    apply(database, folder)
    write(
        folder,
        {"0002_b.sql": "CREATE TABLE b (x);", "0003_bad.sql": text, "0004_d.sql": "CREATE TABLE d (x);"},
    )
    with pytest.raises(MigrationFailed) as failure:
        apply(database, folder)
    assert (failure.value.file.name, failure.value.line) == ("0003_bad.sql", 3)
    assert "0003_bad.sql failed in line 3" in str(failure.value)
    assert text.splitlines()[2].rstrip(";") in str(failure.value)
    assert [one.name for one in failure.value.applied] == ["0002_b.sql"]
    after = dumped(database.path)
    (folder / "0003_bad.sql").unlink()
    (folder / "0004_d.sql").unlink()
    assert recorded(database.path) == ["0001_a.sql", "0002_b.sql"]
    assert apply(database, folder) == []
    assert dumped(database.path) == after


def test_a_failure_changes_no_byte(database: LocalDatabase, folder: Path) -> None:
    """The file is byte for byte as it was before the migration that failed."""
    write(folder, {"0001_a.sql": "CREATE TABLE a (x UNIQUE); INSERT INTO a VALUES (1);"})
    apply(database, folder)
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.path.read_bytes()
    write(
        folder, {"0002_b.sql": "UPDATE a SET x = x + 1; INSERT INTO a VALUES (5); INSERT INTO a VALUES (2);"}
    )
    with pytest.raises(MigrationFailed, match="UNIQUE"):
        apply(database, folder)
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert database.path.read_bytes() == before


@pytest.mark.parametrize(
    "word", ["BEGIN", "begin transaction", "COMMIT", "END", "ROLLBACK", "SAVEPOINT s", "RELEASE s"]
)
@pytest.mark.parametrize("strict", [True, False])
def test_transaction_words_are_refused(
    database: LocalDatabase, folder: Path, word: str, strict: bool
) -> None:
    """A migration that opens or closes transactions is refused before anything runs, with its line."""
    write(
        folder,
        {"0001_a.sql": "CREATE TABLE a (x);", "0002_b.sql": f"CREATE TABLE b (x);\n-- now\n/* */ {word};"},
    )
    with pytest.raises(Refused, match=rf"0002_b\.sql says {word.split()[0].upper()} in line 3"):
        apply(database, folder, strict=strict)
    assert ask(database.path, "SELECT count(*) FROM sqlite_schema") == [(0,)]


def test_a_deferred_key_that_fails_in_the_end_is_told(database: LocalDatabase, folder: Path) -> None:
    """A migration whose own rows refer to nothing fails with a sentence, and leaves nothing."""
    write(
        folder,
        {"0001_a.sql": "CREATE TABLE p (id INTEGER PRIMARY KEY);"
         "CREATE TABLE c (p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (7);"},
    )  # fmt: skip
    with pytest.raises(MigrationFailed, match=r"refer to nothing \(c to p\)"):
        apply(database, folder)
    assert ask(database.path, "SELECT count(*) FROM sqlite_schema") == [(0,)]


def test_a_statement_too_large_for_d1_is_told(database: LocalDatabase, folder: Path) -> None:
    """A migration that compiles to more than D1 takes fails with a sentence."""
    rows = ",".join(["(1,2,3,4,5)"] * 6000)
    write(
        folder,
        {"0001_a.sql": f"CREATE TABLE a (p, q, r, s, t); INSERT INTO a SELECT * FROM (VALUES {rows});"},
    )
    with pytest.raises(MigrationFailed, match="NOMEM"):
        apply(database, folder)


def test_triggers_and_awkward_texts_run_as_they_stand(database: LocalDatabase, folder: Path) -> None:
    """Triggers with CASE, semicolons in texts, CRLF and a missing last semicolon are no trouble."""
    script = (
        "\ufeffCREATE TABLE a (x TEXT DEFAULT ';', \"b;c\");\r\n"
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\r\n  UPDATE a SET \"b;c\" = CASE WHEN x = ';'"
        " THEN 'end;' ELSE 0"
        " END;\r\n  SELECT 1; -- END;\r\nEND;\r\nINSERT INTO a (x) VALUES (';') -- no semicolon; here"
    )
    write(folder, {"0001_a.sql": script})
    apply(database, folder)
    assert ask(database.path, 'SELECT x, "b;c" FROM a') == [(";", "end;")]


def test_a_live_ledger_is_adopted(tmp_path: Path) -> None:
    """A ledger that the workers made, with no history, gets one, and every row is still there."""
    path = tmp_path / "live.sqlite"
    execute(path, (OURS / "0001_live_ledger.sql").read_text())
    with opened(path) as connection:
        for number in range(50):
            connection.execute(
                "INSERT INTO trades (id, timestamp, exchange, symbol, action, status) VALUES (?, 1,"
                " 'bybit', 'B', 'LONG', 'OK')",
                [f"t{number}"],
            )
    rows = ask(path, "SELECT id, timestamp, created_at FROM trades ORDER BY id")
    with closing(LocalDatabase(path)) as database:
        assert apply(database, OURS) == ["0001_live_ledger.sql", "0002_runbook_columns.sql"]
    assert ask(path, "SELECT id, timestamp, created_at FROM trades ORDER BY id") == rows
    assert ask(path, "SELECT DISTINCT fee, order_id FROM trades") == [(0.0, None)]


# --------------------------------------------------------------------------------------------- guards


FAMILY = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE child (
  id INTEGER PRIMARY KEY, parent INTEGER DEFAULT 1 REFERENCES parent(id) ON DELETE {action}
);
INSERT INTO parent VALUES (1, 'one'), (2, 'two');
INSERT INTO child (parent) VALUES (2), (2), (1), (NULL);
"""
REBUILD = """
CREATE TABLE parent_new (id INTEGER PRIMARY KEY, name TEXT, extra);
INSERT INTO parent_new (id, name) SELECT id, name FROM parent;
DROP TABLE parent;
ALTER TABLE parent_new RENAME TO parent;
"""
LOSSES = {
    "a rebuild that cascades": ("CASCADE", REBUILD, "child: 3 rows gone"),
    "a rebuild that sets NULL": ("SET NULL", REBUILD, "child.parent: 3 rows emptied"),
    "a dropped table with rows": ("NO ACTION", "DROP TABLE child;", "child: 4 rows gone"),
    "deleted rows": (
        "NO ACTION",
        "DELETE FROM child WHERE parent = 2;",
        "child: 2 rows gone",
    ),
    "a default that takes a key's place": (
        "SET DEFAULT",
        "PRAGMA defer_foreign_keys = ON; DELETE FROM parent WHERE id = 2; INSERT INTO parent VALUES"
        " (3, 'three');",
        "child.parent: 2 rows changed",
    ),
    "a swap that drops rows": (
        "NO ACTION",
        "ALTER TABLE child RENAME TO old; CREATE TABLE child (id INTEGER PRIMARY KEY, parent);"
        "INSERT INTO child SELECT * FROM old WHERE parent = 1; DROP TABLE old;",
        "child: 3 rows gone",
    ),
}


@pytest.mark.parametrize(
    ("action", "text", "told"), [pytest.param(*case, id=name) for name, case in LOSSES.items()]
)
def test_losses_are_noticed(database: LocalDatabase, folder: Path, action: str, text: str, told: str) -> None:
    """A migration that would lose rows or keys is undone, with tables and counts, unless that is allowed."""
    write(folder, {"0001_a.sql": FAMILY.format(action=action)})
    apply(database, folder)
    before = dumped(database.path)
    write(folder, {"0002_b.sql": text})
    with pytest.raises(MigrationFailed) as failure:
        apply(database, folder)
    assert told in str(failure.value)
    assert "--allow-data-loss" in str(failure.value)
    assert dumped(database.path) == before
    assert apply(database, folder, consent=consent(data_loss=True)) == ["0002_b.sql"]
    assert ask(database.path, "SELECT name FROM sqlite_schema WHERE name LIKE 'hoox_guard%'") == []


HARMLESS = {
    "a rename": "ALTER TABLE parent RENAME TO people; ALTER TABLE child RENAME COLUMN parent TO person;",
    "a rename to other capitals": "ALTER TABLE parent RENAME TO p; ALTER TABLE p RENAME TO PARENT;",
    "a swap": (
        "ALTER TABLE child RENAME TO old; CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER"
        " REFERENCES parent(id)); INSERT INTO child SELECT * FROM old; DROP TABLE old;"
    ),
    "a rebuild in other capitals": (
        "CREATE TABLE n (id INTEGER PRIMARY KEY, parent REFERENCES parent(id)); INSERT INTO n"
        " SELECT * FROM child;"
        "DROP TABLE child; ALTER TABLE n RENAME TO Child;"
    ),
    "an empty table dropped": "CREATE TABLE e (x); DROP TABLE e; DROP TABLE empty;",
    "a dropped key column": "ALTER TABLE parent DROP COLUMN name;",
    "more rows": "INSERT INTO parent VALUES (3, 'three'); DELETE FROM parent WHERE id = 1 AND name = 'x';",
    "a renamed search table": "ALTER TABLE search RENAME TO found;",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HARMLESS.items()])
def test_what_loses_nothing_passes(database: LocalDatabase, folder: Path, text: str) -> None:
    """Renaming, swapping in a copy, and dropping what is empty are no loss."""
    start = FAMILY.format(action="NO ACTION") + (
        "CREATE TABLE empty (x); CREATE VIRTUAL TABLE search USING fts5(word); INSERT INTO search"
        " VALUES ('a');"
    )
    write(folder, {"0001_a.sql": start})
    apply(database, folder)
    write(folder, {"0002_b.sql": text})
    assert apply(database, folder) == ["0002_b.sql"]


def test_new_violations_of_keys_are_noticed(database: LocalDatabase, folder: Path) -> None:
    """A migration after which rows refer to nothing is undone; older violations do not count."""
    write(folder, {"0001_a.sql": FAMILY.format(action="NO ACTION")})
    apply(database, folder)
    with opened(database.path) as connection:
        connection.execute("INSERT INTO child (parent) VALUES (77)")
    write(
        folder,
        {
            "0002_b.sql": "CREATE TABLE grandchild (c INTEGER REFERENCES child(id)); INSERT INTO"
            " child (parent) VALUES (1);"
        },
    )
    assert apply(database, folder) == ["0002_b.sql"]
    before = dumped(database.path)
    rebuild = (
        "CREATE TABLE n (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id)); INSERT INTO"
        " n SELECT id,"
        " parent + 50 FROM child; DROP TABLE"
        " child; ALTER TABLE n RENAME TO child;"
    )
    write(folder, {"0003_c.sql": "PRAGMA defer_foreign_keys = ON; " + rebuild})
    with pytest.raises(MigrationFailed, match=r"refer to nothing \(child to parent\)"):
        apply(database, folder)
    assert dumped(database.path) == before


def test_guards_stand_any_name(database: LocalDatabase, folder: Path) -> None:
    """Tables and columns with quotes, semicolons and percent signs in their names are guarded and told."""
    table, column = '"it\'s ""%s""; --"', "\"a 'b' %\""
    write(
        folder,
        {
            "0001_it's.sql": f"CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE {table}"
            f" ({column} INTEGER"
            f" REFERENCES p(id) ON DELETE SET NULL); INSERT INTO p VALUES (1); INSERT INTO {table}"
            f" VALUES (1);",
            "0002_l'oss.sql": "DELETE FROM p;",
        },
    )
    apply(database, folder, to="1")
    with pytest.raises(MigrationFailed) as failure:
        apply(database, folder)
    assert "0002_l'oss.sql would lose rows" in str(failure.value)
    assert recorded(database.path) == ["0001_it's.sql"]


def test_a_vacuumed_ledger_with_a_search_table_migrates(database: LocalDatabase, folder: Path) -> None:
    """After VACUUM, which puts virtual tables behind their shadow tables, migrations still apply."""
    write(
        folder,
        {"0001_a.sql": "CREATE VIRTUAL TABLE search USING fts5(word); INSERT INTO search VALUES ('a');"},
    )
    apply(database, folder)
    database.connection.execute("VACUUM")
    write(folder, {"0002_b.sql": "INSERT INTO search VALUES ('b');"})
    assert apply(database, folder) == ["0002_b.sql"]


def test_rows_may_refer_to_what_the_ledger_holds(database: LocalDatabase, folder: Path) -> None:
    """A migration may insert rows that satisfy keys only by the rows that are there already."""
    start = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p INTEGER NOT NULL REFERENCES p(id));"
    write(folder, {"0001_a.sql": start + "INSERT INTO p VALUES (5);"})
    apply(database, folder)
    write(folder, {"0002_b.sql": "INSERT INTO c VALUES (5); INSERT INTO c VALUES ((SELECT max(id) FROM p));"})
    assert apply(database, folder) == ["0002_b.sql"]
    assert ask(database.path, "SELECT p FROM c") == [(5,), (5,)]


def test_a_migration_may_look_at_the_history(database: LocalDatabase, folder: Path) -> None:
    """A migration can read the history, also in the run that makes it."""
    write(
        folder,
        {"0001_a.sql": "CREATE TABLE a (x);", "0002_b.sql": f"INSERT INTO a SELECT name FROM {HISTORY};"},
    )
    apply(database, folder)
    assert ask(database.path, "SELECT x FROM a") == [("0001_a.sql",)]


# -------------------------------------------------------------------------- two at once, and killed ones


def start(path: Path, folder: Path) -> subprocess.Popen[str]:
    """Start a process that will migrate once it is given a line."""
    return subprocess.Popen(
        [*program("migrate"), path, folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", range(3))
def test_two_runs_at_once(tmp_path: Path, folder: Path, number: int) -> None:
    """Two runs at the same moment apply every migration once and in order, and both end well."""
    names = [f"{place:04d}_step.sql" for place in range(1, 16)]
    write(
        folder,
        {
            name: f"CREATE TABLE t{place} (x); INSERT INTO t{place} VALUES (1);"
            for place, name in enumerate(names)
        },
    )
    path = tmp_path / f"race{number}.sqlite"
    with closing(LocalDatabase(path, create=True)):
        runs = [start(path, folder), start(path, folder)]
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
        for run in runs:
            assert run.stdin is not None
            run.stdin.write("\n")
            run.stdin.flush()
        answers = [run.communicate(timeout=SECONDS) for run in runs]
    assert [(run.returncode, error) for run, (_, error) in zip(runs, answers, strict=True)] == [
        (0, ""),
        (0, ""),
    ]
    assert sorted(" ".join(output for output, _ in answers).split()) == names
    assert recorded(path) == names
    assert all(ask(path, f"SELECT count(*) FROM t{place}") == [(1,)] for place in range(15))


def test_a_killed_run_leaves_a_whole_state(tmp_path: Path, folder: Path) -> None:
    """However far a run came when it was killed, the ledger is as between two migrations, and can go on."""
    files = {
        f"{place:04d}_x.sql": f"CREATE TABLE t{place} (x);"
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO"
        f" t{place} SELECT i FROM n;"
        f"CREATE INDEX i{place} ON t{place} (x);"
        for place in range(1, 4)
    }
    write(folder, files)
    whole = []
    complete = tmp_path / "complete.sqlite"
    with closing(LocalDatabase(complete, create=True)) as database:
        whole.append(tables(complete))
        for name in files:
            apply(database, folder, to=name)
            whole.append(tables(complete))
    chance = random.Random(5)
    seen = set()
    for number in range(5):
        path = tmp_path / f"killed{number}.sqlite"
        LocalDatabase(path, create=True).close()
        moment = chance.randrange(1, 900)
        done = subprocess.run([*program("killed_migration"), path, folder, str(moment)], timeout=SECONDS)
        assert done.returncode in {0, -signal.SIGKILL}
        seen.add(done.returncode)
        assert tables(path) in whole
        assert ask(path, "PRAGMA integrity_check") == [("ok",)]
        with closing(LocalDatabase(path)) as database:
            apply(database, folder)
        assert tables(path) == whole[-1]
    assert -signal.SIGKILL in seen


def tables(path: Path) -> list[tuple[str, int]]:
    """Give the tables with their row counts, and the indexes, apart from the tools' own."""
    found = ask(path, "SELECT type, name FROM sqlite_schema WHERE name GLOB '[ti][0-9]*' ORDER BY name")
    return [
        (name, ask(path, f"SELECT count(*) FROM {name}")[0][0] if kind == "table" else 0)
        for kind, name in found
    ]


# ------------------------------------------------------------------------------------------- property

GOOD = (
    "CREATE TABLE {n} (id INTEGER PRIMARY KEY, x TEXT);",
    "CREATE TABLE {n} (x); INSERT INTO {n} VALUES ('a;b'), (NULL);",
    "CREATE TABLE {n} AS SELECT 1 AS x; CREATE INDEX i_{n} ON {n} (x);",
    "-- nothing at all\n",
)
FAULTS = (
    "INSERT INTO missing VALUES (1);",
    "SELECT FROM;",
    "COMMIT;",
    "DELETE FROM base;",
    "DROP TABLE base;",
    "INSERT INTO base VALUES (1);",
    "SELECT nofunction();",
)


@examples(12)
@given(
    st.lists(st.tuples(st.sampled_from(GOOD), st.none() | st.sampled_from(FAULTS)), min_size=1, max_size=5)
)
def test_faults_leave_a_state_of_a_run_without_them(steps: Sequence[tuple[str, str | None]]) -> None:
    """Whatever fails, the ledger is in a state that a run without faults passes through."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        good, bad = root / "good", root / "bad"
        base = {"0000_base.sql": "CREATE TABLE base (x PRIMARY KEY); INSERT INTO base VALUES (1);"}
        sound = {f"{n:04d}_m.sql": text.format(n=f"t{n}") for n, (text, _) in enumerate(steps, 1)}
        write(good, base | sound)
        write(bad, base | {name: text + (steps[n][1] or "") for n, (name, text) in enumerate(sound.items())})
        passed = [state(root / "none.sqlite")]
        with closing(LocalDatabase(root / "good.sqlite", create=True)) as database:
            for migration in migrations.discover(good):
                apply(database, good, to=migration.name)
                passed.append(state(database.path))
        with closing(LocalDatabase(root / "bad.sqlite", create=True)) as database:
            apply(database, bad, to="0000_base.sql")  # Its row is lost only to another run.
            with pytest.raises(HooxError) if any(fault for _, fault in steps) else nullcontext():
                apply(database, bad)
            assert state(database.path) in passed
            apply(database, good)
            assert state(database.path) == passed[-1]


def state(path: Path) -> tuple[object, ...]:
    """Give all of a ledger but the times and checksums of its history."""
    if not path.exists():
        return ((), (), ())
    objects = ask(
        path,
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND (name GLOB '*t[0-9]' OR name = 'base')"
        " ORDER BY name",
    )
    rows = [ask(path, f"SELECT * FROM {name}") for name, sql in objects if sql.startswith("CREATE TABLE")]
    history = ask(path, "SELECT 1 FROM sqlite_schema WHERE name = 'd1_migrations'")
    return (tuple(objects), tuple(map(tuple, rows)), tuple(recorded(path) if history else ()))
