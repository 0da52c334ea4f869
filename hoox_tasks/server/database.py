"""One database of the local D1 API: a SQLite file that behaves as D1 does, request by request."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoox_tasks import sql
from hoox_tasks.errors import Refused
from hoox_tasks.rules.authorizer import Authorizer, enforce, shape_refusal
from hoox_tasks.rules.messages import explain_error
from hoox_tasks.server.export_format import d1_dump
from hoox_tasks.server.json_values import UnknownValueError, from_wire, to_wire
from hoox_tasks.server.work import OutOfTime, Work
from hoox_tasks.values import Value

_MAY_WRITE = re.compile(r"(?i)\b(?:insert|update|delete|replace)\b")
"""A word without which a statement with a WITH before it changes nothing."""
BUSY_SECONDS = 5.0
REQUEST_SECONDS = 30.0
"""After which D1 ends a request."""
_TIMEOUT = "D1 DB storage operation exceeded timeout which caused object to be reset."
RESULT_BYTES = 128 << 20
"""Memory that the rows of one request may take, about; D1's engine has 128 MB in all."""
KEPT_BOOKMARKS = 50
"""Moments that are kept because the ledger changed then."""
KEPT_PROMISES = 500
"""Moments that are kept because a client was told their bookmark."""
SNAPSHOT_BYTES = 8_000_000
"""Up to this size every change is followed by a snapshot; a larger ledger is copied only when a client
asks for its bookmark."""


