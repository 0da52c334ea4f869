"""`inv db.undo` and `inv db.history`."""

from __future__ import annotations

import sys
from dataclasses import asdict

from hoox_tasks import console
from hoox_tasks.tasks.command import Command, ledger_task


@ledger_task(
    {
        "to": "Go back to this recovery point; `inv db.history` lists them. Without it: the last one.",
        "confirm": "Do it without asking.",
    }
)
def undo(command: Command, to: str | None = None, confirm: bool = False) -> None:
    """Bring the ledger back to a recovery point, after telling what changed since.

    The ledger as it is becomes a recovery point itself, so that undo can be
    undone.

    JSON: database, to, changes [{table, now, then}], recovery_point, seconds.
    """
    from hoox_tasks import recovery

    settings = command.settings
    with command.ledger() as database:
        point = recovery.find(database, settings.snapshots_dir, to)
        recovery.check(settings.snapshots_dir, point)
        changes = recovery.changes(database, point)
        since = f"{point.created_at} (before {point.cause})"
        if command.dry:
            command.done(f"Would bring {database.label} back to {since}; planned", to=point.id)
            return
        if not command.json:
            console.note(
                f"Since {since}, rows:"
                if changes
                else f"Since {since} no table gained or lost rows; what became of their values is not told."
            )
            for change in changes:
                console.note(f"  {change.table}: {_number(change.then)} then, {_number(change.now)} now")
        console.confirm(
            database.name,
            f"This brings {database.label} back to {since}; what was written since is lost.",
            confirmed=confirm,
        )
        command.way_back = recovery.undo(database, settings.snapshots_dir, point)
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
    {table: rows}, sha256}].
    """
    from hoox_tasks import recovery

    with command.ledger() as database:
        points = recovery.history(database, command.settings.snapshots_dir)
        if command.json:
            console.document({"database": database.label, "points": [asdict(point) for point in points]})
            return
        rows = [(one.id, one.created_at, one.cause, sum(one.tables.values())) for one in points]
        console.table(("id", "taken (UTC)", "before", "rows"), rows, sys.stdout)
        console.note(f"{console.count(len(points), 'recovery point')} of {database.label}")
