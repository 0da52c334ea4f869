"""All that a ledger's migrations are, in one value: their files, their history's name, D1's rules or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from hoox_tasks.config.settings import DEFAULT_MIGRATIONS_TABLE, Settings
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import Database, SchemaObject, Statement
from hoox_tasks.database.lost_answers import confirm
from hoox_tasks.errors import HooxError, Refused, RemoteError, StatementError
from hoox_tasks.migrations import adopt, history, marking, model, renames
from hoox_tasks.migrations.apply import (
    Applied,
    MigrationFailed,
    Overtaken,
    Run,
    apply_one,
    begin,
    try_on,
    verify,
)
from hoox_tasks.migrations.consent import Consent
from hoox_tasks.migrations.drift import Check, Drift, compare_schemas
from hoox_tasks.migrations.files import Migration, discover, find, refuse_foreign, shared_numbers
from hoox_tasks.migrations.history import State, Status
from hoox_tasks.migrations.model import Model
from hoox_tasks.migrations.preconditions import failed_guard, history_guard
from hoox_tasks.migrations.seeds import asking

_ATTEMPTS = 5
"""How often a run begins anew where others are ahead of it, beside once for each migration."""

NO_CONSENT = Consent()
"""Rows are not lost; values may change where a statement sets them."""


@dataclass(frozen=True, slots=True)
class Migrations:
    """The migrations of a ledger, in the order in which they apply.

    `table` is the history, wrangler's `migrations_table`. `strict` holds them to D1's rules where they are
    tried on an empty ledger.
    """

    files: Sequence[Migration]
    table: str = DEFAULT_MIGRATIONS_TABLE
    strict: bool = True

    @classmethod
    def read(
        cls,
        folder: Path,
        pattern: str = "*.sql",
        *,
        table: str = DEFAULT_MIGRATIONS_TABLE,
        strict: bool = True,
    ) -> Migrations:
        """Read the migrations below a folder; raises `Refused` as `discover` does."""
        return cls(tuple(discover(folder, pattern)), table, strict)

    @classmethod
    def of(cls, settings: Settings) -> Migrations:
        """Read the migrations that the settings name; raises `Refused` as `discover` does.

        A folder `migrations` that nobody has named may be another tool's: that raises `Refused` as well.
        """
        if not settings.migrations_chosen:
            refuse_foreign(settings.migrations_dir)
        return cls.read(
            settings.migrations_dir,
            settings.migrations_pattern,
            table=settings.migrations_table,
            strict=settings.strict,
        )

    @property
    def own_tables(self) -> frozenset[str]:
        """The tables that serve the migrations themselves: the history, and the checksums beside it."""
        return history.own_tables(self.table)

    @property
    def shared_numbers(self) -> list[tuple[str, ...]]:
        """The names of migrations that have one number; they apply in the order in which they stand here."""
        return shared_numbers(self.files)

    def find(self, wanted: str) -> Migration:
        """Give the migration of a name, with or without .sql, or of a number; raises `Refused` for none."""
        return find(self.files, wanted)

    # ------------------------------------------------------------------------------------------- asking

    def status(self, database: Database) -> Status:
        """Compare the files with the ledger's history; writes nothing, and costs one request on D1."""
        current = history.status(database, self.files, self.table)
        return renames.recognised(current, self.files, self.table, strict=self.strict)

    def adoption(
        self, database: Database, current: Status, *, to: str | None = None
    ) -> adopt.Adoption | None:
        """Compare a ledger that has tables and no history with what each migration makes.

        None where it has a history, or no tables; that costs nothing, the rest two requests on D1. `to` names
        the last migration that is asked for.
        """
        if not current.is_foreign:
            return None
        plan = adopt.compare(
            self.files, current.schema, asking(database), database.label, table=self.table, strict=self.strict
        )
        return plan.until(None if to is None else self.find(to))

    def plan(
        self, current: Status, *, to: str | None = None, allow_out_of_order: bool = False
    ) -> list[Migration]:
        """Give the migrations to apply, in order; `to` names the last one (its name or number).

        Raises `Refused` where the history and the files do not fit together, naming every misfit; where a
        pending file controls transactions; and where its consent is not understood.
        """
        pending = history.plan(current, self.files, to=to, allow_out_of_order=allow_out_of_order)
        history.refuse_own(pending, self.table)
        return pending

    def drift(self, current: Status) -> Drift:
        """Compare a ledger with what its applied migrations make (all, where it has no history)."""
        waiting = {State.PENDING, State.OUT_OF_ORDER}
        done = {entry.name for entry in current.entries if entry.state not in waiting}
        files = [migration for migration in self.files if migration.name in done] or self.files
        with closing(Model(self.table, strict=self.strict, base=current.schema)) as made:
            unknown = [migration.name for migration in files if made.run(migration).unknown]
            differences = compare_schemas(made.ledger.schema(), current.schema, self.own_tables)
            missing = made.taken
        if missing or unknown:
            # Of what no migration makes nobody knows how it should be.
            differences = [difference for difference in differences if difference.what != "extra"]
        return Drift(differences, tuple(missing), tuple(unknown))

    def check(self, database: Database) -> Check:
        """Compare a ledger with its migrations: history, files, checksums and schema."""
        current = self.status(database)
        wrong = [entry for entry in current.entries if entry.state is not State.APPLIED]
        found = self.drift(current)
        return Check(current, wrong, found.differences, found.reservations)

    def setup(self) -> list[Statement]:
        """Write the statements that apply all of them to an empty ledger, with their history.

        Raises `Refused` where one controls transactions, and `MigrationFailed` where one does not run.
        """
        history.refuse_transactions(self.files)
        history.refuse_own(self.files, self.table)
        self._schema(self.files)
        statements = history.history_tables(self.table)
        for migration in self.files:
            statements += [Statement(piece.sql) for piece in migration.pieces]
            statements += history.record(migration, self.table)
        return statements

    def run_on(self, ledger: EmptyLedger) -> None:
        """Run all of them, with their history, on an empty ledger; raises `MigrationFailed`."""
        self._run_on(ledger, self.files)

    def tables(self, base: Sequence[SchemaObject] = ()) -> set[str]:
        """The tables that they make or change, but for their own; none where one of them cannot be tried.

        `base` is the schema of a ledger, from which tables are taken that none makes.
        """
        with closing(Model(self.table, strict=False, base=base)) as made:
            unknown = [migration for migration in self.files if made.run(migration).unknown]
            return set() if unknown else set(made.ledger.tables()) - self.own_tables

    def _schema(self, files: Sequence[Migration]) -> list[SchemaObject]:
        with closing(EmptyLedger(strict=self.strict)) as ledger:
            self._run_on(ledger, files)
            return ledger.schema()

    def _run_on(self, ledger: EmptyLedger, files: Sequence[Migration]) -> None:
        ledger.run(history.history_tables(self.table))
        for migration in files:
            try_on(ledger, migration)

    # ----------------------------------------------------------------------------------------- changing

    def apply(
        self,
        database: Database,
        *,
        to: str | None = None,
        allow_out_of_order: bool = False,
        consent: Consent = NO_CONSENT,
        report: Callable[[Applied], None] = lambda applied: None,
        planned: Callable[[adopt.Adoption], None] = lambda plan: None,
    ) -> tuple[list[Applied], Status]:
        """Apply what is pending, a transaction for each; returns what was applied, and the status after.

        `consent` is what may be lost or changed, beside what the files themselves consent to. `report` is
        called with each migration as soon as it is in the ledger, also where the next one fails or somebody
        interrupts. In a ledger that has tables and no history, what is there already is recorded and not run;
        `planned` is called with that plan before anything is changed.

        Raises `Refused` where `plan` does, or where it cannot be told whether a migration is there, and
        `MigrationFailed` where a migration fails: it has left nothing behind, those before it stay. On D1, k
        migrations cost at most k + 3 requests, and each that is imported one more.
        """
        applied: list[Applied] = []

        def note(migration: Applied) -> None:
            applied.append(migration)
            report(migration)

        try:
            status = self._apply_all(database, to, allow_out_of_order, consent, note, planned)
        except MigrationFailed as error:
            error.applied = applied
            raise
        except HooxError as error:
            if not applied:
                raise
            # A refusal is none any more.
            path = self.find(applied[-1].name).path
            raise MigrationFailed(
                error.problem, error.remedy, path, applied=applied, detail=error.detail
            ) from error
        return applied, status

    def _apply_all(
        self,
        database: Database,
        to: str | None,
        allow_out_of_order: bool,
        consent: Consent,
        note: Callable[[Applied], None],
        planned: Callable[[adopt.Adoption], None],
    ) -> Status:
        attempts = len(self.files) + _ATTEMPTS
        for _ in range(attempts):  # Each time that another run is ahead, less is left to do.
            current = self.status(database)
            pending = self.plan(current, to=to, allow_out_of_order=allow_out_of_order)
            adoption = self.adoption(database, current, to=to) if pending else None
            if pending and adoption is None:
                renames.refuse_done(current, self.files, pending, self.table, strict=self.strict)
            try:
                if adoption is not None:
                    adoption.refuse_doubts()
                    planned(adoption)
                    done = adoption.leading
                    if done:
                        current = self._take_over(database, current, done)
                        for migration in done:
                            note(Applied(migration.name, 0.0, recorded=True))
                    pending = [step.migration for step in adoption.steps[len(done) :]]
                expected = self._run(database, current, pending, consent, note, adoption)
            except Overtaken:
                continue
            return verify(database, self.status, expected) if pending else current
        raise HooxError(
            f"The history of {database.name} changed {attempts} times while migrations were applied.",
            "Let the other runs end, then look with `inv db.migrate.status`.",
        )

    def _run(
        self,
        database: Database,
        current: Status,
        pending: Sequence[Migration],
        consent: Consent,
        note: Callable[[Applied], None],
        adoption: adopt.Adoption | None,
    ) -> Status:
        """Apply some migrations to a ledger that is as `current` says; gives what it should be then.

        Those that are there are recorded at their place, so that the history is in order wherever it ends.
        """
        done = adoption.named(adopt.Verdict.RECORD) if adoption else []
        applying = [migration for migration in pending if migration not in done]
        run = begin(current, applying, table=self.table, strict=self.strict, adopting=adoption is not None)
        with closing(run):
            for migration in pending:
                if migration in done:
                    note(self._record_one(database, migration, run))
                else:
                    note(self._apply_one(database, migration, run, consent, note))
            return run.status

    def _record_one(self, database: Database, migration: Migration, run: Run) -> Applied:
        """Record a migration that is there already; raises `Overtaken` where the history is another."""
        guard = history_guard(self.table, [name for name, _ in run.status.history])
        statements = [Statement(guard), *history.record(migration, self.table, by_hand=True)]
        correction = marking.Correction(statements, f"Recorded {migration.name}.")
        try:
            self._correct(
                database,
                correction,
                f"{migration.name} was recorded",
                lambda: self._is_recorded(database, migration.name),
            )
        except StatementError as error:
            if failed_guard(error.message) is None:
                raise
            raise Overtaken from error
        run.status = run.status.with_applied(migration.name, run.status.schema)
        return Applied(migration.name, 0.0, recorded=True)

    def _apply_one(
        self,
        database: Database,
        migration: Migration,
        run: Run,
        consent: Consent,
        note: Callable[[Applied], None],
    ) -> Applied:
        def recorded() -> bool:
            return migration.name in dict(self.status(database).history)

        try:
            return apply_one(database, migration, run, table=self.table, consent=consent, recorded=recorded)
        except MigrationFailed as error:
            self._advise(error, database, migration, run.status)
            raise
        except KeyboardInterrupt:
            # It may have come behind the end of the transaction.
            with suppress(HooxError):
                if recorded():
                    note(Applied(migration.name, 0.0, None))
            raise

    def _advise(self, error: MigrationFailed, database: Database, migration: Migration, now: Status) -> None:
        """Name the way on, where a statement fails because what the migration makes is there already."""
        if error.line:
            with suppress(HooxError):
                way = marking.remedy(self._made(now, migration), now, self.table, asking(database))
                error.remedy = way or error.remedy

    def _made(self, current: Status, migration: Migration) -> model.Made:
        name = migration.name
        return model.what_is_made(self.files, current, [name], table=self.table, strict=self.strict)[name]

    def mark(
        self,
        database: Database,
        name: str,
        *,
        forget: bool = False,
        warn: Callable[[str], None] = lambda text: None,
    ) -> str:
        """Record a migration as applied without running it; returns what was done, as a sentence.

        A pending one gets its row; an edited one is accepted as its file is now; a renamed one is recorded
        under its new name; one that is recorded already stays as it is. With `forget` a recorded one is taken
        out of the history: its file is gone, or it did not run; `warn` is told then what stays of it.

        Raises `Refused` where what the migration makes is not there, so that it cannot have run; and with
        `forget` where it may have run.
        """
        name, correction = self.correction(database, name, forget=forget)
        if correction.statements:
            what = f"{name} was {'forgotten' if forget else 'recorded'}"
            self._correct(database, correction, what, lambda: self._is_recorded(database, name) != forget)
        if correction.warning:
            warn(correction.warning)
        return correction.done

    def correction(
        self, database: Database, name: str, *, forget: bool = False
    ) -> tuple[str, marking.Correction]:
        """Give what `mark` would do, and with which migration; raises `Refused` as it does."""
        current = self.status(database)
        if forget:
            entry = marking.find_recorded(current, name)
            file = next((each for each in self.files if each.name == entry.name), None)
            made = self._made(current, file) if file and file.refusal is None else None
            there = made is not None and model.lacking(made, current.schema, self.table) != made.made
            return entry.name, marking.forget(current, entry, self.table, made, there)
        migration = self.find(name)
        made = self._made(current, migration)
        return migration.name, marking.record_by_hand(current, made, self.table, asking(database))

    def adopt(
        self,
        database: Database,
        *,
        to: str | None = None,
        planned: Callable[[adopt.Adoption], None] = lambda plan: None,
    ) -> str:
        """Record what a ledger without history has of the migrations; returns what was done, as a sentence.

        Without `to`, those are the first migrations whose objects are there. `to` names the last one that
        the caller knows to be there, rows and all; 0 stands for none. `planned` is called with what is there
        before anything is recorded. Raises `Refused` where it has a history, or what they make is not there.
        """
        current = self.status(database)
        last = None if to is None or to.strip("0") == "" else self.find(to)
        plan = self.adoption(database, current)
        if plan is None:
            raise Refused(
                f"{database.label} has a history already."
                if current.history or current.has_checksums
                else f"{database.label} has no tables that could be taken over.",
                "Apply what is pending with `inv db.migrate`; record one with `inv db.migrate.mark`.",
            )
        chosen = [] if to is not None and last is None else plan.taken_over(last)
        if not chosen and to is None:
            raise Refused(
                f"{database.label} has nothing of what the migrations make.",
                "Apply them with `inv db.migrate`.",
                detail="\n".join(plan.lines),
            )
        planned(plan)
        try:
            self._take_over(database, current, chosen)
        except Overtaken:
            raise HooxError(
                f"Somebody else has migrated {database.label} meanwhile, so nothing was done.",
                "Look with `inv db.migrate.status`.",
            ) from None
        return marking.take_over(current, chosen, self.table).done

    def _take_over(self, database: Database, current: Status, chosen: Sequence[Migration]) -> Status:
        """Record migrations of a ledger without history; raises `Overtaken` where it has one meanwhile."""
        names = [migration.name for migration in chosen]
        correction = marking.take_over(current, chosen, self.table)

        def done() -> bool:
            found = self.status(database)
            return [name for name, _ in found.history] == names and not found.is_foreign

        try:
            self._correct(database, correction, "the ledger was taken over", done)
        except StatementError as error:
            if failed_guard(error.message) is None:
                raise
            raise Overtaken from error
        return self.status(database)

    def _correct(
        self, database: Database, correction: marking.Correction, what: str, done: Callable[[], bool]
    ) -> None:
        try:
            database.batch(correction.statements)
        except RemoteError as error:
            confirm(error, what, done, "Look with `inv db.migrate.status` before you repeat it.")

    def _is_recorded(self, database: Database, name: str) -> bool:
        """Whether a migration is in the history, as its file is now."""
        states = {entry.name: entry.state for entry in self.status(database).entries}
        return states.get(name) is State.APPLIED or states.get(name) is State.MISSING
