"""A dump holds the whole ledger, to the bit."""

from __future__ import annotations

import math
import os
import random
import re
import signal
import sqlite3
import struct
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.database import dump
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local import reader, snapshot
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.values import Row
from tests.support import newer
from tests.support.programs import program
from tests.support.sqlite_files import ask, contents, dumped, execute, load_with_shell, opened, run_newer
from tests.support.strategies import MadeLedger, doubles, examples, ledgers

SECONDS = 60


def round_trip(source: Path) -> bytes:
    """Dump a file, load it with the shell, and hold the one against the other; gives the dump."""
    script = dumped(source)
    target = source.with_name("loaded.sqlite")
    load_with_shell(script, target)
    assert contents(source) == contents(target)
    return script


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test makes its ledger."""
    return tmp_path / "ledger.sqlite"


@pytest.fixture(scope="session")
def newer_packages() -> Path:
    """The folder with a SQLite that is newer than Python's."""
    return newer.install()


@examples(80)
@given(ledgers(), st.booleans())
def test_any_ledger_survives_a_dump(ledger: MadeLedger, foreign_keys: bool) -> None:
    """Whatever a ledger holds, the sqlite3 shell makes the same of its dump, cell by cell and bit by bit."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "a.sqlite"), Path(folder, "b.sqlite")
        with opened(source) as connection:
            ledger.build(connection)
        load_with_shell(dumped(source), target, foreign_keys=foreign_keys)
        assert contents(source) == contents(target)


@examples(8)
@given(ledger=ledgers())
def test_a_newer_sqlite_loads_the_same(newer_packages: Path, ledger: MadeLedger) -> None:
    """A newer version of SQLite makes the same ledger of a dump, and its own dump loads in the older one."""
    with tempfile.TemporaryDirectory() as folder:
        source, there, back = (Path(folder, name) for name in ("a.sqlite", "b.sqlite", "c.sqlite"))
        with opened(source) as connection:
            ledger.build(connection)
        run_newer(newer_packages, "load", str(there), data=dumped(source))
        assert contents(source) == contents(there)
        load_with_shell(run_newer(newer_packages, "dump", str(there)), back)
        assert contents(source) == contents(back)


def random_doubles(count: int) -> list[float]:
    """Give finite doubles of all sizes alike, and those at the edges."""
    chance = random.Random(7)
    patterns = (chance.getrandbits(64) for _ in range(count))
    found = [struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in patterns]
    found += [chance.uniform(-1e6, 1e6) for _ in range(count)]
    found += [chance.getrandbits(52) * 5e-324 for _ in range(count // 10)]
    for exponent in range(-1074, 1024):
        power = math.ldexp(1.0, exponent)
        found += [power, -power, math.nextafter(power, 0), math.nextafter(power, math.inf)]
    return [number for number in [*found, 0.0, -0.0, math.inf, -math.inf] if number == number]


def stored_bits(path: Path) -> list[bytes]:
    """Give the doubles of the table `numbers`, as their bytes."""
    return [struct.pack(">d", row[0]) for row in ask(path, "SELECT x FROM numbers ORDER BY id")]


def test_every_double_keeps_its_bits_in_both_versions(path: Path, newer_packages: Path) -> None:
    """Doubles of all sizes have the same bits after a dump, in the shell's SQLite and in a newer one."""
    numbers = random_doubles(10_000)
    with opened(path) as connection:
        connection.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, x)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO numbers (x) VALUES (?)", [(number,) for number in numbers])
        connection.execute("COMMIT")
    wanted = [struct.pack(">d", number) for number in numbers]
    assert stored_bits(path) == wanted
    old, new, back = (path.with_name(name) for name in ("old.sqlite", "new.sqlite", "back.sqlite"))
    script = dumped(path)
    load_with_shell(script, old)
    assert stored_bits(old) == wanted
    run_newer(newer_packages, "load", str(new), data=script)
    assert stored_bits(new) == wanted
    load_with_shell(run_newer(newer_packages, "dump", str(new)), back)
    assert stored_bits(back) == wanted


