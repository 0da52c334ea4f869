"""Ledgers of every kind that SQLite knows: listed, asked, migrated, saved, dumped and brought back whole."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks import backups, ledger
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.load import load
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from tests.support.sqlite_files import ask, contents, dumped, execute

TRADES = "CREATE TABLE trades (id TEXT PRIMARY KEY, note TEXT); INSERT INTO trades VALUES ('a', 'buy'), ('b', 'sell');"

KINDS = {
    "fts5": "CREATE VIRTUAL TABLE f USING fts5(w); INSERT INTO f (rowid, w) VALUES (3, 'one two'), (9, 'two');",
    "fts5 of another table": (
        "CREATE TABLE docs (id INTEGER PRIMARY KEY, w); INSERT INTO docs VALUES (3, 'one two'), (9, 'two');"
        "CREATE VIRTUAL TABLE f USING fts5(w, content='docs', content_rowid='id');"
        "INSERT INTO f (f) VALUES ('rebuild');"
        "CREATE TRIGGER i AFTER INSERT ON docs BEGIN INSERT INTO f (rowid, w) VALUES (new.id, new.w); END;"
    ),
    "fts5 of a table named as its own": (
        "CREATE TABLE f_content (id INTEGER PRIMARY KEY, w); INSERT INTO f_content VALUES (3, 'one two');"
        "CREATE VIRTUAL TABLE f USING fts5(w, content='f_content', content_rowid='id');"
        "INSERT INTO f (f) VALUES ('rebuild');"
    ),
    "fts5 without content": (
        "CREATE VIRTUAL TABLE f USING fts5(w, content=''); INSERT INTO f (rowid, w) VALUES (3, 'one two');"
    ),
    "fts4": "CREATE VIRTUAL TABLE f USING fts4(w); INSERT INTO f (docid, w) VALUES (3, 'one two'), (9, 'two');",
    "rtree": (
        "CREATE VIRTUAL TABLE r USING rtree(id, low, high, +note);"
        "INSERT INTO r VALUES (3, 1, 2, 'x'), (9, 3.5, 4, NULL);"
    ),
    "rowids": (
        "CREATE TABLE x (a); INSERT INTO x (rowid, a) VALUES (-5, 'm'), (3, 'n'), (9, 'o'), (9223372036854775807, 1);"
        "CREATE TABLE y (a, rowid); INSERT INTO y (oid, a) VALUES (7, 'p'), (8, 'q');"
        "CREATE TABLE z (a TEXT PRIMARY KEY); INSERT INTO z (rowid, a) VALUES (2, 'b'), (5, 'a');"
        "CREATE TABLE d (a INTEGER PRIMARY KEY DESC); INSERT INTO d (rowid, a) VALUES (2, 9), (5, 1);"
        "CREATE TABLE g (a, b AS (a || '!')); INSERT INTO g (rowid, a) VALUES (4, 'c'), (6, 'd');"
    ),
    "generated": (
        "CREATE TABLE x (a, b AS (a * 2), c AS (a * 3) STORED); INSERT INTO x (a) VALUES (1), (2.5), (NULL);"
        "CREATE INDEX x_b ON x (b);"
    ),
    "UTF-16": "CREATE TABLE x (a); INSERT INTO x VALUES ('ünï 😀'), (X'00ff'), (1e300), (9007199254740993);",
    "strict and without rowid": (
        "CREATE TABLE x (a TEXT PRIMARY KEY, b ANY, c REAL) STRICT, WITHOUT ROWID;"
        "INSERT INTO x VALUES ('k', '007', 1), ('l', 7, -0.0);"
    ),
    "sequences": (
        "CREATE TABLE x (id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO x (a) VALUES (1), (2);"
        "DELETE FROM x WHERE id = 2; CREATE TABLE w (id INTEGER PRIMARY KEY AUTOINCREMENT);"
    ),
}


def make(path: Path, kind: str) -> Path:
    """Make a ledger of a kind."""
    encoding = "PRAGMA encoding = 'UTF-16le';" if kind == "UTF-16" else ""
    execute(path, f"{encoding} PRAGMA journal_mode = WAL; {TRADES} {KINDS[kind]}")
    return path


def rowids(path: Path) -> dict[str, list[Any]]:
    """Give the rowid of every row, of those tables that have them."""
    query = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type <> 'view' AND NOT wr"
    found = {}
    for (name,) in ask(path, query):
        taken = {row[0].lower() for row in ask(path, f"SELECT name FROM pragma_table_xinfo('{name}')")}
        alias = next(alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken)
        if not name.startswith("sqlite_"):
            found[name] = ask(path, f"SELECT {alias} FROM {name} ORDER BY 1")
    return found


def words(path: Path, kind: str) -> list[Any]:
    """Give what a full-text search or a search for a range finds."""
    if kind.startswith("fts"):
        return ask(path, "SELECT rowid FROM f WHERE f MATCH 'two' ORDER BY rowid")
    return ask(path, "SELECT id, note FROM r WHERE low < 3") if kind == "rtree" else []


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """One kind of ledger after the other."""
    return str(request.param)


def test_it_is_listed_and_asked(tmp_path: Path, kind: str) -> None:
    """All tables are listed with their rows, and a query that reads gets the rows that SQLite has."""
    path = make(tmp_path / "ledger.sqlite", kind)
    with closing(LocalDatabase(path)) as database:
        listed = [table for table in database.list_tables() if table.kind in {"table", "virtual"}]
        assert {"trades"} < {table.name for table in listed}
        for table in listed:
            if kind == "fts5 without content" and table.kind == "virtual":
                continue
            query = f"SELECT * FROM {table.name}"
            found = ask(path, query)
            assert (table.rows, list(database.query(query))) == (len(found), found)
            assert list(database.batch([Statement(query)], write=False)[0]) == found


def test_it_is_migrated(tmp_path: Path, kind: str) -> None:
    """A migration is tried on an empty ledger of its kind and applied to it, and touches no other table."""
    path = make(tmp_path / "ledger.sqlite", kind)
    unit = [
        Statement("ALTER TABLE trades ADD COLUMN fee REAL NOT NULL DEFAULT 0"),
        Statement("ALTER TABLE trades RENAME TO deals"),
        Statement("CREATE TABLE more (id INTEGER PRIMARY KEY)"),
    ]
    before = contents(path)["tables"]
    with closing(LocalDatabase(path)) as database:
        with closing(EmptyLedger(database.schema())) as empty:
            assert empty.missing == []
            empty.run(unit)
        database.batch(unit)
    after = contents(path)["tables"]
    assert {name: rows for name, rows in after.items() if name not in {"deals", "more"}} == {
        name: rows for name, rows in before.items() if name != "trades"
    }


def test_it_is_brought_back(tmp_path: Path, kind: str) -> None:
    """After a change of all that it has, a saved moment brings back every object, cell, rowid and number."""
    path = make(tmp_path / "ledger.sqlite", kind)
    execute(path, "PRAGMA user_version = 7; PRAGMA application_id = 11")
    before = contents(path), rowids(path), words(path, kind)
    with closing(LocalDatabase(path, strict=False)) as database:  # D1 has no FTS4 to drop.
        with database.holding() as held:
            mark = held.save(tmp_path, "point").mark
        names = [table.name for table in database.list_tables() if table.kind in {"table", "virtual"}]
        database.batch(
            [
                Statement(f"DROP TABLE {name}")
                for name in sorted(names, key=lambda name: name not in {"f", "r"})
            ]
        )
        execute(path, "CREATE TABLE other (x); PRAGMA user_version = 8")
        database.recover(tmp_path, mark)
    assert (contents(path), rowids(path), words(path, kind)) == before
    assert ask(path, "PRAGMA user_version") + ask(path, "PRAGMA application_id") == [(7,), (11,)]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


def test_it_is_backed_up_and_restored(tmp_path: Path, kind: str) -> None:
    """A dump of it, loaded and restored, has every object and cell, and finds the same."""
    path = make(tmp_path / "ledger.sqlite", kind)
    before = contents(path), words(path, kind)
    (tmp_path / "dump.sql").write_bytes(dumped(path))
    load(tmp_path / "dump.sql", tmp_path / "scratch.sqlite")
    assert (contents(tmp_path / "scratch.sqlite"), words(tmp_path / "scratch.sqlite", kind)) == before
    with closing(LocalDatabase(path)) as database:
        database.batch([Statement("DELETE FROM trades")])
        database.replace(tmp_path / "scratch.sqlite")
    assert (contents(path), words(path, kind)) == before


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    """A ledger is not replaced by one in another encoding, which SQLite cannot copy; nothing is changed."""
    path = make(tmp_path / "ledger.sqlite", "rtree")
    other = make(tmp_path / "other.sqlite", "UTF-16")
    before = contents(path)
    with closing(LocalDatabase(path)) as database, pytest.raises(Refused, match=r"are in UTF-8, .*are not"):
        database.replace(other)
    assert contents(path) == before


def test_a_module_that_is_not_here(tmp_path: Path) -> None:
    """A virtual table of an unknown module is listed without a number, and hinders nothing else."""
    path = make(tmp_path / "ledger.sqlite", "fts5")
    execute(
        path,
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema"
        " VALUES ('table', 'odd', 'odd', 0, 'CREATE VIRTUAL TABLE odd USING unheard_of(x)')",
    )
    with closing(LocalDatabase(path)) as database:
        assert {table.name: table.rows for table in database.list_tables()}["odd"] is None
        assert list(database.query("SELECT id FROM trades ORDER BY id")) == [("a",), ("b",)]
        with database.holding() as held:
            assert dict(held.tables) == {"f": 2, "trades": 2}


def test_a_symbolic_link_is_the_ledger(tmp_path: Path) -> None:
    """Through a symbolic link a ledger is changed, saved and brought back, and stays one file."""
    (tmp_path / "data").mkdir()
    path = make(tmp_path / "data" / "ledger.sqlite", "fts5")
    before = contents(path)
    (tmp_path / "link.sqlite").symlink_to(path)
    with closing(LocalDatabase(tmp_path / "link.sqlite")) as database:
        with database.holding() as held:
            mark = held.save(tmp_path, "point").mark
        database.batch([Statement("DELETE FROM trades")])
        assert ask(path, "SELECT count(*) FROM trades") == [(0,)]
        database.recover(tmp_path, mark)
        assert contents(path) == before
        assert (tmp_path / "link.sqlite").is_symlink()
        database.remove()
    assert list((tmp_path / "data").iterdir()) == []
    assert not (tmp_path / "link.sqlite").is_symlink()


def test_hard_links_and_rings_are_refused(tmp_path: Path) -> None:
    """A file of two names is refused, as SQLite keeps a log beside each, and so is a link to itself."""
    path = make(tmp_path / "ledger.sqlite", "fts5")
    os.link(path, tmp_path / "second.sqlite")
    for name in ("ledger.sqlite", "second.sqlite"):
        with pytest.raises(Refused, match="2 names"):
            LocalDatabase(tmp_path / name)
    (tmp_path / "second.sqlite").unlink()
    LocalDatabase(path).close()
    (tmp_path / "ring.sqlite").symlink_to(tmp_path / "ring.sqlite")
    for create in (False, True):
        with pytest.raises(Refused, match="cannot be opened"):
            LocalDatabase(tmp_path / "ring.sqlite", create=create)


# ------------------------------------------------------------------------------------- some tables of a file


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A ledger whose tables have columns that an older file of it lacks."""
    path = tmp_path / "ledger.sqlite"
    execute(
        path,
        "CREATE TABLE trades (id TEXT PRIMARY KEY, note TEXT, fee REAL NOT NULL DEFAULT 0, tag);"
        "INSERT INTO trades VALUES ('a', 'x', 0.1, X'00'), ('b', 'y', 0.2, 9007199254740993), ('gone', '', 1, '1');"
        "CREATE TABLE pairs (x, y, note, fee, PRIMARY KEY (x, y)); INSERT INTO pairs VALUES (1, 'k', '', 0.5);"
        "CREATE TABLE names (id TEXT COLLATE NOCASE PRIMARY KEY, fee); INSERT INTO names VALUES ('Ab', 3);"
        "CREATE TABLE keyless (a, fee); INSERT INTO keyless VALUES (1, 0.1);"
        "CREATE TABLE log (x); CREATE TRIGGER t AFTER INSERT ON trades BEGIN INSERT INTO log VALUES (new.id); END;"
        "CREATE VIRTUAL TABLE f USING fts5(note, content='trades'); INSERT INTO f (f) VALUES ('rebuild');",
    )
    return path


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The older file."""
    path = tmp_path / "older.sqlite"
    execute(
        path,
        "CREATE TABLE trades (id TEXT PRIMARY KEY, note TEXT); INSERT INTO trades VALUES ('a', 'old'), ('new', 'z');"
        "CREATE TABLE pairs (x, y, note, PRIMARY KEY (x, y)); INSERT INTO pairs VALUES (1, 'k', 'o'), (1, 'l', 'o');"
        "CREATE TABLE names (id TEXT COLLATE NOCASE PRIMARY KEY); INSERT INTO names VALUES ('aB');"
        "CREATE TABLE keyless (a); INSERT INTO keyless VALUES (1);",
    )
    return path


def test_newer_columns_keep_their_values(newer: Path, older: Path) -> None:
    """Rows of an older file keep what the ledger has in columns that came later; others have the default."""
    with closing(LocalDatabase(newer)) as database:
        database.replace(older, ["trades", "pairs", "names"])
    assert ask(newer, "SELECT id, note, fee, tag FROM trades ORDER BY id") == [
        ("a", "old", 0.1, b"\0"),
        ("new", "z", 0.0, None),
    ]
    assert ask(newer, "SELECT * FROM pairs ORDER BY y") == [(1, "k", "o", 0.5), (1, "l", "o", None)]
    assert ask(newer, "SELECT * FROM names") == [("aB", 3)]
    assert ask(newer, "SELECT count(*) FROM log") == [(0,)]
    assert ask(newer, "SELECT name FROM sqlite_schema WHERE type = 'trigger'") == [("t",)]


def test_a_full_text_index_follows_its_table(newer: Path, older: Path) -> None:
    """After the rows of a table were replaced, what indexes them finds the new ones and none that went."""
    with closing(LocalDatabase(newer)) as database:
        database.replace(older, ["trades"])
    assert ask(newer, "SELECT note FROM f WHERE f MATCH 'old'") == [("old",)]
    assert ask(newer, "SELECT note FROM f WHERE f MATCH 'y'") == []
    execute(newer, "INSERT INTO f (f, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize(
    ("change", "table", "words"),
    [
        ("", "keyless", "lacks the columns fee, and has no key"),
        ("DROP TABLE names; CREATE TABLE names (id INTEGER PRIMARY KEY)", "names", "has no key"),
        ("ALTER TABLE trades ADD COLUMN later", "trades", "lacks the columns later of the file"),
        ("", "elsewhere", "has no table elsewhere"),
    ],
)
def test_what_does_not_fit_is_refused(newer: Path, older: Path, change: str, table: str, words: str) -> None:
    """Where values of newer columns could not be kept, or columns have no place, nothing is changed."""
    execute(older, change)
    before = contents(newer)
    with closing(LocalDatabase(newer)) as database, pytest.raises(Refused, match=words):
        database.replace(older, [table])
    assert contents(newer) == before


def test_many_rows_keep_their_values_quickly(tmp_path: Path) -> None:
    """Keeping the values of 200,000 rows takes no longer than looking each of them up."""
    ledger, older = tmp_path / "ledger.sqlite", tmp_path / "older.sqlite"
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)"
    execute(
        ledger,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, a, fee); {rows} INSERT INTO t SELECT i, 'x', i / 7.0 FROM n;"
        f"CREATE TABLE u (id TEXT PRIMARY KEY, fee); {rows} INSERT INTO u SELECT 'k' || i, i FROM n",
    )
    execute(
        older,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE u (id TEXT PRIMARY KEY);"
        f"{rows} INSERT INTO t SELECT i, 'y' FROM n; {rows} INSERT INTO u SELECT 'k' || i FROM n",
    )
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with closing(LocalDatabase(ledger)) as database:
        database.connection.set_progress_handler(count, 1_000_000)
        database.replace(older, ["t", "u"])
    assert ask(ledger, "SELECT count(*) FROM t WHERE fee = id / 7.0 AND a = 'y'") == [(200000,)]
    assert ask(ledger, "SELECT count(*) FROM u WHERE id = 'k' || fee") == [(200000,)]
    assert steps < 200  # 500 of SQLite's steps a row; without an index it would be 200,000 of them


def test_a_table_that_is_only_named_like_a_part_of_an_index_is_listed(tmp_path: Path) -> None:
    """SQLite takes a user's table f_content for a part of the full-text table f; it is listed and counted."""
    path = tmp_path / "ledger.sqlite"
    execute(path, KINDS["fts5 of a table named as its own"])
    with closing(LocalDatabase(path)) as database:
        listed = ledger.list_tables(database, "d1_migrations")
        assert [(table.name, table.rows) for table in listed] == [("f", 1), ("f_content", 1)]
        assert "CREATE TABLE f_content" in ledger.describe(database.schema(), "d1_migrations")
        with database.holding() as held:
            assert held.tables == {"f": 1, "f_content": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_counts_rows_as_a_restore_does(tmp_path: Path, kind: str) -> None:
    """Both say one number of rows, whatever indexes other tables, and it is written into the manifest."""
    path = make(tmp_path / "ledger.sqlite", kind)
    with closing(LocalDatabase(path)) as database:
        written = backups.export(database, tmp_path / "b.sql", migrations_table="d1_migrations")
    with backups.verification.loaded(tmp_path / "b.sql") as copy:
        assert copy.rows == written.total
