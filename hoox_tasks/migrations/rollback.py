"""Applied migrations taken back, without losing rows that were written since.

All of them go in one transaction, with guards as a migration has them: what would be lost of rows and values
that somebody wrote since makes all of it fail, unless it is consented to.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hoox_tasks import excerpts, sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import Database, Rows, SchemaObject, Statement
from hoox_tasks.database.lost_answers import confirm
from hoox_tasks.errors import ChangedMeanwhile, HooxError, Refused, RemoteError, StatementError
from hoox_tasks.migrations import history
from hoox_tasks.migrations.apply import try_on
from hoox_tasks.migrations.consent import CHANGES, LOSS, Consent, in_file, in_flag
from hoox_tasks.migrations.down import DOWN, DRAFT, create_down, read_down
from hoox_tasks.migrations.drift import compare_schemas
from hoox_tasks.migrations.effects import Effect
from hoox_tasks.migrations.files import Migration, find, leading_number
from hoox_tasks.migrations.guards import Guards, write_guards
from hoox_tasks.migrations.history import CHECKSUMS, Status
from hoox_tasks.migrations.lineage import Lineage
from hoox_tasks.migrations.migrations import NO_CONSENT, Migrations
from hoox_tasks.migrations.notes import read_notes, with_notes
from hoox_tasks.migrations.preconditions import failed_guard, history_guard, schema_guard
from hoox_tasks.migrations.probes import find_broken
from hoox_tasks.migrations.refusals import (
    refuse_breaking,
    refuse_dependent,
    refuse_drift,
    refuse_misfits,
    refuse_other_schema,
    refuse_underivable,
)
from hoox_tasks.migrations.reversal import Reversal, reverse
from hoox_tasks.migrations.tables import checks_keys
from hoox_tasks.migrations.trial import Again


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Migrations that were taken back, the newest first, in how many seconds, and what that did to rows.

    `effects` is None where nobody could tell, as the answer was lost.
    """

    names: tuple[str, ...]
    seconds: float
    effects: tuple[Effect, ...] | None = ()


@dataclass(slots=True)
class Rollback:
    """What takes migrations back: `reversals`, the newest first, as the statements of one transaction.

    `expected` is the schema that should come out of it. `trials` are the places of statements that only try
    whether something was written since, with what they are about.
    """

    status: Status
    reversals: tuple[Reversal, ...] = ()
    expected: tuple[SchemaObject, ...] = ()
    statements: list[Statement] = field(default_factory=list)
    pieces: dict[int, tuple[Reversal, sql.Piece]] = field(default_factory=dict)
    reports: list[int] = field(default_factory=list)
    guards: Guards = field(default_factory=Guards)
    known: list[int] = field(default_factory=list)
    trials: dict[int, Reversal] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The migrations that are taken back, the newest first."""
        return tuple(name for reversal in self.reversals for name in reversal.names)

    def noting(self) -> Rollback:
        """Give it with what is asked to be read afterwards, where the transaction answers no rows."""
        statements, places = with_notes(self.statements, self.reports)
        pieces = {places[at]: piece for at, piece in self.pieces.items()}
        trials = {places[at]: reversal for at, reversal in self.trials.items()}
        reports = [places[at] for at in self.reports]
        return replace(self, statements=statements, pieces=pieces, reports=reports, trials=trials)

    def effects(self, results: Sequence[Rows]) -> tuple[Effect, ...] | None:
        """Give what the answers of the transaction say of rows that were there."""
        if not self.reports:
            return ()
        if not any(rows.columns for rows in results):
            return None
        return tuple(effect for at in self.reports for effect in self.guards.effects(results[at].rows))

    def about(self, number: int) -> Reversal:
        """Give which of the reversals a guard's finding is about."""
        return next(
            reversal for reversal, end in zip(self.reversals, self.known, strict=True) if number < end
        )


# ------------------------------------------------------------------------------------------------- planning