@examples(200)
@given(number=doubles)
def test_the_literal_of_a_double_is_exact(number: float) -> None:
    """The SQL that writes a double's literal writes one that SQLite reads as the same bits."""
    with closing(sqlite3.connect(":memory:")) as connection:
        (literal,) = connection.execute(
            f"SELECT {dump.real_literal('x')} FROM (SELECT ? AS x)", [number]
        ).fetchone()
        (read,) = connection.execute(f"SELECT {literal}").fetchone()
        assert struct.pack(">d", read) == struct.pack(">d", number)


def test_the_structure_is_the_runbooks(path: Path) -> None:
    """A dump says keys off, a transaction, all tables, all rows, then indexes, views and triggers."""
    execute(
        path,
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a(id)); CREATE TABLE a (id INTEGER"
        " PRIMARY KEY);"
        "CREATE INDEX i ON b (a); CREATE VIEW v AS SELECT 1; CREATE TRIGGER t AFTER INSERT ON a BEGIN"
        " SELECT raise(ABORT, 'no'); END; CREATE TRIGGER u INSTEAD OF DELETE ON v BEGIN SELECT 1; END;"
        "INSERT INTO b VALUES (1, 2);",
    )
    assert dumped(path).decode() == (
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
        "CREATE TABLE IF NOT EXISTS a (id INTEGER PRIMARY KEY);\n"
        "CREATE TABLE IF NOT EXISTS b (id INTEGER PRIMARY KEY, a REFERENCES a(id));\n"
        "INSERT INTO b VALUES(1,2);\n"
        "CREATE INDEX IF NOT EXISTS i ON b (a);\n"
        "CREATE VIEW IF NOT EXISTS v AS SELECT 1;\n"
        "CREATE TRIGGER IF NOT EXISTS t AFTER INSERT ON a BEGIN SELECT raise(ABORT, 'no'); END;\n"
        "CREATE TRIGGER IF NOT EXISTS u INSTEAD OF DELETE ON v BEGIN SELECT 1; END;\n"
        "COMMIT;\n"
    )


def test_parents_come_first_in_any_capitals(path: Path) -> None:
    """A table that names its parent in other capitals is still written after it."""
    execute(
        path, "CREATE TABLE child (p REFERENCES PARENT(id)); CREATE TABLE parent (id INTEGER PRIMARY KEY);"
    )
    assert [line.split()[5] for line in dumped(path).decode().splitlines() if line.startswith("CREATE")] == [
        "parent",
        "child",
    ]


@pytest.mark.parametrize(
    "rowids",
    [
        pytest.param([-(2**63), -5, 0, 7, 2**63 - 1], id="edges"),
        pytest.param(list(range(-3000, 3000)), id="dense around zero"),
        pytest.param(list(range(0, 10**15, 10**11 + 7)), id="sparse"),
        pytest.param([2**63 - 1 - n for n in range(3000)], id="up to the last"),
    ],
)
def test_any_rowids_survive(path: Path, rowids: list[int]) -> None:
    """Dense, sparse, negative and huge rowids keep their rows, whatever stands among them."""
    with opened(path) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        connection.execute("BEGIN")
        awkward = ["plain", "a\r\nb", "a\0b", "it's", b"blob"]
        connection.executemany(
            "INSERT INTO t VALUES (?, ?)",
            [
                (rowid, awkward[place % 5] if place % 977 < 5 else f"row {place}")
                for place, rowid in enumerate(rowids)
            ],
        )
        connection.execute("COMMIT")
    assert len(rowids) == round_trip(path).count(b"INSERT INTO t ")


