"""A ledger in a SQLite file, over the standard library's `sqlite3`.

User's statements run behind D1's gate (`rules`), so that what works here works on D1. The file may be
shared with a running `wrangler dev`: it is changed by SQL only, never replaced.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from hoox_tasks import sql
from hoox_tasks.database.interface import SCHEMA_QUERY, Batch, Meta, Rows, SchemaObject, Statement
from hoox_tasks.database.local import replace
from hoox_tasks.database.local.reader import fetch, prepare
from hoox_tasks.errors import HooxError, Refused, StatementError
from hoox_tasks.files import remove_stale
from hoox_tasks.rules.authorizer import Authorizer, enforce, lift
from hoox_tasks.rules.messages import explain_error, find_remedy, shape_refusal
from hoox_tasks.values import Progress, Row, Value

if TYPE_CHECKING:
    from concurrent.futures import Future

    import sqlite_utils

    from hoox_tasks.database.interface import Table
    from hoox_tasks.database.local.reader import ReaderProcess

_BREATH = 0.1
"""Seconds that SQLite may wait for a lock before Python has a look whether it should go on."""
_WORTH_A_PROCESS = 16 * 1024 * 1024
"""Bytes of a ledger from which a second reader pays for its start."""
_BLOCK = 1000
"""Rows that are held at once where a whole table is read."""


class LocalDatabase:
    """A ledger in a SQLite file; satisfies `Database`.

    `busy_timeout` is in seconds. `strict` holds users' statements to D1's rules.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        create: bool = False,
        strict: bool = True,
        busy_timeout: float = 5.0,
    ) -> None:
        """Open the ledger at `path`; with `create` it is made where there is none.

        Raises `Refused` where there is no such file, or it is not a SQLite database.
        """
        self.path = path
        self._name = name or path.name
        self._strict = strict
        self._busy_timeout = busy_timeout
        self._stops_writers = True
        self._connection = self._open(create)

    @property
    def name(self) -> str:
        """What people call it, and type to confirm."""
        return self._name

    @property
    def label(self) -> str:
        """The file's path, short where it lies below the current folder."""
        with suppress(ValueError):
            return str(self.path.relative_to(Path.cwd()))
        return str(self.path)

    @property
    def address(self) -> str:
        """The file's path."""
        return str(self.path)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection itself, in autocommit mode, outside D1's rules; foreign keys are on."""
        return self._connection

    @property
    def tables(self) -> sqlite_utils.Database:
        """The ledger as a `sqlite_utils.Database`, over the same connection."""
        import sqlite_utils

        return sqlite_utils.Database(self._connection)

    def query(self, sql: str, params: Sequence[Value] = (), *, write: bool = False) -> Rows:
        """Run one statement under D1's rules; only reading is let through unless `write`."""
        if write:
            with self.transaction():
                return self._run_under_rules([Statement(sql, params)])[0]
        started = time.perf_counter()
        # Rows that nobody takes to the end are closed by the garbage collector, in whatever thread that runs.
        connection = self._open(False, shared=True)
        try:
            connection.execute("PRAGMA query_only = ON")
            authorizer = enforce(connection, read_only=True, strict=self._strict)
            with self._explained(authorizer, sql):
                cursor = connection.execute(_checked(sql, self._strict), tuple(params))
        except BaseException:
            connection.close()
            raise
        columns = tuple(column[0] for column in cursor.description or ())
        rows = Rows(columns, ())
        rows.rows = self._streamed(connection, cursor, authorizer, sql, rows, started)
        return rows

    def batch(self, statements: Iterable[Statement], *, write: bool = True) -> list[Rows]:
        """Run statements in one transaction: all of them happen, or none does."""
        with self.transaction(write=write):
            return self._run_under_rules(statements, write=write)

    def insert(self, batches: Iterable[Batch]) -> dict[str, int]:
        """Insert rows into tables, all or none; returns how many went into each.

        The indexes of tables that were empty are made once at the end, which is faster by a third.
        """
        counts: dict[str, int] = {}
        later: list[str] = []
        with self.transaction():
            for table, columns, rows in batches:
                if table not in counts:
                    later += self._set_indexes_aside(table)
                into = ", ".join(sql.quote_name(column) for column in columns)
                marks = ", ".join("?" * len(columns))
                statement = f"INSERT INTO {sql.quote_name(table)} ({into}) VALUES ({marks})"
                with self._explained(None, statement):
                    self._connection.executemany(statement, rows)
                counts[table] = counts.get(table, 0) + len(rows)
            for index in later:
                with self._explained(None, index):
                    self._connection.execute(index)
        return counts

    def schema(self) -> list[SchemaObject]:
        """All objects but the engine's own, in the order they were made."""
        with self._explained(None, ""):
            found = self._connection.execute(SCHEMA_QUERY).fetchall()
        return [SchemaObject(*row) for row in found]

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[sqlite3.Connection]:
        """Hold the ledger's write lock for a block: committed at its end, undone if it raises.

        Without `write`, only the moment is held.
        """
        connection = self._connection
        if connection.in_transaction:
            yield connection
            return
        with self._explained(None, ""):
            self._patiently(connection, "BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield connection
            with self._explained(None, ""):
                connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self, *, online: bool = False, progress: Progress | None = None) -> Iterator[_LocalSnapshot]:
        """Read one moment of the ledger for a block; a second process helps with a large one.

        Writers only wait until the moment is fixed, so there is nothing that `online` could spare them.
        """
        from hoox_tasks.database.local.reader import ReaderProcess

        with ExitStack() as stack:
            with self._stopped():
                own = stack.enter_context(closing(self._open(False, shared=True)))
                prepare(own)
                with self._explained(None, ""):
                    own.execute("BEGIN")
                    own.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
                    helper = None
                    if self.path.stat().st_size >= _WORTH_A_PROCESS and self._stops_writers:
                        helper = ReaderProcess(f"{self.path.resolve().as_uri()}?mode=rw", self._busy_timeout)
                        stack.enter_context(closing(helper))
            with self._explained(None, ""):
                yield _LocalSnapshot(own, helper)

    def replace(self, copy: Path, tables: Collection[str] = ()) -> None:
        """Make the ledger what a SQLite file is, in one transaction; the engine's own tables stay.

        The file itself is never replaced: a running `wrangler dev` would go on with the old one.
        """
        connection = self._connection
        with self._explained(None, ""):
            connection.execute(f"ATTACH DATABASE ? AS {replace.COPY}", (copy.resolve().as_uri(),))
            connection.execute("PRAGMA foreign_keys = OFF")
            try:
                with self.transaction():
                    if tables:
                        replace.replace_rows(connection, tables)
                    else:
                        replace.replace_all(connection)
            finally:
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute(f"DETACH DATABASE {replace.COPY}")

    def beside(self, name: str) -> LocalDatabase:
        """Make a new, empty ledger: the file `name` in the same folder."""
        path = self.path.parent / name
        if path.exists():
            raise Refused(f"There is a {path} already.", "Choose another name.")
        return LocalDatabase(path, create=True, strict=self._strict, busy_timeout=self._busy_timeout)

    def remove(self) -> None:
        """Delete the file, and close it."""
        self.close()
        for end in ("", "-wal", "-shm"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)

    def recovery_point(self, folder: Path, name: str) -> str:
        """Copy the ledger as it is at this moment to a file `name` in `folder`; gives the file's name."""
        target = folder / f"{name}.sqlite"
        temporary = folder / f".{name}.{os.getpid()}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_stale(folder.glob(".[0-9]*.part*"))
            with self._explained(None, ""), closing(sqlite3.connect(temporary)) as copy:
                copy.execute("PRAGMA synchronous = OFF")
                # In one step: another process that writes meanwhile would make it begin again.
                self._connection.backup(copy, pages=-1)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            raise HooxError(
                f"The recovery point {target} cannot be written: {error.strerror}.",
                "Make room for it, or switch recovery points off with hoox.keep_snapshots: 0.",
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        return target.name

    def recover(self, folder: Path, mark: str) -> None:
        """Bring the ledger back to what a recovery point's file holds."""
        file = folder / mark
        if not file.is_file():
            raise Refused(f"The recovery point {file} is gone.", "See the others with `inv db.history`.")
        self.replace(file)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _open(self, create: bool, *, shared: bool = False) -> sqlite3.Connection:
        try:
            if self.path.is_dir():
                raise Refused(f"{self.path} is a folder, not a ledger.", "Name the SQLite file itself.")
            exists = self.path.exists()
            fresh = not exists or self.path.stat().st_size == 0
        except OSError as error:
            raise self._unopened(error.strerror or str(error)) from error
        if not exists:
            if not create:
                raise Refused(
                    f"There is no ledger at {self.path}.",
                    "Make one with `inv db.apply`, or name another file with --path.",
                )
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Refused(
                    f"The folder {self.path.parent} cannot be made: {error.strerror}.",
                    "Choose another with --path.",
                ) from error
        mode = "rwc" if create else "rw"
        try:
            connection = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode={mode}",
                uri=True,
                timeout=self._busy_timeout,
                isolation_level=None,
                check_same_thread=not shared,
            )
            # Lets Python see Ctrl-C while SQLite is busy with one long statement.
            connection.set_progress_handler(lambda: 0, 100_000)
        except sqlite3.Error as error:
            raise self._unopened(str(error)) from error
        try:
            with self._explained(None, ""):
                connection.execute("PRAGMA foreign_keys = ON")
                # The ledger's own statements compare names exactly; so does D1.
                self._patiently(connection, "SELECT 1 FROM sqlite_schema LIMIT 1")
                if fresh and create:
                    connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _patiently(self, connection: sqlite3.Connection, statement: str) -> None:
        """Run a statement that may have to wait for others' locks, for as long as the busy timeout allows.

        SQLite's own waiting is deaf to Ctrl-C, so it is told to wait a short while at a time.
        """
        end = time.monotonic() + self._busy_timeout
        breath = int(min(self._busy_timeout, _BREATH) * 1000)
        connection.execute(f"PRAGMA busy_timeout = {breath}").fetchall()
        try:
            while True:
                try:
                    connection.execute(statement).fetchall()
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() >= end:
                        raise
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout * 1000)}").fetchall()

    def _set_indexes_aside(self, table: str) -> list[str]:
        """Drop the indexes of an empty table; gives the statements that make them again."""
        name = sql.quote_name(table)
        with self._explained(None, ""):
            if self._connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone():
                return []
            found = self._connection.execute(
                "SELECT name, sql FROM sqlite_schema"
                " WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
                (table,),
            ).fetchall()
            for index, _ in found:
                self._connection.execute(f"DROP INDEX {sql.quote_name(index)}")
        return [ddl for _, ddl in found]

    def _run_under_rules(self, statements: Iterable[Statement], *, write: bool = True) -> list[Rows]:
        """Run statements on the open transaction, behind the gate, and take all their rows."""
        results = []
        connection = self._connection
        authorizer = enforce(connection, read_only=not write, strict=self._strict)
        if write and not self._strict:
            # A statement of a unit that ended the transaction would break "all or nothing".
            connection.set_authorizer(_no_transactions)
        try:
            for index, statement in enumerate(statements):
                started = time.perf_counter()
                with self._explained(authorizer, statement.sql, index):
                    cursor = connection.execute(
                        _checked(statement.sql, self._strict), tuple(statement.params)
                    )
                    rows = cursor.fetchall()
                columns = tuple(column[0] for column in cursor.description or ())
                meta = Meta(time.perf_counter() - started, max(cursor.rowcount, 0))
                results.append(Rows(columns, rows, meta))
        finally:
            lift(connection)
        return results

    def _streamed(
        self,
        connection: sqlite3.Connection,
        cursor: sqlite3.Cursor,
        authorizer: Authorizer,
        statement: str,
        rows: Rows,
        started: float,
    ) -> Iterator[Row]:
        with closing(connection):
            while True:
                with self._explained(authorizer, statement):
                    chunk = cursor.fetchmany(1000)
                if not chunk:
                    break
                yield from chunk
            rows.meta = Meta(time.perf_counter() - started)

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        """Keep writers out for a block, so that several readers begin at the same moment."""
        with self._explained(None, ""):
            try:
                self._patiently(self._connection, "BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_READONLY:
                    raise
                # Others may write; then the one moment is that of the one connection.
                self._stops_writers = False
        if not self._stops_writers:
            yield
            return
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def _explained(
        self, authorizer: Authorizer | None, statement: str, index: int | None = None
    ) -> Iterator[None]:
        """Turn the errors of `sqlite3` into ours."""
        started = time.monotonic()
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning, OverflowError, MemoryError) as error:
            text, code = str(error), _primary_code(error)
            if text == "interrupted":
                raise KeyboardInterrupt from error
            if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                problem = "is not a SQLite database" if code == sqlite3.SQLITE_NOTADB else "is damaged"
                raise Refused(
                    f"{self.path} {problem}.", "Name another file with --path, or restore a backup."
                ) from error
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise self._locked(time.monotonic() - started) from error
            if code == sqlite3.SQLITE_FULL:
                raise Refused(
                    f"There is no room left on the disk for {self.path}.",
                    "Make room; the ledger is as it was.",
                ) from error
            if code == sqlite3.SQLITE_READONLY:
                raise Refused(
                    f"The ledger {self.path} can only be read.", "Check its permissions."
                ) from error
            if code == sqlite3.SQLITE_CANTOPEN:
                raise self._unopened(text) from error
            if isinstance(error, sqlite3.Warning | OverflowError) or "one statement at a time" in text:
                raise Refused(
                    f"The statement cannot be run: {text}.", "Run one statement at a time."
                ) from error
            message = text if authorizer is None else explain_error(error, authorizer)
            if message.startswith("it would "):
                raise Refused(
                    f"The query was refused, because {message}.", "Give --write to let it change the ledger."
                ) from error
            raise StatementError(
                message,
                sql=statement,
                offset=sql.locate_error(statement, text),
                index=index,
                remedy=find_remedy(error) if isinstance(error, sqlite3.Error) else "",
            ) from error

    def _unopened(self, reason: str) -> Refused:
        return Refused(f"The ledger {self.path} cannot be opened: {reason}.", "Check its permissions.")

    def _locked(self, waited: float) -> Refused:
        holders = _lock_holders(self.path)
        who = f"by {', '.join(holders)}" if holders else "by another process"
        return Refused(
            f"The ledger {self.path} is locked {who}; waited {waited:.1f} s for it.",
            "Try again when that has ended, or wait longer with hoox.busy_timeout.",
        )


