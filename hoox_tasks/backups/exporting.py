"""Exports that are checked before they get their name."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from hoox_tasks import files, sql
from hoox_tasks.backups import verification
from hoox_tasks.backups.fingerprint import contents, schema_digest
from hoox_tasks.backups.manifest import Content, Manifest, manifest_path, write_manifest
from hoox_tasks.database import dump
from hoox_tasks.database.interface import Database, Snapshot, Statement, Table
from hoox_tasks.database.schema import choose_tables, read_schema, read_tables
from hoox_tasks.values import Progress
from hoox_tasks.version import __version__


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was written: where (None for standard output), and the rows of each table.

    `one_moment` is false where somebody wrote to the ledger while it was read.
    """

    path: Path | None
    tables: dict[str, int]
    verified: bool = False
    one_moment: bool = True

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
    online: bool = False,
    verify: bool = True,
    migrations_table: str,
    progress: Progress | None = None,
) -> Export:
    """Write a ledger as SQL to `path`, or to standard output; nothing is left of a file if it fails.

    With `verify` a file is loaded before it gets its name, and compared with what was read: raises
    `HooxError` naming a table that differs. A manifest is written beside it, which names the last migration
    in `migrations_table`. Standard output is not verified, and gets no manifest.
    """
    with ExitStack() as reading:
        snapshot = reading.enter_context(database.snapshot(online=online, progress=progress))
        chosen = choose_tables(read_tables(snapshot), tables)

        def write(output: IO[bytes]) -> dict[str, int]:
            return dump.write_tables(
                snapshot,
                chosen,
                output.write,
                whole=not tables,
                schema=schema,
                data=data,
                progress=progress,
            )

        if path is None:
            with files.standard_output(compressed=compressed) as output:
                return Export(None, write(output), one_moment=snapshot.one_moment)
        whole = not tables and schema and data
        manifest: Manifest | None = None

        def check(temporary: Path) -> None:
            nonlocal manifest
            found = {name: Content(rows, "") for name, rows in counts.items()}
            if verify:
                found = _verified(snapshot, chosen, temporary, whole, schema, data, progress)
            manifest = Manifest(
                tool=f"hoox-tasks {__version__}",
                source=database.label,
                created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                bytes=temporary.stat().st_size,
                sha256=files.digest(temporary),
                schema_version=_version(snapshot, migrations_table),
                schema=schema_digest(read_schema(snapshot)),
                whole=whole,
                verified=verify,
                bookmark=snapshot.bookmark,
                one_moment=snapshot.one_moment,
                tables=found,
            )
            manifest_path(path).unlink(missing_ok=True)

        with files.written_whole(path, compressed=compressed, check=check) as output:
            counts = write(output)
    assert manifest is not None
    write_manifest(path, manifest)
    return Export(path, counts, verify, manifest.one_moment)


def _verified(
    snapshot: Snapshot,
    chosen: list[Table],
    file: Path,
    whole: bool,
    schema: bool,
    data: bool,
    progress: Progress | None,
) -> dict[str, Content]:
    """Load an export, compare it with the snapshot that it is of, and give what both hold."""
    source: dict[str, Content] = {}

    def read_source() -> None:
        if data:
            source.update(contents(snapshot, chosen, sequences=whole))

    ddl = ""
    if not schema:
        ddl = "".join(f"{table.sql};\n" for table in chosen if table.kind != "shadow")
    with verification.loaded(
        file, schema=ddl, meanwhile=read_source, sequences=whole, progress=progress
    ) as copy:
        verification.compare(copy, source, "the ledger")
        if whole:
            verification.compare_schema(copy, read_schema(snapshot), "the ledger")
    return source


def _version(snapshot: Snapshot, migrations_table: str) -> str:
    exists = Statement("SELECT 1 FROM sqlite_schema WHERE name = ?", (migrations_table,))
    if not list(snapshot.stream(exists)):
        return ""
    query = f"SELECT name FROM {sql.quote_name(migrations_table)} ORDER BY id DESC LIMIT 1"
    return "".join(
        bytes(row[0]).decode() for row in snapshot.stream(Statement(query)) if isinstance(row[0], bytes)
    )
