"""`inv db.migrate` and its kin."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from hoox_tasks.config.settings import bundled
from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_document, print_table
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import migrations
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
    allow_data_loss: bool = False,
) -> tuple[list[migrations.Applied], migrations.Status]:
    """Apply what is pending and tell each one; those before a failing one are told as well."""
    current = command.migrations.status(database)
    if command.migrations.plan(current, to=to, allow_out_of_order=allow_out_of_order):
        command.keep_way_back(database, "db.migrate")
    try:
        applied, status = command.migrations.apply(
            database, to=to, allow_out_of_order=allow_out_of_order, allow_data_loss=allow_data_loss
        )
    except migrations.MigrationFailed as error:
        _tell(command, error.applied)
        raise
    _tell(command, applied)
    return applied, status


def _tell(command: Command, applied: list[migrations.Applied]) -> None:
    for one in applied:
        command.say(f"Applied {one.name} ({terminal.duration(one.seconds)})")


@ledger_task(
    {
        "to": "Stop after this migration: its name or number.",
        "allow-out-of-order": "Apply pending migrations that sort before one that was applied.",
        "allow-data-loss": "Let a migration lose rows, where otherwise it would be undone.",
        "rehearse": "First apply them to a copy of the ledger, show what they do, and ask.",
        "check": "With --rehearse, end after the copy.",
        "confirm": "With --rehearse, go on without asking when all went well.",
    },
    default=True,
)
def apply(
    command: Command,
    to: str | None = None,
    allow_out_of_order: bool = False,
    allow_data_loss: bool = False,
    rehearse: bool = False,
    check: bool = False,
    confirm: bool = False,
) -> None:
    """Apply all pending migrations, in order.

    Each one commits together with its row in the history, or leaves nothing
    behind. With Invoke's own --dry (`inv --dry db.migrate`) the plan is printed
    and nothing is touched.

    JSON: database, applied [{name, seconds}], version (the last migration's
    name), recovery_point (where anything was applied), seconds. With --dry:
    pending [name].
    """
    if not rehearse and (check or confirm):
        raise Refused(f"--{'check' if check else 'confirm'} only goes with --rehearse.", "Leave it out.")
    with command.ledger() as database:
        if command.dry:
            plan(command, database, to=to, allow_out_of_order=allow_out_of_order)
            return
        if rehearse and not _rehearsed(
            command,
            database,
            to=to,
            allow_out_of_order=allow_out_of_order,
            allow_data_loss=allow_data_loss,
            check=check,
            confirm=confirm,
        ):
            return
        applied, status = apply_pending(
            command,
            database,
            to=to,
            allow_out_of_order=allow_out_of_order,
            allow_data_loss=allow_data_loss,
        )
        did = (
            f"Applied {terminal.count(len(applied), 'migration')} to"
            if applied
            else "Nothing to do: nothing is pending on"
        )
        command.done(
            f"{did} {database.label}",
            database=database.label,
            applied=[asdict(one) for one in applied],
            version=status.version,
        )


def _rehearsed(
    command: Command,
    database: Database,
    *,
    to: str | None,
    allow_out_of_order: bool,
    allow_data_loss: bool,
    check: bool,
    confirm: bool,
) -> bool:
    """Try the migrations on a copy and show what they do; tells whether to go on with the ledger itself."""
    try:
        with terminal.progress("Rehearsing") as progress:
            found = rehearsal.rehearse(
                database,
                command.migrations,
                to=to,
                allow_out_of_order=allow_out_of_order,
                allow_data_loss=allow_data_loss,
                progress=progress,
            )
    except HooxError:
        terminal.note(f"On a copy of {database.label}, which was not touched itself:")
        raise
    for one in found.applied:
        command.say(f"On a copy: applied {one.name} ({terminal.duration(one.seconds)})")
    if not command.json and found.applied:
        rows = [
            (
                one.table,
                "-" if one.before is None else one.before,
                "-" if one.after is None else one.after,
                "; ".join(one.schema) or "-",
            )
            for one in found.effects
        ]
        print_table(("table", "rows before", "rows after", "schema"), rows, sys.stdout)
    if check or not found.applied:
        done = terminal.count(len(found.applied), "migration")
        command.done(
            f"Rehearsed {done} on a copy of {database.label}; the copy is sound",
            database=database.label,
            rehearsed=[asdict(one) for one in found.applied],
            tables=[asdict(one) for one in found.effects],
        )
        return False
    terminal.confirm(
        database.name, f"All went well on the copy. This applies it to {database.label}.", confirmed=confirm
    )
    return True


def plan(command: Command, database: Database, *, to: str | None, allow_out_of_order: bool) -> None:
    """Print what applying would do."""
    status = command.migrations.status(database)
    pending = command.migrations.plan(status, to=to, allow_out_of_order=allow_out_of_order)
    for migration in pending:
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


@ledger_task({"check": "Exit with 1 when anything is pending or wrong."})
def status(command: Command, check: bool = False) -> None:
    """List all migrations: applied (and when), pending, or what is wrong.

    It writes nothing.

    JSON: database, version (the last applied migration's name), up_to_date,
    migrations [{name, state, applied_at (UTC, empty where it is not applied),
    advice}]. A state is applied, pending, edited, renamed, missing (recorded,
    but its file is gone) or out of order.
    """
    with command.ledger() as database:
        current = command.migrations.status(database)
        good = all(entry.state is migrations.State.APPLIED for entry in current.entries)
        if command.json:
            print_document(
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
            for entry in current.entries:
                if entry.advice:
                    terminal.note(f"{entry.name} is {entry.state.value}. {entry.advice}")
        if check and not good:
            wrong = [entry for entry in current.entries if entry.state is not migrations.State.APPLIED]
            pending = all(entry.state is migrations.State.PENDING for entry in wrong)
            raise HooxError(
                f"{database.label} is not up to date: "
                f"{', '.join(f'{entry.name} is {entry.state.value}' for entry in wrong)}.",
                "Apply it with `inv db.migrate`." if pending else "Do first what is said about each.",
            )


@ledger_task(
    {
        "message": "What the migration does; becomes the file's name.",
    },
    positional=("message",),
    without=("remote", "preview", "path"),
)
def new(command: Command, message: str) -> None:
    """Write an empty migration with the next number.

    JSON: path, copied [path] (the migrations that came with hoox_tasks, where
    the workspace had no folder of its own), seconds. With --dry: path of the
    folder.
    """
    settings = command.settings
    folder = settings.migrations_dir
    copied: list[Path] = []
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
    path = migrations.create(folder, message)
    command.done(f"Wrote {command.shown(path)}", path=str(path), copied=[str(path) for path in copied])


@ledger_task(
    {
        "name": "The migration: its file name or number.",
        "forget": "Take a recorded name whose file is gone out of the history.",
    },
    positional=("name",),
)
def mark(command: Command, name: str, forget: bool = False) -> None:
    """Record a migration as applied without running it.

    For a ledger that was changed by hand. An edited migration is accepted as
    its file is now; a renamed one gets its new name.

    JSON: database, done (what was done, as a sentence), seconds.
    """
    with command.ledger() as database:
        if command.dry:
            found = command.migrations.find(name).name if not forget else name
            done = f"Would {'forget' if forget else 'record'} {found}"
            command.done(f"{done} on {database.label}", database=database.label, done=f"{done}.")
            return
        did = command.migrations.mark(database, name, forget=forget)
        command.done(f"{did.rstrip('.')} on {database.label}", database=database.label, done=did)


@ledger_task({})
def check(command: Command) -> None:
    """Check that the ledger is what its migrations say: schema, history, checksums and files.

    Builds the schema anew in memory and compares it object by object; the ledger is only read.
    Exits with 1 where anything is missing, extra or different.

    JSON: database, version, agrees, migrations [{name, state, applied_at, advice}], differences
    [{type, name, what, expected, actual}].
    """
    with command.ledger() as database:
        current = command.migrations.status(database)
        drift = command.migrations.drift(current)
        wrong = [entry for entry in current.entries if entry.state is not migrations.State.APPLIED]
        if command.json:
            print_document(
                {
                    "database": database.label,
                    "version": current.version,
                    "agrees": not wrong and not drift,
                    "migrations": [entry_document(entry) for entry in current.entries],
                    "differences": [asdict(one) for one in drift],
                }
            )
        else:
            for entry in wrong:
                command.say(f"{entry.name} is {entry.state.value}. {entry.advice}".rstrip())
            for one in drift:
                command.say(str(one))
        if wrong or drift:
            things = terminal.count(len(wrong) + len(drift), "difference")
            pending = any(entry.state is migrations.State.PENDING for entry in wrong)
            rest = len(wrong) + len(drift) > sum(entry.state is migrations.State.PENDING for entry in wrong)
            remedies = ["Apply what is pending with `inv db.migrate`."] * pending
            remedies += ["Write a migration that brings files and ledger together."] * rest
            raise HooxError(f"{database.label} is not what its migrations say: {things}.", " ".join(remedies))
        if not command.json:
            command.done(f"{database.label} is what its migrations say, {current.version or 'none'}")
