"""A ledger in a SQLite file: opened, asked, changed, and what is said where it cannot be."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused, StatementError
from tests.support.newer import install
from tests.support.programs import program
from tests.support.sqlite_files import ask, dumped, execute

SECONDS = 60


@pytest.fixture
def database(tmp_path: Path) -> Iterator[LocalDatabase]:
    """A ledger with one table of two rows."""
    path = tmp_path / "ledger.sqlite"
    with closing(LocalDatabase(path, create=True)) as opened:
        execute(path, "CREATE TABLE t (x UNIQUE, update_ TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        yield opened


def test_a_locked_ledger_names_its_holder(database: LocalDatabase) -> None:
    """A ledger that another process keeps locked is refused with that process and the time waited."""
    holder = subprocess.Popen(
        [*program("hold_lock"), database.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with closing(LocalDatabase(database.path, busy_timeout=0.2)) as waiting:
            with pytest.raises(Refused, match=r"is locked .*waited 0\.[2-9] s") as refusal:
                waiting.batch([Statement("INSERT INTO t VALUES (3, 'c')")])
            assert [tuple(row) for row in waiting.query("SELECT x FROM t ORDER BY x")] == [(1,), (2,)]
        if Path("/proc/locks").exists():
            assert f"process {holder.pid} (" in str(refusal.value)
        assert refusal.value.exit_code == 2
    finally:
        holder.communicate("\n", timeout=SECONDS)
    database.batch([Statement("INSERT INTO t VALUES (3, 'c')")])


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder, and another kind of file are refused by name; nothing is made."""
    (tmp_path / "other").write_text("a text that is long enough not to look like an empty database " * 20)
    cases = {
        tmp_path / "missing.sqlite": "There is no ledger at",
        tmp_path: "is a folder",
        tmp_path / "other": "is not a SQLite database",
        tmp_path / "other" / "below.sqlite": r"There is no ledger|cannot be (made|opened)",
    }
    for path, words in cases.items():
        with pytest.raises(Refused, match=words) as refusal:
            LocalDatabase(path)
        assert str(path) in str(refusal.value)
    with pytest.raises(Refused, match=r"cannot be (made|opened)"):
        LocalDatabase(tmp_path / "other" / "below.sqlite", create=True)
    assert [found.name for found in tmp_path.iterdir()] == ["other"]


