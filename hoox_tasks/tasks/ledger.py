"""`inv db.apply`, `list`, `schema` and `reset`."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict

from hoox_tasks.console import gate, terminal
from hoox_tasks.console.formats import print_table
from hoox_tasks.database.interface import Database, Moment
from hoox_tasks.errors import ChangedMeanwhile, Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks import migrate
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task
from hoox_tasks.tasks.seed import confirm_rows, fill, read_scenario

with lazy_imports():
    from hoox_tasks import backups, ledger, migrations, seeding
    from hoox_tasks.database import attempts, empty_ledger


@ledger_task(
    {
        "seed": "Fill an empty local ledger with the demo scenario.",
        "scenario": "Seed with this scenario instead.",
    },
    asks=True,
)
def apply(command: Command, seed: bool = True, scenario: str | None = None) -> None:
    """Make the ledger ready: create it, apply every pending migration, seed it.

    Run again it changes nothing. A ledger that holds trades is never seeded,
    and a remote one only with --scenario; every ledger gets a row in
    system_logs for each migration.

    JSON: database, applied [{name, seconds}], seeded {table: rows}, version
    (the last migration's name), recovery_point (where a ledger that was there
    is migrated), seconds. With --dry: pending [name].
    """
    if scenario and not seed:
        raise Refused("--scenario and --no-seed do not go together.", "Give one of them.")
    chosen = read_scenario(command, scenario) if seed else None
    made = not command.settings.remote and not command.settings.path.exists()
    if made or scenario:
        _refuse_unfit(command, list(seeding.TABLES) if scenario else [])
    if command.dry and made:
        _plan_new(command)
        return
    with command.ledger(create=not command.dry) as database:
        if command.dry:
            migrate.plan(command, database, to=None, allow_out_of_order=False)
            return
        before = command.migrations.status(database)
        if chosen and _has(before, "trades") and ledger.holds_trades(database):
            if scenario:
                raise Refused(
                    f"{database.label} holds trades already.", "Leave --scenario out, or reset it first."
                )
            chosen = None
        if chosen:
            confirm_rows(command, database)
        applied, status = migrate.apply_pending(command, database)
        seeded = _seed(command, database, status, chosen) if seed else {}
        parts = []
        if applied:
            parts.append(f"applied {terminal.count(len(applied), 'migration')}")
        if seeded:
            parts.append(f"seeded {terminal.count(sum(seeded.values()), 'row')}")
        did = (
            ", ".join(parts).capitalize() + f" on {database.label}"
            if parts
            else f"Nothing to do: {database.label} is ready"
        )
        command.done(
            did,
            database=database.label,
            applied=[asdict(migration) for migration in applied],
            seeded=seeded,
            version=status.version,
        )


def _refuse_unfit(command: Command, tables: list[str]) -> None:
    """Raise before anything is made, where the migrations do not run or do not make some tables."""
    with closing(empty_ledger.EmptyLedger(strict=command.settings.strict)) as empty:
        command.migrations.run_on(empty)
        missing = sorted(set(tables) - set(empty.tables()))
    if missing:
        raise Refused(
            f"The migrations make no table {missing[0]}, so no scenario fits.", "Leave --scenario out."
        )


def _plan_new(command: Command) -> None:
    """Print what would be done to a ledger that is not there yet."""
    pending = [migration.name for migration in command.migrations.files]
    for name in pending:
        command.say(f"Would apply {name}")
    label = command.shown(command.settings.path)
    command.done(f"Would create {label}", database=label, pending=pending, version="")


def _seed(
    command: Command, database: Database, status: migrations.Status, scenario: seeding.Scenario | None
) -> dict[str, int]:
    """Seed a migrated ledger and note its migrations in its log; a ledger of another domain gets neither."""
    seeded: dict[str, int] = {}
    if scenario:
        missing = [table for table in ("trades", *seeding.TABLES) if not _has(status, table)]
        if missing:
            terminal.note(f"{database.label} has no table {missing[0]}, so it is not seeded.")
        else:
            seeded = fill(database, scenario) or {}
        if seeded:
            command.did(f"seeded {terminal.count(sum(seeded.values()), 'row')}")
    if _has(status, "system_logs"):
        noted = ledger.audit(database, command.settings.migrations_table)
        if noted:
            seeded = {**seeded, "system_logs": seeded.get("system_logs", 0) + noted}
    return seeded


def _has(status: migrations.Status, table: str) -> bool:
    return any(item.type == "table" and item.name == table for item in status.schema)


@ledger_task({"all": "List the tables of tools and engine as well."}, name="list")
def list_(command: Command, all: bool = False) -> None:
    """List the ledger's tables with their row counts.

    JSON: database, tables [{name, rows (null where nobody may count them),
    internal}].
    """
    with command.ledger() as database:
        tables = ledger.list_tables(database, command.settings.migrations_table, internal=all)
        if command.json:
            command.print({"database": database.label, "tables": [asdict(table) for table in tables]})
        else:
            print_table(("table", "rows"), [(table.name, table.rows) for table in tables], sys.stdout)
            terminal.note(f"{terminal.count(len(tables), 'table')} in {database.label}")


@ledger_task({})
def schema(command: Command) -> None:
    """Print the ledger's schema in one fixed form and order, fit for a diff.

    JSON: database, sql.
    """
    with command.ledger() as database:
        text = ledger.describe(database.schema(), command.settings.migrations_table)
        if command.json:
            command.print({"database": database.label, "sql": text})
        else:
            gate.write(text)


@ledger_task({"backup": "Write an export first."}, asks=True)
def reset(command: Command, backup: bool = True) -> None:
    """Wipe the ledger, after an export, and leave it migrated and empty.

    Without --confirm it asks for the database's name to be typed.

    JSON: database, version (the last migration's name), backup (its path or
    null), recovery_point (for `inv db.undo`), seconds.
    """
    with command.ledger() as database:
        files = command.migrations.files
        if command.dry:
            command.done(f"Would wipe {database.label}", database=database.label)
            return
        command.confirm(database, f"This wipes every row of {database.label}.")

        def wipe(moment: Moment) -> tuple[backups.Export | None, migrations.Status]:
            return _wipe(command, database, moment, backup=backup)

        written, status = attempts.change_as_of(database, wipe)
        if written:
            command.say(_exported(command, written))
        command.done(
            f"Wiped {database.label} and applied {terminal.count(len(files), 'migration')}",
            database=database.label,
            version=status.version,
            backup=str(written.path) if written else None,
        )


def _wipe(
    command: Command, database: Database, moment: Moment, *, backup: bool
) -> tuple[backups.Export | None, migrations.Status]:
    """Wipe a ledger as of a moment; the backup is of the very moment that the recovery point is of."""
    written = None
    if backup:
        written = backups.export(
            database,
            backups.default_path(command.settings.backups_dir),
            reserve=True,
            moment=moment,
            migrations_table=command.settings.migrations_table,
        )
    try:
        return written, ledger.reset(database, command.migrations)
    except ChangedMeanwhile:
        if written:  # It is of a moment that is gone, and the next attempt makes another.
            backups.discard(written)
            written = None
        raise
    finally:
        if written:
            said = _exported(command, written)
            command.did(said[0].lower() + said[1:])


def _exported(command: Command, written: backups.Export) -> str:
    assert written.path
    rows = terminal.count(command.rows(written.tables), "row")
    return f"Exported {rows} to {command.shown(written.path)}"
