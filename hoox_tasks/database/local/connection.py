"""A connection to a ledger's file: opened with what every one of them needs, and patient with locks.

What SQLite says when something goes wrong is turned into our errors by `translated`.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hoox_tasks import interruptions, sql
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.rules.functions import refuse_old

with lazy_imports():
    from hoox_tasks import files
    from hoox_tasks.database.local import errors

if TYPE_CHECKING:
    from hoox_tasks.rules.authorizer import Authorizer
    from hoox_tasks.values import Row

_WAL_MODE = slice(18, 20)
"""Where a file's head says that it is in WAL mode (https://www.sqlite.org/fileformat2.html#the_database_header)."""
_OURS = ".hoox"
"""The folder of a workspace that is made for us, and that git need not see."""
_BREATH = 0.1
"""Seconds that SQLite may wait for a lock before Python looks whether it should go on."""
_BLOCK = 1000
"""Rows of a query that are fetched at once."""
_NOT_UTF_8 = "Could not decode to UTF-8"
"""How Python begins to say so of a text; there is no code for it."""
_STEPS = 100_000
"""Steps of SQLite's virtual machine after which Python looks whether it should go on."""
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


@contextmanager
def translated(
    path: Path | None,
    statement: str = "",
    *,
    authorizer: Authorizer | None = None,
    index: int | None = None,
) -> Iterator[None]:
    """Turn the errors of `sqlite3` inside a block into ours.

    `path` is the ledger's file, None for one in memory. `statement` is what is run, and `index` its place in
    its unit. `authorizer` is the gate in front of it, which knows why it refused something.
    """
    started = time.monotonic()
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, MemoryError, OverflowError, UnicodeEncodeError) as error:
        waited = time.monotonic() - started
        raise errors.explained(error, path, statement, authorizer, index, waited) from error


def primary_code(error: BaseException | None) -> int | None:
    """Return SQLite's primary result code of an error; None for one that is not SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def open_connection(
    path: Path, timeout: float, *, create: bool = False, shared: bool = False
) -> sqlite3.Connection:
    """Open the ledger at `path`, in autocommit mode, with foreign keys on.

    `timeout` is how many seconds it waits for locks. With `create` the file is made where there is none. A
    `shared` connection may be used by any thread, one at a time. Raises `Refused` where there is no such
    file, it is not a SQLite database, or this Python's SQLite is too old.
    """
    refuse_old()
    fresh = _is_fresh(path, create)
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?{'mode=rwc' if create else _read_mode(path.resolve())}",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=not shared,
        )
        # Lets Python see Ctrl-C while SQLite is busy with one long statement.
        connection.set_progress_handler(lambda: 0, _STEPS)
    except sqlite3.Error as error:
        raise errors.unopened(path, str(error)) from error
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


def open_reader(path: Path, timeout: float) -> sqlite3.Connection:
    """Open the ledger at `path` to read it alone, its virtual tables as well, as `open_connection` does."""
    # Rows that nobody takes to the end are closed by the garbage collector, in whatever thread that runs.
    connection = open_connection(path, timeout, shared=True)
    try:
        with translated(path):
            connection.execute("PRAGMA query_only = ON")
            connect_modules(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_mode(path: Path) -> str:
    """Give how SQLite opens a file that is there.

    For one in WAL mode it makes two files beside it, which a folder that can only be read does not take.
    Where nobody has it open, it can be read as it is. Raises `Refused` where a log is left that cannot be.
    """
    if os.access(path.parent, os.W_OK):
        return "mode=rw"
    log, index = (path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))
    with suppress(OSError), path.open("rb") as file:
        if index.exists() or file.read(_WAL_MODE.stop)[_WAL_MODE] != b"\2\2":
            return "mode=rw"
        if not log.exists() or not log.stat().st_size:
            return "mode=ro&immutable=1"
        raise Refused(
            f"{path} has a write-ahead log beside it, and its folder can only be read.",
            "Copy both files to another folder, and name it there with --path.",
        )
    return "mode=rw"


class TimeLimit:
    """How long SQLite may work on one statement, over all the times that rows are asked for.

    What happens between these, as while somebody reads a page, does not count. None is no limit. Where SQLite
    does not look at the time, as while it compiles, the process is ended (see `interruptions.endable`).
    """

    def __init__(self, connection: sqlite3.Connection, seconds: float | None) -> None:
        self._late = HooxError(
            f"The SQL did not end in {seconds or 0:g} seconds.",
            "Let it do less, or give it longer with --timeout or hoox.query_timeout.",
        )
        self._left = math.inf if seconds is None else seconds
        self._until = math.inf
        connection.set_progress_handler(lambda: time.monotonic() > self._until, _STEPS)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let SQLite work in a block; raises `HooxError` where it was ended because its time was up."""
        started = time.monotonic()
        self._until = started + self._left
        try:
            with interruptions.endable(self._until, self._late):
                yield
        except KeyboardInterrupt:
            if time.monotonic() <= self._until:
                raise
            raise self._late from None
        finally:
            self._left -= time.monotonic() - started
            self._until = math.inf


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


