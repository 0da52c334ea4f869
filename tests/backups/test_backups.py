"""Backups: proven when they are written, found out when they are damaged, restored whole."""

from __future__ import annotations

import gzip
import random
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks import backups, migrations
from hoox_tasks.backups import fingerprint, verification
from hoox_tasks.config import settings
from hoox_tasks.database import load
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import Migrations
from tests.support.remote import Counting, connect
from tests.support.sqlite_files import ask, contents, execute, opened
from tests.support.strategies import MadeLedger, examples, ledgers

SECONDS = 60
HISTORY = "d1_migrations"


def files() -> list[migrations.Migration]:
    return migrations.discover(settings.bundled("migrations"))


def restored(source: Path, target: Path) -> None:
    """Load a backup of anything and bring it into a new ledger."""
    with verification.loaded(source) as scratch, closing(LocalDatabase(target, create=True)) as database:
        database.replace(scratch.path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A migrated ledger with some trades."""
    ledger = tmp_path / "ledger.sqlite"
    with closing(LocalDatabase(ledger, create=True)) as database:
        Migrations(files()).apply(database)
        rows = [
            (f"t{number}", number, "bybit", "BTCUSDT", "LONG", number / 7, "EXECUTED")
            for number in range(500)
        ]
        columns = ("id", "timestamp", "exchange", "symbol", "action", "price", "status")
        database.insert([("trades", columns, rows)])
    return ledger


def exported(ledger: Path, name: str = "backup.sql") -> Path:
    target = ledger.with_name(name)
    with closing(LocalDatabase(ledger)) as database:
        backups.export(database, target, compressed=name.endswith(".gz"), migrations_table="d1_migrations")
    return target


# ---------------------------------------------------------------------------------------- round trips


@examples(60)
@given(ledgers(), st.booleans())
def test_any_ledger_comes_back_from_its_export(ledger: MadeLedger, compressed: bool) -> None:
    """Whatever a ledger holds, a verified export restored into another ledger holds the same, bit by bit."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "a.sqlite"), Path(folder, "b.sqlite")
        with opened(source) as connection:
            ledger.build(connection)
        file = exported(source, "a.sql.gz" if compressed else "a.sql")
        execute(
            target, "CREATE TABLE old (x); CREATE VIEW v AS SELECT * FROM old; INSERT INTO old VALUES (1)"
        )
        restored(file, target)
        assert contents(source) == contents(target)


def test_a_ledger_goes_to_d1_and_back(path: Path, wire: Counting) -> None:
    """A backup restored on D1 and exported from there holds every cell as it was, long and odd ones too."""
    execute(
        path,
        "CREATE TABLE odd (k INTEGER PRIMARY KEY AUTOINCREMENT, x);"
        "CREATE TABLE child (id INTEGER PRIMARY KEY, k REFERENCES odd (k));"
        "INSERT INTO odd (x) VALUES (9007199254740993), (1.0), (9e999), (-0.1), (x'00ff'), ('a' || char(0)),"
        " (char(13, 10)), ('\\n' || char(10)), (hex(zeroblob(80000))), (randomblob(70000)), (NULL);"
        "INSERT INTO child VALUES (1, 11);"
        "CREATE TRIGGER log AFTER INSERT ON child BEGIN UPDATE odd SET x = new.k WHERE k = 1; END;"
        "CREATE VIEW v AS SELECT x FROM odd; CREATE INDEX i ON odd (x);"
        "CREATE VIRTUAL TABLE f USING fts5(body);"
        "INSERT INTO f (rowid, body) VALUES (7, 'hello'), (3, 'there');",
    )
    file = exported(path)
    with closing(connect(wire)) as remote, verification.loaded(file) as scratch:
        remote.replace(scratch.path)
        back = path.with_name("back.sql")
        backups.export(remote, back, online=True, migrations_table="d1_migrations")
        again = verification.check_file(back)
        assert again is not None
        verification.compare(scratch, again.tables, "D1")
    restored(back, path.with_name("again.sqlite"))
    assert contents(path) == contents(path.with_name("again.sqlite"))


def test_a_restore_that_d1_refuses_is_taken_back(path: Path, wire: Counting) -> None:
    """When D1 will not take a backup, the ledger there is what it was."""
    with closing(connect(wire)) as remote:
        with verification.loaded(exported(path)) as scratch:
            remote.replace(scratch.path)
        before = list(remote.query("SELECT count(*), sum(timestamp) FROM trades"))
        execute(
            path, "DELETE FROM trades; CREATE TABLE wide (" + ", ".join(f"c{n}" for n in range(150)) + ")"
        )
        with pytest.raises(HooxError), verification.loaded(exported(path, "wide.sql")) as scratch:
            remote.replace(scratch.path)
        assert list(remote.query("SELECT count(*), sum(timestamp) FROM trades")) == before


# ------------------------------------------------------------------------------------- others' formats


def with_shell(path: Path, target: Path) -> None:
    with target.open("wb") as output:
        subprocess.run(["sqlite3", str(path), ".dump"], stdout=output, check=True, timeout=SECONDS)


def with_iterdump(path: Path, target: Path) -> None:
    with opened(path) as connection:
        target.write_text("\n".join(connection.iterdump()) + "\n", "utf-8")


def with_backup(path: Path, target: Path) -> None:
    with opened(path) as connection, closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


def as_d1_does(path: Path, target: Path) -> None:
    """D1's dump: rows before the tables that they refer to, infinities as words, no transaction."""
    with opened(path) as connection:
        tables = connection.execute(
            "SELECT name, sql FROM sqlite_schema"
            " WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        ).fetchall()
        lines = ["PRAGMA defer_foreign_keys=TRUE;"]
        for name, ddl in tables:
            lines.append(f"{ddl};")
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
            listed = ",".join(f'"{column}"' for column in columns)
            for row in connection.execute(f'SELECT * FROM "{name}"'):
                cells = []
                for cell in row:
                    if cell is None:
                        cells.append("NULL")
                    elif isinstance(cell, bytes):
                        cells.append(f"X'{cell.hex()}'")
                    elif isinstance(cell, str):
                        text = "'" + cell.replace("'", "''") + "'"
                        if "\n" in text:
                            text = "replace(" + text.replace("\n", "\\n") + ",'\\n',char(10))"
                        cells.append(text)
                    else:
                        cells.append(str(cell).replace("inf", "Infinity"))
                lines.append(f'INSERT INTO "{name}" ({listed}) VALUES({",".join(cells)});')
        lines.append("DELETE FROM sqlite_sequence;")
        for name, number in connection.execute("SELECT name, seq FROM sqlite_sequence"):
            lines.append(f'INSERT INTO "sqlite_sequence" ("name","seq") VALUES(\'{name}\',{number});')
        for (ddl,) in connection.execute(
            "SELECT sql FROM sqlite_schema WHERE type <> 'table' AND sql NOT NULL"
        ):
            lines.append(f"{ddl};")
    target.write_text("\n".join(lines), "utf-8")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
@examples(100)
def test_d1s_decimals_are_read_exactly(numbers: list[float]) -> None:
    """D1 writes the shortest decimal of a double; it is that double again, whatever SQLite reads it."""
    # A REAL column keeps no sign of a zero.
    numbers = [number + 0.0 for number in numbers] + [74014.051109, 2.0894649678, 1e23]
    rows = "".join(f'INSERT INTO "t" ("a","b") VALUES({number!r},\',1.5,\');\n' for number in numbers)
    with tempfile.TemporaryDirectory() as name:
        source, scratch = Path(name, "d1.sql"), Path(name, "scratch.sqlite")
        source.write_text(f"PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE t (a REAL, b);\n{rows}")
        load.load(source, scratch)
        found = ask(scratch, "SELECT a, b FROM t ORDER BY rowid")
    assert list(map(repr, found)) == [repr((number, ",1.5,")) for number in numbers]


OTHERS: list[Callable[[Path, Path], None]] = [with_shell, with_iterdump, with_backup, as_d1_does]


@pytest.mark.parametrize("write", OTHERS, ids=lambda write: write.__name__)
def test_what_others_wrote_is_restored(path: Path, write: Callable[[Path, Path], None]) -> None:
    """Dumps of the shell, of Python and of D1, and SQLite files, give the ledger that they were made of."""
    execute(
        path,
        "CREATE TABLE a_child (id INTEGER PRIMARY KEY, b REFERENCES b_parent (id));"
        "CREATE TABLE b_parent (id INTEGER PRIMARY KEY AUTOINCREMENT, x REAL, t TEXT);"
        "INSERT INTO b_parent VALUES (1, 9e999, 'it''s;\n);\n--'), (2, -9e999, 'Infinity'), (9, 1.5, '/* ' );"
        "INSERT INTO a_child VALUES (1, 9), (2, 1);"
        "CREATE TRIGGER t AFTER INSERT ON a_child BEGIN INSERT INTO b_parent (x) VALUES (new.b); END;"
        "CREATE VIEW v AS SELECT 'a;b' FROM a_child;",
    )
    source = path.with_name("other.sql")
    write(path, source)
    target = path.with_name("target.sqlite")
    restored(source, target)
    assert contents(target) == contents(path)


def test_full_text_of_the_shells_dump_is_restored(path: Path) -> None:
    """The shell writes virtual tables by way of `writable_schema`; they search again afterwards."""
    execute(path, "CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('hello there'), ('you');")
    source, target = path.with_name("f.sql"), path.with_name("target.sqlite")
    with_shell(path, source)
    restored(source, target)
    assert ask(target, "SELECT rowid, body FROM f WHERE f MATCH 'hello'") == [(1, "hello there")]
    assert contents(target) == contents(path)


def test_a_script_reaches_no_other_file(tmp_path: Path) -> None:
    """A dump that attaches another database is refused, and that one is not made."""
    source = tmp_path / "evil.sql"
    source.write_text(f"ATTACH '{tmp_path}/stolen.sqlite' AS s;\nCREATE TABLE s.t (x);\n")
    with pytest.raises(Refused, match="does not load from line 1 on: too many attached databases"):
        load.load(source, tmp_path / "scratch.sqlite")
    source.write_text(f"CREATE TABLE t (x);\nVACUUM INTO '{tmp_path}/stolen.sqlite';\n")
    with pytest.raises(Refused, match="does not load from line 2 on"):
        load.load(source, tmp_path / "scratch.sqlite")
    assert not (tmp_path / "stolen.sqlite").exists()


# -------------------------------------------------------------------------------- damage is found out


@pytest.mark.parametrize("name", ["backup.sql", "backup.sql.gz"])
def test_a_flipped_bit_is_found(path: Path, name: str) -> None:
    """Whichever bit of a backup flips, verifying it fails."""
    file = exported(path, name)
    good = file.read_bytes()
    draw = random.Random(5)
    for _ in range(60):
        bad = bytearray(good)
        place = draw.randrange(len(bad) * 8)
        bad[place // 8] ^= 1 << place % 8
        file.write_bytes(bad)
        with pytest.raises(Refused, match="was changed since it was written"):
            verification.check_file(file)


@pytest.mark.parametrize("name", ["backup.sql", "backup.sql.gz"])
@pytest.mark.parametrize("manifest", [True, False])
def test_a_truncated_file_is_refused(path: Path, name: str, manifest: bool) -> None:
    """A backup that lacks its end is refused, with its manifest and without."""
    file = exported(path, name)
    if not manifest:
        backups.manifest_path(file).unlink()
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(Refused, match="cut off"), backups.checked(file, Migrations(files())):
        pass


def test_a_manifest_of_another_content_is_refused(path: Path) -> None:
    """A file that loads, and has the digest of its manifest, but other rows, is found by the fingerprint."""
    file = exported(path)
    manifest = backups.read_manifest(file)
    assert manifest is not None
    wrong = backups.Content(500, "0" * 32)
    text = backups.manifest_path(file).read_text()
    backups.manifest_path(file).write_text(
        text.replace(manifest.tables["trades"].fingerprint, wrong.fingerprint)
    )
    with (
        pytest.raises(HooxError, match="trades has other values"),
        backups.checked(file, Migrations(files())),
    ):
        pass


def test_a_newer_schema_is_refused(path: Path) -> None:
    """A backup with a migration that is not at hand is refused by its name."""
    words = r"0002_runbook_columns\.sql is not among yours"
    with pytest.raises(Refused, match=words), backups.checked(exported(path), Migrations(files()[:1])):
        pass


@pytest.mark.parametrize("content", [b"hello", b"CREATE TABLE other (x);\n", b"\x1f\x8bno", b"a\0b", b""])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    """Text, another's tables, broken archives, binary and empty files are refused."""
    file = tmp_path / "x.sql"
    file.write_bytes(content)
    with pytest.raises(Refused), backups.checked(file, Migrations(files())):
        pass


def test_an_export_that_does_not_verify_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the loaded copy differs from the ledger, the export names the table and leaves no file."""
    from hoox_tasks.database import dump

    original = dump.real_literal
    monkeypatch.setattr(dump, "real_literal", lambda name: f"format('%.3f', {name})")
    assert original("x") != dump.real_literal("x")
    with pytest.raises(HooxError, match="trades has other values in the file than in the ledger"):
        exported(path)
    assert [file.name for file in path.parent.iterdir() if "backup" in file.name] == []


# ------------------------------------------------------------------------------------------ fingerprints


def test_the_fingerprint_is_as_documented() -> None:
    """The fingerprint of given rows is the same on every version of Python, and follows its definition."""
    import hashlib

    row = b"(\x02\x00\x00\x00i\x01\x00\x00\x00u\x01\x00\x00\x00a"  # A tuple of 2: the integer 1, the text a.
    expected = int.from_bytes(hashlib.blake2b(row, digest_size=16).digest(), "big")
    assert fingerprint.fingerprint([[(1, "a")]]) == backups.Content(1, f"{expected:032x}")
    assert fingerprint.fingerprint([[(1, "a")], [(1, "a")]]).fingerprint == f"{expected * 2 % 2**128:032x}"


@examples(200)
@given(st.data())
def test_the_fingerprint_tells_rows_apart(data: st.DataObject) -> None:
    """Other values, types or bits make another fingerprint; another order does not."""
    cell = st.one_of(
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=4),
        st.binary(max_size=4),
        st.sampled_from([0, 0.0, -0.0, 1, 1.0, "1", b"1", "", b"", None]),
    )
    rows = st.lists(st.tuples(cell, cell), max_size=4)
    first, second = data.draw(rows), data.draw(rows)
    same = sorted(map(repr, first)) == sorted(map(repr, second))
    made = fingerprint.fingerprint([first]), fingerprint.fingerprint([second])
    assert (made[0] == made[1]) is same
    assert fingerprint.fingerprint([[row] for row in reversed(first)]) == made[0]


# ---------------------------------------------------------------------------------------------- listing


def test_backups_are_listed_newest_first(path: Path) -> None:
    """A folder's backups are found with their manifests; other files are not."""
    folder = path.parent / "backups"
    with closing(LocalDatabase(path)) as database:
        for name in ("one.sql", "two.sql.gz"):
            backups.export(
                database,
                folder / name,
                compressed=name.endswith("gz"),
                verify=name == "one.sql",
                migrations_table="d1_migrations",
            )
    (folder / "old.sql").write_text("COMMIT;")
    found = {one.path.name: one.verified for one in backups.find(folder)}
    assert found == {"one.sql": True, "two.sql.gz": False, "old.sql": False}


# ------------------------------------------------------------------------------------------ restoring


def test_some_tables_are_restored_alone(path: Path) -> None:
    """With tables named, only their rows come back, and triggers on them do not run."""
    execute(
        path,
        "CREATE TRIGGER t AFTER INSERT ON trades BEGIN DELETE FROM balances; END;"
        "INSERT INTO balances (id, exchange, asset, timestamp) VALUES ('b', 'bybit', 'USDT', 1)",
    )
    file = exported(path)
    before = contents(path)
    execute(path, "DELETE FROM trades WHERE timestamp > 3; UPDATE balances SET asset = 'EUR'")
    with backups.checked(file, Migrations(files())) as backup, closing(LocalDatabase(path)) as database:
        backups.restore(database, backup, ["trades"])
    after = contents(path)
    assert after["tables"]["trades"] == before["tables"]["trades"]
    assert after["objects"] == before["objects"]
    assert ask(path, "SELECT asset FROM balances") == [("EUR",)]


def test_the_engines_own_tables_stay(path: Path) -> None:
    """A restore leaves what D1's engine keeps in the file."""
    execute(
        path,
        "CREATE TABLE _cf_METADATA (key INTEGER PRIMARY KEY, value BLOB); "
        "INSERT INTO _cf_METADATA VALUES (2, x'01')",
    )
    file = exported(path)
    with backups.checked(file, Migrations(files())) as backup, closing(LocalDatabase(path)) as database:
        backups.restore(database, backup)
    assert ask(path, "SELECT * FROM _cf_METADATA") == [(2, b"\x01")]
    assert "_cf_METADATA" not in file.read_text()


def test_an_old_manifest_does_not_speak_for_a_new_file(path: Path) -> None:
    """An export over an older one has its own manifest."""
    file = exported(path)
    execute(path, "DELETE FROM trades")
    exported(path)
    manifest = verification.check_file(file)
    assert manifest is not None
    assert manifest.tables["trades"].rows == 0


def test_compressed_files_are_the_same_inside(path: Path) -> None:
    """A compressed export unpacks to the plain one."""
    assert gzip.decompress(exported(path, "a.sql.gz").read_bytes()) == exported(path, "a.sql").read_bytes()


@pytest.fixture(autouse=True)
def _no_scratch_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not [file for file in tmp_path.rglob(".*") if file.name.startswith((".hoox-", ".backup"))]


def with_newlines(path: Path, target: Path) -> None:
    """The shell's dump with line breaks inside of texts as they are, and with rowids."""
    command = ["sqlite3", str(path), ".dump --newlines --preserve-rowids"]
    with target.open("wb") as output:
        subprocess.run(command, stdout=output, check=True, timeout=SECONDS)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("write", [*OTHERS, with_newlines], ids=lambda write: write.__name__)
def test_what_others_wrote_goes_to_d1(
    path: Path, wire: Counting, write: Callable[[Path, Path], None], packed: bool
) -> None:
    """The same dumps, compressed or not, with tables that refer to each other, give that ledger on D1."""
    execute(
        path,
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b REFERENCES b (id), t TEXT);"
        "CREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT, a REFERENCES a (id), up REFERENCES b (id));"
        "INSERT INTO b VALUES (1, 2, 9), (9, 1, 1); INSERT INTO a VALUES (1, 9, 'it''s;\n'), (2, 1, '\r\n');"
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO b (a) VALUES (new.id); END;"
        "CREATE VIEW v AS SELECT 'a;b' FROM a;",
    )
    source = path.with_name("other.sql")
    write(path, source)
    if packed:
        source.write_bytes(gzip.compress(source.read_bytes()))
    if packed and write is with_backup:
        with pytest.raises(Refused, match="neither SQL nor"), verification.loaded(source):
            pass
        return
    with closing(connect(wire)) as remote, verification.loaded(source) as scratch:
        remote.replace(scratch.path)
    assert contents(path.with_name("l.sqlite")) == contents(path)


def test_rows_of_others_are_not_lost_with_those_restored(path: Path, wire: Counting) -> None:
    """On D1, restoring a table alone is refused where another's rows would be deleted with its own."""
    execute(path, "CREATE TABLE fills (id, trade REFERENCES trades (id) ON DELETE CASCADE)")
    execute(path, "INSERT INTO fills SELECT 1, id FROM trades LIMIT 1")
    with verification.loaded(exported(path)) as scratch, closing(connect(wire)) as remote:
        remote.replace(scratch.path)
        before = list(remote.query("SELECT * FROM fills"))
        with pytest.raises(Refused, match="Rows of fills would go with those of trades"):
            remote.replace(scratch.path, ["trades"])
        assert list(remote.query("SELECT * FROM fills")) == before != []
        remote.replace(scratch.path, ["trades", "fills"])
        assert list(remote.query("SELECT * FROM fills")) == before
