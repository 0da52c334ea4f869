"""What the rules let through and refuse, on SQLite alone; `tests/engine` asks the real engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.rules.authorizer import enforce, lift, shape_refusal
from hoox_tasks.rules.limits import STATEMENT_BYTES
from hoox_tasks.rules.messages import explain_error, find_remedy

SCHEMA = """
BEGIN;
CREATE TABLE trades (id TEXT PRIMARY KEY, price REAL, n INTEGER UNIQUE);
INSERT INTO trades VALUES ('a', 1.5, 1), ('b', 2.5, 2);
CREATE INDEX by_price ON trades (price);
CREATE VIEW dear AS SELECT * FROM trades WHERE price > 2;
CREATE TRIGGER through_view INSTEAD OF DELETE ON dear BEGIN DELETE FROM trades WHERE id = OLD.id; END;
CREATE VIRTUAL TABLE notes USING fts5(text);
INSERT INTO notes VALUES ('stop hit'), ('target hit');
CREATE VIRTUAL TABLE grams USING fts4(text);
INSERT INTO grams VALUES ('stop hit');
CREATE VIRTUAL TABLE ranges USING rtree(id, low, high);
INSERT INTO ranges VALUES (1, 0, 5);
ANALYZE;
COMMIT;
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a small ledger in a file, with no rules yet."""
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
        connection.executescript(SCHEMA)
        yield connection


def content(connection: sqlite3.Connection) -> list[str]:
    lift(connection)
    pragmas = ("user_version", "application_id", "foreign_keys", "writable_schema", "query_only")
    values = [f"{name}={connection.execute(f'PRAGMA {name}').fetchone()}" for name in pragmas]
    return list(connection.iterdump()) + values


# What each would do, in the gate's words; None where SQLite is first to refuse or the first thing that it
# would touch is not the same in every version.
WRITES: dict[str, str | None] = {
    "DELETE FROM trades": "it would delete from trades",
    "INSERT INTO trades VALUES ('c', 1, 3)": "it would insert into trades",
    "UPDATE trades SET price = 0": "it would update trades",
    "REPLACE INTO trades VALUES ('a', 0, 0)": "it would insert into trades",
    "INSERT INTO trades VALUES ('a', 1, 3) ON CONFLICT DO UPDATE SET n = 0": "it would insert into trades",
    "DELETE FROM trades RETURNING id": "it would delete from trades",
    "WITH gone AS (SELECT 'a' AS id) DELETE FROM trades WHERE id IN (SELECT id FROM gone)": (
        "it would delete from trades"
    ),
    "/* SELECT */ DELETE FROM trades": "it would delete from trades",
    "DELETE FROM dear": "it would delete from dear",
    "INSERT INTO notes (notes) VALUES ('optimize')": "it would insert into notes",
    "DELETE FROM notes": "it would delete from notes",
    "DELETE FROM notes_content": None,
    "UPDATE ranges SET low = 1": "it would update ranges",
    "UPDATE sqlite_schema SET sql = ''": None,
    "DELETE FROM sqlite_stat1": "it would delete from sqlite_stat1",
    "CREATE TABLE n (a)": "it would change the schema",
    "CREATE TABLE n AS SELECT * FROM trades": "it would change the schema",
    "CREATE TEMP TABLE n (a)": "it would change the schema",
    "CREATE TEMP VIEW n AS SELECT 1": "it would change the schema",
    "CREATE TEMP TRIGGER n AFTER INSERT ON trades BEGIN SELECT 1; END": "it would change the schema",
    "CREATE INDEX n ON trades (n)": "it would change the schema",
    "CREATE VIEW n AS SELECT 1": "it would change the schema",
    "CREATE VIRTUAL TABLE n USING fts5(a)": "it would change the schema",
    "DROP TABLE trades": "it would change the schema",
    "DROP TABLE notes": "it would change the schema",
    "DROP INDEX by_price": "it would change the schema",
    "DROP VIEW dear": "it would change the schema",
    "DROP TRIGGER through_view": "it would change the schema",
    "ALTER TABLE trades RENAME TO n": "it would alter table trades",
    "ALTER TABLE trades ADD COLUMN m": "it would alter table trades",
    "ALTER TABLE trades DROP COLUMN price": "it would alter table trades",
    "REINDEX": None,
    "REINDEX by_price": "it would rebuild the index by_price",
    "ANALYZE": None,
    "ATTACH 'other.db' AS other": "it would attach a database",
    "ATTACH ':memory:' AS other": "it would attach a database",
    "DETACH main": "it would detach a database",
    "VACUUM": None,
    "VACUUM INTO 'copy.db'": None,
    "BEGIN": "it would control a transaction",
    "BEGIN EXCLUSIVE": "it would control a transaction",
    "COMMIT": "it would control a transaction",
    "SAVEPOINT s": "it would control a transaction",
    "PRAGMA user_version = 7": "it would set or run the pragma user_version",
    "PRAGMA user_version(7)": "it would set or run the pragma user_version",
    "PRAGMA main.user_version = 7": "it would set or run the pragma user_version",
    "PRAGMA application_id = 7": "it would set or run the pragma application_id",
    "PRAGMA writable_schema = ON": "it would set or run the pragma writable_schema",
    "PRAGMA query_only = OFF": "it would set or run the pragma query_only",
    "PRAGMA foreign_keys = ON": "it would set or run the pragma foreign_keys",
    "PRAGMA journal_mode = WAL": "it would set or run the pragma journal_mode",
    "PRAGMA schema_version = 99": "it would set or run the pragma schema_version",
    "PRAGMA optimize": "it would set or run the pragma optimize",
    "PRAGMA incremental_vacuum": "it would set or run the pragma incremental_vacuum",
    "PRAGMA wal_checkpoint(TRUNCATE)": "it would set or run the pragma wal_checkpoint",
    "SELECT load_extension('x')": "it would call load_extension",
    "SELECT optimize(grams) FROM grams": None,
    "EXPLAIN DELETE FROM trades": "it would delete from trades",
}

READS = [
    "SELECT * FROM trades ORDER BY price DESC LIMIT 1",
    "SELECT * FROM dear",
    "SELECT count(*), sum(price) OVER () FROM trades",
    "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3) SELECT * FROM c",
    "SELECT highlight(notes, 0, '[', ']'), rank FROM notes WHERE notes MATCH 'hit' ORDER BY rank",
    "SELECT * FROM notes('stop')",
    "SELECT * FROM ranges WHERE low < 3",
    "SELECT name FROM sqlite_schema",
    "SELECT * FROM pragma_table_info('trades')",
    "SELECT s.name, i.name FROM sqlite_schema AS s, pragma_index_list(s.name) AS i",
    "SELECT * FROM json_each('[1,2]')",
    "VALUES (1), (2)",
    "EXPLAIN SELECT * FROM trades",
    "EXPLAIN QUERY PLAN SELECT * FROM trades WHERE price = 1",
    "PRAGMA table_info(trades)",
    "PRAGMA TABLE_LIST",
    "PRAGMA foreign_keys",
    "PRAGMA foreign_key_check",
    "PRAGMA quick_check",
]


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("sql", WRITES)
def test_read_only_refuses_to_write(
    sql: str, strict: bool, ledger: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing that writes gets past the gate, under D1's rules or without, and nothing has changed."""
    monkeypatch.chdir(tmp_path)
    before, files = content(ledger), sorted(tmp_path.iterdir())
    authorizer = enforce(ledger, read_only=True, strict=strict)
    with pytest.raises(sqlite3.Error) as raised:
        ledger.execute(sql).fetchall()
    expected = WRITES[sql]
    if expected is not None:
        assert authorizer.denied is not None
        assert authorizer.denied[:2] == (expected, True)
        assert expected == explain_error(raised.value, authorizer)
    assert before == content(ledger)
    assert files == sorted(tmp_path.iterdir())


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("sql", READS)
def test_read_only_lets_reading_through(sql: str, strict: bool, ledger: sqlite3.Connection) -> None:
    """What only asks gives the rows that it gives without the gate."""
    expected = ledger.execute(sql).fetchall()
    enforce(ledger, read_only=True, strict=strict)
    assert expected == ledger.execute(sql).fetchall()


