"""A ledger on Cloudflare D1, over its REST API.

What must happen as a whole travels as one request. D1 splits a request's SQL by rules of its own, on which
triggers break; a unit with a trigger in it, or a large one, goes through D1's import, which splits as
SQLite does. Values that JSON would change are written into the SQL as literals.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hoox_tasks import sql
from hoox_tasks.d1 import D1Client, Result, ResultMeta, check_statement
from hoox_tasks.database import dump
from hoox_tasks.database.checksum import checksums
from hoox_tasks.database.counts import count_tables
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import (
    SCHEMA_QUERY,
    Batch,
    CountedTable,
    Meta,
    Moment,
    Rows,
    SchemaObject,
    Snapshot,
    Statement,
    Table,
)
from hoox_tasks.database.load import load as load_script
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.lost_answers import confirm
from hoox_tasks.database.remote import import_script
from hoox_tasks.database.remote.export_reader import inexact_queries, load_export
from hoox_tasks.database.remote.moment import RemoteMoment
from hoox_tasks.database.remote.statements import CannotInline, carried, inlined, inserts, text_bytes
from hoox_tasks.database.schema import SEQUENCES, choose_tables, read_schema, read_tables
from hoox_tasks.errors import HooxError, Refused, RemoteError, StatementError
from hoox_tasks.files import scratch_folder
from hoox_tasks.values import Approximate, Progress, Row, Value

if TYPE_CHECKING:
    from hoox_tasks.config.settings import Settings

_SCRIPT_BYTES = 1_000_000
"""What goes as one request's SQL; more is imported. D1 names no limit, and answers within 30 seconds."""
_BATCH_BYTES = 8_000_000
"""What goes as one request where a value has to be bound, because it is too long for a literal."""
_REPEATS = 3
"""How often what does no harm twice is asked for; D1 allows ten journeys in Time in ten minutes."""
_NOT_FOUND = 7404
_QUERIES = 50
"""How many questions go into one request."""
_READINGS = 2
"""How often a ledger is read by queries, when somebody writes to it meanwhile."""
_EXPLAIN = "EXPLAIN "
_HAS_SEQUENCES = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"


