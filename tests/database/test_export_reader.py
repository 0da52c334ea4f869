"""A remote ledger read as one moment: from D1's export where that is exact, else by queries."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoox_tasks import backups
from hoox_tasks.backups import verification
from hoox_tasks.database import dump
from hoox_tasks.database.interface import SchemaObject, Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote import snapshot as snapshot_module
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.database.remote.export_reader import load_export
from hoox_tasks.errors import HooxError, RemoteError
from hoox_tasks.server import Api
from tests.support.remote import Counting, connect
from tests.support.sqlite_files import contents, opened
from tests.support.strategies import MadeLedger, examples, ledgers, quoted, related_ledgers

SEQUENCES = "sqlite_sequence"
SCHEMA = """
CREATE TABLE "child" (id INTEGER PRIMARY KEY AUTOINCREMENT, parent TEXT REFERENCES parent (id), note -- odd
);
CREATE TABLE parent (id TEXT PRIMARY KEY, "a ""quoted"" name" REAL, twice REAL AS ("a ""quoted"" name" * 2));
CREATE INDEX child_parent ON child (parent);
CREATE VIEW pairs AS SELECT child.id, parent.id FROM child JOIN parent ON parent.id = child.parent;
CREATE TRIGGER pairs_insert INSTEAD OF INSERT ON pairs BEGIN SELECT 1; END;
"""


@pytest.fixture
def remote(wire: Counting) -> Iterator[RemoteDatabase]:
    with closing(connect(wire)) as database:
        yield database


def dumped(database: RemoteDatabase) -> sqlite3.Connection:
    """A new database, loaded from what a dump of `database` says."""
    parts: list[bytes] = []
    dump.dump(database, parts.append)
    loaded = sqlite3.connect(":memory:")
    loaded.executescript(b"".join(parts).decode())
    return loaded


def content(connection: sqlite3.Connection, *tables: str) -> list[list[tuple[Any, ...]]]:
    found = []
    for table in tables:
        names = [
            f'"{row[1]}"'.replace('a "quoted"', 'a ""quoted""')
            for row in connection.execute(f"PRAGMA table_xinfo({table})")
        ]
        kinds = ", ".join(f"{name}, typeof({name})" for name in names)
        found.append(connection.execute(f"SELECT {kinds} FROM {table} ORDER BY rowid").fetchall())
    return found


def file_of(app: Api) -> sqlite3.Connection:
    (ledger,) = app._ledgers.values()
    return sqlite3.connect(ledger.path)


def fill(remote: RemoteDatabase, rows: list[tuple[Any, Any]]) -> None:
    remote.client.import_file(SCHEMA.encode())
    remote.insert([("child", ("note",), [(note,) for note, _ in rows])])
    remote.insert(
        [("parent", ("id", 'a "quoted" name'), [(f"it's {i}", real) for i, (_, real) in enumerate(rows)])]
    )
    remote.query("UPDATE child SET parent = 'it''s ' || (id - 1)", write=True)


PLAIN = [(None, None), ("a\nb\r'", 1.0), (7, -2.5e-300), (0.1, 1e300), (b"\x00'", 0.1), ("a\0b \\n", 3)]


def test_an_export_is_read_exactly(remote: RemoteDatabase, app: Api, wire: Counting) -> None:
    """Schema, rows, sequences and generated columns come out of D1's export as they are on D1."""
    fill(remote, PLAIN)
    remote.query("DELETE FROM child WHERE id = 6", write=True)
    wire.asked.clear()
    with closing(dumped(remote)) as loaded, closing(file_of(app)) as truth:
        assert wire.asked.count("export") == 2
        # The schema before and after, what the export would change, and the checksums.
        assert wire.asked.count("raw") == 4
        assert content(loaded, "child", "parent") == content(truth, "child", "parent")
        sequences = "SELECT name, seq FROM sqlite_sequence"
        assert loaded.execute(sequences).fetchall() == truth.execute(sequences).fetchall()
        with remote.snapshot() as snapshot:
            names = "SELECT name FROM sqlite_schema ORDER BY name"
            found = [
                row[0].decode() for row in snapshot.stream(Statement(names)) if isinstance(row[0], bytes)
            ]
        assert found == [name for (name,) in truth.execute(names)]