@given(
    verb=st.sampled_from(
        ["DELETE FROM", "INSERT INTO", "UPDATE", "DROP TABLE", "REPLACE INTO", "VACUUM INTO"]
    ),
    before=st.text(st.sampled_from(" \n\t;-/*()'\"x"), max_size=6),
    after=st.text(st.sampled_from(" \n;-/*()'=,\"ast1"), max_size=12),
)
def test_read_only_holds_whatever_is_around_it(verb: str, before: str, after: str) -> None:
    """No comment, quote or parenthesis around a write makes the gate miss it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE s (a)")
        connection.execute("INSERT INTO s VALUES (1)")
        enforce(connection, read_only=True, strict=False)
        with suppress(sqlite3.Error, sqlite3.Warning):
            connection.execute(f"{before}{verb} s {after}").fetchall()
        assert connection.execute("SELECT a FROM s").fetchall() == [(1,)]


def test_trusted_statements_pass_and_are_not_remembered(ledger: sqlite3.Connection) -> None:
    """Our own BEGIN and COMMIT pass inside `trusted`, and the same text is refused to a user after it."""
    authorizer = enforce(ledger, read_only=True)
    for _ in range(3):
        with authorizer.trusted():
            ledger.execute("BEGIN")
            ledger.execute("DELETE FROM trades")
            ledger.execute("ROLLBACK")
        for sql in ("BEGIN", "DELETE FROM trades", "ROLLBACK"):
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                ledger.execute(sql)
    assert not ledger.in_transaction


def test_trusted_ends_with_an_error(ledger: sqlite3.Connection) -> None:
    """An error inside `trusted` closes the gate again."""
    authorizer = enforce(ledger, read_only=True)
    with pytest.raises(sqlite3.OperationalError), authorizer.trusted():
        ledger.execute("DELETE FROM nope")
    with pytest.raises(sqlite3.DatabaseError):
        ledger.execute("DELETE FROM trades")


def test_statement_compiled_before_the_gate_is_asked_too(ledger: sqlite3.Connection) -> None:
    """A statement that Python still holds compiled from before is refused after `enforce`."""
    ledger.execute("DELETE FROM trades WHERE id = ?", ("none",))
    enforce(ledger, read_only=True)
    with pytest.raises(sqlite3.DatabaseError):
        ledger.execute("DELETE FROM trades WHERE id = ?", ("a",))


def test_streaming_goes_on_across_trusted(ledger: sqlite3.Connection) -> None:
    """A result that is being read is not cut off by a trusted statement in between."""
    authorizer = enforce(ledger, read_only=True)
    rows = ledger.execute("SELECT id FROM trades ORDER BY id")
    assert next(rows) == ("a",)
    with authorizer.trusted():
        ledger.execute("SAVEPOINT s")
        ledger.execute("RELEASE s")
    assert rows.fetchall() == [("b",)]


def test_allow_transactions(ledger: sqlite3.Connection) -> None:
    """With `allow_transactions` a user may begin and commit, and still not attach."""
    enforce(ledger, read_only=False, allow_transactions=True)
    for sql in ("BEGIN", "SAVEPOINT s", "DELETE FROM trades", "RELEASE s", "COMMIT"):
        ledger.execute(sql)
    with pytest.raises(sqlite3.DatabaseError):
        ledger.execute("ATTACH ':memory:' AS x")


def test_release_gives_sqlite_back(ledger: sqlite3.Connection) -> None:
    """After `release` nothing is refused and every limit is what it was."""
    categories = [getattr(sqlite3, name) for name in dir(sqlite3) if name.startswith("SQLITE_LIMIT_")]
    before = [ledger.getlimit(category) for category in categories]
    enforce(ledger, read_only=True)
    assert before != [ledger.getlimit(category) for category in categories]
    lift(ledger)
    assert before == [ledger.getlimit(category) for category in categories]
    ledger.execute("ATTACH ':memory:' AS other")
    ledger.execute("PRAGMA user_version = 3")


def test_lenient_connection_keeps_sqlites_limits(ledger: sqlite3.Connection) -> None:
    """Without `strict` and `read_only` everything is as in plain SQLite."""
    before = ledger.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    enforce(ledger, read_only=False, strict=False)
    assert before == ledger.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    ledger.execute("CREATE TEMP TABLE n (a)")
    ledger.execute("BEGIN")


MIGRATION = """
CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT NOT NULL, b TEXT AS (lower(a)) STORED) STRICT
CREATE TABLE pairs (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID
CREATE UNIQUE INDEX n_a ON n (upper(a)) WHERE a <> ''
CREATE VIEW both AS SELECT a, row_number() OVER (ORDER BY a) AS place FROM n
CREATE TRIGGER paired AFTER INSERT ON n BEGIN INSERT OR IGNORE INTO pairs VALUES (NEW.a, NEW.id); END
INSERT INTO n (a) VALUES ('X'), ('y') ON CONFLICT DO UPDATE SET a = excluded.a RETURNING id, b
ALTER TABLE n ADD COLUMN c INTEGER NOT NULL DEFAULT 0
ALTER TABLE n RENAME COLUMN c TO d
ALTER TABLE n DROP COLUMN d
ALTER TABLE n RENAME TO m
CREATE VIRTUAL TABLE words USING fts5(a, content='m', content_rowid='id')
INSERT INTO words (words) VALUES ('rebuild')
SELECT snippet(words, 0, '<', '>', '', 4) FROM words WHERE words MATCH 'x'
WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3) SELECT i FROM c
PRAGMA foreign_key_check
PRAGMA optimize
DROP TABLE words
DROP VIEW both
DROP TABLE m
"""


def test_statements_of_sqlite_itself_pass(ledger: sqlite3.Connection) -> None:
    """What SQLite runs inside of a statement (FTS5's, ALTER TABLE's, an index's) is not refused."""
    enforce(ledger, read_only=False)
    for sql in MIGRATION.strip().splitlines():
        ledger.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT sqlite_version()", "not authorized to use function: sqlite_version: SQLITE_ERROR"),
        ("SELECT median(1)", "no such function: median: SQLITE_ERROR"),
        ("SELECT soundex('x')", "no such function: soundex: SQLITE_ERROR"),
        ("SELECT * FROM dbstat", "no such table: dbstat: SQLITE_ERROR"),
        ("PRAGMA user_version", "not authorized: SQLITE_AUTH"),
        ("CREATE TABLE _CF_n (a)", "not authorized: SQLITE_AUTH"),
        (
            "INSERT INTO trades VALUES ('z', 1, 1)",
            "UNIQUE constraint failed: trades.n: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)",
        ),
        (f"SELECT '{'x' * STATEMENT_BYTES}'", "statement too long: SQLITE_TOOBIG"),
        (f"SELECT {', '.join('?' * 101)}", "too many SQL variables: SQLITE_ERROR"),
        ("SELECT ?", "Wrong number of parameter bindings for SQL query."),
        ("SELECT '", 'unrecognized token: "\'": SQLITE_ERROR'),
    ],
)
def test_words_of_d1(sql: str, words: str, ledger: sqlite3.Connection) -> None:
    """A refusal is explained in D1's words, and explained once."""
    authorizer = enforce(ledger, read_only=False)
    with pytest.raises(sqlite3.Error) as raised:
        ledger.execute(sql)
    assert words == explain_error(raised.value, authorizer)
    assert authorizer.denied is None


