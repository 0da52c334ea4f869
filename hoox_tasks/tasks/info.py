"""`inv db.info`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from hoox_tasks.console import gate, terminal
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import HooxError
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import backups, ledger, migrations
    from hoox_tasks.config import moments
    from hoox_tasks.recovery import points

_AHEAD = timedelta(minutes=5)
"""How far a backup's time may be ahead of this machine's clock."""


@ledger_task(
    {"max-backup-age": "Exit with 1 where the last verified backup is older, or none: 90min, 24h, 7d, 2w."}
)
def info(command: Command, max_backup_age: str | None = None) -> None:
    """Show the ledger at a glance: size, rows, schema, drift, last backup.

    It writes nothing. On D1 it takes four requests.

    JSON: database, address, engine, engine_version, bytes (null where nobody
    tells), rows, tables [{name, rows}], version (the last migration's name),
    pending [name], wrong [name] (migrations that are edited, missing or out
    of order), differences (objects that are not as the migrations make them),
    backup {path, taken, age (seconds), verified (when it was written),
    unchanged (since)} or null, recovery_point {id,
    created_at, cause} or null.
    """
    limit = moments.parse_span(max_backup_age) if max_backup_age else None
    with command.ledger() as database:
        found = ledger.info(database, command.migrations)
        ours = [
            backup
            for backup in backups.find(command.settings.backups_dir)
            if backup.identity == database.identity_in(command.settings.backups_dir)
            and backup.manifest
            and backup.manifest.whole
        ]
        # Whoever relies on it wants to know that it is still what it was when it was verified.
        last = backups.last_proven(ours) if limit else next(iter(ours), None)
        taken = points.history(database, command.settings.snapshots_dir, note=terminal.note)
        point = taken[0] if taken else None
        states = [(entry.name, entry.state) for entry in found.check.wrong]
        pending = [name for name, state in states if state is migrations.State.PENDING]
        wrong = [name for name, state in states if state is not migrations.State.PENDING]
        document = {
            "database": database.label,
            "address": database.address,
            "engine": found.storage.engine,
            "engine_version": found.storage.version,
            "bytes": found.storage.bytes,
            "rows": found.rows,
            "tables": [{"name": table.name, "rows": table.rows} for table in found.tables],
            "version": found.check.status.version,
            "pending": pending,
            "wrong": wrong,
            # An empty ledger differs from nothing yet: all is pending.
            "differences": len(found.check.differences) if found.check.status.schema else 0,
            "backup": _backup_document(command, last) if last else None,
            "recovery_point": {name: asdict(point)[name] for name in ("id", "created_at", "cause")}
            if point
            else None,
        }
        if command.json:
            command.print(document)
        else:
            _show(command, document)
        if limit:
            _refuse_old(database, last, limit, f"{max_backup_age}")


def _backup_document(command: Command, backup: backups.Backup) -> dict[str, Any]:
    return {
        "path": str(backup.path),
        "taken": backup.taken.isoformat(timespec="seconds"),
        "age": round(max(0.0, _age(backup).total_seconds())),
        "verified": backup.verified,
        "unchanged": backups.is_unchanged(backup),
    }


def _age(backup: backups.Backup) -> timedelta:
    return datetime.now(UTC) - backup.taken


def _show(command: Command, document: dict[str, Any]) -> None:
    """Print the document for people: a line for each fact, then the tables."""
    size, backup, point = (document[name] for name in ("bytes", "backup", "recovery_point"))
    wrong = document["wrong"]
    off = [terminal.count(len(wrong), "migration") + f" not as recorded: {', '.join(wrong)}"] if wrong else []
    if document["differences"]:
        off.append(f"{terminal.count(document['differences'], 'difference')}: `inv db.check` lists them")
    kept = "none"
    if backup:
        proof = "verified" if backup["verified"] else "not verified"
        proof = proof if backup["unchanged"] else "changed since it was written"
        kept = f"{terminal.age(backup['age'])} ago, {proof}: {backup['path']}"
    taken = "none"
    if point:
        moment = point["created_at"][:19].replace("T", " ")
        taken = f"{point['id']}, {moment} UTC, before {point['cause']}"
    version = f" {document['engine_version']}" if document["engine_version"] else ""
    lines = {
        "ledger": document["address"],
        "engine": f"{document['engine']}{version}",
        "size": "not known" if size is None else f"{size:,} bytes",
        "schema": document["version"] or "without history",
        "pending": ", ".join(document["pending"]) or "none",
        "drift": "; ".join(off) or "none",
        "last backup": kept,
        "recovery point": taken,
        "rows": f"{document['rows']:,} in {terminal.count(len(document['tables']), 'table')}",
    }
    lines |= {
        f"  {table['name']}": "not known" if table["rows"] is None else f"{table['rows']:,}"
        for table in document["tables"]
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        command.say(gate.printable(f"{name:<{width}}  {text}"))


def _refuse_old(database: Database, last: backups.Backup | None, limit: timedelta, wanted: str) -> None:
    """Raise `HooxError` where the last verified backup is older than it may be, or there is none."""
    remedy = "Make one with `inv db.export`."
    if last is None:
        raise HooxError(f"There is no verified backup of {database.label}.", remedy)
    age = _age(last)
    if age < -_AHEAD:
        raise HooxError(
            f"The last verified backup of {database.label} says it is of {last.taken:%Y-%m-%d %H:%M:%S} UTC,"
            " which is to come.",
            "Set the clock right, and make another with `inv db.export`.",
        )
    if age > limit:
        raise HooxError(
            f"The last verified backup of {database.label} is {terminal.age(age.total_seconds())} old,"
            f" which is more than {wanted}.",
            remedy,
        )
