"""A SQLite database copied without a trace beside it: no log is made, none is emptied."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hoox_tasks.errors import Refused

_WAL_MODE = slice(18, 20)
"""Where a SQLite database says by which versions it is written and read: 2 in WAL mode."""
_PAGES = 2000
"""Pages that are copied before Python looks at signals."""


def copy_untouched(source: Path, scratch: Path) -> None:
    """Copy a SQLite database; nothing is written beside it, which its folder need not allow.

    Raises `Refused` where it is damaged, is opened by somebody meanwhile, or there is no room for it.
    """
    if source.stat().st_size > shutil.disk_usage(scratch.parent).free:  # It may have holes.
        raise Refused(
            f"There is no room for a copy of {source}.", "Make room in the folder for temporary files."
        )
    try:
        with (
            _untouched(source.resolve(), scratch.parent) as connection,
            closing(sqlite3.connect(scratch)) as copy,
        ):
            connection.backup(copy, pages=_PAGES, progress=lambda *_: None)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.Error as error:
        raise Refused(f"{source} is a damaged SQLite database: {error}.", "Take another backup.") from error


@contextmanager
def _untouched(source: Path, folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to read it for a block, in such a way that nothing is changed in its folder.

    SQLite makes files beside a database in WAL mode. Where there are none, nobody has it open: then it is
    read as it is, or, where a log is left of somebody who was killed, copied to `folder` together with its
    log. So is a database with the journal of a change that was killed: SQLite takes that back in the copy.
    """
    log, index, journal = (source.with_name(f"{source.name}{end}") for end in ("-wal", "-shm", "-journal"))
    with source.open("rb") as file:
        in_wal_mode = file.read(_WAL_MODE.stop)[_WAL_MODE] == b"\2\2"
    before = source.stat()
    alone, address = False, f"{source.as_uri()}?mode=ro"
    if in_wal_mode and not index.exists():
        alone = True
        address = _copied(source, log, folder) if log.exists() else f"{address}&immutable=1"
    elif not in_wal_mode and journal.exists() and _is_half_changed(address):
        alone = True
        address = _copied(source, journal, folder)
    with closing(sqlite3.connect(address, uri=True)) as connection:
        yield connection
    after = source.stat()
    if alone and (
        index.exists() or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size)
    ):
        raise Refused(f"{source} was opened by somebody while it was read.", "Do it again.")


def _copied(source: Path, beside: Path, folder: Path) -> str:
    """Copy a database and the file beside it; returns the address of the copy."""
    copy = folder / f"source-{source.name}"
    shutil.copyfile(source, copy)
    shutil.copyfile(beside, copy.with_name(f"{copy.name}{beside.name.removeprefix(source.name)}"))
    return copy.as_uri()


def _is_half_changed(address: str) -> bool:
    """Whether a killed change has to be taken back before a database can be read, which needs writing."""
    with closing(sqlite3.connect(address, uri=True)) as connection:
        try:
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            return error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK
    return False
