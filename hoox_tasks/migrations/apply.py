"""One migration applied: tried on an empty ledger, then sent as one transaction with its guards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from hoox_tasks import excerpts, sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import Database, Rows, Statement
from hoox_tasks.database.lost_answers import confirm
from hoox_tasks.errors import HooxError, Refused, RemoteError, StatementError
from hoox_tasks.migrations.consent import CHANGES, LOSS, Consent, in_file, in_flag
from hoox_tasks.migrations.effects import Effect, Own
from hoox_tasks.migrations.files import Migration
from hoox_tasks.migrations.guards import Guards, write_guards
from hoox_tasks.migrations.history import Status, history_tables, own_refusal, own_tables, record
from hoox_tasks.migrations.lineage import Lineage
from hoox_tasks.migrations.notes import read_notes, with_notes
from hoox_tasks.migrations.preconditions import failed_guard, history_guard, rows_guard
from hoox_tasks.migrations.tables import Stored, checks_keys, read_tables
from hoox_tasks.values import Row

_WHERE = "to `inv db.migrate` or `inv db.release`"


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that was applied, how long it took in seconds, and what it did to rows that were there.

    `effects` is None where nobody could tell, as the answer was lost. What nobody consented to is undone then
    as well. `recorded` says that the migration was not run: what it makes was there already, in a ledger
    without history.
    """

    name: str
    seconds: float
    effects: tuple[Effect, ...] | None = ()
    recorded: bool = False


class Overtaken(Exception):
    """Another run changed the history since it was read; nothing of the migration has happened."""


class MigrationFailed(HooxError):
    """A migration failed; the ledger is as it was before it. `applied` are those before it, which stay.

    Where D1 could not be reached any more, the message says what is known.

    `file` is the migration, `line` where in it the failing statement stumbled (0 where no single one did).
    """

    def __init__(
        self,
        problem: str,
        remedy: str,
        file: Path,
        line: int = 0,
        applied: Sequence[Applied] = (),
        detail: str = "",
    ) -> None:
        super().__init__(problem, remedy, detail=detail)
        self.file = file
        self.line = line
        self.applied: list[Applied] = list(applied)


@dataclass(slots=True)
class Run:
    """What is known of a ledger while one run after another migration is applied to it.

    `status` is what it should be after the last one, `ledger` an empty ledger with that schema; `own` are the
    rows that this run's migrations put in. `filled` are tables of a ledger without history that must hold no
    rows: a migration of the run puts some in.
    """

    status: Status
    ledger: EmptyLedger
    strict: bool
    filled: dict[str, Migration] = field(default_factory=dict)
    own: dict[str, Own] = field(default_factory=dict)

    def went_on(self, name: str, lineage: Lineage) -> None:
        """Take note that a migration was applied, which the empty ledger has followed."""
        schema = self.ledger.schema()
        self.status = self.status.with_applied(name, schema)
        self.filled = {}  # Nothing of the run is undone from here on.
        if lineage.filled_names and not self.ledger.empty(lineage.filled_names):
            self.close()
            self.ledger = EmptyLedger(schema, strict=self.strict)

    def close(self) -> None:
        """Forget the empty ledger."""
        self.ledger.close()


