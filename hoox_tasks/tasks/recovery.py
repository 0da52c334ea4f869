"""`inv db.undo` and `inv db.history`."""

from __future__ import annotations

import sys
from dataclasses import asdict

from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_table
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks.recovery import points
    from hoox_tasks.recovery import undo as undoing


@ledger_task(
    {
        "to": "Go back to this recovery point; `inv db.history` lists them. Without it: the last one.",
    },
    asks=True,
)
def undo(command: Command, to: str | None = None) -> None:
    """Bring the ledger back to a recovery point, after telling what changed since.

    The ledger as it is becomes a recovery point itself, so that undo can be
    undone.

    JSON: database, to, changes [{table, now, then}], recovery_point, seconds.
    """
    settings = command.settings
    with command.ledger() as database:
        point = points.find(database, settings.snapshots_dir, to, note=terminal.note)
        points.check(settings.snapshots_dir, point)
        changes = undoing.find_changes(database, point)
        since = f"{point.time} UTC (before {point.cause})"
        if command.dry:
            command.done(f"Would bring {database.label} back to {since}; planned", to=point.id)
            return
        if not command.json:
            terminal.note(
                f"Since {since}, rows:"
                if changes
                else f"Since {since} no table gained or lost rows; what became of their values is not told."
            )
            for change in changes:
                terminal.note(f"  {change.table}: {_number(change.then)} then, {_number(change.now)} now")
        command.confirm(
            database, f"This brings {database.label} back to {since}; what was written since is lost."
        )
        command.cause = f"undo to {point.id}"
        undoing.undo_to(database, settings.snapshots_dir, point)
        command.done(
            f"Brought {database.label} back to {since}",
            database=database.label,
            to=point.id,
            changes=[asdict(change) for change in changes],
        )


def _number(rows: int | None) -> str:
    return "none" if rows is None else f"{rows:,}"


@ledger_task({})
def history(command: Command) -> None:
    """List the recovery points of the ledger, the newest first, and their causes.

    JSON: database, points [{id, created_at, cause, ledger, mark, tables
    {table: rows}, sha256, identity}].
    """
    with command.ledger() as database:
        found = points.history(database, command.settings.snapshots_dir, note=terminal.note)
        if command.json:
            command.print({"database": database.label, "points": [asdict(point) for point in found]})
            return
        rows = [(point.id, point.time, point.cause, command.rows(point.tables)) for point in found]
        print_table(("id", "taken (UTC)", "before", "rows"), rows, sys.stdout)
        terminal.note(f"{terminal.count(len(found), 'recovery point')} of {database.label}")
