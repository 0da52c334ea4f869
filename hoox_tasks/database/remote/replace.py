"""The content of a ledger on D1 replaced by a SQLite file's, in one import that proves itself.

The script fails, and D1 undoes it, where the ledger is not any more what it was when it was looked at, where
D1 comes to it too late, or where what arrived is not what was sent. So an import that ended well is proven,
and one that failed has changed nothing: nothing is ever taken back, and no row of others with it. Only an
answer that was lost leaves a doubt, and the ledger is looked at to settle it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from hoox_tasks import sql
from hoox_tasks.d1 import D1Client
from hoox_tasks.database.checksum import checksums
from hoox_tasks.database.interface import SCHEMA_QUERY, Database, SchemaObject, Snapshot, Statement, Table
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote import import_script
from hoox_tasks.database.remote.guard import Answer, ask_content, ask_schema, check_guards, fail_when
from hoox_tasks.database.remote.live_reader import LiveReader
from hoox_tasks.database.remote.moment import RemoteMoment
from hoox_tasks.database.remote.time_travel import way_back
from hoox_tasks.database.schema import SEQUENCES, check_definitions, choose_tables, read_tables_and_schema
from hoox_tasks.errors import HooxError, Refused, RemoteError
from hoox_tasks.files import scratch_folder
from hoox_tasks.values import Row

_PATIENCE = 300
"""Seconds after which D1 must not begin an import any more, beside those for its upload."""
_BYTES_A_SECOND = 20_000
"""The slowest upload that is waited for."""
_LOOKS = 6
"""How often the ledger is looked at after an answer was lost, with longer and longer pauses."""
_HAS_SEQUENCES = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"


class Replacement:
    """One import that makes a ledger, or some of its tables, what a SQLite file is."""

    def __init__(
        self,
        database: Database,
        client: D1Client,
        moment: RemoteMoment,
        tables: Collection[str],
        begun: Callable[[], None],
    ) -> None:
        self._database = database
        self._client = client
        self._moment = moment
        self._tables = tables
        self._before = moment.answers
        self._after: list[Answer] = []
        self._unproven: list[Table] = []
        self._deadline = 0
        self._tell_begun = begun
        self._begun = False

    def run(self, copy: Path, guard: Sequence[Statement]) -> None:
        """Write the script and have it imported behind a guard.

        Raises `StatementError` where D1 refused it, also by its guards, and `RemoteError`, ambiguous where
        it may have happened or may still happen.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(scratch_folder())
            source = stack.enter_context(closing(LocalDatabase(copy, strict=False)))
            script = folder / "replace.sql"
            with script.open("w", encoding="utf-8", newline="\n") as file:
                self._write(source, file)
            self._deadline = self._moment.seconds + _PATIENCE + script.stat().st_size // _BYTES_A_SECOND
            late = Statement(fail_when(f"unixepoch() > {self._deadline}", "late", ""))
            head = sql.join(statement.sql for statement in (late, *guard)).encode()
            try:
                self._client.import_file(script, head=head, begun=self._begin)
            except RemoteError as error:
                if not error.ambiguous:
                    raise
                self._settle(error.problem)
            except BaseException as error:
                # An import cannot be called back, not even by Ctrl-C.
                if isinstance(error, HooxError) or not self._begun:
                    raise
                self._settle("It was interrupted.")
                raise

    def compare(self, copy: Path) -> None:
        """Compare what the script could not; raises `HooxError` where it differs, or cannot be compared."""
        tables = self._unproven
        if not tables:
            return
        name = self._database.name
        try:
            with closing(LocalDatabase(copy, strict=False)) as source:
                here, there = checksums(source, tables), checksums(self._database, tables)
        except HooxError as error:
            problem = f"{name} was restored, but could not be compared with what was sent: {error.problem}"
        else:
            differing = [table for table in here if here[table] != there[table]]
            if not differing:
                return
            problem = (
                f"{name} was restored, but {', '.join(differing)} is not what was sent, or somebody has"
                f" changed it since."
            )
        raise HooxError(problem, f"It was at bookmark {self._moment.bookmark} before. {self._remedy()}")

    def _begin(self) -> None:
        self._begun = True
        self._tell_begun()

    # -- the script -------------------------------------------------------------------------------

    def _write(self, source: LocalDatabase, file: IO[str]) -> None:
        """Write the script, but for the guards before it."""
        with source.snapshot() as snapshot:
            tables, schema, _ = read_tables_and_schema(snapshot)
            check_definitions(schema)
            chosen = choose_tables(tables, self._tables)
            here, objects = self._moment.found, self._moment.objects
            if self._moment.spent:
                here, objects, _ = read_tables_and_schema(LiveReader(self._client))
            if self._tables:
                rest = _write_deletions(here, objects, chosen, file)
            else:
                rest = schema
                import_script.write_drops(here, objects, file)
                import_script.write_schema(tables, file)
            pieces = import_script.write_pieces([*objects, *schema], file)
            for table in chosen:
                import_script.write_rows(snapshot, table, file, pieces)
            if not self._tables and list(snapshot.stream(Statement(_HAS_SEQUENCES))):
                file.write("DELETE FROM sqlite_sequence;\n")
                import_script.write_rows(snapshot, SEQUENCES, file, pieces)
            file.write(f"DROP TABLE {pieces};\n")
            import_script.write_rest(rest, file)
            for table in chosen:
                if table.kind != "shadow":
                    inside = [other for other in chosen if other.kind == "shadow"]
                    expected = _expect(source, snapshot, table, inside)
                    self._after += expected or ()
                    self._unproven += [table] if expected is None else []
        proofs = check_guards(answer.guard("arrived") for answer in self._after)
        file.write(sql.join(proof.sql for proof in proofs))
        if not self._tables:
            self._after += ask_schema(_in_order(schema), _ORDERED_SCHEMA)

    # -- an answer that was lost ------------------------------------------------------------------

    def _settle(self, why: str) -> None:
        """Look whether an import happened whose answer was lost; returns where it did.

        Raises `RemoteError` where it did not, which is ambiguous while it may still happen.
        """
        name, before = self._database.name, self._moment.bookmark
        state = "unknown"
        try:
            for look in range(_LOOKS):
                if look:
                    self._client.pause(0.5 * 2 ** (look - 1))
                state, seconds = self._look()
                if state == "after":
                    return
                if state == "neither" or seconds > self._deadline:
                    break
        except BaseException as second:
            problem = second.problem if isinstance(second, HooxError) else "It was interrupted."
            raise RemoteError(
                f"{name} may be neither what it was nor what it should be now: {why}"
                f" It could not be looked at either: {problem}",
                self._remedy(),
                ambiguous=True,
            ) from None
        if state == "neither":
            raise RemoteError(
                f"{name} may be neither what it was nor what it should be now: {why}"
                f" Its bookmark was {before}, and is {self._bookmark()} now; others may have written since.",
                self._remedy(),
                ambiguous=True,
            ) from None
        if seconds > self._deadline:
            raise RemoteError(
                f"D1 did not import the file: {why}", "The ledger is as it was: run it again."
            ) from None
        until = datetime.fromtimestamp(self._deadline, UTC)
        raise RemoteError(
            f"It is not known whether {name} will be restored: {why} It is as it was so far, but D1 may"
            f" still begin until {until:%H:%M:%S} UTC.",
            f"Look with `inv db.list --remote` after that. {self._remedy()}",
            ambiguous=True,
        ) from None

    def _look(self) -> tuple[str, int]:
        """Tell whether the ledger is as it was before, as it should be after or neither, and D1's time."""
        asked = [*self._after, *self._before]
        questions = [Statement(answer.sql) for answer in asked]
        try:
            *found, clock = self._database.batch([*questions, Statement("SELECT unixepoch()")], write=False)
        except HooxError as error:
            # A table that is to be there, or was there, is not: so they are asked apart.
            if isinstance(error, RemoteError):
                raise
            return self._look_apart()
        (seconds,) = next(iter(clock.rows))
        given = [tuple(rows) for rows in found]
        split = len(self._after)
        return self._state(given[:split], given[split:]), int(str(seconds))

    def _look_apart(self) -> tuple[str, int]:
        found: list[list[tuple[Row, ...]]] = []
        seconds = 0
        for answers in (self._after, self._before):
            questions = [Statement(answer.sql) for answer in answers]
            unit = [Statement("SELECT unixepoch()"), *questions]
            given: list[tuple[Row, ...]] = []
            with suppress(HooxError):
                clock, *results = self._database.batch(unit, write=False)
                seconds = int(str(next(iter(clock.rows))[0]))
                given = [tuple(rows) for rows in results]
            found.append(given)
        return self._state(*found), seconds

    def _state(self, after: Sequence[tuple[Row, ...]], before: Sequence[tuple[Row, ...]]) -> str:
        if not self._unproven and list(after) == [answer.rows for answer in self._after]:
            return "after"
        return "before" if list(before) == [answer.rows for answer in self._before] else "neither"

    def _bookmark(self) -> str:
        with suppress(HooxError):
            return self._client.bookmark()
        return "not known"

    def _remedy(self) -> str:
        back = way_back(self._database.name, self._moment.bookmark)
        return (
            f"Go back with {back}, or with `inv db.undo --remote`; that takes away what others wrote since."
        )