def test_a_damaged_file_is_refused(database: LocalDatabase) -> None:
    """A file whose pages make no sense is told to be damaged."""
    execute(database.path, "PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    content = bytearray(database.path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    database.path.write_bytes(content)
    with closing(LocalDatabase(database.path)) as damaged, pytest.raises(Refused, match="is damaged"):
        list(damaged.query("SELECT * FROM t"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_a_ledger_that_can_only_be_read() -> None:
    """A file that can only be read can be asked, looked at and dumped; a change is refused."""
    # Nobody may look into pytest's own folders.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "ledger.sqlite"
        execute(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)")
        path.chmod(0o444)
        done = subprocess.run([*program("read_only"), path], capture_output=True, text=True, timeout=SECONDS)
    assert done.stderr == ""
    assert done.stdout.splitlines()[:3] == ["[(1,), (2,)]", "()", "{'t': 2}"]
    assert "can only be read" in done.stdout


def test_a_full_disk_changes_nothing(database: LocalDatabase) -> None:
    """Where there is no room, the unit is undone as a whole, and the user told with exit code 2."""
    before = dumped(database.path)
    (pages,) = database.connection.execute("PRAGMA page_count").fetchone()
    database.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Refused, match="no room left") as refusal:
        database.batch(
            [
                Statement("INSERT INTO t VALUES (3, 'c')"),
                Statement("INSERT INTO t VALUES (randomblob(90000), '')"),
            ]
        )
    assert refusal.value.exit_code == 2
    assert dumped(database.path) == before


def test_words_in_messages_are_not_mistaken(database: LocalDatabase) -> None:
    """A constraint whose name sounds like another trouble is told as the constraint that it is."""
    execute(
        database.path,
        'CREATE TABLE u (x CONSTRAINT "database disk full, locked, malformed, readonly database" CHECK (x))',
    )
    with pytest.raises(StatementError, match="CHECK constraint failed"):
        database.batch([Statement("INSERT INTO u VALUES (0)")])


@pytest.mark.parametrize("message", ["it would overdraw the account", "not authorized", "interrupted"])
@pytest.mark.parametrize("strict", [True, False])
def test_a_trigger_has_its_own_words(database: LocalDatabase, message: str, strict: bool) -> None:
    """What a user's trigger says is told as it is, and never taken for a refusal of ours."""
    execute(
        database.path,
        f"CREATE TRIGGER no BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, '{message}'); END",
    )
    with closing(LocalDatabase(database.path, strict=strict)) as other:
        with pytest.raises(StatementError) as failure:
            other.query("DELETE FROM t", write=True)
        assert failure.value.message.startswith(message)
        assert "--write" not in str(failure.value)
        with pytest.raises(Refused, match="Give --write"):
            list(other.query("DELETE FROM t"))


@pytest.mark.parametrize(
    ("statement", "params", "words"),
    [
        ("SELECT '\udcff'", [], "no valid text"),
        ("SELECT ?", ["\udcff"], "no valid text"),
        ("SELECT ?", [2**63], "64 bits"),
        ("SELECT 1; SELECT 2", [], "one statement at a time"),
        ("SELECT 1\0", [], "null character"),
    ],
)
def test_what_python_does_not_hand_to_sqlite_is_told(
    database: LocalDatabase, statement: str, params: list[Any], words: str
) -> None:
    """A text that is none, a number too large and two statements at once end in a sentence about just that."""
    for write in (False, True):
        with pytest.raises((Refused, StatementError), match=words):
            list(database.query(statement, params, write=write))


def test_a_unit_happens_whole_or_not_at_all(database: LocalDatabase) -> None:
    """A statement that fails undoes those before it; its place in the unit is told."""
    before = dumped(database.path)
    with pytest.raises(StatementError) as failure:
        database.batch(
            [Statement("INSERT INTO t VALUES (3, 'c')"), Statement("INSERT INTO t VALUES (1, 'd')")]
        )
    assert failure.value.index == 1
    assert dumped(database.path) == before


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("word", ["COMMIT", "ROLLBACK", "SAVEPOINT s", "BEGIN"])
def test_a_unit_cannot_end_its_transaction(database: LocalDatabase, word: str, strict: bool) -> None:
    """A statement that would close the transaction around a unit fails, and the unit is undone."""
    before = dumped(database.path)
    with closing(LocalDatabase(database.path, strict=strict)) as other, pytest.raises(StatementError):
        other.batch([Statement("DELETE FROM t"), Statement(word), Statement("SELECT 1")])
    assert dumped(database.path) == before


def test_ctrl_c_inside_a_transaction_undoes_it(database: LocalDatabase) -> None:
    """An interrupt inside a transaction leaves the ledger as it was, and the ledger usable."""
    before = dumped(database.path)
    with pytest.raises(KeyboardInterrupt), database.transaction() as connection:  # noqa: PT012
        connection.execute("DELETE FROM t")
        raise KeyboardInterrupt
    assert dumped(database.path) == before
    database.batch([Statement("INSERT INTO t VALUES (3, 'c')")])


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM t",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "INSERT INTO t VALUES (9, 'x') RETURNING x",
        "CREATE TEMP TABLE y (x)",
        "ATTACH 'other.sqlite' AS other",
        "VACUUM INTO 'other.sqlite'",
        "PRAGMA user_version = 7",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "REINDEX",
        "BEGIN",
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_query_only_reads(
    database: LocalDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, strict: bool
) -> None:
    """Whatever would change anything is refused with exit code 2, and no file is touched or made."""
    monkeypatch.chdir(tmp_path)
    before = dumped(database.path), sorted(tmp_path.iterdir())
    with closing(LocalDatabase(database.path, strict=strict)) as other:
        with pytest.raises((Refused, StatementError)):
            list(other.query(statement))
        assert list(other.query("SELECT replace(update_, 'a', 'z') FROM t WHERE x = ?", [1])) == [("z",)]
    assert (dumped(database.path), sorted(tmp_path.iterdir())) == before


def test_several_statements_at_once_are_refused(database: LocalDatabase) -> None:
    """A query of two statements is refused."""
    with pytest.raises((Refused, StatementError)):
        list(database.query("SELECT 1; DELETE FROM t"))


def test_too_large_a_statement_is_told(database: LocalDatabase) -> None:
    """A statement that compiles to more than D1 takes is told as D1 would, not as Python's MemoryError."""
    rows = ",".join(["(1,2,3,4,5)"] * 6000)
    with pytest.raises(StatementError, match="NOMEM"):
        list(database.query(f"SELECT count(*) FROM (VALUES {rows})"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Only Linux tells a peak of memory")
def test_a_query_streams(database: LocalDatabase) -> None:
    """A million rows of a query take less than 100 MB of memory."""
    done = subprocess.run(
        [*program("stream_query"), database.path], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.stderr == ""
    count, peak = map(int, done.stdout.split())
    assert count == 1_000_000
    assert peak < 100 * 1024


def test_errors_show_their_place(database: LocalDatabase) -> None:
    """A statement with an error tells where in it."""
    with pytest.raises(StatementError, match='near "AND"') as failure:
        list(database.query("SELECT x\nFROM t\nWHERE AND x"))
    assert failure.value.offset == 22


def test_inserting_is_all_or_nothing(database: LocalDatabase) -> None:
    """Rows are inserted all or none, and indexes are there afterwards as before."""
    execute(database.path, "CREATE TABLE u (x); CREATE UNIQUE INDEX i ON u (x)")
    before = dumped(database.path)
    with pytest.raises(StatementError, match="UNIQUE"):
        database.insert([("u", ["x"], [(1,), (2,)]), ("u", ["x"], [(1,)])])
    assert dumped(database.path) == before
    assert database.insert([("u", ["x"], [(1,), (2,)]), ("t", ["x"], [(7,)]), ("u", ["x"], [(3,)])]) == {
        "u": 3,
        "t": 1,
    }
    assert ask(database.path, "SELECT name FROM sqlite_schema WHERE name = 'i'") == [("i",)]
    with pytest.raises(sqlite3.IntegrityError):
        execute(database.path, "INSERT INTO u VALUES (3)")


@pytest.mark.parametrize("newer", [False, True], ids=["alone", "beside pysqlite3"])
def test_sqlite_utils_uses_our_connection(database: LocalDatabase, tmp_path: Path, newer: bool) -> None:
    """What goes through sqlite-utils does the same where pysqlite3 is installed, which that prefers."""
    older = tmp_path / "older.sqlite"
    execute(older, "CREATE TABLE t (x UNIQUE, update_ TEXT); INSERT INTO t VALUES (5, 'old')")
    environment = {**os.environ, "PYTHONPATH": str(install()) if newer else ""}
    done = subprocess.run(
        [*program("use_tables"), database.path, older],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.stderr == ""
    chosen, message, tables, cells = done.stdout.splitlines()
    assert ("pysqlite3" in chosen) == newer
    assert message.startswith("UNIQUE constraint failed: u.x")
    assert tables == "[('t', 1), ('u', 5)]"
    assert "('integer', '9223372036854775807')" in cells
    assert ask(database.path, "SELECT * FROM t") == [(5, "old")]


def test_a_change_that_never_ends_is_ended_and_undone(tmp_path: Path) -> None:
    """The time is for all statements of a unit together, none of which has happened then."""
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
    with closing(LocalDatabase(tmp_path / "endless.sqlite", create=True)) as ledger:
        ledger.batch([Statement("CREATE TABLE t (a)")])
        unit = [Statement("INSERT INTO t VALUES (1)"), Statement(f"{endless} INSERT INTO t SELECT x FROM c")]
        with pytest.raises(HooxError, match=r"did not end in 0\.2 seconds"):
            ledger.batch(unit, timeout=0.2)
        with pytest.raises(HooxError, match=r"did not end in 0\.2 seconds"):
            ledger.query(unit[1].sql, write=True, timeout=0.2)
        # A limit of one statement is none of the next.
        ledger.batch([Statement("INSERT INTO t VALUES (2)")])
        assert list(ledger.query("SELECT a FROM t")) == [(2,)]


def test_a_query_that_never_ends_is_ended(tmp_path: Path) -> None:
    """After its time a query that reads is refused in a sentence; time between its rows does not count."""
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
    with closing(LocalDatabase(tmp_path / "endless.sqlite", create=True)) as ledger:
        with pytest.raises(HooxError, match=r"did not end in 0\.2 seconds"):
            ledger.query(f"{endless} WHERE x < 0", timeout=0.2)
        rows = iter(ledger.query(f"{endless} LIMIT 3000", timeout=0.2))
        next(rows)
        time.sleep(0.3)
        assert len(list(rows)) == 2999
