"""The moment of a ledger from which it is changed, seen and saved while its write lock is held."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path

from hoox_tasks import files, sql
from hoox_tasks.database.counts import TABLES_QUERY, table_kinds
from hoox_tasks.database.interface import Saved, Snapshot
from hoox_tasks.database.local import copying
from hoox_tasks.database.local.connection import open_connection, translated
from hoox_tasks.database.local.snapshot import open_snapshot
from hoox_tasks.errors import HooxError
from hoox_tasks.values import Progress

_WORTH_A_PROCESS = 4 * 1024 * 1024
"""Bytes of a ledger from which a process that copies the file is faster than SQLite's backup."""


class LocalMoment:
    """The moment of a local ledger from which it is changed; satisfies `Moment`.

    Whoever makes one holds the ledger's write lock until `end`. A second connection reads beside the one
    that writes, and sees what was committed before.
    """

    def __init__(self, path: Path, timeout: float, is_unchanged: Callable[[], bool]) -> None:
        """`is_unchanged` says whether the transaction has not changed anything yet."""
        self._path = path
        self._timeout = timeout
        self._is_unchanged = is_unchanged
        self._listeners: list[Callable[[bool], None]] = []

    @cached_property
    def tables(self) -> Mapping[str, int]:
        """Rows of every table at this moment; the engine's own and shadow tables are left out."""
        counts: dict[str, int] = {}
        with self._committed() as connection:
            for name, kind in table_kinds(connection.execute(TABLES_QUERY)).items():
                if kind not in {"table", "virtual"}:
                    continue
                query = f"SELECT count(*) FROM {sql.quote_name(name)}"
                with suppress(sqlite3.DatabaseError):  # Its module or content is not here.
                    (counts[name],) = connection.execute(query).fetchone()
        return counts

    def save(self, folder: Path, name: str) -> Saved:
        """Copy the ledger as it is at this moment to a new file `name` in `folder`.

        Only its owner can read it. Where this fails, the file has to be removed by whoever has the name.
        """
        target = folder / f"{name}.sqlite"
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, files.PRIVATE))
            with self._committed() as connection:
                if self._path.stat().st_size >= _WORTH_A_PROCESS and self._all_in_file(connection):
                    digest = copying.copy_file(self._path, target)
                else:
                    _back_up(connection, target)
                    digest = files.digest(target)
        except OSError as error:
            raise HooxError(
                f"The recovery point {target} cannot be written: {error.strerror}.",
                "Make room for it, or switch recovery points off with hoox.keep_snapshots: 0.",
            ) from error
        return Saved(target.name, digest)

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

    def _all_in_file(self, connection: sqlite3.Connection) -> bool:
        """Whether the file itself holds this moment, and nobody writes to it as long as the lock is held."""
        if not self._is_unchanged():  # SQLite may have written some of the changes to the file already.
            return False
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            return True
        # Nobody can add to the log, and when all of it is in the file, nobody writes to that either. Readers
        # of older moments prevent it.
        busy, frames, written = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(not busy and frames == written >= 0)

    @contextmanager
    def _committed(self) -> Iterator[sqlite3.Connection]:
        with translated(self._path), closing(open_connection(self._path, self._timeout)) as connection:
            yield connection


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Copy a ledger by SQLite to the empty file `target`, flushed to the disk; not in WAL mode."""
    with translated(target), closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        # In one step: another process that writes meanwhile would make it begin again.
        connection.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    with target.open("rb") as file:
        os.fsync(file.fileno())