@pytest.mark.parametrize(
    "note", [2**53 + 1, -(2**63), 1.0, float("inf"), "\n and \\n", "\r and \\r"], ids=lambda note: repr(note)
)
def test_what_an_export_would_change_is_read_by_queries(
    remote: RemoteDatabase, app: Api, wire: Counting, note: Any
) -> None:
    """One cell that D1's dump cannot carry, and the ledger is read by queries, exactly."""
    fill(remote, [*PLAIN, (note, None)])
    wire.asked.clear()
    with closing(dumped(remote)) as loaded, closing(file_of(app)) as truth:
        assert "export" not in wire.asked
        assert content(loaded, "child", "parent") == content(truth, "child", "parent")


notes = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text("ab\\nr\n\r'é\0")
    | st.binary()
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.tuples(notes, st.floats(allow_nan=False) | st.none()), max_size=5))
def test_no_cell_is_ever_changed(remote: RemoteDatabase, app: Api, rows: list[tuple[Any, Any]]) -> None:
    """Whatever the ledger holds, by the one way or the other its dump gives it back."""
    drops = "DROP VIEW IF EXISTS pairs; DROP TABLE IF EXISTS child; DROP TABLE IF EXISTS parent;"
    remote.client.raw_script(drops, write=True)
    fill(remote, rows)
    with closing(dumped(remote)) as loaded, closing(file_of(app)) as truth:
        assert content(loaded, "child", "parent") == content(truth, "child", "parent")


def whole(path: Path) -> dict[str, Any]:
    """All of a file but comments behind a definition, which D1 does not keep, and empty sequences.

    SQLite never drops their table.
    """
    found = contents(path)
    found["tables"] = {name: rows for name, rows in found["tables"].items() if rows or name != SEQUENCES}
    found["objects"] = {
        (*item, ddl.split(b" -- all;")[0].rstrip())
        for *item, ddl in found["objects"]
        if item[1] != SEQUENCES.encode()
    }
    return found


@examples(40)
@given(related_ledgers(), st.booleans())
def test_any_ledger_comes_back_from_d1(
    remote: RemoteDatabase, app: Api, ledger: MadeLedger, online: bool
) -> None:
    """From a file to D1 and from there to a file again, every object, cell and bit stays what it was."""
    with tempfile.TemporaryDirectory() as name:
        source, back = Path(name, "a.sqlite"), Path(name, "b.sqlite")
        with opened(source) as connection:
            ledger.build(connection)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        with closing(LocalDatabase(source)) as database:
            backups.export(database, Path(name, "a.sql"), migrations_table="d1_migrations")
        with verification.loaded(Path(name, "a.sql")) as scratch:
            remote.replace(scratch.path)
        with closing(file_of(app)) as there:
            assert there.execute("PRAGMA foreign_key_check").fetchall() == []
        assert whole(next(iter(app._ledgers.values())).path) == whole(source)
        backups.export(remote, Path(name, "b.sql"), online=online, migrations_table="d1_migrations")
        with (
            verification.loaded(Path(name, "b.sql")) as scratch,
            closing(LocalDatabase(back, create=True)) as database,
        ):
            database.replace(scratch.path)
        assert whole(back) == whole(source)


def empty(path: Path) -> None:
    """Drop all there is, whatever its foreign keys say: some keys let D1 drop nothing."""
    with opened(path) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        query = "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view') OR type = 'table' ORDER BY type = 'table'"
        for kind, name in connection.execute(query).fetchall():
            if not name.startswith("sqlite_"):
                connection.execute(f"DROP {kind} IF EXISTS {quoted(name)}")