_ORDERED_SCHEMA = f"SELECT * FROM ({SCHEMA_QUERY}) ORDER BY type, name"


def _in_order(schema: Iterable[SchemaObject]) -> list[SchemaObject]:
    """Order objects as the query for the ordered schema does: they are not made in their old order."""
    return sorted(schema, key=lambda item: (item.type.encode(), item.name.encode()))


def _expect(
    source: LocalDatabase, snapshot: Snapshot, table: Table, shadows: Sequence[Table]
) -> tuple[Answer, ...] | None:
    """Give the questions whose answers prove that a table's rows arrived; None where there are none.

    Where there are so many rows that they are asked page by page, pages have to begin at the same rowids,
    which rows get anew. And texts have to be in UTF-8, as they are on D1.
    """
    (encoding,) = source.connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        return None
    content = ask_content(source, [table, *shadows], [table.name], most=None)
    if content.paged and table.rowid:
        query = f"SELECT coalesce(max({table.rowid}), 0) FROM {sql.quote_name(table.name)}"
        ((last,),) = list(snapshot.stream(Statement(query)))
        if last != content.counts[table.name]:
            return None
    return content.answers


def _write_deletions(
    here: Sequence[Table], objects: Sequence[SchemaObject], chosen: Sequence[Table], file: IO[str]
) -> list[SchemaObject]:
    """Write what makes room for the rows of some tables; returns the triggers to make again."""
    names = {table.name for table in chosen}
    present = {item.name for item in objects if item.type == "table"}
    if names - present:
        raise Refused(f"The ledger has no table {min(names - present)}.", "Restore the whole file.")
    for table in here:
        follows = {name for name in names if name.lower() in map(str.lower, table.cascades)}
        if follows and table.name not in names:
            raise Refused(
                f"Rows of {table.name} would go with those of {min(follows)}: they refer to them,"
                " and D1 keeps foreign keys on.",
                f"Restore {table.name} as well, or the whole file.",
            )
    triggers = [item for item in objects if item.type == "trigger" and item.table in names]
    file.write("PRAGMA defer_foreign_keys=TRUE;\n")
    file.writelines(f"DROP TRIGGER {sql.quote_name(item.name)};\n" for item in triggers)
    file.writelines(f"DELETE FROM {sql.quote_name(name)};\n" for name in sorted(names))
    return triggers