def plan(
    migrations: Migrations,
    current: Status,
    *,
    down: Path,
    to: str | None = None,
    consent: Consent = NO_CONSENT,
) -> Rollback:
    """Find out what takes back the last migration, or all that were applied after `to`.

    `down` is the folder of down files. Raises `Refused` where the history does not fit the files, where a
    migration can be taken back neither by derived statements nor by a file, or where these would not lead to
    the schema that was there before.
    """
    refuse_misfits(current)
    kept, taken = _divided(migrations, current, to)
    if not taken:
        return Rollback(current)
    reversals = _reversals(migrations, kept, taken, down)
    refuse_underivable(reversals)
    refuse_drift(migrations, current, reversals)
    return _write_unit(Rollback(current, tuple(reversals)), migrations, consent)


def named(migrations: Migrations, wanted: str) -> Migration | None:
    """Give the migration that is there already and of this name or number; None for a sentence.

    Raises `Refused` for a name or a number that no migration has, or several have.
    """
    names = {name for each in migrations.files for name in (each.name, each.name.removesuffix(".sql"))}
    if wanted not in names and len(wanted.split()) > 1:
        return None
    try:
        return find(migrations.files, wanted)
    except Refused as error:
        if not wanted.isdigit():
            new = shlex.quote(wanted)
            error.remedy += f" A new one is made with `inv db.migrate.new {new}`, then its down file."
        raise


def write_draft(migrations: Migrations, migration: Migration, down: Path) -> Path:
    """Write a down file for a migration: what can be derived, and what somebody has to add to it.

    Raises `Refused` where there is one, or it cannot be written.
    """
    place = migrations.files.index(migration)
    lines = [f"-- Takes back {migration.name}."]
    pieces: tuple[sql.Piece, ...] = ()
    if migration.pieces:
        (reversal,) = _reversals(migrations, migrations.files[:place], [migration], None)
        pieces = reversal.pieces
        lines += [f"-- Not by what stands here: {reason}.".replace("\n", " ") for reason in reversal.reasons]
    if not pieces or len(lines) > 1:
        lines.insert(1, f"{DRAFT}: complete it, then remove this line.")
    return create_down(down / migration.name, "\n".join(lines) + "\n" + sql.join(each.sql for each in pieces))


def _divided(
    migrations: Migrations, current: Status, to: str | None
) -> tuple[list[Migration], list[Migration]]:
    """Give the applied migrations that stay, and those that are taken back, as they were applied."""
    known = {migration.name: migration for migration in migrations.files}
    applied = [known[name] for name, _ in current.history]
    if not applied:
        raise Refused("No migration was applied, so none can be taken back.", "See `inv db.migrate.status`.")
    if to is None:
        return applied[:-1], applied[-1:]
    if to.isdigit() and not int(to) and not any(leading_number(name) == 0 for name in known):
        return [], applied
    last = find(migrations.files, to)
    if last not in applied:
        raise Refused(
            f"{last.name} was not applied, so nothing was applied after it.", "See `inv db.migrate.status`."
        )
    place = applied.index(last) + 1
    return applied[:place], applied[place:]


def _reversals(
    migrations: Migrations, kept: Sequence[Migration], taken: Sequence[Migration], down: Path | None
) -> list[Reversal]:
    """Find out what takes migrations back, the newest first; those without a down file go together."""
    groups: list[tuple[list[Migration], Migration | None]] = []
    for migration in taken:
        file = read_down(migrations.files, migration, down, migrations.own_tables) if down else None
        if groups and file is None and groups[-1][1] is None:
            groups[-1][0].append(migration)
        else:
            groups.append(([migration], file))
    found = []
    with closing(EmptyLedger(strict=migrations.strict)) as ledger:
        ledger.run(history.history_tables(migrations.table))
        try:
            for migration in kept:
                try_on(ledger, migration)
            for group, file in groups:
                found.append(reverse(ledger, group, file, migrations.own_tables, strict=migrations.strict))
        except HooxError as error:
            cause = error if isinstance(error, StatementError) else error.__cause__
            raise Refused(
                f"What the migrations made cannot be told, as they do not run on an empty ledger:"
                f" {error.problem}",
                getattr(cause, "remedy", "") or "Write a migration that takes back what is to go.",
                detail=error.detail,
            ) from error
    return found[::-1]


# ------------------------------------------------------------------------------------------- the statements