def test_columns_may_take_all_names_of_the_rowid(path: Path) -> None:
    """A table whose columns are called rowid, _rowid_ and oid, generated or not, keeps its rows."""
    execute(
        path,
        "CREATE TABLE a (rowid TEXT, _rowid_, oid); INSERT INTO a VALUES ('x', 1, NULL), ('x', 1, NULL);"
        "CREATE TABLE b (x, rowid AS (x || 'b'), _rowid_ AS (1) STORED); INSERT INTO b (x) VALUES (1), (2);"
        "CREATE TABLE c (rowid INTEGER, _rowid_ INTEGER, oid INTEGER PRIMARY KEY);"
        "INSERT INTO c VALUES (5, 5, 1), (5, 5, 2);"
        "CREATE TABLE d (RowID TEXT PRIMARY KEY); INSERT INTO d VALUES ('z'), ('y');",
    )
    round_trip(path)


def test_many_columns(path: Path) -> None:
    """A table with more columns than a function may have arguments keeps all of them."""
    width = 450
    columns = ", ".join(f'"c%{number}"' for number in range(width))
    with opened(path) as connection:
        connection.execute(f"CREATE TABLE wide ({columns})")
        marks = ", ".join("?" * width)
        connection.execute(
            f"INSERT INTO wide VALUES ({marks})", [f"{n}%s'" if n % 3 else n / 7 for n in range(width)]
        )
    round_trip(path)


def test_sequences_survive(path: Path) -> None:
    """AUTOINCREMENT goes on where it was, also where the last rows are gone."""
    execute(
        path,
        'CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x); CREATE TABLE "it\'s" (id INTEGER'
        " PRIMARY KEY"
        ' AUTOINCREMENT); INSERT INTO t VALUES (41, 1); DELETE FROM t; INSERT INTO "it\'s" VALUES (7);',
    )
    round_trip(path)
    loaded = path.with_name("loaded.sqlite")
    execute(loaded, "INSERT INTO t (x) VALUES (2)")
    assert ask(loaded, "SELECT id FROM t") == [(42,)]


def test_a_ledger_in_utf16_survives(path: Path) -> None:
    """A file whose text is UTF-16 is dumped with its encoding, and its text keeps its characters."""
    with opened(path) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("plain",), ("a\r\nb",), ("a\0é",), ("😀",)])
    round_trip(path)
    assert ask(path.with_name("loaded.sqlite"), "PRAGMA encoding") == [("UTF-16le",)]


FTS = """
CREATE VIRTUAL TABLE own USING fts5(title, body, tokenize = 'porter');
INSERT INTO own VALUES ('Filled', 'a trade'), ('it''s', 'b' || char(13, 10) || 'c'), (NULL, '');
INSERT INTO own (rowid, title) VALUES (900, 'far'); DELETE FROM own WHERE rowid = 2;
CREATE TABLE documents (id INTEGER PRIMARY KEY, title TEXT, body TEXT);
INSERT INTO documents VALUES (3, 'order sent', 'x'), (8, 'order filled', 'y');
CREATE VIRTUAL TABLE outside USING fts5(title, body, content = 'documents', content_rowid = 'id');
INSERT INTO outside (outside) VALUES ('rebuild');
CREATE VIRTUAL TABLE none USING fts5(title, content = '');
INSERT INTO none (rowid, title) VALUES (5, 'alpha beta'), (6, 'beta');
CREATE TRIGGER fill AFTER INSERT ON documents BEGIN
  INSERT INTO outside (rowid, title, body) VALUES (new.id, new.title, new.body); END;
"""


def test_full_text_search_survives(path: Path) -> None:
    """FTS5 tables find the same rows after a dump, with content of their own, outside, or none."""
    execute(path, FTS)
    target = path.with_name("loaded.sqlite")
    load_with_shell(dumped(path), target)
    for query in (
        "SELECT rowid, title, body FROM own ORDER BY rowid",
        "SELECT rowid FROM own WHERE own MATCH 'trading OR far'",
        "SELECT rowid, title FROM outside WHERE outside MATCH 'order' ORDER BY rowid",
        "SELECT rowid FROM none WHERE none MATCH 'beta' ORDER BY rowid",
        "SELECT rowid FROM none WHERE none MATCH 'alpha' ORDER BY rowid",
        "SELECT type, name FROM sqlite_schema ORDER BY 1, 2",
    ):
        assert ask(path, query) == ask(target, query) != []
    for table in ("own", "outside", "none"):
        execute(target, f"INSERT INTO {table} ({table}) VALUES ('integrity-check')")


