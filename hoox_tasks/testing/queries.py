"""The SQL that a test ran."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlite_utils import Database


class Queries:
    """The SQL that ran in a block: `statements` with their values filled in, and their `count`.

    BEGIN, COMMIT and savepoints are left out: Python issues them by itself, and D1 has none.
    """

    def __init__(self) -> None:
        self.statements: list[str] = []

    @property
    def count(self) -> int:
        """How many statements ran."""
        return len(self.statements)

    def note(self, statement: str) -> None:
        """Add a statement that SQLite reports."""
        from hoox_tasks import sql

        if not sql.is_transaction_control(statement):
            self.statements.append(statement)

    def __str__(self) -> str:
        return "\n".join(f"{place}. {text}" for place, text in enumerate(self.statements, 1))


class QueryRecorder:
    """Records the SQL of the test's `hoox_db`, or of another connection, for a `with` block."""

    def __init__(self, default: Callable[[], sqlite3.Connection]) -> None:
        self._default = default
        self._active: dict[int, list[Queries]] = {}

    @contextmanager
    def __call__(
        self,
        exactly: int | None = None,
        *,
        at_most: int | None = None,
        database: Database | sqlite3.Connection | None = None,
    ) -> Iterator[Queries]:
        """Record a block's SQL; the test fails where other than `exactly`, or more than `at_most`, ran."""
        __tracebackhide__ = True
        if database is None:
            connection = self._default()
        else:
            connection = database if isinstance(database, sqlite3.Connection) else database.conn
        queries = Queries()
        active = self._active.setdefault(id(connection), [])
        active.append(queries)

        def note(statement: str) -> None:
            for each in active:
                each.note(statement)

        # SQLite keeps one callback for a connection, and blocks may be inside each other.
        connection.set_trace_callback(note)
        try:
            yield queries
        finally:
            active.remove(queries)
            if not active:
                with suppress(sqlite3.ProgrammingError):  # The test may have closed it.
                    connection.set_trace_callback(None)
        if exactly is not None and queries.count != exactly:
            pytest.fail(f"{queries.count} statements ran instead of {exactly}:\n{queries}")
        if at_most is not None and queries.count > at_most:
            pytest.fail(f"{queries.count} statements ran, more than {at_most}:\n{queries}")
