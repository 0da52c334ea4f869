"""A ledger on Cloudflare D1, over its REST API.

What must happen as a whole travels as one request. D1 splits a request's SQL by rules of its own, on which
triggers break; a unit with a trigger in it, or a large one, goes through D1's import, which splits as
SQLite does. Values that JSON would change are written into the SQL as literals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hoox_tasks.d1 import D1Client
from hoox_tasks.database.attempts import ATTEMPTS, pause_before
from hoox_tasks.database.counts import count_tables
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import (
    SCHEMA_QUERY,
    Batch,
    CountedTable,
    Moment,
    Rows,
    SchemaObject,
    Snapshot,
    Statement,
    Storage,
    Table,
)
from hoox_tasks.database.lost_answers import confirm
from hoox_tasks.database.remote.changes import Change, Guard, OneStatement, RowsToInsert, Unit
from hoox_tasks.database.remote.endangered import find_endangered
from hoox_tasks.database.remote.guard import explain_guard
from hoox_tasks.database.remote.moment import Choose, RemoteMoment
from hoox_tasks.database.remote.replace import Replacement
from hoox_tasks.database.remote.snapshot import copy_ledger
from hoox_tasks.database.remote.statements import carried, is_imported, read, rows_of, unmistakable
from hoox_tasks.database.remote.time_travel import travel
from hoox_tasks.errors import ChangedMeanwhile, HooxError, Refused, RemoteError, StatementError
from hoox_tasks.files import scratch_folder
from hoox_tasks.values import Progress, Value

if TYPE_CHECKING:
    from hoox_tasks.config.settings import Settings

T = TypeVar("T")

_DELETIONS = 3
"""How often a database is asked to be deleted; twice does no harm."""
_NOT_FOUND = 7404


class RemoteDatabase:
    """A ledger on D1; satisfies `Database`. `client` must be for one database, and is closed with this.

    `strict` holds reading statements to D1's rules before they are sent; D1 itself does so anyway.
    """

    def __init__(self, client: D1Client, name: str, *, strict: bool = True) -> None:
        self.client = client
        self.before_first_change: Callable[[Moment], None] | None = None
        self._name = name
        self._strict = strict
        self._empty: EmptyLedger | None = None
        self._moment: RemoteMoment | None = None
        self._changes = 0
        self._sent = False

    @property
    def name(self) -> str:
        """The database's name, which people type to confirm."""
        return self._name

    @property
    def label(self) -> str:
        """Which ledger this is, in a sentence."""
        return f"D1 database {self._name}"

    @property
    def address(self) -> str:
        """Which database on which account."""
        identity = "" if self._name == self.client.database_id else f" ({self.client.database_id})"
        return f"{self.label}{identity} of account {self.client.account_id}"

    @property
    def identity(self) -> str:
        """`d1:`, the account's id and the database's."""
        return f"d1:{self.client.account_id}/{self.client.database_id}"

    def identity_in(self, folder: Path) -> str:
        """`identity`, which is the same everywhere."""
        return self.identity

    mode = 0o7777
    """All rights: D1 is no file."""

    settles_late = True  # D1 goes on with a request whose sender is gone.

    @property
    def changes(self) -> int:
        """How many changes were made, and may have been."""
        return self._changes

    # -- statements -------------------------------------------------------------------------------

    def query(
        self, sql: str, params: Sequence[Value] = (), *, write: bool = False, timeout: float | None = None
    ) -> Rows:
        """Run one statement; unless `write`, nothing is sent that could change anything.

        A statement that is to read is compiled first on an empty ledger in a file, which has the remote
        one's schema, behind the same gate as a local ledger; that costs one request more, once.
        """
        statement = Statement(sql, params)
        if write:
            return self._change(OneStatement(self.client, statement))
        if self._empty is None:
            self._empty = EmptyLedger(self.schema(), strict=self._strict)
        self._empty.compile(sql, params)
        return rows_of(self.client.raw(*carried(Statement(unmistakable(sql), params))))

    def batch(
        self, statements: Iterable[Statement], *, write: bool = True, timeout: float | None = None
    ) -> list[Rows]:
        """Run statements in one request and one transaction: all of them happen, or none does.

        What goes through D1's import answers no rows. D1 does not tell which statement failed; the unit is
        tried on an empty ledger then, where most of them fail again.
        """
        unit = list(statements)
        if not unit:
            return []
        if not write:
            return read(self.client, unit)
        try:
            return self._change(Unit(self.client, unit))
        except StatementError as error:
            problem = error
        raise self._located(problem, unit)

    def answers(self, statements: Sequence[Statement]) -> bool:
        """Whether a batch of these statements answers rows: what goes through D1's import does not."""
        return not is_imported([statement.sql for statement in statements])

    def _located(self, error: StatementError, unit: Sequence[Statement]) -> StatementError:
        """Give the error with the statement that it is about, where an empty ledger tells."""
        if error.index is not None:
            return error
        with suppress(HooxError), closing(EmptyLedger(self.schema(), strict=self._strict)) as empty:
            try:
                empty.run(unit)
            except StatementError as found:
                if _words(found) == _words(error):
                    return StatementError(
                        error.message,
                        sql=found.sql,
                        offset=found.offset,
                        index=found.index,
                        remedy=error.remedy,
                    )
        return error

    def insert(self, batches: Iterable[Batch], *, key: Sequence[str] = ()) -> dict[str, int]:
        """Insert rows into tables, all or none; returns how many went into each.

        One request, or four where it is large. Raises `Refused`, and has sent nothing, where a row is too
        long for a statement and all rows together are too long for one request.
        """
        with scratch_folder() as folder:
            rows = RowsToInsert(self.client, folder / "insert.sql", key)
            rows.write(batches)
            if not rows.empty:
                self._change(rows)
            return rows.counts

    def schema(self) -> list[SchemaObject]:
        """All objects but the engine's own, in the order they were made."""
        result = self.client.raw(SCHEMA_QUERY)
        return [SchemaObject(*(str(cell) for cell in row)) for row in result.rows]

    def list_tables(self) -> list[CountedTable]:
        """All tables with their numbers of rows, by name; two requests, one more for every further 80."""
        return count_tables(lambda query: self.batch([Statement(query)], write=False)[0])

    def storage(self) -> Storage:
        """D1 with the version that it tells, and the database's bytes; one request."""
        info = self.client.get_database()
        return Storage("Cloudflare D1", info.version, info.file_size)

    # -- moments ----------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self, *, online: bool = False, progress: Progress | None = None) -> Iterator[Snapshot]:
        """Read one moment of the ledger for the length of a `with` block, from a copy.

        D1 exports it, and answers no queries meanwhile; with `online`, and where an export would not be
        exact, it is read by queries. Raises `HooxError` where somebody writes all the time; with `online`
        the snapshot says that it is not of one moment.
        """
        with (
            copy_ledger(self, self.client, online=online, progress=progress) as copy,
            copy.ledger.snapshot() as snapshot,
        ):
            snapshot.bookmark = copy.bookmark
            snapshot.one_moment = copy.bookmark is not None
            yield snapshot

    def holding(self) -> AbstractContextManager[Moment]:
        """Hold a moment for a block; others are not kept from writing. It costs three requests.

        The first change in the block is guarded: raises `ChangedMeanwhile` where somebody was ahead of it.
        """
        return self._held(None)

    @contextmanager
    def _held(self, choose: Choose | None) -> Iterator[RemoteMoment]:
        if self._moment is not None:
            yield self._moment
            return
        moment = self._moment = RemoteMoment(self, self.client, choose)
        changes = self._changes
        try:
            yield moment
        finally:
            self._moment = None
            moment.end(self._changes > changes)

    def _change(self, change: Change[T]) -> T:
        """Make a change of the ledger: the one door through which all of them go but those of the whole.

        Where somebody is to save the moment before the first, it is made of that moment, or not at all.
        """
        self._forget_schema()
        if self._moment is not None:
            return self._make(self._moment, change.send, self._moment.guard())
        if self.before_first_change is None or self._changes:
            return self._counted(change.send, ())

        def choose(schema: Sequence[SchemaObject], tables: Sequence[Table]) -> Collection[str]:
            return find_endangered(change.statements, schema, tables)

        def make(moment: RemoteMoment, patient: bool) -> T:
            # Where somebody writes all the time, only what would be taken away from counts in the end.
            guard = moment.guard() if patient else moment.guard(moment.weighed)
            return self._make(moment, change.send, guard)

        return self._tried(make, choose)

    def _tried(self, make: Callable[[RemoteMoment, bool], T], choose: Choose | None) -> T:
        """Make a change of the moment that is held, or of a new one, again where others are ahead of it.

        `make` is told whether there will be other attempts like this one.
        """
        if self._moment is not None:
            return make(self._moment, True)
        for attempt in range(ATTEMPTS):
            if attempt:
                self.client.pause(pause_before(attempt))
            try:
                with self._held(choose) as moment:
                    return make(moment, attempt < ATTEMPTS // 2)
            except ChangedMeanwhile as error:
                overtaken = error
        raise overtaken

    def _make(self, moment: RemoteMoment, send: Callable[[Guard], tuple[T, bool]], guard: Guard) -> T:
        """Send a change of a moment, once whoever wants to has saved it."""
        if self.before_first_change is not None and not self._changes and not moment.announced:
            self.before_first_change(moment)
            moment.announced = True
        try:
            result = self._counted(send, guard)
        except StatementError as error:
            problem = explain_guard(error, self._name)
        else:
            moment.spent = True
            return result
        raise problem

    def _counted(self, send: Callable[[Guard], tuple[T, bool]], guard: Guard) -> T:
        """Send a change, and count it unless it surely changed nothing."""
        self._sent = True
        try:
            result, changed = send(guard)
        except BaseException as error:
            certain = isinstance(error, HooxError) and not (
                isinstance(error, RemoteError) and error.ambiguous
            )
            self._changes += self._sent and not certain
            raise
        self._changes += changed
        return result

    # -- the whole ledger -------------------------------------------------------------------------

    def replace(self, copy: Path, tables: Collection[str] = ()) -> None:
        """Make the ledger what a SQLite file is, through one import by D1 that proves itself.

        While it is imported D1 answers no other queries. Where it fails nothing was changed; where its
        answer was lost, and the ledger does not tell, `RemoteError` says what may have happened. With
        `tables` others may write to other tables meanwhile.
        """

        def begin() -> None:
            self._sent = True

        def make(moment: RemoteMoment, _: bool) -> None:
            replacement = Replacement(self, self.client, moment, tables, begin)

            def send(guard: Guard) -> tuple[None, bool]:
                self._sent = False
                replacement.run(copy, guard)
                return None, True

            self._make(moment, send, moment.guard(moment.weighed if tables else None))
            replacement.compare(copy)

        chosen = {name.lower() for name in tables}

        def choose(_: Sequence[SchemaObject], found: Sequence[Table]) -> Collection[str]:
            return [table.name for table in found if not chosen or table.name.lower() in chosen]

        self._forget_schema()
        self._tried(make, choose)

    def beside(self, name: str) -> RemoteDatabase:
        """Make a new, empty database on the same account; whether a lost answer made it, its name tells."""
        if self._find(name):
            raise Refused(f"The account has a database {name} already.", "Choose another name.")
        try:
            identity = self.client.create_database(name).uuid
        except RemoteError as error:
            confirm(
                error,
                f"the database {name} was made",
                lambda: bool(self._find(name)),
                f"Look with `wrangler d1 list`; `wrangler d1 delete {name}` removes it.",
            )
            identity = self._find(name)
        return RemoteDatabase(self.client.for_database(identity), name, strict=self._strict)

    def _find(self, name: str) -> str:
        """The id of the account's database of this name; empty where there is none."""
        return next((found.uuid for found in self.client.list_databases(name) if found.name == name), "")

    def remove(self) -> None:
        """Delete the database, and close the connection."""
        try:
            self._delete()
        except RemoteError as error:
            # After a lost answer, that there is none means that it happened.
            if error.code != _NOT_FOUND or not error.ambiguous:
                raise RemoteError(
                    f"The database {self._name} may be left over: {error.problem}",
                    f"Remove it with `wrangler d1 delete {self._name}`.",
                    status=error.status,
                    code=error.code,
                    ambiguous=True,
                ) from None
        finally:
            self.close()

    def _delete(self) -> None:
        """Delete the database, again where the answer was lost; the error is ambiguous where any was."""
        lost = False
        for left in reversed(range(_DELETIONS)):
            try:
                self.client.delete_database()
            except RemoteError as error:
                lost = lost or error.ambiguous
                if error.ambiguous and left:
                    continue
                error.ambiguous = lost
                raise
            return

    def recover(self, folder: Path, mark: str) -> None:
        """Bring the ledger back to a bookmark, by Time Travel.

        The moment before it is the one that Time Travel names, and no earlier one.
        """
        self._forget_schema()
        with self._held(lambda *_: ()) as moment:

            def send(_: Guard) -> tuple[str, bool]:
                return travel(self.client, mark, moment.bookmark).previous_bookmark, True

            previous = self._make(moment, send, ())
            if previous and previous != moment.bookmark:
                moment.bookmark = previous
                if self.before_first_change is not None and moment.announced:
                    self._announce_again(moment)

    def _announce_again(self, moment: RemoteMoment) -> None:
        """Have the exact moment before a journey saved, which only the journey tells; forget the other."""
        assert self.before_first_change is not None
        exact = moment.twin()
        moment.end(False)
        moment.take_listeners(exact)
        try:
            self.before_first_change(exact)
        except HooxError as error:
            raise HooxError(
                f"{self._name} was brought back, but the moment before could not be saved: {error.problem}",
                f"It is Time Travel's bookmark {moment.bookmark}.",
            ) from error

    # -- the connection ---------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection."""
        self._forget_schema()
        self.client.close()

    def _forget_schema(self) -> None:
        if self._empty is not None:
            self._empty.close()
            self._empty = None


def open_remote(settings: Settings) -> RemoteDatabase:
    """Open the D1 database that `settings` name; one without an id is looked up by its name.

    Raises `Refused` where the account, the token or the database is not configured, `RemoteError` where
    the account has no database of that name.
    """
    client = D1Client(
        settings.account_id,
        settings.token,
        database_id=settings.database_id or None,
        base_url=settings.base_url,
    )
    try:
        if client.database_id is None:
            if not settings.database_name:
                raise Refused(
                    "No D1 database is configured.",
                    "Add it to d1_databases of the wrangler config, or set hoox.database_id.",
                )
            client.use_database(client.find_database(settings.database_name).uuid)
    except BaseException:
        client.close()
        raise
    return RemoteDatabase(client, settings.database_name or settings.database_id, strict=settings.strict)


def _words(error: StatementError) -> str:
    """The engine's own words, without the place and the code that not every engine tells."""
    return error.message.split(" at offset ")[0].split(": SQLITE_")[0].rstrip(".")