def apply_one(
    database: Database,
    migration: Migration,
    run: Run,
    *,
    table: str,
    consent: Consent,
    recorded: Callable[[], bool],
) -> Applied:
    """Apply one migration to a ledger that is as `run` says, and bring `run` up to date.

    `recorded` asks the ledger whether the migration is in its history, where the answer was lost. Raises
    `Overtaken` where the history is another than `run` says, and `MigrationFailed` where the migration does
    not run, or would lose what nobody consented to; nothing of it is left then.
    """
    unit = _write_unit(migration, run.ledger, run, table, consent | migration.consent)
    noting = not database.answers(unit.statements)
    if noting:
        unit.note_answers()
    started = time.perf_counter()
    try:
        results = database.batch(unit.statements)
    except StatementError as error:
        raise _explained(migration, unit, run, error) from error
    except RemoteError as error:
        _confirm(migration, error, recorded)
        results = []
    except HooxError as error:  # A lock, a full disk: the ledger's own troubles.
        error.problem = f"Migration {migration.name} was not applied: {error.problem}"
        raise
    seconds = time.perf_counter() - started
    if noting:
        results = read_notes(database, len(unit.statements))
    answers = results if any(rows.columns for rows in results) else []
    effects: tuple[Effect, ...] | None = ()
    if unit.guards.findings:
        effects = unit.guards.effects(answers[unit.report].rows) if answers else None
    run.own = unit.owned(answers)
    run.went_on(migration.name, unit.lineage)
    return Applied(migration.name, seconds, effects)


def begin(status: Status, pending: Sequence[Migration], *, table: str, strict: bool, adopting: bool) -> Run:
    """Begin a run on a ledger; where it has no history, look which of its tables would be filled again."""
    run = Run(status, EmptyLedger(status.schema, strict=strict), strict)
    if adopting:
        with closing(EmptyLedger(status.schema, strict=strict)) as ledger:
            ledger.run(history_tables(table))
            lineage = Lineage(ledger, own_tables(table))
            for migration in pending:
                try:
                    try_on(ledger, migration, lineage)
                except MigrationFailed:
                    break  # It is told when its turn comes.
                for stored, _ in lineage.filled:
                    run.filled.setdefault(stored.name, migration)
    return run


def verify(database: Database, read: Callable[[Database], Status], expected: Status) -> Status:
    """Read a ledger again, and compare it with what applying should have made of it; gives its status."""
    try:
        actual = read(database)
    except RemoteError as error:
        raise HooxError(
            f"What was applied could not be looked at again: {error.problem}",
            "Look with `inv db.migrate.status`.",
        ) from error
    missing = [name for name, _ in expected.history if name not in dict(actual.history)]
    if len(actual.history) > len(expected.history) and not missing:
        return actual  # Another run has gone on from there.
    objects = {(item.type, item.name) for item in actual.schema}
    lacking = [
        f"{item.type} {item.name}" for item in expected.schema if (item.type, item.name) not in objects
    ]
    if missing or lacking:
        raise HooxError(
            f"The migrations were accepted, but {database.name} lacks {', '.join(missing + lacking)}.",
            "Look with `inv db.migrate.status` and `inv db.schema` before anything else is done.",
        )
    return actual


# ------------------------------------------------------------------------------------------ the statements