def _write_unit(rollback: Rollback, migrations: Migrations, consent: Consent) -> Rollback:
    """Write guards, statements and the rows that leave the history, and try it all on an empty ledger."""
    current = rollback.status
    unit = rollback.statements
    unit.append(Statement(history_guard(migrations.table, [name for name, _ in current.history])))
    unit += map(Statement, schema_guard(current.schema))
    with closing(EmptyLedger(current.schema, strict=migrations.strict)) as ledger:
        absent = {(item.type, item.name) for item in ledger.missing}
        expected = list(current.schema)
        for reversal in rollback.reversals:
            keys_before = checks_keys(ledger)
            broken = find_broken(ledger, expected)
            lineage = Lineage(ledger, migrations.own_tables)
            try:
                lineage.follow([Statement(piece.sql) for piece in reversal.pieces])
            except StatementError as error:
                refuse_dependent(reversal, error)
                failure = _failure(rollback, _at(reversal, error.index), error)
                raise Refused(failure.problem, failure.remedy, detail=failure.detail) from error
            expected = reversal.earlier(expected)
            refuse_other_schema(reversal, ledger, expected, absent, migrations)
            refuse_breaking(reversal, find_broken(ledger, expected) - broken)
            rollback.guards = write_guards(
                lineage,
                # Of what a down file overwrites nobody can tell whether it was written since.
                consent | reversal.consent | Consent(guards_all=bool(reversal.file)),
                reversal.own,
                keys=keys_before or checks_keys(ledger),
                keys_before=keys_before,
                defaults=reversal.defaults,
                known=rollback.guards,
                again=_asked_again(reversal, consent),
            )
            _add(rollback, reversal)
    for name in rollback.names:
        told = sql.quote_text(name)
        unit.append(Statement(f"DELETE FROM {sql.quote_name(migrations.table)} WHERE name = {told}"))
        if current.has_checksums:
            unit.append(Statement(f"DELETE FROM {CHECKSUMS} WHERE name = {told}"))
    return replace(rollback, expected=tuple(expected))


def _asked_again(reversal: Reversal, consent: Consent) -> Again | None:
    """Give how rows written since are told from the migrations' own, where that makes a difference."""
    again = reversal.again
    return None if again is None or all(map(consent.allows_loss, again.tables)) else again


def _add(rollback: Rollback, reversal: Reversal) -> None:
    unit, guards = rollback.statements, rollback.guards
    rollback.trials |= {len(unit) + place: reversal for place in guards.trial}
    unit += map(Statement, guards.opening)
    for piece in reversal.pieces:
        rollback.pieces[len(unit)] = (reversal, piece)
        unit.append(Statement(piece.sql))
    if guards.closing:
        rollback.reports.append(len(unit) + guards.report)
    unit += map(Statement, guards.closing)
    rollback.known.append(len(guards.findings))


# -------------------------------------------------------------------------------------------------- running


def run(
    database: Database,
    migrations: Migrations,
    rollback: Rollback,
    *,
    report: Callable[[RolledBack], None] = lambda rolled_back: None,
) -> tuple[RolledBack, Status]:
    """Take migrations back in one transaction; returns what was done, and the status after it.

    `report` is called as soon as it is in the ledger, also where somebody interrupts just then. Raises
    `Refused` where something would be lost to which nobody consented, and `ChangedMeanwhile` where the ledger
    is not what it was when the rollback was planned; nothing was changed then.
    """

    def gone() -> bool:
        recorded = dict(migrations.status(database).history)
        return not any(name in recorded for name in rollback.names)

    noting = rollback.status.has_checksums and not database.answers(rollback.statements)
    if noting:
        rollback = rollback.noting()
    started = time.perf_counter()
    try:
        results = database.batch(rollback.statements)
    except StatementError as error:
        raise _explained(rollback, error) from error
    except RemoteError as error:
        what = f"{', '.join(rollback.names)} was taken back"
        confirm(error, what, gone, "Look with `inv db.migrate.status` before you repeat it.")
        results = []
    except KeyboardInterrupt:
        with suppress(HooxError):  # It may have come behind the end of the transaction.
            if gone():
                report(RolledBack(rollback.names, 0.0, None))
        raise
    if noting:
        results = read_notes(database, len(rollback.statements))
    done = RolledBack(rollback.names, time.perf_counter() - started, rollback.effects(results))
    report(done)
    return done, _verified(database, migrations, rollback)


