"""SQLite's errors said as ours: which file or statement, what is wrong with it, and what to do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from hoox_tasks import excerpts
from hoox_tasks.errors import HooxError, Refused, StatementError
from hoox_tasks.rules.authorizer import Authorizer
from hoox_tasks.rules.features import needs_newer
from hoox_tasks.rules.functions import SOURCES
from hoox_tasks.rules.messages import explain_error, find_remedy

_ABOUT_THE_FILE: Final[dict[int, tuple[type[HooxError], str, str]]] = {
    sqlite3.SQLITE_NOTADB: (
        Refused,
        "{path} is not a SQLite database.",
        "Name another file with --path, or restore a backup.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        Refused,
        "{path} is damaged.",
        "Name another file with --path, or restore a backup.",
    ),
    sqlite3.SQLITE_FULL: (
        Refused,
        "There is no room left on the disk for {path}.",
        "Make room; what was to be written was undone.",
    ),
    sqlite3.SQLITE_READONLY: (Refused, "The ledger {path} can only be read.", "Check its permissions."),
    sqlite3.SQLITE_CANTOPEN: (
        Refused,
        "The ledger {path} cannot be opened: {text}.",
        "Check its permissions.",
    ),
    sqlite3.SQLITE_IOERR: (
        HooxError,
        "The disk failed while {path} was read or written: {text}.",
        "Check the disk, then the ledger with `inv db.verify {word}`.",
    ),
    sqlite3.SQLITE_PROTOCOL: (
        Refused,
        "The ledger {path} is locked in a way that SQLite does not understand: {text}.",
        "Check that it is not on a network drive.",
    ),
}
"""What each of SQLite's result codes that is about the file, not the statement, means to its user
(https://sqlite.org/rescode.html): the kind of error, what is wrong, what to do."""

_NOT_READ: Final = re.compile(
    r"(?s)malformed database schema \((?P<name>.*)\) - (?P<why>(?!invalid rootpage|orphan index).+)"
)
"""SQLite's word for a definition that it does not understand, be it damaged or of a newer version."""

_ROOM: Final = 64 * 1024
"""Bytes that SQLite may want at once, for the index of its log (https://sqlite.org/walformat.html)."""
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def explained(
    error: Exception,
    path: Path | None,
    statement: str,
    authorizer: Authorizer | None,
    index: int | None,
    waited: float,
) -> BaseException:
    """Give our error for one of `sqlite3` (see `translated`), after `waited` seconds."""
    if isinstance(error, sqlite3.Warning | OverflowError | UnicodeEncodeError):
        return _not_run(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return KeyboardInterrupt()
    if path is not None and code in _LOCKED:
        return _locked(path, waited)
    if path is not None and code == sqlite3.SQLITE_CORRUPT and (found := _NOT_READ.match(str(error))):
        return _unreadable(path, found["name"], found["why"])
    if path is not None and code in _ABOUT_THE_FILE:
        full = code == sqlite3.SQLITE_IOERR and _is_full(path)
        kind, problem, remedy = _ABOUT_THE_FILE[sqlite3.SQLITE_FULL if full else code]
        word = shlex.quote(str(path.absolute()))
        return kind(problem.format(path=path, text=error), remedy.format(word=word))
    if "one statement at a time" in str(error):
        return _not_run(error)
    return _failed(error, statement, authorizer, index)


def _is_full(path: Path) -> bool:
    """Whether the disk of a file has no room left, which SQLite may call a failure of the disk."""
    with suppress(OSError):
        return shutil.disk_usage(path.absolute().parent).free < _ROOM
    return False


def unopened(path: Path, reason: str) -> Refused:
    """The error for a ledger's file that cannot be opened."""
    kind, problem, remedy = _ABOUT_THE_FILE[sqlite3.SQLITE_CANTOPEN]
    assert issubclass(kind, Refused)
    return kind(problem.format(path=path, text=reason), remedy)


def _unreadable(path: Path, name: str, why: str) -> Refused:
    """The error for an object that this SQLite does not understand, which a newer one may have made."""
    kind, definition = _stored(path, name)
    here = f"this Python's SQLite {sqlite3.sqlite_version}"
    return Refused(
        f"The {kind} {name} of {path} cannot be read by {here}: {why}.",
        needs_newer(definition)
        or f"If a newer SQLite has made it, use a Python with a newer one ({SOURCES});"
        " if not, restore a backup.",
    )


def _stored(path: Path, name: str) -> tuple[str, str]:
    """Read what kind of object has a name, and its definition, although SQLite does not understand it."""
    query = "SELECT type, sql FROM sqlite_schema WHERE name = ?"
    with suppress(sqlite3.Error):
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            # It has SQLite go on with the rest of a schema (https://sqlite.org/pragma.html).
            connection.execute("PRAGMA writable_schema = ON")
            kind, definition = connection.execute(query, (name,)).fetchone() or ("object", "")
            return str(kind), str(definition)
    return "object", ""


def _failed(error: Exception, statement: str, authorizer: Authorizer | None, index: int | None) -> HooxError:
    text = str(error)
    denied = authorizer.denied if authorizer else None
    message = text
    if authorizer and isinstance(error, sqlite3.Error | MemoryError):
        message = explain_error(error, authorizer)
    if denied is not None and denied.read_only and message == denied.words:
        remedy = "Give --write to let it change the ledger."
        if denied.never:
            remedy = "D1 lets nobody do that, with or without --write: leave it out."
        return Refused(f"The query was refused, because {message}.", remedy)
    return StatementError(
        message,
        sql=statement,
        offset=excerpts.locate_error(statement, text),
        index=index,
        remedy=find_remedy(error, statement) if isinstance(error, sqlite3.Error) else "",
    )


def _not_run(error: Exception) -> Refused:
    if isinstance(error, OverflowError):
        return Refused(
            "A number is too large for SQLite, whose whole numbers have 64 bits.", "Write it as a text."
        )
    if isinstance(error, UnicodeEncodeError):
        return Refused(
            f"The statement or a value of it is no valid text (at character {error.start + 1}).",
            "Write what is not text as a blob: X'...'.",
        )
    return Refused(f"The statement cannot be run: {error}", "Run one statement at a time.")


def _locked(path: Path, waited: float) -> Refused:
    holders = _lock_holders(path)
    who = f"by {', '.join(holders)}" if holders else "by another process"
    return Refused(
        f"The ledger {path} is locked {who}; waited {waited:.1f} s for it.",
        "Try again when that has ended, or wait longer with hoox.busy_timeout.",
    )


def _lock_holders(path: Path) -> list[str]:
    """Name the other processes that hold a lock on the ledger, where the system tells (Linux)."""
    try:
        inodes = {
            Path(f"{path.resolve()}{end}").stat().st_ino
            for end in ("", "-shm", "-wal")
            if Path(f"{path.resolve()}{end}").exists()
        }
        locks = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    found: list[str] = []
    for line in locks:
        # For example: "3: POSIX  ADVISORY  WRITE 4242 fe:01:1835024 120 120"
        fields = line.replace("->", "").split()
        if len(fields) >= 6 and fields[3] == "WRITE" and int(fields[5].split(":")[2]) in inodes:
            name = _process(int(fields[4]))
            if int(fields[4]) != os.getpid() and name not in found:
                found.append(name)
    return found


def _process(pid: int) -> str:
    command = ""
    with suppress(OSError):
        command = Path(f"/proc/{pid}/comm").read_text().strip()
    return f"process {pid}" + (f" ({command})" if command else "")
