"""The history corrected by hand: a migration recorded, accepted as it is, renamed, or forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hoox_tasks import sql
from hoox_tasks.database.interface import Statement
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import model, repair
from hoox_tasks.migrations.files import EMPTY, Migration, leading_number, same_name
from hoox_tasks.migrations.history import (
    CHECKSUMS,
    NOTHING_APPLIED,
    Entry,
    State,
    Status,
    history_tables,
    mark_command,
    record,
    remember,
)
from hoox_tasks.migrations.model import Made, told
from hoox_tasks.migrations.preconditions import history_guard
from hoox_tasks.migrations.seeds import Ask
from hoox_tasks.suggestions import option


@dataclass(frozen=True, slots=True)
class Correction:
    """The statements of a correction, and what they do, as a sentence; `warning` is what to look out for."""

    statements: list[Statement]
    done: str
    warning: str = ""


def record_by_hand(current: Status, made: Made, table: str, ask: Ask) -> Correction:
    """Record a migration as applied without running it.

    A pending one gets its row; an edited one is accepted as its file is now; a renamed one is recorded under
    its new name. `made` is what it makes, `ask` asks the ledger. Raises `Refused` where the ledger lacks some
    of that, so that it did not run; and where a renamed file was edited.
    """
    migration = made.migration
    lacking = model.lacking(made, current.schema, table)
    (entry,) = (entry for entry in current.entries if entry.name == migration.name)
    history, name = sql.quote_name(table), sql.quote_text(migration.name)
    if migration.refusal is not None:
        raise Refused(migration.refusal.problem, migration.refusal.remedy)
    if entry.state is State.APPLIED:
        return Correction([], f"{migration.name} is recorded as applied already; nothing was changed.")
    if entry.state is State.RENAMED_AND_EDITED:
        raise Refused(f"{entry.name} ran as {entry.former}, but not as its file is now.", entry.advice)
    _refuse_occupied(current, entry)
    never_ran = was_empty(current, entry)
    if lacking and (entry.state in {State.PENDING, State.OUT_OF_ORDER} or never_ran):
        raise Refused(
            f"{migration.name} makes {told(lacking)}, which the ledger does not have: it did not run.",
            f"Forget it with `{mark_command(entry.name)} --forget`, then apply it with `inv db.migrate`."
            if never_ran
            else entry.advice
            if entry.state is State.OUT_OF_ORDER
            else _applying(current, made, table, ask),
        )
    rows: list[str] = []
    if entry.state is State.RENAMED:
        former = sql.quote_text(entry.former)
        rows.append(f"UPDATE {history} SET name = {name} WHERE name = {former}")
        rows.append(f"DELETE FROM {CHECKSUMS} WHERE name = {former}")
        done = f"Recorded {migration.name} under its new name."
    elif entry.state in {State.PENDING, State.OUT_OF_ORDER}:
        rows.append(f"INSERT INTO {history} (name) VALUES ({name})")
        done = f"Recorded {migration.name} as applied, without running it."
    else:
        lost = f", though the ledger lacks {told(lacking)}" if lacking else ""
        done = f"Accepted {migration.name} as its file is now{lost}."
    by_hand = current.recorded_by_hand(entry.former or entry.name) or not entry.applied_at
    return Correction(
        [*history_tables(table), *map(Statement, rows), remember(migration, by_hand=by_hand)], done
    )


def _applying(current: Status, made: Made, table: str, ask: Ask) -> str:
    """Say how a pending migration is applied: not before the history fits the files."""
    misfits = [entry for entry in current.entries if entry.state not in {State.APPLIED, State.PENDING}]
    if not misfits:
        return "Apply it with `inv db.migrate`."
    first = misfits[0]
    told_first = f"{first.name} is {first.state.value}. {first.advice} Then go on with `inv db.migrate`."
    return remedy(made, current, table, ask) or told_first


def _refuse_occupied(current: Status, entry: Entry) -> None:
    """Raise `Refused` where a file's name is recorded for what another file says now."""
    for other in current.entries:
        if other.former == entry.name and entry.state is not State.EDITED:
            raise Refused(
                f"What {other.name} says ran under the name {entry.name}.",
                f"Record that first with `{mark_command(other.name)}`.",
            )


def remedy(made: Made, current: Status, table: str, ask: Ask) -> str:
    """What to do with a migration that cannot run, as all or some of what it makes is there already.

    `ask` asks the ledger. Empty where nothing of the migration is there.
    """
    schema = current.schema
    lacking = model.lacking(made, schema, table)
    mark = f"`{mark_command(made.migration.name)}`"
    if not made.made:
        return ""
    if not lacking:
        return (
            f"All that it makes is there already: record it with {mark}; where rows that it puts in are not"
            " there, write them as a new migration."
        )
    if set(lacking) == set(made.made):
        way = repair.occupied(lacking, schema)
        return f"{way} Then run this again." if way else ""
    way = repair.advice(
        made,
        lacking,
        schema,
        ask,
        again=f"Then record it with {mark}, or correct the file.",
        by_hand=f"Then record it with {mark}.",
    )
    return f"It is there in part: {told(lacking)} is missing. {way}"


