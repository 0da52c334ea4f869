"""`inv db.migrate` and its kin."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

from hoox_tasks.config.settings import bundled
from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_table
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.adopt import show_adoption
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import migrations
    from hoox_tasks.config import dictionary
    from hoox_tasks.release import rehearsal


def entry_document(entry: migrations.Entry) -> dict[str, str]:
    """Give a status entry as a JSON document has it."""
    return {**asdict(entry), "state": entry.state.value}


def apply_pending(
    command: Command,
    database: Database,
    *,
    to: str | None = None,
    allow_out_of_order: bool = False,
    consent: migrations.Consent | None = None,
) -> tuple[list[migrations.Applied], migrations.Status]:
    """Apply what is pending, and tell each one as soon as it was committed."""

    def report(migration: migrations.Applied) -> None:
        command.did(f"{'recorded' if migration.recorded else 'applied'} {migration.name}")
        _tell(command, migration)
        _warn(command.migrations.find(migration.name))

    def planned(plan: migrations.Adoption) -> None:
        show_adoption(command, database, plan)

    if command.asks:
        pending = command.migrations.plan(
            command.migrations.status(database), to=to, allow_out_of_order=allow_out_of_order
        )
        command.intention = f"apply {', '.join(migration.name for migration in pending)}"
    return command.migrations.apply(
        database,
        to=to,
        allow_out_of_order=allow_out_of_order,
        consent=consent or read_consent(command),
        report=report,
        planned=planned,
    )


def _warn(migration: migrations.Migration) -> None:
    """Say what wrangler would make of a file, and that it holds nothing."""
    for warning in migration.warnings:
        terminal.note(warning)


def read_consent(
    command: Command, allow_data_loss: bool | str = False, allow_value_changes: str | None = None
) -> migrations.Consent:
    """Give what the flags consent to; the data dictionary says which columns are asked for."""
    described = dictionary.read_dictionary(command.settings.migrations_dir)
    return migrations.consent(
        data_loss=allow_data_loss,
        value_changes=allow_value_changes or (),
        amounts=dictionary.amounts(described),
    )


def _tell(command: Command, migration: migrations.Applied, where: str = "Applied") -> None:
    if migration.recorded:
        command.say(f"Recorded {migration.name}, which is there already")
        return
    command.say(f"{where} {migration.name} ({terminal.duration(migration.seconds)})")
    for effect in migration.effects or ():
        command.say(f"  {effect}")
    if migration.effects is None:
        command.say("  What it did to rows that were there is not known.")


@ledger_task(
    {
        "to": "Stop after this migration: its name or number.",
        "allow-out-of-order": "Apply pending migrations that sort before one that was applied.",
        "allow-data-loss": "Let migrations lose rows and values: of the tables named, or of any.",
        "allow-value-changes": "Let migrations change these amounts: trades.price, or all of a table.",
        "rehearse": "First apply them to a copy of the ledger, show what they do, and ask.",
        "check": "With --rehearse, end after the copy.",
    },
    optional=("allow_data_loss",),
    default=True,
    called="db.migrate",
    asks=True,
)
def apply(
    command: Command,
    to: str | None = None,
    allow_out_of_order: bool = False,
    allow_data_loss: bool | str = False,
    allow_value_changes: str | None = None,
    rehearse: bool = False,
    check: bool = False,
) -> None:
    """Apply all pending migrations, in order.

    Of a ledger that has tables and no history it shows first what is there of
    each migration, and records that instead of running it again. Each
    migration commits together with its row in the history, or leaves nothing
    behind. One that would lose rows, or change amounts of money, is undone,
    unless it is named with a flag or in the file itself:
    `-- hoox: allow-data-loss trades`,
    `-- hoox: allow-value-changes trades.price`.
    With Invoke's own --dry (`inv --dry db.migrate`) the plan is printed and
    nothing is touched.

    JSON: database, applied [{name, seconds, effects [{table, column, what,
    rows}], recorded (not run, as it is there)}], version (the last
    migration's name), recovery_point (where anything was applied), seconds.
    With --dry: pending [name]. With --rehearse --check: database, rehearsed
    (as applied), tables [{table, before, after, schema}], seconds.
    """
    consent = read_consent(command, allow_data_loss, allow_value_changes)
    if check and not rehearse:
        raise Refused("--check only goes with --rehearse.", "Leave it out.")
    with command.ledger() as database:
        if command.dry:
            plan(command, database, to=to, allow_out_of_order=allow_out_of_order)
            return
        if rehearse and not _rehearsed(
            command,
            database,
            to=to,
            allow_out_of_order=allow_out_of_order,
            consent=consent,
            check=check,
        ):
            return
        applied, status = apply_pending(
            command,
            database,
            to=to,
            allow_out_of_order=allow_out_of_order,
            consent=consent,
        )
        ran = sum(not migration.recorded for migration in applied)
        if ran == len(applied):
            did = f"Applied {terminal.count(ran, 'migration')} to"
        else:
            did = f"Recorded {len(applied) - ran} and applied {terminal.count(ran, 'migration')} to"
        if not applied:
            did = "Nothing to do: nothing is pending on"
        command.done(
            f"{did} {database.label}",
            database=database.label,
            applied=[asdict(migration) for migration in applied],
            version=status.version,
        )


def _rehearsed(
    command: Command,
    database: Database,
    *,
    to: str | None,
    allow_out_of_order: bool,
    consent: migrations.Consent,
    check: bool,
) -> bool:
    """Try the migrations on a copy and show what they do; tells whether to go on with the ledger itself."""
    try:
        with terminal.progress("Rehearsing") as progress:
            found = rehearsal.rehearse(
                database,
                command.migrations,
                to=to,
                allow_out_of_order=allow_out_of_order,
                consent=consent,
                progress=progress,
            )
    except HooxError:
        terminal.note(f"On a copy of {database.label}, which was not touched itself:")
        raise
    for migration in found.applied:
        _tell(command, migration, "On a copy: applied")
    if not command.json and found.applied:
        print_table(rehearsal.HEADER, [effect.cells for effect in found.effects], sys.stdout)
    if check or not found.applied:
        done = terminal.count(len(found.applied), "migration")
        command.done(
            f"Rehearsed {done} on a copy of {database.label}; the copy is sound",
            database=database.label,
            rehearsed=[asdict(applied) for applied in found.applied],
            tables=[asdict(effect) for effect in found.effects],
        )
        return False
    command.confirm(database, f"All went well on the copy. This applies it to {database.label}.")
    return True


def plan(command: Command, database: Database, *, to: str | None, allow_out_of_order: bool) -> None:
    """Print what applying would do."""
    status = command.migrations.status(database)
    pending = command.migrations.plan(status, to=to, allow_out_of_order=allow_out_of_order)
    adoption = command.migrations.adoption(database, status, to=to) if pending else None
    if adoption is not None:
        adoption.refuse_doubts()
        show_adoption(command, database, adoption)
        pending = adoption.named(migrations.Verdict.APPLY)
    for migration in pending:
        _warn(migration)
        command.say(f"Would apply {migration.name} ({terminal.count(len(migration.pieces), 'statement')})")
    did = (
        f"Would apply {terminal.count(len(pending), 'migration')} to" if pending else "Nothing is pending on"
    )
    command.done(
        f"{did} {database.label}",
        database=database.label,
        pending=[migration.name for migration in pending],
        version=status.version,
    )


@ledger_task({"check": "Exit with 1 when anything is pending or wrong."}, called="db.migrate.status")
def status(command: Command, check: bool = False) -> None:
    """List all migrations: applied (and when), pending, or what is wrong.

    It writes nothing.

    JSON: database, version (the last applied migration's name), up_to_date,
    migrations [{name, state, applied_at (UTC, empty where it is not applied),
    advice}]. A state is applied, pending, edited, renamed, renamed and edited,
    missing (recorded, but its file is gone) or out of order.
    """
    with command.ledger() as database:
        current = command.migrations.status(database)
        good = all(entry.state is migrations.State.APPLIED for entry in current.entries)
        if command.json:
            command.print(
                {
                    "database": database.label,
                    "version": current.version,
                    "up_to_date": good,
                    "migrations": [entry_document(entry) for entry in current.entries],
                }
            )
        else:
            rows = [
                (entry.name, entry.state.value, f"{entry.applied_at} UTC" if entry.applied_at else "-")
                for entry in current.entries
            ]
            print_table(("migration", "state", "applied"), rows, sys.stdout)
            _advise(command, database, current)
        if check and not good:
            wrong = [entry for entry in current.entries if entry.state is not migrations.State.APPLIED]
            misfits = [entry for entry in wrong if not _applies(entry)]
            raise HooxError(
                f"{database.label} is not up to date: "
                f"{', '.join(f'{entry.name} is {entry.state.value}' for entry in wrong)}.",
                f"Begin with {misfits[0].name}. {misfits[0].advice}"
                if misfits
                else "Apply it with `inv db.migrate`.",
            )


def _applies(entry: migrations.Entry) -> bool:
    """Whether a migration is pending, and nothing else is said of it."""
    return entry.state is migrations.State.PENDING and entry.advice.startswith("Apply it")


def _advise(command: Command, database: Database, current: migrations.Status) -> None:
    """Name for every state the command that leads on, and say what is odd about the files."""

    def note(text: str) -> None:
        terminal.note(terminal.addressed(text, command.chosen))

    plain = migrations.State.PENDING
    for entry in current.entries:
        if entry.advice and not _applies(entry):
            note(f"{entry.name} is {entry.state.value}. {entry.advice}")
    waiting = {entry.name for entry in current.named(plain, migrations.State.OUT_OF_ORDER)}
    for migration in command.migrations.files:
        if migration.name in waiting or migration.is_empty:
            _warn(migration)
    for names in command.migrations.shared_numbers:
        note(f"{' and '.join(names)} have one number: they apply in this order.")
    for name in migrations.passed_over(command.settings.migrations_dir):
        note(f"{name} is passed over, as by wrangler: it is a symbolic link, or does not end in .sql.")
    if current.is_foreign and current.entries:
        note(
            f"{database.label} has tables and no history: `inv --dry db.migrate` compares it with the"
            " migrations, `inv db.migrate` takes over what is there and applies the rest."
        )
    elif current.named(plain) and all(
        entry.state in {plain, migrations.State.APPLIED} for entry in current.entries
    ):
        note("Apply what is pending with `inv db.migrate`.")


@ledger_task(
    {
        "message": "What the migration does; becomes the file's name.",
        "down": "Write the draft of a down file as well; or only that, for a migration that is there.",
    },
    positional=("message",),
    called="db.migrate.new",
    without=("remote", "preview", "path"),
)
def new(command: Command, message: str, down: bool = False) -> None:
    """Write an empty migration with the next number.

    With --down and the name or number of a migration that is there, write
    what takes that one back (`inv db.migrate.rollback`), as far as it can be
    derived; with --down and a sentence, a new migration and its down file.

    JSON: path, copied [path] (the migrations that came with hoox_tasks, where
    the workspace had no folder of its own), down (with --down, the down
    file's path), seconds. With --dry: path of the folder.
    """
    settings = command.settings
    folder = settings.migrations_dir
    copied: list[Path] = []
    migrations.file_name(message)
    if folder == bundled("migrations").resolve() and not folder.is_relative_to(settings.root):
        # A folder of the workspace's own replaces ours, so it begins with all that the ledger rests on.
        folder = settings.root / "migrations"
    if settings.migrations_pattern != "*.sql":
        raise Refused(
            f"The migrations here are found by {settings.migrations_pattern}, which no file of ours fits.",
            "Write the next one with the tool that wrote the others.",
        )
    if command.dry:
        command.done(f"Would write a migration into {command.shown(folder)}", path=str(folder), copied=[])
        return
    if folder != settings.migrations_dir:
        copied = migrations.copy(command.migrations.files, folder)
        for path in copied:
            command.say(f"Copied {path.name}, which came with hoox_tasks, to {command.shown(folder)}")
    existing = migrations.rollback.named(command.migrations, message) if down else None
    path = folder / existing.name if existing else migrations.create(folder, message)
    fields = {"path": str(path), "copied": [str(path) for path in copied]}
    wrote = command.shown(path)
    if not existing:
        command.did(f"wrote {wrote}")
    if down:
        known = replace(command.migrations, files=tuple(migrations.discover(folder)))
        wanted = migrations.find(known.files, path.name)
        file = migrations.rollback.write_draft(known, wanted, folder / migrations.DOWN)
        fields["down"] = str(file)
        wrote = command.shown(file) if existing else f"{wrote} and {command.shown(file)}"
        command.did(f"wrote {command.shown(file)}")
    command.done(f"Wrote {wrote}", **fields)


@ledger_task(
    {
        "name": "The migration: its file name or number.",
        "forget": "Take it out of the history: its file is gone, or it was recorded by mistake.",
    },
    positional=("name",),
    called="db.migrate.mark",
    asks=True,
)
def mark(command: Command, name: str, forget: bool = False) -> None:
    """Record a migration as applied without running it.

    For a ledger that was changed by hand. An edited migration is accepted as
    its file is now; a renamed one gets its new name. A pending one whose
    tables, columns or indexes are not there is refused: it did not run.
    With --forget it is pending again, or forgotten where its file is gone.
    One that may have run is refused then: it would run twice.

    JSON: database, done (what was done, as a sentence), recovery_point (where
    anything was recorded), seconds.
    """
    with command.ledger() as database:
        if command.dry:
            found, correction = command.migrations.correction(database, name, forget=forget)
            if not correction.statements:
                command.done(
                    f"{correction.done.rstrip('.')} on {database.label}",
                    database=database.label,
                    done=correction.done,
                )
                return
            if correction.warning:
                terminal.note(correction.warning)
            done = f"Would {'forget' if forget else 'record'} {found}"
            command.done(f"{done} on {database.label}", database=database.label, done=f"{done}.")
            return
        command.intention = f"{'forget' if forget else 'record'} {name}"
        did = command.migrations.mark(database, name, forget=forget, warn=terminal.note)
        command.done(f"{did.rstrip('.')} on {database.label}", database=database.label, done=did)


@ledger_task({})
def check(command: Command) -> None:
    """Check that the ledger is what its migrations say: schema, history, checksums and files.

    Builds the schema anew in memory and compares it object by object; the
    ledger is only read. Exits with 1 where anything is missing, extra or
    different.

    JSON: database, version, agrees, migrations [{name, state, applied_at,
    advice}], differences [{type, name, what, expected, actual}], reservations
    [what could not be compared].
    """
    with command.ledger() as database:
        found = command.migrations.check(database)
        if command.json:
            command.print(
                {
                    "database": database.label,
                    "version": found.status.version,
                    "agrees": found.agrees,
                    "migrations": [entry_document(entry) for entry in found.status.entries],
                    "differences": [asdict(difference) for difference in found.differences],
                    "reservations": found.reservations,
                }
            )
        else:
            for entry in found.wrong:
                text = f"{entry.name} is {entry.state.value}. {entry.advice}".rstrip()
                command.say(terminal.addressed(text, command.chosen))
            for difference in found.differences:
                command.say(str(difference))
            for reservation in found.reservations:
                terminal.note(reservation)
        if not found.agrees:
            number = len(found.wrong) + len(found.differences)
            things = terminal.count(number, "difference")
            pending = sum(entry.state is migrations.State.PENDING for entry in found.wrong)
            misfits = [entry for entry in found.wrong if not _applies(entry)]
            remedies = ["Apply what is pending with `inv db.migrate`."] * (pending > 0)
            if misfits:
                remedies = [f"Begin with {misfits[0].name}. {misfits[0].advice}"]
            remedies += ["Write a migration that brings files and ledger together."] * (number > pending)
            raise HooxError(f"{database.label} is not what its migrations say: {things}.", " ".join(remedies))
        if not command.json:
            command.done(f"{database.label} is what its migrations say, {found.status.version or 'none'}")