def test_rtree_survives(path: Path) -> None:
    """R*Tree tables hold the same boxes after a dump, with their other columns."""
    execute(
        path,
        "CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, +label TEXT);"
        "INSERT INTO boxes VALUES (1, 0.5, 1.5, 'it''s'), (9, -3, 4, NULL);"
        "CREATE VIRTUAL TABLE whole USING rtree_i32(id, x0, x1); INSERT INTO whole VALUES (2, -7, 7);",
    )
    round_trip(path)


@pytest.fixture
def several(path: Path) -> Path:
    """A ledger with two tables, and something on each of them."""
    execute(
        path,
        "CREATE TABLE trades (id INTEGER PRIMARY KEY AUTOINCREMENT, x); CREATE INDEX on_trades ON trades (x);"
        "CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, x); CREATE INDEX on_logs ON logs (x);"
        "CREATE TRIGGER of_trades AFTER INSERT ON TRADES BEGIN SELECT 1; END;"
        "CREATE VIEW both AS SELECT trades.x FROM trades, logs;"
        "INSERT INTO trades (x) VALUES ('a'), ('b'); INSERT INTO logs (x) VALUES ('c');",
    )
    return path


def test_only_some_tables(several: Path) -> None:
    """A dump of one table has its rows, its sequence, its indexes and its triggers, and nothing else."""
    target = several.with_name("loaded.sqlite")
    load_with_shell(dumped(several, tables=["Trades"]), target)
    assert ask(target, "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' ORDER BY name") == [
        ("of_trades",),
        ("on_trades",),
        ("trades",),
    ]
    assert ask(target, "SELECT * FROM trades") == [(1, "a"), (2, "b")]
    assert ask(target, "SELECT * FROM sqlite_sequence") == [("trades", 2)]


def test_an_unknown_table_is_refused(several: Path) -> None:
    """A table that is not there is refused by its name, and those that are there are told."""
    with pytest.raises(Refused, match=r"no table fills.*has: logs, trades"):
        dumped(several, tables=["fills"])


def test_without_data(several: Path) -> None:
    """A dump without data makes the same schema, and no rows."""
    target = several.with_name("loaded.sqlite")
    load_with_shell(dumped(several, data=False), target)
    assert contents(several)["objects"] == contents(target)["objects"]
    assert ask(target, "SELECT count(*) FROM trades") == [(0,)]


def test_without_schema(several: Path) -> None:
    """A dump without the schema fills a ledger that has one, and leaves its sequences as they were here."""
    target = several.with_name("loaded.sqlite")
    load_with_shell(dumped(several, data=False), target)
    load_with_shell(dumped(several, schema=False), target)
    assert contents(several) == contents(target)


def test_the_counts_are_those_of_the_rows(several: Path) -> None:
    """Dumping says how many rows of each table were written."""
    with closing(LocalDatabase(several)) as database:
        assert dump.dump(database, lambda _: None) == {"trades": 2, "logs": 1}


def large(path: Path, rows: int) -> None:
    """Make a ledger of many rows, some of them not plain, that is larger than where a second reader helps."""
    with opened(path) as connection:
        connection.executescript(
            "CREATE TABLE trades (id TEXT PRIMARY KEY, price REAL, quantity, raw TEXT);"
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
            " INSERT INTO trades SELECT 'trade ' || i, i / 7.0, i * 3, CASE WHEN i % 5003 THEN"
            " '{\"orderId\":\"' || hex(i * 7919) || '\",\"text\":\"' || printf('%.*c', 60, 'x') || '\"}'"
            " ELSE 'a' || char(13) || i END FROM n;"
        )


