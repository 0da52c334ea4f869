"""Exports that are checked before they get their name."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hoox_tasks import files, sql
from hoox_tasks.backups import rotation, verification
from hoox_tasks.backups.fingerprint import contents, schema_digest
from hoox_tasks.backups.manifest import Content, Manifest, manifest_path
from hoox_tasks.backups.naming import name_with_manifest
from hoox_tasks.database import dump
from hoox_tasks.database.interface import Database, Moment, Snapshot, Statement, Table
from hoox_tasks.database.schema import choose_tables, read_schema, read_tables
from hoox_tasks.errors import Refused
from hoox_tasks.files import Draft
from hoox_tasks.values import Progress
from hoox_tasks.version import __version__

_AHEAD = 1024 * 1024
"""Bytes that are written before the one who loads them meanwhile is told."""
_NAME_BYTES = 255
"""How long a file's name may be on the usual file systems."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was written: where (None for standard output), and the rows of each table.

    `one_moment` is false where somebody wrote to the ledger while it was read. `dangling` are the rows that
    refer to rows which are not there, where the export was verified.
    """

    path: Path | None
    tables: dict[str, int]
    verified: bool = False
    one_moment: bool = True
    dangling: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a ledger is exported: some tables or `all_tables`, their definitions, their rows."""

    tables: list[Table]
    all_tables: bool
    schema: bool
    data: bool

    @property
    def whole(self) -> bool:
        """Whether the ledger can be made again of it."""
        return self.all_tables and self.schema and self.data

    @property
    def definitions(self) -> str:
        """The definitions that the export itself does not have, but needs to be loaded."""
        if self.schema:
            return ""
        return "".join(f"{table.sql};\n" for table in self.tables if table.kind != "shadow")


@dataclass(frozen=True, slots=True)
class _Content:
    """What is known of an export's content: that of each table, and the rows that refer to nothing."""

    tables: dict[str, Content]
    dangling: int = 0


def default_path(folder: Path, *, compressed: bool = False) -> Path:
    """Return the path of an export taken now: `db-backup-YYYY-MM-DD-HHMMSS.sql` in UTC.

    Somebody else may take the name meanwhile: `export` it with `reserve`.
    """
    return folder / files.backup_name(suffix=".sql.gz" if compressed else ".sql")


def export(
    database: Database,
    path: Path | None,
    *,
    reserve: bool = False,
    moment: Moment | None = None,
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

    A file that is there already is replaced, and keeps its mode as far as the ledger has it too. With
    `reserve` no file is: the export gets the next name like `path` that is free, which the result tells, and
    its folder is made. With `moment`, which must be held, it is the ledger of that moment.

    With `verify` a file is loaded before it gets its name, and compared with what was read: raises
    `HooxError` naming a table that differs. A manifest is written beside it, which names the last migration
    in `migrations_table`. Standard output is not verified, and gets no manifest.
    """
    reading = (
        database.snapshot(online=online, progress=progress)
        if moment is None
        else moment.snapshot(progress=progress)
    )
    with reading as snapshot:
        part = _Part(choose_tables(read_tables(snapshot), tables), not tables, schema, data)
        if path is None:
            with files.standard_output(compressed=compressed) as output:
                counts = _write(snapshot, part, output.write, progress)
            return Export(None, counts, one_moment=snapshot.one_moment)
        with (
            _draft(path, reserve=reserve, compressed=compressed) as draft,
            verification.loader(draft.path, schema=part.definitions) as loader,
        ):
            write = _followed(draft, loader) if verify else draft.output.write
            counts = _write(snapshot, part, write, progress)
            draft.finish()
            if verify:
                content = _verified(snapshot, part, draft.path, loader, progress)
            else:
                content = _Content({name: Content(rows, "") for name, rows in counts.items()})
            manifest = Manifest(
                tool=f"hoox-tasks {__version__}",
                source=database.label,
                created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                bytes=draft.path.stat().st_size,
                sha256=files.digest(draft.path),
                schema_version=_version(snapshot, migrations_table),
                schema=schema_digest(read_schema(snapshot)),
                whole=part.whole,
                verified=verify,
                bookmark=snapshot.bookmark,
                one_moment=snapshot.one_moment,
                tables=content.tables,
                identity=database.identity_in(draft.target.parent),
                place=database.address,
                sequence=rotation.next_sequence(draft.target.parent),
            )
            written = name_with_manifest(draft, manifest, reserve=reserve, at_most=database.mode)
    return Export(written, counts, verify, manifest.one_moment, content.dangling)


def discard(written: Export) -> None:
    """Remove an export that this run has written, with its manifest."""
    if written.path is not None:
        written.path.unlink(missing_ok=True)
        manifest_path(written.path).unlink(missing_ok=True)


def _draft(path: Path, *, reserve: bool, compressed: bool) -> AbstractContextManager[Draft]:
    """Begin the file of an export; raises `Refused` where it cannot be written."""
    if len(os.fsencode(manifest_path(path).name)) > _NAME_BYTES:
        raise Refused(f"The name {path.name} is too long.", "Give a shorter one with --output.")
    if reserve:
        try:
            files.make_ignored_folder(path.parent)
        except OSError as error:
            raise Refused(
                f"The folder {path.parent} cannot be made: {error.strerror}.",
                "Choose another with hoox.backups.",
            ) from error
    return files.draft(path, compressed=compressed)


def _followed(draft: Draft, loader: verification.Loader) -> dump.Write:
    """Write to a draft so that it is loaded meanwhile: from the file itself, some way behind."""
    ahead = 0

    def write(text: bytes) -> None:
        nonlocal ahead
        draft.output.write(text)
        ahead += len(text)
        if ahead >= _AHEAD:
            ahead = 0
            draft.flush()
            loader.tell()

    return write


def _write(snapshot: Snapshot, part: _Part, write: dump.Write, progress: Progress | None) -> dict[str, int]:
    """Write a part of a ledger as SQL; returns the rows of each table."""
    return dump.write_tables(
        snapshot,
        part.tables,
        write,
        whole=part.all_tables,
        schema=part.schema,
        data=part.data,
        progress=progress,
    )


def _verified(
    snapshot: Snapshot, part: _Part, file: Path, loader: verification.Loader, progress: Progress | None
) -> _Content:
    """Load an export, compare it with the snapshot that it is of, and return what both hold."""
    source: dict[str, Content] = {}

    def read_source() -> None:
        if part.data:
            source.update(contents(snapshot, part.tables, sequences=part.all_tables))

    with verification.loaded(
        file,
        meanwhile=read_source,
        sequences=part.whole,
        own=True,
        by=loader,
        progress=progress,
    ) as copy:
        verification.compare(copy, source, "the ledger")
        if part.whole:
            verification.compare_schema(copy, read_schema(snapshot), "the ledger")
        return _Content(source, copy.violations)


def _version(snapshot: Snapshot, migrations_table: str) -> str:
    exists = Statement("SELECT 1 FROM sqlite_schema WHERE name = ?", (migrations_table,))
    if not list(snapshot.stream(exists)):
        return ""
    query = f"SELECT name FROM {sql.quote_name(migrations_table)} ORDER BY id DESC LIMIT 1"
    return "".join(
        bytes(row[0]).decode() for row in snapshot.stream(Statement(query)) if isinstance(row[0], bytes)
    )