@dataclass(slots=True)
class _Unit:
    """The statements of one transaction, and which of them are the migration's own.

    `report` is the place of the query for its effects. `before` and `after` are the places of the queries
    for the rows of tables, by their names.
    """

    guards: Guards
    lineage: Lineage
    own: Mapping[str, Own]
    statements: list[Statement] = field(default_factory=list)
    pieces: dict[int, sql.Piece] = field(default_factory=dict)
    report: int = 0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)

    def add(self, *texts: str) -> None:
        self.statements += map(Statement, texts)

    def ask(self, table: str, rowid: str, places: dict[str, int]) -> None:
        """Add a query for the number of a table's rows and its highest rowid."""
        places[table.lower()] = len(self.statements)
        highest = f"max({rowid})" if rowid else "NULL"
        self.add(f"SELECT count(*) AS a, {highest} AS b FROM {sql.quote_name(table)}")

    def note_answers(self) -> None:
        """Let what is asked be read afterwards, where the transaction answers no rows."""
        report = [self.report] if self.guards.closing else []
        self.statements, places = with_notes(
            self.statements, {*report, *self.before.values(), *self.after.values()}
        )
        self.report = places.get(self.report, self.report)
        self.pieces = {places[at]: piece for at, piece in self.pieces.items()}
        self.before = {name: places[at] for name, at in self.before.items()}
        self.after = {name: places[at] for name, at in self.after.items()}

    def owned(self, results: Sequence[Rows]) -> dict[str, Own]:
        """Give the rows that are this run's own now, by the name that each table has now.

        Rows that were made out of others, as those that were moved aside, are as little its own as those.
        """
        known = {name: next(iter(results[at])) for name, at in self.before.items()} if results else {}
        after = {name: next(iter(results[at])) for name, at in self.after.items()} if results else {}
        own: dict[str, Own] = {}
        for table, name in self.lineage.survivors:
            former = self.own.get(table.name.lower())
            if name in after:
                before, now = known[table.name.lower()], after[name]
                if self._is_made_of_own(name):
                    former = _still_own(former, table, before, now)
                elif former is not None and former.low is None:
                    former = None  # Which of its rows are the run's own cannot be told any more.
            if former is not None:
                own[name] = former
        for name in self.lineage.made:
            if not self.lineage.holds_rows(name):
                own[name] = Own(count=0)
            elif self._is_made_of_own(name):
                own[name] = Own(count=_number(after[name][0])) if name in after else Own()
        return own

    def _is_made_of_own(self, name: str) -> bool:
        """Whether all rows out of which those of a table may have been made are the run's own."""
        sources = [self.own.get(origin) for origin in self.lineage.origins(name)]
        return all(source is not None and source.low is None and not source.rows for source in sources)


def _write_unit(migration: Migration, ledger: EmptyLedger, run: Run, table: str, consent: Consent) -> _Unit:
    """Write a migration, its guards and its rows in the history as the statements of one transaction."""
    setup = history_tables(table)
    ledger.run(setup)
    lineage = Lineage(ledger, own_tables(table))
    keys_before = checks_keys(ledger, lineage.before)
    try_on(ledger, migration, lineage)
    for name in lineage.meddled:  # By a trigger of the ledger.
        raise own_refusal(migration, name)
    tables = read_tables(ledger)
    keys = keys_before or checks_keys(ledger, tables)
    guards = write_guards(lineage, consent, run.own, keys=keys, keys_before=keys_before)
    unit = _Unit(guards, lineage, run.own)
    unit.statements += setup
    unit.add(history_guard(table, [name for name, _ in run.status.history]))
    filled = lineage.filled
    # Of rows that a run put in and takes away again, the rowids may become somebody else's.
    filled += [
        (stored, name)
        for stored, name in lineage.survivors
        if (stored, name) not in filled and run.own.get(stored.name.lower(), Own()).low is not None
    ]
    for stored, _ in filled:
        unit.ask(stored.name, stored.rowid, unit.before)
    unit.add(*map(rows_guard, run.filled))
    unit.add(*guards.opening)
    for piece in migration.pieces:
        unit.pieces[len(unit.statements)] = piece
        unit.add(piece.sql)
    unit.report = len(unit.statements) + guards.report
    unit.add(*guards.closing)
    for stored, name in filled:
        unit.ask(name, stored.rowid, unit.after)
    virtual = {name for name, stored in tables.items() if stored.virtual}
    for name in lineage.made:
        if lineage.holds_rows(name) and name not in virtual:
            unit.ask(name, "", unit.after)
    unit.statements += record(migration, table)
    return unit


def _still_own(former: Own | None, table: Stored, before: Row, after: Row) -> Own | None:
    """Give a run's own rows of a table, from its row count and highest rowid before and after a migration."""
    (was, low), (count, high) = map(_number, before), map(_number, after)
    if was == 0 or (former is not None and former.count == was):
        return Own(count=count)
    if former is None:
        return Own(low, high) if table.rowid else None
    if former.low is None or former.high is None:
        return None if former.count is not None else former  # Somebody else has put rows in.
    # A row of somebody else between the run's own and new ones keeps these from being one range.
    return Own(former.low, high) if low <= former.high else former


