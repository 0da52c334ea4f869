"""`inv db.restore`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hoox_tasks.console import terminal
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import backups


@ledger_task(
    {
        "file": "The backup: SQL, compressed with gzip or not, or a SQLite database.",
        "identity": "The file of the key to an encrypted backup: age's, or an SSH key.",
        "into": "Restore into a new ledger: a file of this name, or a D1 database; this one is left alone.",
        "tables": "Restore the rows of these tables only, separated by commas.",
    },
    positional=("file",),
    asks=True,
)
def restore(
    command: Command,
    file: str,
    identity: str | None = None,
    into: str | None = None,
    tables: str | None = None,
) -> None:
    """Make the ledger what a backup holds, which is loaded and checked first.

    A backup that does not fit its manifest, was cut off, or is of a newer
    schema is refused, and nothing is touched.

    JSON: database, file, rows, version, source (the ledger it is a backup
    of), violations (rows that refer to nothing), recovery_point (for `inv
    db.undo`), seconds.
    """
    path = Path(file).expanduser().absolute()
    names = [name.strip() for name in (tables or "").split(",") if name.strip()]
    if into is not None and names:
        raise Refused("--into and --tables cannot be used together.", "Give one of them.")
    settings = command.settings
    with terminal.progress("Loading") as progress:
        key = identity_file(identity)
        checked = backups.checked(path, command.known_migrations, identity=key, progress=progress)
        with checked as backup, command.ledger(create=not command.dry and not settings.remote) as database:
            if backup.manifest is None:
                terminal.note(
                    f"{command.shown(path)} has no manifest: it was loaded, and compared with nothing."
                )
            if not into:
                _refuse_part(command.shown(path), backup, names)
                _refuse_fragment(command, database, backup, names)
            if command.dry:
                command.done(f"Would restore {command.shown(path)} into {into or database.label}; planned")
                return
            for reservation in backup.reservations:
                terminal.note(reservation)
            label = _restore(command, database, backup, names, into=into)
            held = backup.scratch.counts
            rows = command.rows({name: held[name] for name in names or held if name in held})
            other = backup.other_source(database)
            origin = f", a backup of {other}," if other else ""
            command.done(
                f"Restored {terminal.count(rows, 'row')} of {command.shown(path)}{origin} into {label}",
                database=label,
                file=str(path),
                rows=rows,
                version=backup.version,
                source=backup.manifest.source if backup.manifest else None,
                violations=backup.scratch.violations,
            )


def identity_file(identity: str | None) -> Path | None:
    return Path(identity).expanduser().absolute() if identity else None


def _restore(
    command: Command,
    database: Database,
    backup: backups.Checked,
    names: list[str],
    *,
    into: str | None,
) -> str:
    """Bring a backup into the ledger, or into a new one beside it; returns the label of that."""
    if into:
        # A new ledger takes nothing away.
        command.confirmed = True
        with closing(backups.restore_beside(database, backup, into)) as beside:
            command.did(f"made {beside.label}")
            return beside.label
    other = backup.other_source(database)
    what = f"the rows of {', '.join(names)} in {database.label}" if names else database.label
    by = f" by a backup of {other}" if other else ""
    command.confirm(database, f"This replaces {what}{by}.")
    backups.restore(database, backup, names)
    return database.label


def _refuse_part(file: str, backup: backups.Checked, names: list[str]) -> None:
    """Raise `Refused` where a backup of a part would take the place of more than it holds."""
    if backup.manifest is None or backup.manifest.whole:
        return
    held = backup.manifest.tables
    if not names:
        raise Refused(
            f"{file} holds a part of a ledger only: {', '.join(held) or 'definitions without rows'}.",
            f"Give --tables {','.join(held)} to restore that." if held else "Restore it beside, with --into.",
        )
    missing = [name for name in names if name not in held]
    if missing:
        raise Refused(
            f"{file} does not hold the rows of {missing[0]}.", f"It holds: {', '.join(held) or 'none'}."
        )


def _refuse_fragment(command: Command, database: Database, backup: backups.Checked, names: list[str]) -> None:
    """Raise `Refused` where a dump of some tables would take the others away."""
    if backup.manifest is not None or backup.version or names:
        return
    held = {item.name for item in backup.scratch.schema if item.type == "table"}
    there = {item.name for item in database.schema() if item.type == "table"}
    lost = sorted(there - held - command.known_migrations.own_tables)
    if lost:
        raise Refused(
            f"The file has no table {', '.join(lost)}, which {database.label} would lose.",
            f"Give --tables {','.join(sorted(held & there))} to restore only the rows that it has,"
            " or restore it beside, with --into."
            if held & there
            else "Restore it beside, with --into.",
        )