def _verified(database: Database, migrations: Migrations, rollback: Rollback) -> Status:
    """Read the ledger again, and compare it with what taking back should have made of it."""
    try:
        actual = migrations.status(database)
    except RemoteError as error:
        raise HooxError(
            f"What was taken back could not be looked at again: {error.problem}",
            "Look with `inv db.migrate.status`.",
        ) from error
    kept = len(rollback.status.history) - len(rollback.names)
    if actual.history != rollback.status.history[:kept]:
        return actual  # Another run has gone on from there.
    differences = compare_schemas(rollback.expected, actual.schema, migrations.own_tables)
    if differences:
        raise HooxError(
            f"{', '.join(rollback.names)} was taken back, but {database.name} is not as before:"
            f" {'; '.join(f'{each.type} {each.name} is {each.what}' for each in differences)}.",
            "Look with `inv db.check` before anything else is done.",
        )
    return actual


def _at(reversal: Reversal, index: int | None) -> tuple[Reversal, sql.Piece] | None:
    return (reversal, reversal.pieces[index]) if index is not None and index < len(reversal.pieces) else None


def _explained(rollback: Rollback, error: StatementError) -> HooxError:
    """Give what an error of the transaction means: the ledger was changed, a guard failed, or a statement."""
    names = ", ".join(rollback.names)
    guard = failed_guard(error.message)
    trial = next(iter(rollback.trials.values()), None)
    if guard is None and trial is not None and trial.again and rollback.pieces.get(error.index or 0) is None:
        tables = [sql.quote_name(name) for name in trial.again.tables]
        return Refused(
            f"{', '.join(trial.names)} does not run again, so it cannot be told what was written since:"
            f" {error.message.rstrip('.')}.",
            f"If all of it may go, give {in_flag(LOSS, tables)}.",
        )
    if guard is None:
        return _failure(rollback, rollback.pieces.get(-1 if error.index is None else error.index), error)
    kind, detail = guard
    if kind in {"history", "schema"}:
        return ChangedMeanwhile(
            f"Somebody else changed the {kind} since it was looked at, so nothing was taken back.",
            "Look with `inv db.migrate.status`, then run this again.",
        )
    if kind == "keys":
        return Refused(
            f"Taking back {names} would leave rows that refer to nothing ({detail}), so it was undone.",
            "Correct or remove those rows first.",
        )
    effects, _ = rollback.guards.refused(detail)
    reversal = rollback.about(int(detail.partition("=")[0]))
    told = "; ".join(map(str, effects))
    if kind == "amount":
        columns = sorted(
            {f"{sql.quote_name(effect.table)}.{sql.quote_name(effect.column)}" for effect in effects}
        )
        return Refused(
            f"Taking back {', '.join(reversal.names)} would change values, which may have been written since,"
            f" so it was undone: {told}.",
            f"If that is meant, write `{in_file(CHANGES, columns)}` into its down file.",
        )
    tables = sorted({sql.quote_name(effect.table) for effect in effects})
    consenting = f"give {in_flag(LOSS, tables)}"
    if reversal.file:
        consenting += f", or write `{in_file(LOSS, tables)}` into its down file"
    return Refused(
        f"Taking back {', '.join(reversal.names)} would lose what was written since, so it was undone:"
        f" {told}.",
        f"If that is meant, {consenting}.",
    )


def _failure(
    rollback: Rollback, place: tuple[Reversal, sql.Piece] | None, error: StatementError
) -> HooxError:
    names, where, shown, remedy = ", ".join(rollback.names), "", "", "Nothing was changed."
    if place is not None:
        reversal, piece = place
        names = ", ".join(reversal.names)
        shown = excerpts.excerpt(piece.sql, error.offset)
        if reversal.file:
            line = piece.line + piece.sql.count("\n", 0, error.offset or 0)
            where = f" in line {line} of {DOWN}/{reversal.names[0]}"
            remedy = "Nothing was changed; correct the file and run this again."
    return HooxError(
        f"{names} cannot be taken back: it failed{where}: {error.message.rstrip('.')}.",
        error.remedy or remedy,
        detail=shown,
    )