class RemoteDatabase:
    """A ledger on D1; satisfies `Database`. `client` must be for one database, and is closed with this.

    `strict` holds reading statements to D1's rules before they are sent; D1 itself does so anyway. In a
    `new` one there is nothing yet that a failure would have to be taken back to.
    """

    def __init__(self, client: D1Client, name: str, *, strict: bool = True, new: bool = False) -> None:
        self.client = client
        self._name = name
        self._strict = strict
        self._new = new
        self._model: EmptyLedger | None = None
        self._moment: RemoteMoment | None = None
        self._changes = 0
        self.before_first_change: Callable[[Moment], None] | None = None

    @property
    def changes(self) -> int:
        """How many changes were made, and may have been."""
        return self._changes

    @property
    def identity(self) -> str:
        """`d1:`, the account's id and the database's."""
        return f"d1:{self.client.account_id}/{self.client.database_id}"

    @contextmanager
    def holding(self) -> Iterator[Moment]:
        """Hold a moment for a block; others are not kept from writing."""
        with self._changing() as moment:
            yield moment

    @contextmanager
    def _changing(self) -> Iterator[Moment]:
        """Go through `before_first_change` before what a block changes."""
        if self._moment is not None:
            yield self._moment
            return
        moment = self._moment = RemoteMoment(self)
        changed = False
        try:
            if self.before_first_change and not self._changes:
                self.before_first_change(moment)
            changed = True
            yield moment
        except HooxError as error:
            changed = isinstance(error, RemoteError) and error.ambiguous
            raise
        finally:
            self._moment = None
            self._changes += changed
            moment.end(changed)

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

    def query(self, sql: str, params: Sequence[Value] = (), *, write: bool = False) -> Rows:
        """Run one statement; unless `write`, nothing is sent that could change anything.

        A statement that is to read is compiled first on an empty ledger in a file, which has the remote
        one's schema, behind the same gate as a local ledger; that costs one request more, once.
        """
        if write:
            self._forget_schema()
            with self._changing():
                return self._write_one(Statement(sql, params))
        if self._model is None:
            self._model = EmptyLedger(self.schema(), strict=self._strict)
        self._model.compile(sql, params)
        return _rows(self.client.raw(*carried(Statement(sql, params))))

    def batch(self, statements: Iterable[Statement], *, write: bool = True) -> list[Rows]:
        """Run statements in one request and one transaction: all of them happen, or none does.

        What goes through D1's import answers no rows. D1 does not tell which statement failed; the unit is
        tried on an empty ledger then, where most of them fail again.
        """
        unit = list(statements)
        if not unit:
            return []
        if not write:
            return self._send(unit, write=False)
        self._forget_schema()
        try:
            with self._changing():
                return self._send(unit, write=True)
        except StatementError as error:
            problem = error
        raise self._located(problem, unit)

    def _send(self, unit: Sequence[Statement], *, write: bool) -> list[Rows]:
        try:
            texts = [check_statement(inlined(statement), index) for index, statement in enumerate(unit)]
        except (Refused, CannotInline):  # Values too long for a literal, or numbered marks.
            pairs = [carried(statement) for statement in unit]
            return [_rows(result) for result in self.client.raw_batch(pairs, write=write)]
        script = sql.join(texts)
        if write and (any(map(sql.is_trigger, texts)) or len(script) > _SCRIPT_BYTES):
            self.client.import_file(script.encode())
            return [Rows((), ()) for _ in unit]
        results = self.client.raw_script(script, write=write)
        return [_rows(result) for result in results]

    def _located(self, error: StatementError, unit: Sequence[Statement]) -> StatementError:
        """Give the error with the statement that it is about, where an empty ledger tells."""
        if error.index is not None:
            return error
        with suppress(HooxError), closing(EmptyLedger(self.schema(), strict=self._strict)) as model:
            try:
                model.run(unit)
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

    def insert(self, batches: Iterable[Batch]) -> dict[str, int]:
        """Insert rows into tables, all or none; returns how many went into each.

        One request, or four where it is large. Raises `Refused`, and has sent nothing, where a row is too
        long for a statement and all rows together are too long for one request.
        """
        counts: dict[str, int] = {}
        held: list[Statement] = []
        size = longest = 0
        with self._changing(), scratch_folder() as folder:
            script = folder / "insert.sql"
            with script.open("w", encoding="utf-8", newline="\n") as file:
                for table, columns, rows in batches:
                    for insert in inserts(table, columns, rows):
                        size += (length := sum(map(text_bytes, (insert.sql, *insert.params))))
                        if insert.params:
                            longest = max(longest, length)
                        if size <= _BATCH_BYTES:
                            held.append(insert)
                        file.write(f"{insert.sql};\n")
                    counts[table] = counts.get(table, 0) + len(rows)
            if longest and size > _BATCH_BYTES:
                raise Refused(
                    f"A row is {longest:,} bytes long, which D1's import does not take, and all rows together"
                    f" are {size:,}, which is too much for one request.",
                    "Insert such rows by themselves.",
                )
            if longest:
                self.client.raw_batch(held, write=True)
            elif script.stat().st_size > _SCRIPT_BYTES:
                self.client.import_file(script)
            elif script.stat().st_size:
                self.client.raw_script(script.read_text(encoding="utf-8"), write=True)
        return counts

    @contextmanager
    def snapshot(self, *, online: bool = False, progress: Progress | None = None) -> Iterator[Snapshot]:
        """Read one moment of the ledger for the length of a `with` block, from a copy.

        D1 exports it, and answers no queries meanwhile. Where its export would change a cell, or there are
        virtual tables, which D1 does not export, and with `online`, the ledger is read by queries. When
        somebody writes meanwhile it is read once more; after that `HooxError` is raised, and with `online`
        the snapshot says that it is not of one moment.
        """
        with scratch_folder() as folder:
            bookmark = None if online else self._exported(folder, progress)
            copy = folder / "copy.sqlite"
            for _ in range(_READINGS):
                if bookmark is None:
                    copy.unlink(missing_ok=True)
                    bookmark = self._read(copy, progress)
            if bookmark is None and not online:
                raise HooxError(
                    f"{self._name} was changed while it was read.", "Run it again when nobody writes to it."
                )
            with closing(LocalDatabase(copy, strict=False)) as local, local.snapshot() as snapshot:
                snapshot.bookmark = bookmark
                snapshot.one_moment = bookmark is not None
                yield snapshot

    def _exported(self, folder: Path, progress: Progress | None) -> str | None:
        """Have D1 export its rows, and put them with the schema into the SQLite file `copy.sqlite`.

        Gives the bookmark of that moment; None where D1's export does not say every cell as it is.
        """
        schema = self.schema()
        if not self._exports_exactly(schema):
            return None
        before = self.client.bookmark()
        export = self.client.export(schema=False, progress=progress)
        with (folder / "export.sql").open("w+b") as file:
            self.client.download(export.signed_url, file, progress=progress)
        copy = folder / "copy.sqlite"
        with (
            (folder / "export.sql").open(encoding="utf-8", newline="\n") as lines,
            closing(sqlite3.connect(copy, isolation_level=None)) as connection,
        ):
            try:
                load_export(lines, schema, connection)
            except (sqlite3.Error, ValueError) as error:
                problem = str(error)
            else:
                problem = ""
        if problem or self.schema() != schema:
            why = problem or "the schema changed meanwhile"
            raise HooxError(f"D1's export of {self._name} does not load: {why}.", "Run it again.")
        with closing(LocalDatabase(copy, strict=False)) as local:
            differs = bool(self._differing(local))
        # What differs because somebody wrote since says nothing of the export.
        return None if differs and self.client.bookmark() == before else export.bookmark or before

    def _exports_exactly(self, schema: Sequence[SchemaObject]) -> bool:
        """Tell whether D1's own export would say every cell as it is."""
        with closing(EmptyLedger(schema, strict=False)) as model:
            if _defies_export(model):
                return False
            questions = inexact_queries(model.connection, schema)
        return not any(row[0] for result in self._each(questions) for row in result.rows)

    def _each(self, queries: Sequence[str]) -> Iterator[Result]:
        for start in range(0, len(queries), _QUERIES):
            yield from self.client.raw_script(sql.join(queries[start : start + _QUERIES]), write=False)

    def _read(self, copy: Path, progress: Progress | None) -> str | None:
        """Read the ledger by queries into a new SQLite file.

        Gives the bookmark of that moment; None where somebody wrote meanwhile.
        """
        written = copy.with_suffix(".sql")
        before = self.client.bookmark()
        wire = _Wire(self.client)
        with written.open("wb") as file:
            dump.write_tables(wire, read_tables(wire), file.write, progress=progress)
        bookmark = before if self.client.bookmark() == before else None
        try:
            load_script(written, copy)
        except Refused as error:
            why = "it was changed while it was read" if bookmark is None else error.problem
            raise HooxError(f"What was read of {self._name} does not fit: {why}.", "Run it again.") from error
        with closing(LocalDatabase(copy, strict=False)) as local:
            differing = self._differing(local) if bookmark else []
        if differing and self.client.bookmark() == bookmark:
            raise HooxError(
                f"What was read of {self._name} is not what it holds: {', '.join(differing)}.",
                "Run it again.",
            )
        return bookmark

    def _differing(self, copy: LocalDatabase, tables: Collection[str] = ()) -> list[str]:
        """Name the tables that do not hold what a copy of them does, by their checksums."""
        with copy.snapshot() as snapshot:
            found = read_tables(snapshot)
        compared = [table for table in found if not tables or table.name in tables]
        here, there = checksums(copy, compared), checksums(self, compared)
        return [name for name in here if here[name] != there[name]]

    def schema(self) -> list[SchemaObject]:
        """All objects but the engine's own, in the order they were made."""
        result = self.client.raw(SCHEMA_QUERY)
        return [SchemaObject(*(str(cell) for cell in row)) for row in result.rows]

    def list_tables(self) -> list[CountedTable]:
        """All tables with their numbers of rows, by name; two requests, one more for every further 80."""
        return count_tables(lambda query: self.batch([Statement(query)], write=False)[0])

    def replace(self, copy: Path, tables: Collection[str] = ()) -> None:
        """Make the ledger what a SQLite file is, through D1's import; whatever fails is taken back.

        While it is imported D1 answers no other queries. Time Travel takes a failure back, and with it what
        others wrote meanwhile.
        """
        self._forget_schema()
        with (
            self._changing(),
            scratch_folder() as folder,
            closing(LocalDatabase(copy, strict=False)) as source,
            source.snapshot() as snapshot,
        ):
            script = folder / "replace.sql"
            found = read_tables(snapshot)
            with script.open("w", encoding="utf-8", newline="\n") as file:
                chosen = choose_tables(found, tables)
                self._write_replacement(snapshot, found, chosen, bool(tables), file)
            before = "" if self._new else self.client.bookmark()
            imported = False
            try:
                self.client.import_file(script)
                imported = True
                differing = self._differing(source, [table.name for table in chosen])
                if differing:
                    raise HooxError(
                        f"What arrived in {', '.join(differing)} is not what was sent.",
                        "The ledger is as it was; try again.",
                    )
            except BaseException as error:
                if before and (imported or not self._untouched(before, error)):
                    self._take_back(before, error)
                    if isinstance(error, RemoteError) and error.ambiguous:
                        remedy = f"{self._name} was taken back to what it was: run it again."
                        raise RemoteError(
                            error.problem, remedy, status=error.status, code=error.code
                        ) from None
                raise

    def _untouched(self, before: str, error: BaseException) -> bool:
        """Tell whether an import that failed has left no trace that would have to be taken back."""
        if not isinstance(error, HooxError) or (isinstance(error, RemoteError) and error.ambiguous):
            return False
        with suppress(RemoteError):
            return self.client.bookmark() == before
        return True

    def _take_back(self, bookmark: str, why: BaseException) -> None:
        """Go back to where a change began that failed; raises `RemoteError` where that fails as well."""
        try:
            self._travel(bookmark)
        except BaseException as error:
            first, then = (
                each.problem if isinstance(each, HooxError) else "It was interrupted."
                for each in (why, error)
            )
            raise RemoteError(
                f"{self._name} may be neither what it was nor what it should be now: {first}"
                f" It could not be taken back either: {then}",
                f"Go back with `wrangler d1 time-travel restore {self._name} --bookmark={bookmark}`,"
                " or with `inv db.undo --remote`.",
                ambiguous=True,
            ) from None

    def _travel(self, bookmark: str) -> None:
        """Go back to a bookmark."""
        _repeated(lambda: self.client.restore(bookmark))

    def _write_replacement(
        self,
        snapshot: Snapshot,
        found: list[Table],
        chosen: list[Table],
        partly: bool,
        file: IO[str],
    ) -> None:
        """Write the script that replaces the ledger's content."""
        here = self.schema()
        rest: Sequence[SchemaObject]
        if partly:
            names = {table.name for table in chosen}
            present = {item.name for item in here if item.type == "table"}
            if names - present:
                raise Refused(f"The ledger has no table {min(names - present)}.", "Restore the whole file.")
            for table in read_tables(_Wire(self.client)):
                follows = {name for name in names if name.lower() in map(str.lower, table.cascades)}
                if follows and table.name not in names:
                    raise Refused(
                        f"Rows of {table.name} would go with those of {min(follows)}: they refer to them,"
                        " and D1 keeps foreign keys on.",
                        f"Restore {table.name} as well, or the whole file.",
                    )
            rest = [item for item in here if item.type == "trigger" and item.table in names]
            file.write("PRAGMA defer_foreign_keys=TRUE;\n")
            file.writelines(f"DROP TRIGGER {sql.quote_name(item.name)};\n" for item in rest)
            file.writelines(f"DELETE FROM {sql.quote_name(name)};\n" for name in sorted(names))
        else:
            rest = read_schema(snapshot)
            import_script.write_drops(read_tables(_Wire(self.client)), here, file)
            import_script.write_schema(found, file)
        pieces = import_script.write_pieces([*here, *read_schema(snapshot)], file)
        for table in chosen:
            import_script.write_rows(snapshot, table, file, pieces)
        if not partly and list(snapshot.stream(Statement(_HAS_SEQUENCES))):
            file.write("DELETE FROM sqlite_sequence;\n")
            import_script.write_rows(snapshot, SEQUENCES, file, pieces)
        file.write(f"DROP TABLE {pieces};\n")
        import_script.write_rest(rest, file)

    def beside(self, name: str) -> RemoteDatabase:
        """Make a new, empty database on the same account; whether a lost answer made it, its name tells."""
        if self._identity(name):
            raise Refused(f"The account has a database {name} already.", "Choose another name.")
        try:
            identity = self.client.create_database(name).uuid
        except RemoteError as error:
            confirm(
                error,
                f"the database {name} was made",
                lambda: bool(self._identity(name)),
                f"Look with `wrangler d1 list`; `wrangler d1 delete {name}` removes it.",
            )
            identity = self._identity(name)
        return RemoteDatabase(self.client.for_database(identity), name, strict=self._strict, new=True)

    def _identity(self, name: str) -> str:
        """The id of the account's database of this name; empty where there is none."""
        return next((found.uuid for found in self.client.list_databases(name) if found.name == name), "")

    def remove(self) -> None:
        """Delete the database, and close the connection."""
        try:
            _repeated(self.client.delete_database)
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

    def recover(self, folder: Path, mark: str) -> None:
        """Bring the ledger back to a bookmark, by Time Travel."""
        self._forget_schema()
        with self._changing():
            self._travel(mark)

    def close(self) -> None:
        """Close the connection."""
        self._forget_schema()
        self.client.close()

    def _forget_schema(self) -> None:
        if self._model is not None:
            self._model.close()
            self._model = None

    def _write_one(self, statement: Statement) -> Rows:
        if sql.is_trigger(statement.sql):
            return self.batch([statement])[0]
        return _rows(self.client.raw(*carried(statement), write=True))


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