class D1Error(Exception):
    """An answer that is an error: HTTP status, Cloudflare's code, and the message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class StatementResult:
    """What one statement gave, as D1 answers it: cells and `meta` are ready for JSON."""

    columns: list[str]
    rows: list[list[Any]]
    meta: dict[str, Any]


_Statements = Sequence[tuple[str, Sequence[Value]]]
_Results = list[StatementResult]
_Told = Callable[[], bool]


@dataclass(slots=True)
class _Moment:
    bookmark: str
    taken_at: float
    file: Path
    promised: bool = False


class Ledger:
    """One database: its file, its name, its Time Travel.

    Requests that may change something happen one after the other, and wait for nobody who only reads.
    `snapshots` is a folder for Time Travel, which lives as long as the server does.
    """

    def __init__(
        self,
        uuid: str,
        name: str,
        path: Path,
        snapshots: Path,
        *,
        strict_splitter: bool,
        on_statement: Callable[[str], None] | None = None,
    ) -> None:
        self.uuid = uuid
        self.name = name
        self.path = path
        self.created_at: str = _iso(path.stat().st_ctime if path.exists() else time.time())
        self._snapshots = snapshots
        self._strict_splitter = strict_splitter
        self._on_statement = on_statement
        self._lock = threading.Lock()
        self._running: set[Work[_Results]] = set()
        self._moments: list[_Moment] = []
        self._epoch = int(time.time())
        self._changes = 0
        self._watcher = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )
        if self.size() == 0:
            self._watcher.execute("PRAGMA journal_mode = WAL").fetchall()
        self._version = self._data_version()
        self._since = time.time()

    def close(self) -> None:
        """Let go of the file."""
        self._watcher.close()

    # -- statements -------------------------------------------------------------------------------

    def run(
        self,
        requested: Sequence[tuple[str, Sequence[Any]]],
        *,
        read_only: bool = False,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> list[StatementResult]:
        """Run the texts of one request in one transaction, each with its JSON parameters.

        A text may hold several statements, but then no parameters. It is ended after a while, and as soon as
        `abandoned` tells that nobody waits for it any more. Raises `D1Error`.
        """
        statements: list[tuple[str, Sequence[Value]]] = []
        for text, params in requested:
            try:
                pieces = sql.split(text)
                values = [from_wire(param) for param in params]
            except Refused as error:
                raise D1Error(400, 7500, f"{error.problem}: SQLITE_ERROR") from None
            except UnknownValueError as error:
                raise D1Error(400, 7400, f"The request is malformed: {error}") from None
            if not pieces:
                raise D1Error(400, 7500, shape_refusal(text) or "No SQL statements detected.")
            if len(pieces) > 1 and values:
                raise D1Error(
                    400,
                    7400,
                    "The request is malformed: A prepared SQL statement must contain only one statement.",
                )
            for piece in pieces:
                if self._strict_splitter and breaks_the_splitter(piece.sql):
                    raise D1Error(400, 7500, "incomplete input: SQLITE_ERROR")
                statements.append((piece.sql, values))
        if all(_only_reads(text) for text, _ in statements):
            results = self._run(statements, read_only, abandoned, begin="BEGIN")
            if self._lock.acquire(blocking=False):
                try:
                    self._note_change()
                finally:
                    self._lock.release()
            return results
        if not self._lock.acquire(timeout=REQUEST_SECONDS):
            raise D1Error(429, 7500, "D1 DB is overloaded. Requests queued for too long.")
        try:
            results = self._run(statements, read_only, abandoned)
            self._note_change()
        finally:
            self._lock.release()
        return results

    def ingest(self, script: str) -> dict[str, Any]:
        """Run the statements of an imported file, all or none; gives the import's `result`.

        Raises `D1Error` with the message of the statement that failed.
        """
        try:
            statements: list[tuple[str, Sequence[Value]]] = [(piece.sql, ()) for piece in sql.split(script)]
        except Refused as error:
            raise D1Error(400, 7500, f"{error.problem}: SQLITE_ERROR") from None
        with self._lock:
            results = self._run(statements, False, lambda: False) if statements else []
            self._notice()
            bookmark = self._remember(promised=True)
        totals = {
            key: sum(result.meta[key] for result in results)
            for key in ("duration", "changes", "rows_read", "rows_written")
        }
        meta = self._meta(**totals, last_row_id=0)
        return {"num_queries": len(results), "final_bookmark": bookmark, "meta": meta}

    def _run(
        self, statements: _Statements, read_only: bool, abandoned: _Told, *, begin: str = "BEGIN IMMEDIATE"
    ) -> list[StatementResult]:
        work: Work[_Results] = Work(time.monotonic() + REQUEST_SECONDS)
        try:
            return work.done(lambda: self._execute(statements, read_only, abandoned, begin, work))
        except OutOfTime:
            raise D1Error(500, 7500, _TIMEOUT) from None

    def _execute(
        self, statements: _Statements, read_only: bool, abandoned: _Told, begin: str, work: Work[_Results]
    ) -> list[StatementResult]:
        results = []
        room = RESULT_BYTES
        with closing(self._open()) as connection:
            authorizer = enforce(connection, read_only=read_only, strict=True)
            connection.set_progress_handler(lambda: work.late or abandoned(), 100_000)
            self._running.add(work)
            try:
                with authorizer.trusted():
                    connection.execute(begin)
                for text, values in statements:
                    refusal = shape_refusal(text)
                    if refusal is not None:
                        raise D1Error(400, 7500, refusal)
                    if self._on_statement:
                        self._on_statement(text)
                    started = time.perf_counter()
                    before = connection.total_changes
                    cursor = connection.execute(text, tuple(values))
                    rows, size = _fetch(cursor, room)
                    room -= size
                    changes = connection.total_changes - before
                    meta = self._meta(
                        duration=(time.perf_counter() - started) * 1000,
                        changes=changes,
                        # The rows that went in or came out: D1 counts those of indexes and scans as well.
                        rows_read=max(len(rows), changes),
                        rows_written=changes,
                        last_row_id=cursor.lastrowid or 0,
                    )
                    columns = [column[0] for column in cursor.description or ()]
                    results.append(StatementResult(columns, rows, meta))
                with work.committing(), authorizer.trusted():
                    connection.execute("COMMIT")
            except (sqlite3.Error, sqlite3.Warning, OverflowError, MemoryError) as error:
                raise _explained(error, authorizer) from None
            finally:
                self._running.discard(work)
        return results

    def _note_change(self) -> None:
        """Keep a copy of a small ledger that was changed."""
        if self._notice() and self.size() <= SNAPSHOT_BYTES:
            self._remember()

    def _meta(
        self, *, duration: float, changes: int, rows_read: int, rows_written: int, last_row_id: int
    ) -> dict[str, Any]:
        return {
            "served_by": "hoox.local",
            "served_by_region": "WEUR",
            "served_by_colo": "DEV",
            "served_by_primary": True,
            "timings": {"sql_duration_ms": round(duration, 4)},
            "duration": round(duration, 4),
            "changes": changes,
            "last_row_id": last_row_id,
            "changed_db": changes > 0,
            "size_after": self.size(),
            "rows_read": rows_read,
            "rows_written": rows_written,
        }

    def _open(self) -> sqlite3.Connection:
        # Another request may interrupt it.
        connection = sqlite3.connect(
            self.path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.text_factory = _text
        return connection

    # -- what it is -------------------------------------------------------------------------------

    def size(self) -> int:
        """Bytes of the database file."""
        return self.path.stat().st_size

    def table_count(self) -> int:
        """How many tables there are, D1's and SQLite's own left out."""
        counted = (
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
            r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_cf\_%' ESCAPE '\'"
        )
        with closing(self._open()) as connection:
            return int(connection.execute(counted).fetchone()[0])

    def export(self, target: Path, *, schema: bool, data: bool, tables: Sequence[str]) -> str:
        """Write D1's dump to a file; returns the bookmark of its moment, as nothing else runs meanwhile."""
        with (
            self._lock,
            closing(self._open()) as connection,
            target.open("w", encoding="utf-8", newline="") as file,
        ):
            connection.execute("BEGIN")
            # The file may be changed by others than this server: the bookmark is that of the moment read.
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
            self._notice()
            bookmark = self._remember(promised=True)
            lines = d1_dump(connection, schema=schema, data=data, tables=tables)
            file.writelines(f"{line}\n" for line in lines)
        return bookmark

    # -- Time Travel ------------------------------------------------------------------------------

    def bookmark(self, at: float | None = None) -> str:
        """The bookmark of now, or the latest kept one at or before `at` (Unix seconds).

        Raises `D1Error` where none is kept from then: a moment is kept when it was small, or asked for.
        """
        with self._lock:
            self._notice()
            if at is None or at >= self._since:
                return self._remember(promised=True)
            kept = [moment for moment in self._moments if moment.taken_at <= at]
            if not kept:
                raise D1Error(400, 7400, "There is no bookmark at or before this timestamp.")
            kept[-1].promised = True
            return kept[-1].bookmark

    def restore(self, bookmark: str) -> str:
        """Take the file back to a kept bookmark, and end what reads it; gives the bookmark of before."""
        with self._lock:
            self._notice()
            previous = self._remember(promised=True)
            moment = next((each for each in self._moments if each.bookmark == bookmark), None)
            if moment is None:
                raise D1Error(400, 7400, f"The bookmark {bookmark} is unknown or no longer kept.")
            if bookmark != previous:
                for work in list(self._running):
                    work.stop()  # SQLite's own interruption is lost between two statements.
                with (
                    closing(sqlite3.connect(moment.file)) as past,
                    closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as present,
                ):
                    past.backup(present)
                self._notice()
            return previous

    def _data_version(self) -> int:
        return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def _notice(self) -> bool:
        """Whether anybody changed the file since the last look."""
        version = self._data_version()
        if version == self._version:
            return False
        self._version = version
        self._changes += 1
        self._since = time.time()
        return True

    def _remember(self, *, promised: bool = False) -> str:
        """Keep a copy of this moment, so that it can be gone back to; returns its bookmark.

        One that is `promised` to a client is kept for longer.
        """
        place = f"{self._epoch:08x}-{self._changes:08x}-00000000"
        bookmark = (
            f"{place}-{hashlib.md5(f'{self.uuid}/{place}'.encode(), usedforsecurity=False).hexdigest()}"
        )
        if not self._moments or self._moments[-1].bookmark != bookmark:
            self._snapshots.mkdir(parents=True, exist_ok=True)
            file = self._snapshots / f"{bookmark}.sqlite"
            with closing(sqlite3.connect(file)) as copy:
                self._watcher.backup(copy)
            self._moments.append(_Moment(bookmark, self._since, file))
        self._moments[-1].promised = self._moments[-1].promised or promised
        self._forget_old()
        return bookmark

    def _forget_old(self) -> None:
        """Remove the copies of moments that were not promised to anybody, and of very many that were."""
        for kind, most in ((False, KEPT_BOOKMARKS), (True, KEPT_PROMISES)):
            for old in [moment for moment in self._moments if moment.promised is kind][:-most]:
                old.file.unlink(missing_ok=True)
                self._moments.remove(old)


