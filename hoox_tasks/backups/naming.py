"""A backup and its manifest get their names together: the file first, and the manifest behind it."""

from __future__ import annotations

from pathlib import Path

from hoox_tasks import files, interruptions, records
from hoox_tasks.backups import manifest as manifests
from hoox_tasks.backups.manifest import Manifest, manifest_path
from hoox_tasks.errors import Refused
from hoox_tasks.files import Draft
from hoox_tasks.records import Damaged

_SQLITE = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")
"""Ends of the names of what SQLite keeps beside a database."""


def check_target(path: Path, points: Path) -> None:
    """Raise `Refused` where an export to `path` would take the place of something that is no export.

    Those are a SQLite database and what lies beside it, a file in the folder of recovery points, and, as the
    manifest, a file that is none.
    """
    beside = next(
        (path.with_name(path.name.removesuffix(end)) for end in _BESIDE if path.name.endswith(end)), path
    )
    for database in {path, beside}:
        if _is_database(database):
            raise Refused(
                f"{path} belongs to a SQLite database, which an export would destroy.", "Name another file."
            )
    if path.resolve().is_relative_to(points.resolve()):
        raise Refused(f"{path} lies among the recovery points.", "Name a file elsewhere.")
    proof = manifest_path(path)
    if proof.exists() or proof.is_symlink():
        try:
            manifests.parse(records.read(proof))
        except (Damaged, OSError):
            raise Refused(
                f"{proof} is no manifest of ours, and would be replaced by one.", "Name another file."
            ) from None


def _is_database(path: Path) -> bool:
    if not path.is_file():  # To open a pipe would wait for somebody who writes.
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def name_with_manifest(draft: Draft, manifest: Manifest, *, reserve: bool, at_most: int = 0o7777) -> Path:
    """Name a backup and its manifest, both of which are on the disk by then; returns the backup's path.

    A file that it replaces leaves it its mode, but no right that is not in `at_most`. With `reserve` no file
    is replaced. An interruption leaves both of them or, of new ones, neither.
    """
    with files.draft(manifest_path(draft.target)) as proof:
        proof.output.write(records.encode(manifests.fields(manifest)))
        proof.finish()
        written = None
        try:
            with interruptions.held():
                if reserve:
                    written = draft.reserve(companion=manifests.SUFFIX)
                else:
                    # The manifest of the file that is replaced must not speak for the new one.
                    proof.target.unlink(missing_ok=True)
                    written = draft.replace(at_most=at_most)
                proof.replace(manifest_path(written), at_most=at_most)
            return written
        except KeyboardInterrupt:
            if reserve and written is not None:
                manifest_path(written).unlink(missing_ok=True)
                written.unlink(missing_ok=True)
            raise