def was_empty(current: Status, entry: Entry) -> bool:
    """Whether a migration held no statement when it was applied, and does now."""
    fingerprint = (current.checksums or {}).get(entry.name, "")
    return entry.state is State.EDITED and fingerprint.split(" ")[0] == EMPTY


def find_recorded(current: Status, wanted: str) -> Entry:
    """Give the recorded migration of a name or number; of several, one whose file is gone.

    Raises `Refused` where none is recorded under it, or it is not clear which one is meant.
    """
    renamed = (State.RENAMED, State.RENAMED_AND_EDITED)
    recorded = [entry for entry in current.entries if entry.applied_at and entry.state not in renamed]
    gone = [entry for entry in recorded if entry.state is State.MISSING or was_empty(current, entry)]
    for entries in (gone, recorded):
        chosen = [entry for entry in entries if wanted in {entry.name, entry.name.removesuffix(".sql")}]
        if not chosen and wanted.isdigit():
            chosen = [entry for entry in entries if leading_number(entry.name.split("/")[0]) == int(wanted)]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            names = ", ".join(entry.name for entry in chosen)
            raise Refused(f"Several recorded migrations have the number {wanted}.", f"Give one of {names}.")
    for entry in current.named(*renamed):
        if wanted in {entry.name, entry.former}:
            raise Refused(
                f"{entry.name} ran as {entry.former}, so it is not forgotten.",
                f"Record its new name with `{mark_command(entry.name)}`."
                if entry.state is State.RENAMED
                else entry.advice,
            )
    names = ", ".join(entry.name for entry in recorded) or "none"
    raise Refused(
        f"{wanted} is not recorded as applied, so there is nothing to forget.", f"Recorded are: {names}."
    )


def forget(current: Status, entry: Entry, table: str, made: Made | None, there: bool) -> Correction:
    """Take a recorded migration out of the history.

    `made` is what its file makes, None where that is not known; `there` says whether anything of it is there.
    Raises `Refused` where the migration may have run: pending again, it would run twice.
    """
    key = same_name(entry.name)
    (name,) = (recorded for recorded, _ in current.history if same_name(recorded) == key)
    proven = entry.state is State.MISSING or was_empty(current, entry) or current.recorded_by_hand(name)
    if not proven and (made is None or there or not made.made):
        names = [recorded for recorded, _ in current.history]
        place = names.index(name)
        how = "`inv db.migrate.rollback`"
        if name != names[-1] and place:
            how = f"and what came after it with `inv db.migrate.rollback {option('to', names[place - 1])}`"
        elif name != names[-1]:
            how += ", as often as it takes"
        raise Refused(
            f"{name} ran, or nobody can tell that it did not: forgotten, it would run once more.",
            f"Take it back {how if how.startswith('and') else f'with {how}'}.",
        )
    statements = [f"DELETE FROM {sql.quote_name(table)} WHERE name = {sql.quote_text(name)}"]
    if current.has_checksums:
        statements.append(f"DELETE FROM {CHECKSUMS} WHERE name = {sql.quote_text(name)}")
        if len(current.history) == 1:
            # The ledger is still none of somebody else's.
            statements.append(_nothing_applied().sql)
    warning = ""
    if not was_empty(current, entry) and (made is None or made.touched or made.unknown):
        warning = (
            f"Where {name} ran, what it did to rows stays in the ledger: applied once more, its rows would be"
            " there twice."
        )
        if entry.state is State.MISSING:
            warning += " So do not bring its file back."
    return Correction([Statement(text) for text in statements], f"Forgot {name}.", warning)


def take_over(current: Status, chosen: Sequence[Migration], table: str) -> Correction:
    """Record that some migrations are what a ledger without history has; none: that nothing of them is."""
    statements = [
        *history_tables(table),
        Statement(history_guard(table, [])),
    ]
    if not chosen:
        statements.append(_nothing_applied())
    for migration in chosen:
        statements += record(migration, table, by_hand=True)
    names = ", ".join(migration.name for migration in chosen)
    done = (
        f"Recorded {names}, without running any." if chosen else "Recorded that none of the migrations ran."
    )
    return Correction(statements, done)


def _nothing_applied() -> Statement:
    return Statement(f"INSERT OR REPLACE INTO {CHECKSUMS} VALUES ('{NOTHING_APPLIED}', '{EMPTY}')")
