"""A connection to a ledger's file: opened with what every one of them needs, and patient with locks."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from hoox_tasks.database.local.errors import primary_code, translated, unopened
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks import files

_OURS = ".hoox"
"""The folder of a workspace that is made for us, and that git need not see."""
_BREATH = 0.1
"""Seconds that SQLite may wait for a lock before Python looks whether it should go on."""
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def open_connection(
    path: Path, timeout: float, *, create: bool = False, shared: bool = False
) -> sqlite3.Connection:
    """Open the ledger at `path`, in autocommit mode, with foreign keys on.

    `timeout` is how many seconds it waits for locks. With `create` the file is made where there is none. A
    `shared` connection may be used by any thread, one at a time. Raises `Refused` where there is no such
    file, or it is not a SQLite database.
    """
    fresh = _is_fresh(path, create)
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={'rwc' if create else 'rw'}",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=not shared,
        )
        # Lets Python see Ctrl-C while SQLite is busy with one long statement.
        connection.set_progress_handler(lambda: 0, 100_000)
    except sqlite3.Error as error:
        raise unopened(path, str(error)) from error
    try:
        with translated(path):
            connection.execute("PRAGMA foreign_keys = ON")
            # SQLite opens the file itself only when it is first read.
            run_patiently(connection, "SELECT 1 FROM sqlite_schema LIMIT 1", timeout)
            if fresh and create:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def run_patiently(connection: sqlite3.Connection, statement: str, timeout: float) -> None:
    """Run a statement that may have to wait for others' locks, for up to `timeout` seconds.

    SQLite's own waiting cannot be interrupted by Ctrl-C, so it waits only a short while at a time.
    """
    end = time.monotonic() + timeout
    connection.execute(f"PRAGMA busy_timeout = {int(min(timeout, _BREATH) * 1000)}").fetchall()
    try:
        while True:
            try:
                connection.execute(statement).fetchall()
                return
            except sqlite3.OperationalError as error:
                if primary_code(error) not in _LOCKED or time.monotonic() >= end:
                    raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}").fetchall()


def _is_fresh(path: Path, create: bool) -> bool:
    """Whether nothing is in the file yet; raises `Refused` where it cannot be opened or made."""
    try:
        if path.is_dir():
            raise Refused(f"{path} is a folder, not a ledger.", "Name the SQLite file itself.")
        if path.exists():
            return path.stat().st_size == 0
    except OSError as error:
        raise unopened(path, error.strerror or str(error)) from error
    if not create:
        raise Refused(
            f"There is no ledger at {path}.",
            "Make one with `inv db.apply`, or name another file with --path.",
        )
    try:
        if path.parent.name == _OURS:
            files.make_ignored_folder(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"The folder {path.parent} cannot be made: {error.strerror}.", "Choose another with --path."
        ) from error
    return True