@examples(40)
@given(ledgers())
def test_what_cannot_lie_on_d1_is_refused_there(remote: RemoteDatabase, app: Api, ledger: MadeLedger) -> None:
    """A ledger arrives whole, or it breaks foreign keys, which are always on there, and nothing changes."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "a.sqlite")
        with opened(source) as connection:
            ledger.build(connection)
            connection.execute("PRAGMA foreign_keys = ON")
            try:
                sound = not connection.execute("PRAGMA foreign_key_check").fetchall()
            except sqlite3.OperationalError:
                sound = False
        there = next(iter(app._ledgers.values())).path
        empty(there)
        before = whole(there)
        try:
            remote.replace(source)
        except HooxError:
            if sound:
                raise
            assert whole(there) == before
        else:
            assert whole(there) == whole(source)


def test_virtual_tables_are_read_by_queries(remote: RemoteDatabase, wire: Counting) -> None:
    """A database with a virtual table is never sent into an export, which D1 would not survive."""
    remote.batch(
        [Statement("CREATE VIRTUAL TABLE f USING fts5(a)"), Statement("INSERT INTO f VALUES ('some words')")]
    )
    wire.asked.clear()
    with closing(dumped(remote)) as loaded:
        assert loaded.execute("SELECT a FROM f WHERE f MATCH 'words'").fetchall() == [("some words",)]
    assert "export" not in wire.asked


@pytest.mark.parametrize("online", [False, True])
def test_text_that_is_not_utf_8_is_backed_up(remote: RemoteDatabase, tmp_path: Path, online: bool) -> None:
    """Bytes that JSON and D1's export cannot carry are in the backup of a remote ledger as they are."""
    remote.client.import_file(
        b"CREATE TABLE t (a); INSERT INTO t VALUES (CAST(X'61ff62' AS TEXT)), ('\xc3\xa9');"
    )
    path = tmp_path / "b.sql"
    backups.export(remote, path, online=online, migrations_table="d1_migrations")
    with closing(sqlite3.connect(":memory:")) as loaded:
        loaded.executescript(path.read_text())
        found = loaded.execute("SELECT typeof(a), hex(a) FROM t").fetchall()
    assert found == [("text", "61FF62"), ("text", "C3A9")]


