"""A second process that reads one moment of a SQLite file, so that two processors work at an export.

Two connections in one process get in each other's way: SQLite counts its memory under one lock. This file
is run by path, with nothing but the standard library, so that it starts in a few hundredths of a second.
It is given the database's URI, says `ready` once its moment is fixed, and then answers pickled pairs of
statement and parameters with pickled rows, until its input ends.
"""

from __future__ import annotations

import math
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

VALUE_BYTES = 4 * 1024 * 1024
"""The largest value that is fetched at once, so that memory stays flat."""


class ReaderProcess:
    """The other end: a reader in a process of its own. `fetch` may be called from one thread at a time."""

    def __init__(self, uri: str, timeout: float, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, uri, str(timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the process that the user started; it ends this one by closing its input.
            start_new_session=True,
            env=environment,
        )
        try:
            self._check(self._receive())
        except BaseException:
            self.close()
            raise

    def fetch(self, sql: str, params: Sequence[Any]) -> list[Any] | None:
        """Run one statement and give its rows, None where they are too large to be held.

        Raises `sqlite3.OperationalError` with the reader's words.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # Then there is no answer either.
            pickle.dump((sql, tuple(params)), self._process.stdin)
            self._process.stdin.flush()
        rows: list[Any] | None = self._check(self._receive())
        return rows

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # As where the process has ended, and what was written cannot go out.
                if stream:
                    stream.close()
        self._process.terminate()
        self._process.wait()

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise sqlite3.OperationalError("the second reader of the ledger ended early") from error

    @staticmethod
    def _check(answer: Any) -> Any:
        if isinstance(answer, str) and answer != "ready":
            raise sqlite3.OperationalError(answer)
        return answer


def prepare(connection: sqlite3.Connection) -> None:
    """Make a connection give text as bytes, and know `atan2`, which not every build of SQLite has."""
    connection.text_factory = bytes
    try:
        connection.execute("SELECT atan2(0.0, 1.0)")
    except sqlite3.Error:
        connection.create_function("atan2", 2, math.atan2, deterministic=True)


def fetch(connection: sqlite3.Connection, sql: str, params: Sequence[Any]) -> list[Any] | None:
    """Run one statement and give its rows, None where a value among them is too large to be held."""
    usual = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
    try:
        return connection.execute(sql, params).fetchall()
    except sqlite3.DataError:  # "string or blob too big"
        return None
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, usual)


def serve(uri: str, timeout: float) -> None:
    """Fix the moment, then answer statements until the input ends."""
    output = sys.stdout.buffer
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
        prepare(connection)
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    except sqlite3.Error as error:
        pickle.dump(str(error), output)
        return
    pickle.dump("ready", output)
    output.flush()
    while True:
        try:
            sql, params = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: Any
        try:
            answer = fetch(connection, sql, params)
        except sqlite3.Error as error:
            answer = str(error)
        pickle.dump(answer, output, protocol=5)
        output.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.argv[1], float(sys.argv[2]))