def deny_transactions(action: int, *_: str | None) -> int:
    """An authorizer: a statement of a unit that ended the transaction would break "all or nothing"."""
    closes = action in {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT}
    return sqlite3.SQLITE_DENY if closes else sqlite3.SQLITE_OK


def connect_modules(connection: sqlite3.Connection) -> None:
    """Have SQLite open the virtual tables of a connection, before an authorizer says what may be done.

    R*Tree compiles statements that change its shadow tables when it is first used, even if only to read.
    """
    # Only virtual tables have no page of their own.
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage = 0"
    for (name,) in connection.execute(query).fetchall():
        with suppress(sqlite3.Error):  # A module that is not here; who asks for the table will be told.
            connection.execute(f"PRAGMA table_info({sql.quote_name(name)})").fetchall()


def _is_fresh(path: Path, create: bool) -> bool:
    """Whether nothing is in the file yet; raises `Refused` where it cannot be opened or made."""
    try:
        if path.is_dir():
            raise Refused(f"{path} is a folder, not a ledger.", "Name the SQLite file itself.")
        path.resolve()  # Raises where symbolic links go round in a ring.
        if path.exists():
            status = path.stat()
            if status.st_nlink > 1:
                raise Refused(
                    f"{path} has {status.st_nlink} names (hard links), and SQLite keeps a log beside"
                    " each: what was written by one name may be missing in the other.",
                    "Remove the other name, or make a symbolic link of it.",
                )
            return status.st_size == 0
    except (OSError, RuntimeError) as error:
        raise errors.unopened(path, getattr(error, "strerror", "") or str(error)) from error
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


# ---------------------------------------------------------------------------------------------- results


def fetch_blocks(
    connection: sqlite3.Connection, run: Callable[[], sqlite3.Cursor], cursor: sqlite3.Cursor
) -> Iterator[list[Row]]:
    """Fetch a query's rows from `cursor`, and once more from `run` where a text is not UTF-8.

    Such a text has its bytes as lone surrogates. To read every text that way takes half as long again. The
    connection has to hold one moment: the second time gives the same rows.
    """
    taken = 0
    try:
        while block := cursor.fetchmany(_BLOCK):
            yield block
            taken += len(block)
        return
    except sqlite3.OperationalError as error:
        if not str(error).startswith(_NOT_UTF_8):
            raise
    connection.text_factory = with_surrogates
    cursor = run()
    while block := cursor.fetchmany(_BLOCK):
        rest, taken = block[taken:], max(0, taken - len(block))
        if rest:
            yield rest


def with_surrogates(text: bytes) -> str:
    """Give a text whose bytes that are not UTF-8 are lone surrogates."""
    return text.decode("utf-8", "surrogateescape")


def columns_of(cursor: sqlite3.Cursor) -> tuple[str, ...]:
    """Give the names of a result's columns; none where the statement gives no rows."""
    return tuple(column[0] for column in cursor.description or ())
