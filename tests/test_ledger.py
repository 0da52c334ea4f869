"""A ledger as a whole: listed, described, wiped, filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks import ledger, migrations
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations import Migrations
from tests.support import ROOT
from tests.support.sqlite_files import ask, contents, dumped, execute

HISTORY = "d1_migrations"
OURS = ROOT / "migrations"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[LocalDatabase]:
    """An empty ledger."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as opened:
        yield opened


def test_tables_are_listed_with_their_rows(database: LocalDatabase) -> None:
    """Tables come by name with their counts, where they can be counted; internal ones only on demand."""
    execute(
        database.path,
        'CREATE TABLE b (x); INSERT INTO b VALUES (1), (2); CREATE TABLE "a ""%"";" (id INTEGER'
        " PRIMARY KEY AUTOINCREMENT);"
        "CREATE TABLE _cf_METADATA (key INTEGER PRIMARY KEY, value BLOB); CREATE VIEW v AS SELECT 1;"
        "CREATE VIRTUAL TABLE f USING fts5(w); INSERT INTO f VALUES ('x'); CREATE TABLE d1_migrations (name);"
        "CREATE TABLE hoox_checksums (name)",
    )
    assert [(found.name, found.rows) for found in ledger.list_tables(database, HISTORY)] == [
        ('a "%";', 0),
        ("b", 2),
        ("f", 1),
    ]
    everything = {found.name: found for found in ledger.list_tables(database, HISTORY, internal=True)}
    assert everything["_cf_METADATA"].rows is None
    assert {"sqlite_sequence", "f_data", "d1_migrations", "hoox_checksums"} <= set(everything)
    assert [name for name, found in everything.items() if not found.internal] == ['a "%";', "b", "f"]


def test_many_tables_are_counted(database: LocalDatabase) -> None:
    """A ledger may have more tables than one statement may have columns."""
    execute(
        database.path,
        "".join(f"CREATE TABLE t{n:03} (x); INSERT INTO t{n:03} VALUES (1);" for n in range(205)),
    )
    assert [found.rows for found in ledger.list_tables(database, HISTORY)] == [1] * 205


def test_the_description_is_one_fixed_form(database: LocalDatabase, tmp_path: Path) -> None:
    """Two ledgers with the same schema are described alike, whatever the order, spacing and tools' tables."""
    execute(
        database.path,
        "CREATE TABLE b (x INTEGER, y TEXT); CREATE TABLE a(id INTEGER PRIMARY KEY,   b REFERENCES b (x) );"
        "CREATE INDEX i ON a (b); CREATE VIRTUAL TABLE f USING fts5(w); CREATE TABLE d1_migrations (x)",
    )
    with closing(LocalDatabase(tmp_path / "other.sqlite", create=True)) as other:
        execute(
            other.path,
            "CREATE VIRTUAL TABLE f USING fts5(w); CREATE TABLE a (\n  id INTEGER PRIMARY KEY, --"
            " the id\n  b REFERENCES b (x)\n);"
            "CREATE INDEX i ON a (b); CREATE TABLE b (x INTEGER,y TEXT)",
        )
        texts = [ledger.describe(each.schema(), HISTORY) for each in (database, other)]
    assert texts[0] == texts[1]
    assert texts[0] == (
        "CREATE TABLE a (\n  id INTEGER PRIMARY KEY,\n  b REFERENCES b (x)\n);\nCREATE INDEX i ON a (b);\n\n"
        "CREATE TABLE b (\n  x INTEGER,\n  y TEXT\n);\n\nCREATE VIRTUAL TABLE f USING fts5(w);\n"
    )