def _defies_export(model: EmptyLedger) -> bool:
    """Whether a table is made by a module, which D1 does not export, or a name is of several lines."""
    query = (
        "SELECT 1 FROM pragma_table_list t, pragma_table_info(t.name) c WHERE t.schema = 'main'"
        " AND (t.type = 'virtual' OR instr(t.name || c.name, char(10))) LIMIT 1"
    )
    return model.connection.execute(query).fetchone() is not None


class _Wire:
    """The ledger itself, read by queries, whatever others do to it meanwhile; satisfies `Reader`."""

    def __init__(self, client: D1Client) -> None:
        self._client = client

    def map(self, statements: Iterable[Statement]) -> Iterator[list[Row] | None]:
        """Run statements one after the other, and yield their rows; None where D1 gives no value so long."""
        for statement in statements:
            try:
                yield list(self.stream(statement))
            except StatementError as error:
                if "SQLITE_TOOBIG" not in error.message:
                    raise
                yield None

    def stream(self, statement: Statement) -> Iterator[Row]:
        """Run one statement and yield its rows; text as its bytes."""
        for row in self._client.raw(*carried(statement)).rows:
            yield tuple(cell.encode() if isinstance(cell, str) else cell for cell in row)


def _repeated(call: Callable[[], object]) -> None:
    """Make a call that does the same when it is made twice, again where its answer was lost.

    The error, if it comes to that, is ambiguous where any of them was.
    """
    lost = False
    for left in reversed(range(_REPEATS)):
        try:
            call()
        except RemoteError as error:
            lost = lost or error.ambiguous
            if error.ambiguous and left:
                continue
            error.ambiguous = lost
            raise
        return


def _words(error: StatementError) -> str:
    """The engine's own words, without the place and the code that not every engine tells."""
    return error.message.split(" at offset ")[0].split(": SQLITE_")[0].rstrip(".")


def _rows(result: Result) -> Rows:
    """A result of the wire as the interface has it; still streaming where it is large."""
    rows = Rows(result.columns, ())

    def taken() -> Iterator[Row]:
        for row in result.rows:
            rows.approximate += sum(type(value) is Approximate for value in row)
            yield row
        rows.meta = _meta(result.meta)

    rows.meta = _meta(result.meta)
    rows.rows = list(taken()) if isinstance(result.rows, list) else taken()
    return rows


def _meta(meta: ResultMeta) -> Meta:
    return Meta(meta.duration, meta.changes, meta.rows_read, meta.rows_written)
