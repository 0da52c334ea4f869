"""A ledger in a SQLite file.

Users' statements run behind D1's rules, so that what works here works on D1. The file may be shared with a
running `wrangler dev`: it is changed by SQL only, never replaced. What is listed and described goes through
sqlite-utils, whose import takes longer than a query; queries, dumps and copies use the connection itself.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from hoox_tasks.database.interface import (
    SCHEMA_QUERY,
    Batch,
    CountedTable,
    Meta,
    Moment,
    Rows,
    SchemaObject,
    Statement,
    Storage,
)
from hoox_tasks.database.local.connection import (
    TimeLimit,
    columns_of,
    connect_modules,
    deny_transactions,
    fetch_blocks,
    open_connection,
    open_reader,
    primary_code,
    run_patiently,
    translated,
    with_surrogates,
)
from hoox_tasks.errors import Refused, StatementError
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.rules.authorizer import Authorizer, enforce, lift, shape_refusal
from hoox_tasks.values import Progress, Row, Value

with lazy_imports():
    from hoox_tasks import files
    from hoox_tasks.database import counts
    from hoox_tasks.database.local import inserts
    from hoox_tasks.database.local import moment as moments
    from hoox_tasks.database.local import replace as replacing
    from hoox_tasks.database.local import snapshot as snapshots

if TYPE_CHECKING:
    import sqlite_utils

_PAGES = ("page_count", "page_size")


class LocalDatabase:
    """A ledger in a SQLite file; satisfies `Database`.

    `root` is the workspace's folder, `busy_timeout` is seconds; `strict` holds users' SQL to D1's rules.
    """

    settles_late = False  # A transaction ends with whoever began it.

    def __init__(
        self,
        path: Path,
        *,
        root: Path | None = None,
        name: str | None = None,
        create: bool = False,
        strict: bool = True,
        busy_timeout: float = 5.0,
    ) -> None:
        """Open the ledger at `path`; with `create` it is made where there is none.

        Raises `Refused` where there is no such file, or it is not a SQLite database.
        """
        self.path = path
        self.before_first_change: Callable[[Moment], None] | None = None
        self._root = root
        self._name = name or path.name
        self._strict = strict
        self._busy_timeout = busy_timeout
        self._changes = 0
        self._moment: moments.LocalMoment | None = None
        self._connection = open_connection(path, busy_timeout, create=create)

    # ------------------------------------------------------------------------------------ what it is

    @property
    def name(self) -> str:
        """What people call it, and type to confirm."""
        return self._name

    @property
    def label(self) -> str:
        """Its name in the wrangler config, or the file's path, short where it lies below this folder."""
        if self._name != self.path.name:
            return f"{self._name} (local)"
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def address(self) -> str:
        """The file's path."""
        return str(self.path)

    @property
    def mode(self) -> int:
        """The mode of its file."""
        return stat.S_IMODE(self.path.stat().st_mode)

    @property
    def identity(self) -> str:
        """`file:` and the file's path, links followed: from the workspace's folder where it lies in that."""
        path, root = self.path.resolve(), self._root and self._root.resolve()
        if root and path.is_relative_to(root):
            path = path.relative_to(root)
        return f"file:{path.as_posix()}"

    def identity_in(self, folder: Path) -> str:
        """`identity`, or `file:` and the absolute path where the folder is not in the ledger's workspace."""
        root = self._root and self._root.resolve()
        if root and folder.resolve().is_relative_to(root):
            return self.identity
        return f"file:{self.path.resolve().as_posix()}"

    @property
    def changes(self) -> int:
        """How many transactions of this object have changed the ledger."""
        return self._changes

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection itself, in autocommit mode, outside D1's rules; foreign keys are on."""
        return self._connection

    @cached_property
    def sqlite_utils(self) -> sqlite_utils.Database:
        """The ledger as a `sqlite_utils.Database`, over the same connection."""
        import sqlite_utils

        # By default it turns recursive triggers on, and lets plugins change the connection.
        return sqlite_utils.Database(self._connection, recursive_triggers=False, execute_plugins=False)

    def schema(self) -> list[SchemaObject]:
        """All objects but the engine's own, in the order they were made."""
        with translated(self.path):
            found = self._connection.execute(SCHEMA_QUERY).fetchall()
        return [SchemaObject(*row) for row in found]

    def list_tables(self) -> list[CountedTable]:
        """All tables with their numbers of rows, by name; the engine's own as well."""
        with translated(self.path):
            kinds = counts.table_kinds(self.sqlite_utils.execute(counts.TABLES_QUERY))
            return [CountedTable(name, kind, self._count(name)) for name, kind in kinds.items()]

    def storage(self) -> Storage:
        """SQLite with its version, and the bytes of the file's pages."""
        with translated(self.path):
            pages, size = (self.sqlite_utils.execute(f"PRAGMA {name}").fetchone()[0] for name in _PAGES)
        return Storage("SQLite", sqlite3.sqlite_version, pages * size)

    def _count(self, name: str) -> int | None:
        if name.startswith("_cf_"):  # As on D1, nobody looks into these.
            return None
        try:
            return self.sqlite_utils.table(name).count
        except sqlite3.DatabaseError:  # As of a virtual table whose module, or content, is not here.
            return None

    # -------------------------------------------------------------------------------- asked and changed

    def query(
        self, sql: str, params: Sequence[Value] = (), *, write: bool = False, timeout: float | None = None
    ) -> Rows:
        """Run one statement under D1's rules; only reading is let through unless `write`.

        Raises `HooxError` after `timeout` seconds of work.
        """
        if write:
            return self.batch([Statement(sql, params)], timeout=timeout)[0]
        started = time.perf_counter()
        connection = open_reader(self.path, self._busy_timeout)
        try:
            with translated(self.path):
                connection.execute("BEGIN")  # One moment, should the rows have to be read twice.
            authorizer = enforce(connection, read_only=True, strict=self._strict)
            limit = TimeLimit(connection, timeout)
            run = partial(connection.execute, _checked(sql, self._strict), tuple(params))
            with limit.running(), translated(self.path, sql, authorizer=authorizer):
                cursor = run()
        except BaseException:
            connection.close()
            raise
        rows = Rows(columns_of(cursor), ())
        blocks = fetch_blocks(connection, run, cursor)
        rows.rows = self._streamed(connection, blocks, authorizer, limit, sql, rows, started)
        return rows

    def batch(
        self, statements: Iterable[Statement], *, write: bool = True, timeout: float | None = None
    ) -> list[Rows]:
        """Run statements in one transaction: all of them happen, or none does."""
        with self.transaction(write=write):
            return self._run_under_rules(statements, write, TimeLimit(self._connection, timeout))

    def answers(self, statements: Sequence[Statement]) -> bool:
        """Whether a batch of these statements answers rows: here every batch does."""
        return True

    def insert(self, batches: Iterable[Batch], *, key: Sequence[str] = ()) -> dict[str, int]:
        """Insert rows into tables, all or none; returns how many went into each."""
        with self.transaction():
            return inserts.insert(self.path, self.sqlite_utils, batches, key)

    def replace(self, copy: Path, tables: Collection[str] = ()) -> None:
        """Make the ledger what a SQLite file is, in one transaction; the engine's own tables stay.

        The file itself is never replaced: a running `wrangler dev` would go on with the old one.
        """
        with self._attached(copy) as connection, self.transaction():
            if tables:
                replacing.replace_rows(self.sqlite_utils, tables)
            else:
                replacing.replace_all(connection)

    @contextmanager
    def _attached(self, copy: Path) -> Iterator[sqlite3.Connection]:
        """Attach a file for a block, with foreign keys off; raises `Refused` where its encoding differs."""
        connection = self._connection
        # Inside a transaction foreign keys stay on, and would take rows along.
        assert not connection.in_transaction
        with translated(self.path):
            try:
                connection.execute(f"ATTACH DATABASE ? AS {replacing.COPY}", (copy.resolve().as_uri(),))
            except sqlite3.OperationalError as error:
                if "encoding" not in str(error):
                    raise
                (encoding,) = connection.execute("PRAGMA encoding").fetchone()
                raise Refused(
                    f"The texts of {self.label} are in {encoding}, those of {copy.name} are not.",
                    "Restore it to the ledger that it came from.",
                ) from error
            connection.execute("PRAGMA foreign_keys = OFF")
            try:
                yield connection
            finally:
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute(f"DETACH DATABASE {replacing.COPY}")

    # ---------------------------------------------------------------------------- moments and transactions

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction: committed at its end, undone if it raises.

        It holds the ledger's write lock, and goes through `before_first_change`. Without `write`, only the
        moment is held. Inside another transaction it is a part of that one.
        """
        connection = self._connection
        if connection.in_transaction:
            yield connection
        elif write:
            with self.holding():
                yield connection
        else:
            with translated(self.path):
                run_patiently(connection, "BEGIN", self._busy_timeout)
            try:
                yield connection
            finally:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    @contextmanager
    def holding(self) -> Iterator[moments.LocalMoment]:
        """Hold the moment from which a block changes the ledger: nobody else writes meanwhile."""
        if self._moment is not None:
            yield self._moment
            return
        before: tuple[int, ...] = ()
        changed = committing = committed = False
        moment = self._moment = moments.LocalMoment(
            self.path, self._busy_timeout, lambda: self._state() == before
        )
        try:
            with translated(self.path):
                run_patiently(self._connection, "BEGIN IMMEDIATE", self._busy_timeout)
            before = self._state()
            if self.before_first_change and not self._changes:
                self.before_first_change(moment)
            yield moment
            changed, committing = self._state() != before, True
            with translated(self.path):
                run_patiently(self._connection, "COMMIT", self._busy_timeout)
            committed = True
        except BaseException as error:
            # Ctrl-C may come between SQLite's commit and here; an error of SQLite's has undone all.
            ended = not self._connection.in_transaction
            committed = committing and ended and not isinstance(error.__cause__, sqlite3.Error)
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._moment = None
            self._changes += changed and committed
            moment.end(changed and committed)

    @contextmanager
    def snapshot(
        self, *, online: bool = False, progress: Progress | None = None
    ) -> Iterator[snapshots.LocalSnapshot]:
        """Read one moment of the ledger for a block; a second process helps with a large one.

        Writers only wait until the moment is fixed, so there is nothing that `online` could spare them.
        """
        with ExitStack() as stack:
            with self._alone() as alone:
                moment = snapshots.open_snapshot(self.path, self._busy_timeout, alone=alone)
                snapshot = stack.enter_context(moment)
            yield snapshot

    def recover(self, folder: Path, mark: str) -> None:
        """Bring the ledger back to what a recovery point's file holds."""
        file = folder / mark
        if not file.is_file():
            raise Refused(f"The recovery point {file} is gone.", "See the others with `inv db.history`.")
        with self._attached(file) as connection, self.transaction():
            replacing.replace_all(connection, numbers=True)

    # ----------------------------------------------------------------------------------- files beside it

    def beside(self, name: str) -> LocalDatabase:
        """Make a new, empty ledger: the file `name`, from the current folder, for its owner alone."""
        path = Path(name).expanduser().absolute()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, self.mode & files.PRIVATE))
        except FileExistsError:
            raise Refused(f"There is a {path} already.", "Choose another name.") from None
        except OSError as error:
            raise Refused(f"{path} cannot be made: {error.strerror}.", "Choose another name.") from error
        return LocalDatabase(
            path, root=self._root, create=True, strict=self._strict, busy_timeout=self._busy_timeout
        )

    def remove(self) -> None:
        """Delete the file, and close it."""
        self.close()
        file = self.path.resolve()
        for end in ("", "-wal", "-shm"):
            Path(f"{file}{end}").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)  # A symbolic link to it.

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    # -------------------------------------------------------------------------------------------- inside

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Keep writers out for a block, so that several readers begin at the same moment.

        Gives false where that cannot be, because the ledger can only be read.
        """
        try:
            with translated(self.path):
                run_patiently(self._connection, "BEGIN IMMEDIATE", self._busy_timeout)
        except Refused as error:
            if primary_code(error.__cause__) != sqlite3.SQLITE_READONLY:
                raise
            yield False
            return
        try:
            yield True
        finally:
            self._connection.execute("ROLLBACK")

    def _state(self) -> tuple[int, ...]:
        """What differs after a change of rows, of the schema, or of a number in the file's head."""
        pragmas = ("schema_version", "user_version", "application_id")
        numbers = [self._connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
        return (self._connection.total_changes, *numbers)

    def _run_under_rules(self, statements: Iterable[Statement], write: bool, limit: TimeLimit) -> list[Rows]:
        """Run statements on the open transaction, behind D1's rules, and take all their rows."""
        results = []
        connection = self._connection
        if not write:
            with translated(self.path):
                connect_modules(connection)
        authorizer = enforce(connection, read_only=not write, strict=self._strict)
        connection.text_factory = with_surrogates
        if write and not self._strict:
            connection.set_authorizer(deny_transactions)
        try:
            for index, statement in enumerate(statements):
                started = time.perf_counter()
                named = translated(self.path, statement.sql, authorizer=authorizer, index=index)
                with limit.running(), named:
                    text = _checked(statement.sql, self._strict)
                    cursor = connection.execute(text, tuple(statement.params))
                    rows = cursor.fetchall()
                meta = Meta(time.perf_counter() - started, max(cursor.rowcount, 0))
                results.append(Rows(columns_of(cursor), rows, meta))
        finally:
            connection.text_factory = str
            lift(connection)
        return results

    def _streamed(
        self,
        connection: sqlite3.Connection,
        blocks: Iterator[list[Row]],
        authorizer: Authorizer,
        limit: TimeLimit,
        statement: str,
        rows: Rows,
        started: float,
    ) -> Iterator[Row]:
        with closing(connection):
            while True:
                with limit.running(), translated(self.path, statement, authorizer=authorizer):
                    block = next(blocks, None)
                if block is None:
                    break
                yield from block
            rows.meta = Meta(time.perf_counter() - started)


def _checked(statement: str, strict: bool) -> str:
    refusal = shape_refusal(statement) if strict else None
    if refusal:
        raise StatementError(refusal, sql=statement)
    return statement