class _LocalSnapshot:
    """One moment of a ledger, read by a connection and perhaps a second process; satisfies `Snapshot`."""

    bookmark: str | None = None
    one_moment = True

    def __init__(self, own: sqlite3.Connection, helper: ReaderProcess | None) -> None:
        self._own = own
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
            cursor = self._own.execute(statement.sql, tuple(statement.params))
        while True:
            # A row may be large, and `map` sets a limit for its own statements meanwhile.
            with self._using:
                row = cursor.fetchone()
            if row is None:
                return
            yield row

    def exact(self, table: Table, columns: Sequence[str]) -> Iterator[list[Row]]:
        """Yield all rows of a table in blocks, with every value as it is stored."""
        listed = ", ".join(map(sql.quote_name, columns))
        query = f"SELECT {listed} FROM {sql.quote_name(table.name)}"
        taken = 0
        for read_text in (str, _escaped):
            cursor = self._own.execute(f"{query} LIMIT -1 OFFSET {taken}" if taken else query)
            while True:
                self._own.text_factory = read_text
                try:
                    block = cursor.fetchmany(_BLOCK)
                except sqlite3.OperationalError as error:
                    if "decode" not in str(error) or read_text is _escaped:
                        raise
                    break  # The slow way, for this block and those behind it.
                finally:
                    self._own.text_factory = bytes
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
            return fetch(self._own, statement.sql, tuple(statement.params))


def _primary_code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _escaped(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _no_transactions(action: int, *_: str | None) -> int:
    closes = action in {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT}
    return sqlite3.SQLITE_DENY if closes else sqlite3.SQLITE_OK


def _checked(statement: str, strict: bool) -> str:
    refusal = shape_refusal(statement) if strict else None
    if refusal:
        raise StatementError(refusal, sql=statement)
    return statement


def _lock_holders(path: Path) -> list[str]:
    """Name the processes that hold a lock on the ledger, where the system tells (Linux)."""
    try:
        inodes = {
            file.stat().st_ino for file in (path, Path(f"{path}-shm"), Path(f"{path}-wal")) if file.exists()
        }
        locks = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in locks:
        # For example: "3: POSIX  ADVISORY  WRITE 4242 fe:01:1835024 120 120"
        fields = line.replace("->", "").split()
        if len(fields) >= 6 and fields[3] == "WRITE" and int(fields[5].split(":")[2]) in inodes:
            pid = int(fields[4])
            command = ""
            with suppress(OSError):
                command = Path(f"/proc/{pid}/comm").read_text().strip()
            name = f"process {pid}" + (f" ({command})" if command else "")
            if pid != os.getpid() and name not in found:
                found.append(name)
    return found
