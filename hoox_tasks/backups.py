"""Named exports of a ledger, in a folder of the workspace."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hoox_tasks import dump, files
from hoox_tasks.database import Database
from hoox_tasks.values import Progress


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was written: where (None for standard output), and the rows of each table."""

    path: Path | None
    tables: dict[str, int]

    @property
    def total(self) -> int:
        """All rows together."""
        return sum(self.tables.values())


def default_path(folder: Path, *, compressed: bool = False) -> Path:
    """Give the path of an export taken now: `db-backup-YYYY-MM-DD-HHMMSS.sql` in UTC."""
    return files.free_path(folder / files.backup_name(suffix=".sql.gz" if compressed else ".sql"))


def export(
    database: Database,
    path: Path | None,
    *,
    tables: Collection[str] = (),
    schema: bool = True,
    data: bool = True,
    compressed: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Write a ledger as SQL to `path`, or to standard output; nothing is left of a file if it fails."""
    opened = (
        files.written_whole(path, compressed=compressed)
        if path
        else files.standard_output(compressed=compressed)
    )
    with opened as output:
        counts = dump.dump(database, output.write, tables=tables, schema=schema, data=data, progress=progress)
    return Export(path, counts)
