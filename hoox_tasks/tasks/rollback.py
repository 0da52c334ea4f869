"""`inv db.migrate.rollback`."""

from __future__ import annotations

import sys
from dataclasses import asdict

from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_table
from hoox_tasks.database.interface import Database
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task
from hoox_tasks.tasks.migrate import read_consent

with lazy_imports():
    from hoox_tasks import migrations
    from hoox_tasks.release import rehearsal


@ledger_task(
    {
        "to": "Take back all migrations applied after this one: its name or number; 0 for all.",
        "allow-data-loss": "Let go of rows and values written since: of the tables named, or of any.",
        "allow-value-changes": "Let down files change these amounts: trades.price, or all of a table.",
        "rehearse": "First do it to a copy of the ledger, and show what it does.",
        "check": "With --rehearse, end after the copy.",
        "confirm": "Do it without asking.",
    },
    optional=("allow_data_loss",),
    called="db.migrate.rollback",
)
def rollback(
    command: Command,
    to: str | None = None,
    allow_data_loss: bool | str = False,
    allow_value_changes: str | None = None,
    rehearse: bool = False,
    check: bool = False,
    confirm: bool = False,
) -> None:
    """Take back the last migration, and lose no row that was written since.

    Tables, columns, indexes, views and triggers that were only added are
    taken back by derived statements; all else by
    `migrations/down/NNNN_name.sql`, of which `inv db.migrate.new --down NNNN`
    writes a draft. All happens in one transaction, or nothing. What was
    written since into a table or column that would go makes it fail, unless
    it is named with a flag or in the down file: `-- hoox: allow-data-loss
    trades`. What was taken back is pending again. With Invoke's own --dry the
    statements are shown and nothing is touched.

    JSON: database, rolled_back [name], effects [{table, column, what, rows}]
    (null where the answer was lost), version (the last migration's name),
    recovery_point (where anything was changed), seconds. With --dry:
    rolled_back, statements [sql].
    """
    if check and not rehearse:
        raise Refused("--check only goes with --rehearse.", "Leave it out.")
    consent = read_consent(command, allow_data_loss, allow_value_changes)
    with command.ledger() as database:
        planned = _planned(command, database, to, consent)
        if not command.json:
            _show(command, planned)
        names = list(planned.names)
        counted = terminal.count(len(names), "migration")
        if command.dry:
            statements = [piece.sql for _, piece in planned.pieces.values()]
            command.done(
                f"Would take back {counted} of {database.label}",
                database=database.label,
                rolled_back=names,
                statements=statements,
            )
            return
        if not names:
            command.done(
                f"Nothing to do: nothing was applied to {database.label} after that",
                database=database.label,
                rolled_back=[],
                effects=[],
                version=planned.status.version,
            )
            return
        if rehearse:
            found = _rehearsed(command, database, to, consent)
            if check:
                command.done(
                    f"Rehearsed it on a copy of {database.label}; the copy is sound",
                    database=database.label,
                    rehearsed=names,
                    tables=[asdict(effect) for effect in found.effects],
                )
                return
        terminal.confirm(
            database.name,
            f"This takes {', '.join(names)} back from {database.label}.",
            confirmed=confirm,
        )
        _roll_back(command, database, planned)


def _roll_back(command: Command, database: Database, planned: migrations.Rollback) -> None:
    names = list(planned.names)

    def report(rolled_back: migrations.RolledBack) -> None:
        command.did(f"took back {', '.join(rolled_back.names)}")

    done, status = migrations.rollback.run(database, command.migrations, planned, report=report)
    for effect in done.effects or ():
        command.say(f"  {effect}")
    if done.effects is None:
        command.say("  What it did to rows that were there is not known.")
    command.say(f"Pending again, until the file is corrected or removed: {', '.join(reversed(names))}")
    command.done(
        f"Took back {terminal.count(len(names), 'migration')} of {database.label}",
        database=database.label,
        rolled_back=names,
        effects=None if done.effects is None else [asdict(effect) for effect in done.effects],
        version=status.version,
    )


def _planned(
    command: Command, database: Database, to: str | None, consent: migrations.Consent
) -> migrations.Rollback:
    return migrations.rollback.plan(
        command.migrations,
        command.migrations.status(database),
        down=command.settings.migrations_dir / migrations.DOWN,
        to=to,
        consent=consent,
    )


def _show(command: Command, planned: migrations.Rollback) -> None:
    say = command.say if command.dry else terminal.note
    for reversal in planned.reversals:
        source = f"as {migrations.DOWN}/{reversal.names[0]} says" if reversal.file else "by what is derived"
        say(f"To take back {', '.join(reversal.names)}, {source}:")
        for piece in reversal.pieces:
            say("\n".join(f"  {line}" for line in f"{piece.sql};".splitlines()))


def _rehearsed(
    command: Command, database: Database, to: str | None, consent: migrations.Consent
) -> rehearsal.Rehearsal:
    """Take migrations back on a copy, and show what becomes of its tables."""

    def change(copy: LocalDatabase) -> tuple[list[migrations.Applied], migrations.Status]:
        planned = _planned(command, copy, to, consent)
        done, status = migrations.rollback.run(copy, command.migrations, planned)
        return [migrations.Applied(", ".join(done.names), done.seconds, done.effects)], status

    try:
        with terminal.progress("Rehearsing") as progress:
            found = rehearsal.rehearse_change(database, command.migrations, change, progress=progress)
    except HooxError:
        terminal.note(f"On a copy of {database.label}, which was not touched itself:")
        raise
    if not command.json:
        print_table(rehearsal.HEADER, [effect.cells for effect in found.effects], sys.stdout)
    return found
