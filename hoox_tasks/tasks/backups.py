"""`inv db.export`."""

from __future__ import annotations

import sys
from pathlib import Path

from hoox_tasks import backups, console
from hoox_tasks.errors import Refused
from hoox_tasks.tasks.command import Command, ledger_task


@ledger_task(
    {
        "output": "Write to this file instead of backups/; - is standard output.",
        "table": "Export this table only (repeatable).",
        "data": "Export the rows.",
        "schema": "Export the tables' definitions.",
        "gzip": "Compress the file.",
    },
    iterable=("table",),
)
def export(
    command: Command,
    output: str | None = None,
    table: list[str] | None = None,
    data: bool = True,
    schema: bool = True,
    gzip: bool = False,
) -> None:
    """Write the ledger as SQL to backups/db-backup-YYYY-MM-DD-HHMMSS.sql (UTC), lossless."""
    if not data and not schema:
        raise Refused("--no-data and --no-schema together leave nothing.", "Give one of them.")
    if output == "-":
        if command.json:
            raise Refused("--json and --output - would both print to standard output.", "Give one of them.")
        path = None
    elif output:
        path = Path(output).expanduser().absolute()
        gzip = gzip or path.suffix == ".gz"
    else:
        path = backups.default_path(command.settings.backups_dir, compressed=gzip)
    with command.ledger() as database:
        if command.dry:
            command.done(f"Would export {database.label} to {path or 'standard output'}; planned")
            return
        with console.progress("Exporting") as progress:
            written = backups.export(
                database,
                path,
                tables=table or (),
                schema=schema,
                data=data,
                compressed=gzip,
                progress=progress,
            )
        size = path.stat().st_size if path else 0
        if path is None:
            sys.stdout.flush()
            console.note(
                f"Exported {console.count(written.total, 'row')} of {database.label}"
                f" in {console.duration(command.seconds)}."
            )
            return
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        command.done(
            f"Exported {console.count(written.total, 'row')} of {database.label} to {shown} ({size:,} bytes)",
            database=database.label,
            path=str(path),
            bytes=size,
            tables=written.tables,
        )