@pytest.fixture
def restless(remote: RemoteDatabase, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A ledger with a number that D1 does not export, to which somebody writes at each reading of its rows.

    The list tells how many more times.
    """
    remote.batch([Statement("CREATE TABLE t (a)"), Statement("INSERT INTO t VALUES (?)", [2**60])])
    left = [9]
    write_live_rows = dump.write_live_rows

    def write_meanwhile(*args: Any, **options: Any) -> None:
        if left[0]:
            left[0] -= 1
            remote.query("INSERT INTO t VALUES (1)", write=True)
        write_live_rows(*args, **options)

    monkeypatch.setattr(dump, "write_live_rows", write_meanwhile)
    return left


def rows_of(remote: RemoteDatabase, *, online: bool = False) -> tuple[list[Any], bool, str | None]:
    with remote.snapshot(online=online) as snapshot:
        rows = list(snapshot.stream(Statement("SELECT a FROM t")))
        return rows, snapshot.one_moment, snapshot.bookmark


@pytest.mark.usefixtures("restless")
def test_a_change_meanwhile_is_an_error(remote: RemoteDatabase) -> None:
    """A ledger that is read by queries and changes meanwhile is not passed off as one moment."""
    with pytest.raises(HooxError, match="was changed while it was read"):
        rows_of(remote)


@pytest.mark.parametrize("online", [False, True])
def test_what_changed_meanwhile_is_read_again(
    remote: RemoteDatabase, restless: list[int], online: bool
) -> None:
    """When somebody wrote during the first reading and not during the second, that one counts."""
    restless[0] = 1
    rows, one_moment, bookmark = rows_of(remote, online=online)
    assert (rows, one_moment) == ([(2**60,), (1,)], True)
    assert bookmark == remote.client.bookmark()


@pytest.mark.usefixtures("restless")
def test_a_trading_ledger_is_read_online_and_says_so(remote: RemoteDatabase) -> None:
    """With `online`, a ledger that never rests is read all the same, and not called one moment."""
    assert rows_of(remote, online=True) == ([(2**60,), (1,), (1,)], False, None)


@pytest.mark.usefixtures("restless")
def test_a_backup_of_a_trading_ledger_says_what_it_is(remote: RemoteDatabase, tmp_path: Path) -> None:
    """An online export that is not of one moment is loaded and compared, says so, and replaces no other."""
    path = tmp_path / "b.sql"
    exported = backups.export(remote, path, online=True, migrations_table="d1_migrations")
    assert (exported.verified, exported.one_moment) == (True, False)
    manifest = backups.read_manifest(path)
    assert manifest is not None
    assert (manifest.verified, manifest.one_moment, manifest.bookmark) == (True, False, None)
    (backup,) = backups.find(tmp_path)
    assert not backup.verified


def test_an_export_that_lost_a_row_is_not_believed(
    remote: RemoteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When D1's export does not hold what D1 does, the rows are read by queries instead."""
    fill(remote, PLAIN)
    with closing(dumped(remote)) as loaded:
        truth = content(loaded, "child", "parent")
    lost: list[str] = []

    def lossy(lines: Iterable[str], *args: Any) -> None:
        kept = list(lines)
        lost.append(kept.pop(max(place for place, line in enumerate(kept) if '"parent"' in line)))
        load_export(kept, *args)

    monkeypatch.setattr(snapshot_module, "load_export", lossy)
    with closing(dumped(remote)) as loaded:
        assert content(loaded, "child", "parent") == truth
    assert len(lost) == 1


def test_nobody_is_kept_out_online(remote: RemoteDatabase, app: Api, wire: Counting) -> None:
    """With `online` the ledger is read by queries, whatever is in it."""
    fill(remote, PLAIN)
    wire.asked.clear()
    parts: list[bytes] = []
    dump.dump(remote, parts.append, online=True)
    assert "export" not in wire.asked
    with closing(sqlite3.connect(":memory:")) as loaded, closing(file_of(app)) as truth:
        loaded.executescript(b"".join(parts).decode())
        assert content(loaded, "child", "parent") == content(truth, "child", "parent")


def test_an_empty_database_is_a_moment_too(remote: RemoteDatabase) -> None:
    """A database without tables dumps to nothing."""
    with closing(dumped(remote)) as loaded:
        assert loaded.execute("SELECT * FROM sqlite_schema").fetchall() == []


TABLE = [SchemaObject("table", "t", "t", "CREATE TABLE t (a, b TEXT)")]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("""INSERT INTO "t" VALUES(1,'x');\n""", (1, "x")),
        ("""INSERT INTO "t" ("b","a") VALUES('x',-1.5e-7);\n""", (-1.5e-7, "x")),
        ("""INSERT INTO "t" ("a") VALUES(-Infinity);""", (float("-inf"), None)),
        ("""INSERT INTO "t" ("a") VALUES(100000000000000000000);\n""", (1e20, None)),
        ("""INSERT INTO "t" ("a") VALUES(X'00fF');\n""", (b"\x00\xff", None)),
        ("""INSERT INTO "t" ("a") VALUES('a\\n''b');\n""", ("a\\n'b", None)),
        ("""INSERT INTO "t" ("a") VALUES(replace('a\\n);','\\n',char(10)));\n""", ("a\n);", None)),
        (
            """INSERT INTO "t" ("a") VALUES(replace(replace('a\\r\\n','\\r',char(13)),'\\n',char(10)));\n""",
            ("a\r\n", None),
        ),
    ],
)
def test_every_form_of_a_row_is_read(line: str, row: tuple[Any, ...]) -> None:
    """Rows as older and newer exports write them."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        load_export(["PRAGMA defer_foreign_keys=TRUE;\n", line], TABLE, connection)
        assert connection.execute("SELECT a, b FROM t").fetchall() == [row]


@pytest.mark.parametrize(
    "line",
    [
        """INSERT INTO "t" ("a") VALUES(1,'x""",
        """INSERT INTO "t" ("a") VALUES(1)""",
        "<html>",
        "DROP TABLE t;",
    ],
)
def test_what_is_no_export_is_refused(line: str) -> None:
    """A line that is cut off, or none of an export, is named."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with closing(connection), pytest.raises(HooxError, match="Line 2 of D1's export"):
        load_export(["\n", line], TABLE, connection)


def test_an_export_that_fails_leaves_nothing(
    remote: RemoteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When D1 refuses to export, no file stays behind."""
    remote.batch([Statement("CREATE TABLE t (a)")])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()

    def refuse(**_: Any) -> None:
        raise RemoteError("D1 did not export the database.")

    monkeypatch.setattr(remote.client, "export", refuse)
    with pytest.raises(RemoteError):
        dump.dump(remote, lambda _: None)
    remote.close()
    assert list((tmp_path / "temp").iterdir()) == []