def breaks_the_splitter(statement: str) -> bool:
    """Whether D1's query endpoint is known to cut this statement in the wrong place.

    It splits by rules of its own, which triggers break: only one on a single line, with BEGIN and END in
    capitals, and without CASE, comments and quotes in its body, is reported to pass.
    """
    if not sql.is_trigger(statement):
        return False
    pieces = list(sql.tokens(statement))
    begin = next((place for place, token in enumerate(pieces) if token.text.upper() == "BEGIN"), len(pieces))
    body = pieces[begin:]
    return (
        "\n" in statement
        or "\r" in statement
        or "--" in statement
        or "/*" in statement
        or any(token.kind == "quoted" for token in body)
        or any(token.text.upper() == "CASE" for token in body)
        or any(token.text.upper() in ("BEGIN", "END") and not token.text.isupper() for token in body)
    )


def _only_reads(statement: str) -> bool:
    """Whether a statement is certain to change nothing, by its words; in doubt it is not."""
    word = sql.first_word(statement)
    if word != "WITH":
        return word in {"SELECT", "VALUES", "EXPLAIN"}
    if not _MAY_WRITE.search(statement):
        return True  # Taking a long one apart takes longer than running it.
    words = {token.text.upper() for token in sql.tokens(statement)}
    return words.isdisjoint({"INSERT", "UPDATE", "DELETE", "REPLACE"})