def test_two_readers_write_what_one_does(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process that helps with a large ledger changes no byte of the dump."""
    large(path, 30_000)
    alone = dumped(path)
    started: list[str] = []
    second = reader.ReaderProcess

    def start(uri: str, *how: Any) -> reader.ReaderProcess:
        started.append(uri)
        return second(uri, *how)

    monkeypatch.setattr(snapshot, "_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(snapshot, "ReaderProcess", start)
    assert dumped(path) == alone
    assert len(started) == 1
    assert alone.count(b"\nINSERT INTO trades VALUES(") == 30_000


def in_process(name: str, *arguments: object) -> str:
    """Run a program in a process of its own; returns what it prints."""
    done = subprocess.run(
        [*program(name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


KIB = 1024
LIMIT = 80 * 1024 * 1024
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="Only Linux tells a peak of memory"
)


@needs_proc
def test_memory_stays_flat(path: Path) -> None:
    """Dumping 200,000 rows takes less than 80 MB in each of the two processes."""
    large(path, 200_000)
    assert path.stat().st_size > LIMIT / 3
    assert all(int(peak) * KIB < LIMIT for peak in in_process("dump_ledger", path).split())


@needs_proc
def test_memory_stays_flat_with_large_cells(path: Path) -> None:
    """Large texts after many small ones, too many for one query, are dumped in little memory."""
    with opened(path) as connection:
        connection.executescript(
            "CREATE TABLE logs (id INTEGER PRIMARY KEY, details TEXT);"
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
            " INSERT INTO logs SELECT i, 'small' FROM n;"
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)"
            " INSERT INTO logs (details) SELECT printf('%.*c', 1000000, 'x') || i FROM n;"
        )
    assert all(int(peak) * KIB < LIMIT for peak in in_process("dump_ledger", path).split())
    round_trip(path)


def test_a_writer_does_not_change_a_dump(path: Path) -> None:
    """Whoever commits while a dump runs is not part of it: it shows one moment."""
    large(path, 5_000)
    execute(path, "PRAGMA journal_mode = WAL")
    before = dumped(path)
    written = bytearray()
    with closing(LocalDatabase(path)) as database, opened(path) as writer:

        def write(text: bytes) -> None:
            written.extend(text)
            writer.execute("UPDATE trades SET price = price + 1")
            writer.execute("INSERT INTO trades VALUES (hex(randomblob(8)), 1, 1, 'late')")

        dump.dump(database, write)
    assert bytes(written) == before
    assert dumped(path) != before


def test_nothing_left_by_a_killed_export(tmp_path: Path) -> None:
    """An export that is killed in its midst leaves no file under its name."""
    path, target = tmp_path / "ledger.sqlite", tmp_path / "out" / "backup.sql"
    large(path, 20_000)
    done = subprocess.run([*program("killed_export"), path, target], timeout=SECONDS)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(list(target.parent.iterdir())) == 1  # What was written bears another name.


def test_an_interrupted_reader_is_told_as_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second reader dies, the dump fails with a sentence instead of a part of the rows."""
    large(path, 20_000)
    monkeypatch.setattr(snapshot, "_WORTH_A_PROCESS", 1)
    original: Callable[..., list[Row] | None] = reader.ReaderProcess.fetch

    def dies(self: reader.ReaderProcess, *statement: object) -> list[Row] | None:
        os.kill(self._process.pid, signal.SIGKILL)
        return original(self, *statement)

    monkeypatch.setattr(reader.ReaderProcess, "fetch", dies)
    with pytest.raises(Exception, match=re.escape("the second reader of the ledger ended early")):
        dumped(path)


def test_a_snapshot_streams_and_maps_the_same(path: Path) -> None:
    """What is asked of a snapshot in either way has the same answer, text as its bytes."""
    execute(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1), ('a'), (NULL)")
    with closing(LocalDatabase(path)) as database, database.snapshot() as snapshot:
        query = Statement("SELECT x FROM t WHERE x IS NOT ? ORDER BY 1", (None,))
        assert list(snapshot.stream(query)) == [(1,), (b"a",)]
        assert list(snapshot.map([query, query])) == [[(1,), (b"a",)]] * 2
