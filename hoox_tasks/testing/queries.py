"""The SQL that a test ran on its ledger, whoever in this process opened it."""

from __future__ import annotations

import functools
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from hoox_tasks import sql

if TYPE_CHECKING:
    from sqlite_utils import Database

_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"})
_FIRES = """
SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger')
    OR EXISTS (SELECT 1 FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) AS f
               WHERE s.type = 'table' AND (f.on_delete <> 'NO ACTION' OR f.on_update <> 'NO ACTION'))
"""
"""Whether a change to some table runs statements of the schema's own."""


class Queries:
    """The SQL that ran in a block: `statements` with their values filled in, and their `count`.

    BEGIN, COMMIT and savepoints are left out: Python issues them by itself, and D1 has none. So are the
    statements of triggers, foreign keys and virtual tables: they belong to the one that fired them.
    """

    statements: list[str]

    def __init__(self) -> None:
        self.statements = []

    @property
    def count(self) -> int:
        """How many statements ran."""
        return len(self.statements)

    def __str__(self) -> str:
        """The statements, numbered, one to a line."""
        return "\n".join(f"{place}. {text}" for place, text in enumerate(self.statements, 1))


class Watch:
    """One ledger whose statements are noted in the blocks that are open.

    `seen` is whether anything could run on it, `missed` whether on a connection that cannot be watched.
    """

    def __init__(self, *, seen: bool = False) -> None:
        self.seen = seen
        self.missed = False
        self._open: list[Queries] = []
        self._last: dict[object, tuple[str, FrameType, int]] = {}

    @property
    def is_open(self) -> bool:
        """Whether any block is open."""
        return bool(self._open)

    def begin(self, queries: Queries) -> None:
        """Open a block."""
        self._open.append(queries)

    def end(self, queries: Queries) -> None:
        """Close a block."""
        self._open = [each for each in self._open if each is not queries]
        self._last.clear()  # A frame holds everything that its function knew.

    def note(self, statement: str) -> None:
        """Add a statement to every open block."""
        if self._open and not sql.is_transaction_control(statement):
            for queries in self._open:
                queries.statements.append(statement)

    def tracer(self, fires: Callable[[], bool]) -> Callable[[str], None]:
        """A trace callback for one connection. `fires` tells whether changes run statements of the schema."""
        connection = object()

        def trace(statement: str) -> None:
            # SQLite marks every line of what a virtual table runs in the midst of a statement.
            if not self._open or all(line.startswith("-- ") for line in statement.splitlines()):
                return
            # For each trigger that fires, SQLite reports the statement that fired it once more. That comes
            # from the very instruction of the program that the statement itself came from.
            caller = sys._getframe(1)
            place = (statement, caller, caller.f_lasti)
            again = self._last.get(connection) == place
            self._last[connection] = place
            if not (again and sql.first_word(statement) in _CHANGES and fires()):
                self.note(statement)

        return trace


class QueryRecorder:
    """Records the SQL of the test's ledger, or of another one, for a `with` block.

    A ledger in memory is watched through its connection. A file is watched through every connection that
    this process makes to it, whichever library does; what other processes do is not seen. A local D1 API is
    watched through the statements that its clients send.
    """

    def __init__(self, find: Callable[[Any], tuple[Watch, sqlite3.Connection | None]]) -> None:
        self._find = find

    @contextmanager
    def __call__(
        self,
        exactly: int | None = None,
        *,
        at_most: int | None = None,
        database: Database | sqlite3.Connection | Path | str | None = None,
    ) -> Iterator[Queries]:
        """Record a block's SQL; the test fails where other than `exactly`, or more than `at_most`, ran.

        `database` says which ledger, where the test has several: the database, its connection, or the path
        or URL of its file. The test fails where nothing could be watched.
        """
        __tracebackhide__ = True
        watch, connection = self._find(database)
        queries = Queries()
        if connection is not None and not watch.is_open:
            # SQLite keeps one callback for a connection, and blocks may be inside each other.
            connection.set_trace_callback(watch.tracer(lambda: _fires(connection)))
        watch.begin(queries)
        try:
            yield queries
        finally:
            watch.end(queries)
            if connection is not None and not watch.is_open:
                with suppress(sqlite3.ProgrammingError):  # The test may have closed it.
                    connection.set_trace_callback(None)
        if watch.missed:
            pytest.fail(
                "A connection to the ledger's file was not made by sqlite3.connect, so its SQL was not"
                " counted. Give the connection itself as hoox_queries(database=...)."
            )
        if not watch.seen:
            pytest.fail(
                "No connection of this process to the ledger's file was seen, so nothing was counted."
                " If another process runs the SQL, it cannot be; if another ledger is meant, give it"
                " as hoox_queries(database=...)."
            )
        if exactly is not None and queries.count != exactly:
            pytest.fail(f"{queries.count} statements ran instead of {exactly}:\n{queries}")
        if at_most is not None and queries.count > at_most:
            pytest.fail(f"{queries.count} statements ran, more than {at_most}:\n{queries}")


# -- files ----------------------------------------------------------------------------------------

_watched: dict[str, Watch] = {}
_connect: Callable[..., sqlite3.Connection] = sqlite3.connect
_thread = threading.local()


def enable() -> None:
    """Look at the connections that this process makes from now on."""
    if sqlite3.connect is _connect:
        watching: Any = _watching
        sqlite3.connect = sqlite3.dbapi2.connect = watching
        sys.addaudithook(_audit)


def watch_file(path: Path) -> Watch:
    """Watch the connections that are made to a file."""
    watch = Watch()
    _watched[os.path.realpath(path)] = watch
    return watch


def forget_file(path: Path) -> None:
    """Watch it no longer."""
    _watched.pop(os.path.realpath(path), None)


def file_of(url: str) -> Path:
    """The file that an SQLAlchemy URL, or SQLite's own kind of URI, or a path means."""
    text = re.sub(r"^sqlite(\+\w+)?:///", "", url)
    return Path(unquote(urlsplit(text).path) if text.startswith("file:") else text)


def _found(database: Any) -> tuple[str, Watch | None]:
    path = os.path.realpath(file_of(os.fsdecode(database)))
    return path, _watched.get(path)


@functools.wraps(_connect)
def _watching(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
    if not _watched:
        return _connect(database, *arguments, **options)
    _thread.watching = True
    try:
        connection = _connect(database, *arguments, **options)
    finally:
        _thread.watching = False
    path, watch = _found(database)
    # The local D1 API tells what its clients send; what it does besides is its own affair.
    served = sys._getframe(1).f_globals.get("__name__", "").startswith("hoox_tasks.server.")
    if watch is not None and not served:
        watch.seen = True
        connection.set_trace_callback(watch.tracer(lambda: _file_fires(path)))
    return connection


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    # Whoever took hold of sqlite3.connect before this module did, or calls the class itself, comes by here.
    if event == "sqlite3.connect" and _watched and not getattr(_thread, "watching", False):
        _, watch = _found(arguments[0])
        if watch is not None:
            watch.missed = True


def _file_fires(path: str) -> bool:
    try:
        address = f"{Path(path).as_uri()}?mode=ro"
        with closing(_unwatched(address, uri=True, timeout=0)) as connection:
            return _fires(connection)
    except sqlite3.Error:
        return False


def _unwatched(database: str, **options: Any) -> sqlite3.Connection:
    _thread.watching = True
    try:
        return _connect(database, **options)
    finally:
        _thread.watching = False


def _fires(connection: sqlite3.Connection) -> bool:
    cursor = connection.cursor()
    cursor.row_factory = None
    return bool(cursor.execute(_FIRES).fetchone()[0])
