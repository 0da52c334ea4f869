"""A backup of unknown origin loaded into a scratch file: every row, in linear time, within bounds."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hoox_tasks.database import load as loading
from hoox_tasks.database.load import load
from hoox_tasks.errors import Refused
from tests.support.sqlite_files import ask

TABLE = "CREATE TABLE t (a);\n"


def rows(tmp_path: Path, script: str | bytes, name: str = "dump.sql") -> list[object]:
    """The values of `t` after a script was loaded."""
    source, scratch = tmp_path / name, tmp_path / "scratch.sqlite"
    source.write_bytes(script.encode() if isinstance(script, str) else script)
    scratch.unlink(missing_ok=True)
    load(source, scratch)
    with closing(sqlite3.connect(scratch)) as connection:
        return [row[0] for row in connection.execute("SELECT a FROM t ORDER BY rowid")]


@pytest.mark.parametrize(
    "line",
    [
        "INSERT INTO t VALUES({}); -- closed (ticket 12);\n",
        "INSERT INTO t VALUES({}); /* closed (ticket 12);\n*/\n",
        "INSERT INTO t VALUES({}); -- it's (12);\n",
        "INSERT INTO t VALUES({} /* (1);\n*/);\n",
        "PRAGMA foreign_keys = OFF; INSERT INTO t VALUES({});\n",
        "BEGIN; INSERT INTO t VALUES({}); COMMIT;\n",
        "COMMIT; BEGIN; INSERT INTO t VALUES({}); COMMIT;\n",
    ],
)
def test_nothing_hides_the_rows_behind_it(tmp_path: Path, line: str) -> None:
    """All rows are loaded, whatever stands behind or before one in its line."""
    script = TABLE + "".join(line.format(number) for number in range(100))
    assert rows(tmp_path, script) == list(range(100))


@pytest.mark.parametrize(
    "line",
    [
        "INSERT INTO t VALUES({});\n",
        "INSERT INTO t(a, b) VALUES ({}, 'BUY; (1); -- x');\n",
        "INSERT INTO t VALUES({}, 'first line;\n);\n--third line');\n",
        "INSERT INTO \"t\" VALUES({}, replace('a\\nb', '\\n', char(10)));\n",
        "INSERT INTO t VALUES({}, CAST(X'61' AS TEXT));\n",
        "INSERT INTO t VALUES({}, -1.5);\n",
    ],
)
def test_rows_of_one_table_are_loaded_many_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """SQLite is given some tens of rows in one statement, those with texts of several lines as well."""
    run: list[str] = []
    connect = loading.connect

    def traced(scratch: Path) -> sqlite3.Connection:
        connection = connect(scratch)
        connection.set_trace_callback(run.append)
        return connection

    monkeypatch.setattr(loading, "connect", traced)
    line = line.replace("{})", "{}, NULL)")
    script = "CREATE TABLE t (a, b);\n" + "".join(line.format(number) for number in range(400))
    assert rows(tmp_path, script) == list(range(400))
    assert sum(statement.startswith("INSERT") for statement in run) <= 400 // 25


@pytest.mark.parametrize("clause", ["GROUP BY (a)", "HAVING (1)"])
def test_a_row_with_a_clause_behind_it_swallows_no_other(tmp_path: Path, clause: str) -> None:
    """What ends in a parenthesis and is more than a row is run alone: the next row is not a part of it."""
    script = (
        "CREATE TABLE t (a);\nCREATE TABLE s (a);\nINSERT INTO s VALUES(7);\nINSERT INTO t VALUES(1);\n"
        f"INSERT INTO t VALUES(2) UNION ALL SELECT max(a) FROM s {clause};\n"
        "INSERT INTO t VALUES('c');\nINSERT INTO t VALUES('d');\n"
    )
    assert rows(tmp_path, script) == [1, 2, 7, "c", "d"]


def test_a_name_in_double_quotes_hides_no_comment(tmp_path: Path) -> None:
    """An apostrophe in double quotes opens no text in which a comment would be overlooked."""
    line = "INSERT INTO t VALUES(\"a'\"); -- x ');\n"
    assert rows(tmp_path, TABLE + line * 50) == ["a'"] * 50


def seconds(tmp_path: Path, script: str) -> float:
    """CPU time that loading a script takes, refused or not."""
    started = time.process_time()
    with suppress(Refused):
        rows(tmp_path, script)
    return time.process_time() - started


@pytest.mark.parametrize(
    ("start", "repeated", "end"),
    [
        ("INSERT OR REPLACE INTO t VALUES('", "abc;\n", "');\n"),
        ("INSERT INTO t VALUES('", "');\n('", "');\n"),
        ("CREATE TRIGGER r AFTER INSERT ON t BEGIN\n", "SELECT 1;\n", "END;\n"),
        ("/*", ";\n", "*/;\n"),
        ("", "\n", ""),
        ("", "--;\n", ""),
        ("", "INSERT INTO t VALUES(1); -- x);\n", ""),
        ("INSERT INTO t VALUES(1", ",(1);\n", ""),
    ],
)
def test_the_time_to_load_grows_with_the_size_of_a_script(
    tmp_path: Path, start: str, repeated: str, end: str
) -> None:
    """100 KB of any shape take at most a second of CPU, and twice as many about twice as long."""
    times = 100_000 // len(repeated)
    first = seconds(tmp_path, TABLE + start + repeated * times + end)
    second = seconds(tmp_path, TABLE + start + repeated * 2 * times + end)
    assert first < 1
    assert second < 2.5 * first + 0.1


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("tasks.py", b"from hoox_tasks import ns\n", "is not SQL"),
        ("notes.txt", b"Dear ledger;\n", "is not SQL"),
        ("backup.json", b'{"tables": 1}\n', "is JSON"),
        ("wide.sql", TABLE.encode("utf-16"), "is text in UTF-16"),
        ("dump.sql.xz", b"\xfd7zXZ\0\0\4", "is compressed with xz"),
        ("dump.zip", b"PK\x03\x04\x14\0", "is a zip archive"),
        ("zeros.sql.gz", gzip.compress(b"\0" * 3_000_000), "is not text"),
    ],
)
def test_what_is_no_backup_is_named(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    """Whoever names another file is told what it is."""
    with pytest.raises(Refused, match=kind):
        rows(tmp_path, content, name)


def test_a_value_is_no_larger_than_the_script_could_say(tmp_path: Path) -> None:
    """A short script makes no value of hundreds of megabytes; a long one may have long values."""
    with pytest.raises(Refused, match="too big"):
        rows(tmp_path, f"{TABLE}INSERT INTO t VALUES(zeroblob(500000000));\n")
    long = "x" * (loading._VALUE - 1000)
    assert rows(tmp_path, f"{TABLE}INSERT INTO t VALUES('{long}');\n") == [long]


def test_a_statement_is_not_read_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that goes on and on in one line is refused before it fills the memory."""
    monkeypatch.setattr(loading, "_STATEMENT", 3_000_000)
    for endless in ("a" * 5_000_000, "a\n" * 2_500_000):
        with pytest.raises(Refused, match="more than 3,000,000 characters"):
            rows(tmp_path, gzip.compress(f"{TABLE}INSERT INTO t VALUES('{endless}".encode()))


