"""One moment of a ledger in a SQLite file, read by a connection and, where it is large, a second process."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from hoox_tasks import second_process, sql
from hoox_tasks.database.interface import Statement, Table
from hoox_tasks.database.local.connection import open_connection, translated, with_surrogates
from hoox_tasks.database.local.reader import ReaderProcess, fetch, prepare
from hoox_tasks.values import Row

if TYPE_CHECKING:
    from concurrent.futures import Future

_WORTH_A_PROCESS = 16 * 1024 * 1024
"""Bytes of a ledger from which a second reader pays for its start."""
_BLOCK = 1000
"""Rows that are held at once where a whole table is read."""


class LocalSnapshot:
    """One moment of a local ledger; satisfies `Snapshot`.

    `connection` has a read transaction open, and gives text as bytes; `helper` reads the same moment.
    """

    bookmark: str | None = None
    one_moment = True

    def __init__(self, connection: sqlite3.Connection, helper: ReaderProcess | None) -> None:
        self._connection = connection
        self._using = Lock()
        self._fetchers: deque[Callable[[Statement], list[Row] | None]] = deque([self._fetch])
        if helper:
            self._fetchers.append(lambda statement: helper.fetch(*statement))

    def map(self, statements: Iterable[Statement]) -> Iterator[list[Row] | None]:
        """Run reading statements and yield their rows, in order; text comes as bytes."""
        from concurrent.futures import ThreadPoolExecutor

        waiting: deque[Future[list[Row] | None]] = deque()
        with ThreadPoolExecutor(len(self._fetchers)) as pool:
            try:
                for statement in statements:
                    waiting.append(pool.submit(self._read, statement))
                    if len(waiting) > 2 * len(self._fetchers):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def stream(self, statement: Statement) -> Iterator[Row]:
        """Run one reading statement and yield its rows one by one."""
        with self._using:
            cursor = self._connection.execute(statement.sql, tuple(statement.params))
        while True:
            # A row may be large, and `map` sets a limit for its own statements meanwhile.
            with self._using:
                row = cursor.fetchone()
            if row is None:
                return
            yield row

    def exact(
        self, table: Table, columns: Sequence[str], *, order: Sequence[str] = ()
    ) -> Iterator[list[Row]]:
        """Yield all rows of a table in blocks, with every value as it is stored."""
        listed = ", ".join(map(sql.quote_name, columns))
        query = f"SELECT {listed} FROM {sql.quote_name(table.name)}"
        if order:
            query += f" ORDER BY {', '.join(f'{sql.quote_name(name)} COLLATE BINARY' for name in order)}"
        taken = 0
        for read_text in (str, with_surrogates):
            cursor = self._connection.execute(f"{query} LIMIT -1 OFFSET {taken}" if taken else query)
            while True:
                self._connection.text_factory = read_text
                try:
                    block = cursor.fetchmany(_BLOCK)
                except sqlite3.OperationalError as error:
                    if "decode" not in str(error) or read_text is with_surrogates:
                        raise
                    break  # Some text is not UTF-8: this block and those behind it take the slow way.
                finally:
                    self._connection.text_factory = bytes
                if not block:
                    return
                taken += len(block)
                yield block

    def _read(self, statement: Statement) -> list[Row] | None:
        fetcher = self._fetchers.popleft()  # There are as many threads as fetchers.
        try:
            return fetcher(statement)
        finally:
            self._fetchers.append(fetcher)

    def _fetch(self, statement: Statement) -> list[Row] | None:
        with self._using:
            return fetch(self._connection, statement.sql, tuple(statement.params))


@contextmanager
def open_snapshot(path: Path, timeout: float, *, alone: bool) -> Iterator[LocalSnapshot]:
    """Read one moment of the ledger at `path` for a block.

    The moment is fixed when this returns. Where nobody else can write until then, `alone` says so: a second
    process helps with a large ledger then, for it begins at the same moment.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(closing(open_connection(path, timeout, shared=True)))
        prepare(connection)
        helper = None
        with translated(path):
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
            if alone and path.stat().st_size >= _WORTH_A_PROCESS:
                helper = ReaderProcess(
                    f"{path.resolve().as_uri()}?mode=rw", timeout, second_process.environment()
                )
                stack.enter_context(closing(helper))
        with translated(path):
            yield LocalSnapshot(connection, helper)
