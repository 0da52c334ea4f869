"""A ledger brought to what a backup holds: loaded and checked first, then in one step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hoox_tasks import sql
from hoox_tasks.backups import encryption, verification
from hoox_tasks.backups.fingerprint import contents
from hoox_tasks.backups.manifest import Content, Manifest
from hoox_tasks.database.checksum import Checksum, checksums
from hoox_tasks.database.interface import Database
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.schema import read_tables
from hoox_tasks.errors import Refused, RemoteError
from hoox_tasks.migrations import CHECKSUMS, Migrations, order
from hoox_tasks.migrations.files import same_name
from hoox_tasks.values import Progress


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that was loaded and found whole: its scratch file, manifest and last migration.

    `unknown` are the recorded migrations that are not among those at hand.
    """

    scratch: verification.Scratch
    manifest: Manifest | None
    version: str
    unknown: tuple[str, ...] = ()

    @property
    def reservations(self) -> list[str]:
        """What has to be known of the backup before it is relied on, in sentences."""
        found = []
        if self.manifest is not None and not self.manifest.one_moment:
            found.append(f"It is not of one moment: {self.manifest.source} was written to while it was read.")
        if self.unknown:
            found.append(f"Migrations in it are not among yours: {', '.join(self.unknown)}.")
        if self.scratch.violations:
            found.append(f"Rows in it refer to others that are not there: {self.scratch.violations:,}.")
        return found

    def other_source(self, database: Database) -> str:
        """Which ledger the backup is of, where that is another than `database`; else, or not known, empty."""
        manifest = self.manifest
        if manifest is None:
            return ""
        if manifest.identity:
            # A backup may have been moved into the workspace, or out of it.
            own = manifest.identity in {database.identity, database.identity_in(Path("/"))}
            return "" if own and not _is_elsewhere(manifest.place, database) else manifest.source
        return "" if manifest.source == database.label else manifest.source


def _is_elsewhere(place: str, database: Database) -> bool:
    """Whether a ledger of another workspace still lies where a backup was taken of one with this identity."""
    path = Path(place)
    with suppress(OSError):  # The place of a ledger on D1 is no path.
        return path.is_absolute() and path.is_file() and not path.samefile(database.address)
    return False


@contextmanager
def checked(
    source: Path,
    migrations: Migrations,
    *,
    label: str = "",
    identity: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[Checked]:
    """Load a backup for the length of a block; nothing but a scratch file is written.

    `label` is what to call it instead of by its path, `identity` the file of the key to an encrypted one.

    Raises `Refused` or `HooxError` where the file does not fit its manifest, was cut off or does not load,
    where it is of a newer schema than `migrations`, or of something else than a ledger.
    """
    outside = verification.check_file(source)
    whole = outside is None or outside.whole
    with (
        encryption.opened(source, outside, identity) as (plain, manifest),
        verification.loaded(plain, sequences=whole, progress=progress) as scratch,
    ):
        if manifest is not None and manifest.verified:
            verification.check_content(scratch, manifest)
        history = _history(scratch.path, migrations.table)
        if manifest is None and not history:
            _refuse_other(label or str(source), scratch, migrations)
        unknown = _unknown(history, migrations)
        last = max((order(migration.name) for migration in migrations.files), default=())
        if unknown and migrations.files and order(unknown[-1]) > last:
            raise Refused(
                f"{label or source} is of a newer schema: the migration {unknown[-1]} is not among yours.",
                "Bring the migrations up to date, then do it again.",
            )
        yield Checked(scratch, manifest, history[-1][0] if history else "", tuple(unknown))


def _refuse_other(label: str, scratch: verification.Scratch, migrations: Migrations) -> None:
    """Raise `Refused` where a file that says nothing of itself has nothing of what migrations make."""
    known = migrations.tables(scratch.schema)
    if known and not known & {item.name for item in scratch.schema if item.type == "table"}:
        raise Refused(
            f"{label} is no backup of a ledger: it has none of the tables {', '.join(sorted(known))}.",
            "Name another file.",
        )


def _unknown(history: Sequence[tuple[str, str]], migrations: Migrations) -> list[str]:
    """Give the recorded names, each with its checksum or none, that no migration has, nor had."""
    present = {same_name(migration.name) for migration in migrations.files}
    return [
        name
        for name, checksum in history
        if same_name(name) not in present
        and not any(migration.matches(checksum) for migration in migrations.files)
    ]


def restore(database: Database, backup: Checked, tables: Collection[str] = ()) -> None:
    """Make the ledger what a checked backup holds, all or nothing; with `tables`, only their rows."""
    database.replace(backup.scratch.path, tables)


def restore_beside(database: Database, backup: Checked, name: str) -> Database:
    """Make a new ledger `name` beside another, of a checked backup.

    If that fails nothing is left of it, or the error says that something may be.
    """
    beside = database.beside(name)
    try:
        beside.replace(backup.scratch.path)
    except BaseException as error:
        beside.remove()
        if isinstance(error, RemoteError) and error.ambiguous:
            raise RemoteError(error.problem, f"Nothing is left of {name}: run it again.") from None
        raise
    return beside


def compare_with(backup: Checked, database: Database, *, exact: bool = False) -> None:
    """Raise `HooxError` where a ledger does not hold now what a backup does.

    Compares the definitions, rows and checksums (see `database.checksum`), which takes a few requests; with
    `exact` every cell, from a snapshot of the ledger. Only then are the two known to be equal.
    """
    whole = backup.manifest is None or backup.manifest.whole
    schema = database.schema()
    if whole:
        verification.compare_schema(backup.scratch, schema, database.label)
    if exact:
        with database.snapshot() as snapshot:
            tables = read_tables(snapshot)
            if not whole:
                tables = [table for table in tables if table.name in backup.scratch.tables]
            found = contents(snapshot, tables, sequences=whole)
        verification.compare(backup.scratch, found, database.label)
        return
    present = {item.name for item in schema}
    with closing(LocalDatabase(backup.scratch.path, strict=False)) as copy:
        with copy.snapshot() as snapshot:
            tables = read_tables(snapshot)
        here = checksums(copy, tables)
        here = {name: found for name, found in here.items() if name in backup.scratch.tables}
    there = checksums(database, [table for table in tables if table.name in present])
    verification.compare(replace(backup.scratch, tables=_contents(here)), _contents(there), database.label)


def _contents(found: dict[str, Checksum]) -> dict[str, Content]:
    return {name: Content(checksum.rows, str(checksum.sums)) for name, checksum in found.items()}


def _history(scratch: Path, table: str) -> list[tuple[str, str]]:
    """Give the recorded names, each with the checksum of its file, empty where it is not known."""
    with closing(LocalDatabase(scratch, strict=False)) as database:
        tables = {item.name for item in database.schema() if item.type == "table"}
        if table not in tables:
            return []
        known: dict[str, str] = {}
        if CHECKSUMS in tables:
            known = dict(database.connection.execute(f"SELECT name, sha256 FROM {CHECKSUMS}").fetchall())
        query = f"SELECT name FROM {sql.quote_name(table)} ORDER BY id"
        names = [str(row[0]) for row in database.connection.execute(query)]
        return [(name, str(known.get(name, ""))) for name in names]