def _fetch(cursor: sqlite3.Cursor, room: int) -> tuple[list[list[Any]], int]:
    """Take all rows as JSON has them, and tell what memory they need; raises `MemoryError` beyond `room`."""
    rows: list[list[Any]] = []
    size = 0
    while block := cursor.fetchmany(1000):
        for row in block:
            rows.append([to_wire(cell) for cell in row])
            # A cell is an object of Python's; a blob becomes a list with a pointer for each byte.
            size += 64 + sum(
                8 * len(cell) if isinstance(cell, bytes) else len(cell) if isinstance(cell, str) else 32
                for cell in row
            )
        if size > room:
            raise MemoryError
    return rows, size


def _explained(error: BaseException, authorizer: Authorizer) -> D1Error:
    if isinstance(error, sqlite3.Error):
        if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            return D1Error(500, 7500, _TIMEOUT)
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            return D1Error(429, 7500, "D1 DB is overloaded. Requests queued for too long.")
        denied = authorizer.denied
        message = explain_error(error, authorizer)
        if denied is not None and denied.read_only:
            message = "not authorized: SQLITE_AUTH"
        return D1Error(400, 7500, message)
    if isinstance(error, MemoryError):
        return D1Error(500, 7500, "D1 DB exceeded its memory limit and was reset.")
    return D1Error(400, 7500, f"{error}: SQLITE_ERROR")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03d}Z"