def _number(value: object) -> int:
    return int(str(value or 0))


def try_on(ledger: EmptyLedger, migration: Migration, lineage: Lineage | None = None) -> None:
    """Run a migration on an empty ledger; raises `MigrationFailed` where a statement of it does not run."""
    pieces = migration.pieces
    try:
        unit = [Statement(piece.sql) for piece in pieces]
        if lineage is None:
            ledger.run(unit)
        else:
            lineage.follow(unit)
    except StatementError as error:
        piece = pieces[error.index] if error.index is not None and error.index < len(pieces) else None
        raise _failure(migration, piece, error) from error


# ---------------------------------------------------------------------------------------------- what failed


def _explained(migration: Migration, unit: _Unit, run: Run, error: StatementError) -> Exception:
    """Give what an error of the transaction means: another run was ahead, a guard failed, or a statement."""
    guard = failed_guard(error.message)
    if guard is None:
        piece = unit.pieces.get(error.index) if error.index is not None else None
        return _failure(migration, piece, error)
    kind, detail = guard
    if kind == "history":
        return Overtaken()
    if kind == "rows":
        filling = run.filled.get(detail, migration)
        return Refused(
            f"The ledger had no history, and {filling.name} puts rows into {detail}, which holds some now.",
            "Run this again: it looks anew.",
        )
    if kind == "keys":
        return MigrationFailed(
            f"Migration {migration.name} would leave rows that refer to nothing ({detail}); it was undone.",
            "Copy the parents before their children, or correct the keys in the same migration.",
            migration.path,
        )
    effects, cascading = unit.guards.refused(detail)
    told = "; ".join(map(str, effects))
    if kind == "amount":
        names = sorted({_column(effect) for effect in effects})
        return MigrationFailed(
            f"Migration {migration.name} would change amounts, so it was undone: {told}.",
            f"If that is meant, write `{in_file(CHANGES, names)}` into the file,"
            f" or give {in_flag(CHANGES, names)} {_WHERE}.",
            migration.path,
        )
    tables = sorted({sql.quote_name(effect.table) for effect in effects})
    remedy = (
        f"If that is meant, write `{in_file(LOSS, tables)}` into the file,"
        f" or give {in_flag(LOSS, tables)} {_WHERE}."
    )
    if cascading:
        remedy = (
            "Dropping or rebuilding a table fires ON DELETE CASCADE and SET NULL of the tables that refer to"
            f" it: copy those aside and back in the same migration. {remedy}"
        )
    return MigrationFailed(
        f"Migration {migration.name} would lose rows, so it was undone: {told}.", remedy, migration.path
    )


def _column(effect: Effect) -> str:
    return f"{sql.quote_name(effect.table)}.{sql.quote_name(effect.column)}"


def _failure(migration: Migration, piece: sql.Piece | None, error: StatementError) -> MigrationFailed:
    line, where, shown = 0, "", ""
    if piece is not None:
        line = piece.line + piece.sql.count("\n", 0, error.offset or 0)
        where = f" in line {line}"
        shown = excerpts.excerpt(piece.sql, error.offset)
    return MigrationFailed(
        f"Migration {migration.name} failed{where}: {error.message.rstrip('.')}.",
        error.remedy or "It left nothing behind; correct the file and run this again.",
        migration.path,
        line,
        detail=shown,
    )


def _confirm(migration: Migration, error: RemoteError, recorded: Callable[[], bool]) -> None:
    """Look whether a migration whose answer was lost is in the history; raises `MigrationFailed` if not."""
    try:
        confirm(
            error,
            f"{migration.name} was applied",
            recorded,
            "Run this again: what was applied is not applied twice.",
        )
    except RemoteError as failure:
        problem = failure.problem
        if not failure.ambiguous:
            problem = f"Migration {migration.name} was not applied: {problem}"
        raise MigrationFailed(problem, failure.remedy, migration.path) from failure