def test_an_old_refusal_does_not_explain_a_new_error(ledger: sqlite3.Connection) -> None:
    """A refusal that nobody asked about is not taken for the reason of a later error."""
    authorizer = enforce(ledger, read_only=True)
    with pytest.raises(sqlite3.Error):
        ledger.execute("DELETE FROM trades")
    with pytest.raises(sqlite3.Error) as raised:
        ledger.execute("SELECT * FROM nope")
    assert explain_error(raised.value, authorizer) == "no such table: nope: SQLITE_ERROR"


@pytest.mark.parametrize("sql", ["", " \n", ";;", "-- x", "/* x */ -- y\n;", "/* open", "--"])
def test_nothing_to_run_is_refused(sql: str) -> None:
    """A text without a statement is refused, as D1 does."""
    assert shape_refusal(sql) in {
        "No SQL statements detected.",
        "SQL code did not contain a statement.",
    }


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "/* x */ SELECT 1", "-- x\nSELECT 1", "/**/SELECT 1 /* y */", " " * 50_000 + "SELECT"]
)
def test_something_to_run_is_not_refused(sql: str) -> None:
    """Space and comments around a statement do not matter, however many."""
    assert shape_refusal(sql) is None


def test_remedy_names_what_this_sqlite_lacks() -> None:
    """A function that D1 has and this SQLite has not is named with what to install; others are not."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for name, hint in (("nope", False), ("sqlite_offset", False), ("jsonb", True)):
            if name == "jsonb" and sqlite3.sqlite_version_info >= (3, 45):
                continue
            with pytest.raises(sqlite3.Error) as raised:
                connection.execute(f"SELECT {name}('1')")
            assert hint == ("3.45" in find_remedy(raised.value))
