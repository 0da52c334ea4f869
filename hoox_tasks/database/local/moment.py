"""The moment of a ledger from which it is changed, seen and saved while its write lock is held."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path

from hoox_tasks import files, sql
from hoox_tasks.database.interface import Snapshot
from hoox_tasks.database.local.connection import open_connection
from hoox_tasks.database.local.errors import translated
from hoox_tasks.database.local.snapshot import open_snapshot
from hoox_tasks.errors import HooxError
from hoox_tasks.values import Progress

_TABLES = (
    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')"
    r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_cf\_%' ESCAPE '\' ORDER BY name"
)


class LocalMoment:
    """The moment of a local ledger from which it is changed; satisfies `Moment`.

    Whoever makes one holds the ledger's write lock until `end`. A second connection reads beside the one
    that writes, and sees what was committed before.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._listeners: list[Callable[[bool], None]] = []

    @cached_property
    def tables(self) -> Mapping[str, int]:
        """Rows of every table at this moment; the engine's own and shadow tables are left out."""
        counts: dict[str, int] = {}
        with self._committed() as connection:
            for (name,) in connection.execute(_TABLES).fetchall():
                query = f"SELECT count(*) FROM {sql.quote_name(name)}"
                (counts[name],) = connection.execute(query).fetchone()
        return counts

    def save(self, folder: Path, name: str) -> str:
        """Copy the ledger as it is at this moment to a new file `name` in `folder`; returns the file's name.

        Only its owner can read it. Where this fails, the file has to be removed by whoever has the name.
        """
        target = folder / f"{name}.sqlite"
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, files.PRIVATE))
            with self._committed() as connection, closing(sqlite3.connect(target)) as copy:
                copy.execute("PRAGMA synchronous = OFF")
                connection.backup(copy, pages=-1)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            with target.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise HooxError(
                f"The recovery point {target} cannot be written: {error.strerror}.",
                "Make room for it, or switch recovery points off with hoox.keep_snapshots: 0.",
            ) from error
        return target.name

    @contextmanager
    def snapshot(self, *, progress: Progress | None = None) -> Iterator[Snapshot]:
        """Read exactly this moment for a block."""
        with open_snapshot(self._path, self._timeout, alone=True) as snapshot:
            yield snapshot

    def when_ended(self, tell: Callable[[bool], None]) -> None:
        """Have `tell(changed)` called once the change is committed or undone."""
        self._listeners.append(tell)

    def end(self, changed: bool) -> None:
        """Tell those who asked whether the ledger was changed."""
        for tell in self._listeners:
            tell(changed)

    @contextmanager
    def _committed(self) -> Iterator[sqlite3.Connection]:
        with translated(self._path), closing(open_connection(self._path, self._timeout)) as connection:
            yield connection