TANGLES = {
    "a chain": "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p ON DELETE RESTRICT);"
    "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1);",
    "a ring": "CREATE TABLE p (id INTEGER PRIMARY KEY, c NOT NULL REFERENCES c DEFERRABLE INITIALLY"
    " DEFERRED);"
    "CREATE TABLE c (id INTEGER PRIMARY KEY, p NOT NULL REFERENCES p ON DELETE RESTRICT);"
    "PRAGMA foreign_keys = OFF; INSERT INTO p VALUES (1, 1); INSERT INTO c VALUES (1, 1);",
    "itself": "CREATE TABLE p (id INTEGER PRIMARY KEY, up REFERENCES p ON DELETE RESTRICT);"
    "INSERT INTO p VALUES (1, 1), (2, 1);",
    "views and triggers": "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT * FROM p;"
    "CREATE TRIGGER t BEFORE DELETE ON p BEGIN SELECT raise(ABORT, 'never'); END; INSERT INTO p VALUES (1);"
    "CREATE TRIGGER u INSTEAD OF INSERT ON v BEGIN SELECT 1; END;",
    "search": "CREATE VIRTUAL TABLE f USING fts5(w); INSERT INTO f VALUES ('x'); CREATE VIRTUAL TABLE r USING"
    " rtree(id, a, b); INSERT INTO r VALUES (1, 2, 3);",
    "names": 'CREATE TABLE "it\'s ""a""; --" (id INTEGER PRIMARY KEY AUTOINCREMENT);'
    'INSERT INTO "it\'s ""a""; --" VALUES (7); CREATE TABLE [order] (x); INSERT INTO [order] VALUES (1);',
}


@pytest.mark.parametrize("script", [pytest.param(script, id=name) for name, script in TANGLES.items()])
@pytest.mark.parametrize("strict", [True, False])
def test_a_reset_ledger_is_as_new(tmp_path: Path, script: str, strict: bool) -> None:
    """Whatever was in a ledger, after a reset it is migrated and empty; D1's own tables are as they were."""
    path, fresh = tmp_path / "ledger.sqlite", tmp_path / "fresh.sqlite"
    execute(
        path,
        script + "CREATE TABLE _cf_METADATA (key INTEGER PRIMARY KEY, value); INSERT INTO _cf_METADATA"
        " VALUES (1, 'b');",
    )
    found = migrations.discover(OURS)
    with closing(LocalDatabase(fresh, create=True)) as database:
        Migrations(found).apply(database)
    with closing(LocalDatabase(path, strict=strict)) as database:
        status = ledger.reset(database, Migrations(found, strict=strict))
    assert status.version == found[-1].name
    assert ask(path, "SELECT * FROM _cf_METADATA") == [(1, "b")]
    execute(path, "DROP TABLE _cf_METADATA")
    assert contents(path)["objects"] == contents(fresh)["objects"]
    assert ask(path, "SELECT name FROM d1_migrations ORDER BY id") == [(one.name,) for one in found]
    assert all(count.rows == 0 for count in _counts(path))


def test_a_search_table_that_is_filled_by_a_migration_is_reset(tmp_path: Path) -> None:
    """FTS5 has statements open in a transaction that has written, and the rules are put on all the same."""
    (tmp_path / "0001_a.sql").write_text("CREATE VIRTUAL TABLE f USING fts5(w); INSERT INTO f VALUES ('x');")
    found = migrations.discover(tmp_path)
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        Migrations(found).apply(database)
        database.query("INSERT INTO f VALUES ('y')", write=True)
        with database.holding():
            ledger.reset(database, Migrations(found))
        assert list(database.query("SELECT w FROM f")) == [("x",)]


def _counts(path: Path) -> list[ledger.TableCount]:
    with closing(LocalDatabase(path)) as database:
        return ledger.list_tables(database, HISTORY)


@pytest.mark.parametrize("last", ["INSERT INTO u SELECT 1 UNION ALL SELECT 1;", "SELECT FROM;", "COMMIT;"])
@pytest.mark.parametrize("strict", [True, False])
def test_nothing_is_lost_when_a_reset_fails(
    database: LocalDatabase, tmp_path: Path, last: str, strict: bool
) -> None:
    """A reset whose migrations do not run leaves the ledger as it was."""
    execute(database.path, "CREATE TABLE t (x); INSERT INTO t VALUES (1);")
    before = dumped(database.path)
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_a.sql").write_text(f"CREATE TABLE u (x UNIQUE); {last}")
    with pytest.raises(HooxError), closing(LocalDatabase(database.path, strict=strict)) as other:
        ledger.reset(other, Migrations(migrations.discover(folder), strict=strict))
    assert dumped(database.path) == before