ENDLESS = (
    f"{TABLE}INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
    " SELECT x FROM c WHERE x < 0;\n"
)


def test_a_statement_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements have a time for all of them together, which grows with what was read."""
    monkeypatch.setattr(loading, "_SECONDS", 0.2)
    with pytest.raises(Refused, match="do not end"):
        rows(tmp_path, ENDLESS)
    many = f"{TABLE}{SLOW * 50}"
    with pytest.raises(Refused, match="do not end"):
        rows(tmp_path, many)
    assert len(rows(tmp_path, TABLE + SLOW)) == 1


SLOW = (
    "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 100000)"
    " SELECT max(x) FROM c;\n"
)


@pytest.mark.parametrize(
    "growing",
    [
        "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c;\n",
        "INSERT INTO t VALUES(zeroblob(10000000));\n" * 10,
        "INSERT INTO t SELECT a FROM t;\n" * 40,
        "ALTER TABLE t ADD COLUMN b; INSERT INTO t(a) VALUES(randomblob(9000000));\n"
        + "UPDATE t SET b = a || a;\n",
    ],
)
def test_a_file_does_not_grow_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, growing: str
) -> None:
    """A short script does not fill the disk, by whatever statements."""
    monkeypatch.setattr(loading, "_SMALL", 4 << 20)
    with pytest.raises(Refused, match="grows to more than 250 times its size"):
        rows(tmp_path, f"{TABLE}INSERT INTO t VALUES(1);\n{growing}")
    assert (tmp_path / "scratch.sqlite").stat().st_size < 5 << 20


def test_packed_text_is_not_unpacked_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes of gzip are not read for gigabytes of empty lines."""
    monkeypatch.setattr(loading, "_SMALL", 100_000)
    monkeypatch.setattr(loading, "_EXPANSION", 20)
    bomb = gzip.compress(TABLE.encode() + b"--\n" * 10_000_000)
    with pytest.raises(Refused, match="grows to more than 20 times its size"):
        rows(tmp_path, bomb)


@pytest.mark.parametrize(
    "script", ["PRAGMA encoding='nope';\n", "PRAGMA writable_schema = ON; ATTACH 'x' AS y;\n"]
)
def test_pragmas_and_what_stands_behind_them_are_not_trusted(tmp_path: Path, script: str) -> None:
    """A pragma with a value that SQLite does not know, or a file that is attached, is refused in a sentence."""
    with pytest.raises(Refused, match="does not load from line 1 on"):
        rows(tmp_path, script + TABLE)


def test_a_change_that_was_killed_is_taken_back_in_the_copy(tmp_path: Path) -> None:
    """A database whose journal lies beside it is loaded as it was before the change; both files stay as they are."""
    path, source = tmp_path / "live.sqlite", tmp_path / "folder" / "killed.sqlite"
    source.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY, x)")
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        connection.execute(f"INSERT INTO trades {numbers} SELECT i, hex(zeroblob(500)) FROM n")
        connection.execute("PRAGMA cache_size = 5")
        connection.execute("BEGIN")
        connection.execute("UPDATE trades SET x = 'gone'")
        for end in ("", "-journal"):
            shutil.copy(f"{path}{end}", f"{source}{end}")
    before = {file.name: file.read_bytes() for file in source.parent.iterdir()}
    assert b"gone" in before["killed.sqlite"]
    load(source, tmp_path / "scratch.sqlite")
    assert ask(tmp_path / "scratch.sqlite", "SELECT count(*), min(x) = hex(zeroblob(500)) FROM trades") == [
        (2000, 1)
    ]
    assert {file.name: file.read_bytes() for file in source.parent.iterdir()} == before
