"""SQLite files as the tests need them: made, loaded by other programs, and compared to the bit."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks.database import dump
from hoox_tasks.database.local.database import LocalDatabase
from tests.support import ROOT
from tests.support.strategies import quoted

SECONDS = 60


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file in autocommit mode for a block."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def execute(path: Path, script: str) -> None:
    """Run a script on a SQLite file."""
    with opened(path) as connection:
        connection.executescript(script)


def ask(path: Path, query: str) -> list[Any]:
    """Give the rows of a query on a SQLite file."""
    with opened(path) as connection:
        return connection.execute(query).fetchall()


def dumped(path: Path, **options: Any) -> bytes:
    """Dump a SQLite file with what is being tested."""
    written = bytearray()
    with closing(LocalDatabase(path)) as database:
        dump.dump(database, written.extend, **options)
    return bytes(written)


def load_with_shell(script: bytes, path: Path, *, foreign_keys: bool = False) -> None:
    """Load a dump into a new file with the `sqlite3` shell; skips the test where there is none."""
    shell = shutil.which("sqlite3")
    if shell is None:
        pytest.skip("There is no sqlite3 shell here.")
    keys = f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}"
    # A backslash-r in a file that is read on standard input is what a user's `sqlite3 db < dump.sql` meets.
    done = subprocess.run(
        [shell, "-batch", "-bail", "-cmd", keys, str(path)],
        input=script,
        capture_output=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def contents(path: Path) -> dict[str, Any]:
    """Give all of a file that a dump must keep: objects, sequences, and each cell by type and bits."""
    with opened(path) as connection:
        connection.text_factory = bytes
        objects = set(
            connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        )
        # The module of a virtual table makes these, where and how it likes.
        names = [
            row[0].decode()
            for row in connection.execute(
                "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')"
                " AND name <> 'sqlite_schema'"
            )
        ]
        tables = {name: _cells(connection, name) for name in names}
    return {"objects": objects, "tables": tables}


def _cells(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    described = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    columns = [quoted(row[1].decode()) for row in described if row[6] != 1]
    pairs = ", ".join(f"typeof({column}), {column}" for column in columns)
    rows = connection.execute(f"SELECT {pairs} FROM {quoted(table)}").fetchall()
    exact = [
        tuple(struct.pack(">d", cell) if isinstance(cell, float) else cell for cell in row) for row in rows
    ]
    return sorted(exact, key=repr)


NEWER = ROOT / "tests/support/newer_sqlite.py"


def run_newer(packages: Path, *arguments: str, data: bytes = b"") -> bytes:
    """Run `newer_sqlite.py` in a process of its own, and give what it writes."""
    done = subprocess.run(
        [sys.executable, str(NEWER), str(packages), *arguments],
        input=data,
        capture_output=True,
        timeout=SECONDS,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout
