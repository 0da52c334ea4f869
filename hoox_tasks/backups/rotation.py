"""The backups in a folder: which there are, and which may go.

Only what this program wrote may go: a file with a manifest that speaks of it and names its ledger. Backups
are told apart by the identity of their ledger, and ordered by the sequence in their manifests; the clock
says how old they are, but not which of them is newer.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hoox_tasks import files
from hoox_tasks.backups.manifest import Manifest, manifest_path, milliseconds, read_manifest
from hoox_tasks.errors import Refused

_PATTERNS = ("*.sql", "*.sql.gz", "*.sql.age", "*.sql.gz.age")
_HIGHEST = 2**62
"""A sequence from here on was not written by this program."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup in the folder; `taken` is UTC.

    `manifest` is None where there is none that can be read; `problem` says, in a sentence, why not.
    """

    path: Path
    taken: datetime
    bytes: int
    manifest: Manifest | None
    problem: str = ""

    @property
    def verified(self) -> bool:
        """Whether it was loaded and compared with its source when it was written, and is whole.

        Of what it is now, only the size is looked at; `is_unchanged` reads it.
        """
        manifest = self.manifest
        return (
            manifest is not None
            and (manifest.verified and manifest.whole and manifest.one_moment)
            and self.bytes == manifest.bytes
        )

    @property
    def identity(self) -> str:
        """The identity of the ledger whose backup it is; empty where it does not say so itself.

        That is so of other people's files, of those that were changed since they were written, of links, and
        of what versions wrote that knew no identities.
        """
        manifest = self.manifest
        if manifest is None or self.bytes != manifest.bytes or self.path.is_symlink():
            return ""
        return manifest.identity

    @property
    def written(self) -> tuple[object, ...]:
        """By what an export is told from all others, whatever its name is now."""
        manifest = self.manifest
        return (manifest.sequence, manifest.created_at, manifest.sha256) if manifest else (self.path,)

    @property
    def order(self) -> tuple[int, str]:
        """What backups are sorted by: the later ones have the greater."""
        sequence = self.manifest.sequence if self.manifest else milliseconds(self.taken)
        return sequence, self.path.name


def find(folder: Path) -> list[Backup]:
    """Return the backups in `folder`, the newest first.

    Raises `Refused` where the folder cannot be looked into, `PermissionError` for a file that cannot.
    """
    found = [_backup(path) for pattern in _PATTERNS for path in files.listed(folder, pattern)]
    return sorted(filter(None, found), key=lambda backup: backup.order, reverse=True)


def _backup(path: Path) -> Backup | None:
    """Describe a file; None where it is gone, hidden or no file."""
    if path.name.startswith("."):
        return None
    manifest, problem = None, ""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        manifest = read_manifest(path)
    except Refused as error:
        problem = error.problem
    except PermissionError:
        raise
    except OSError:  # Removed meanwhile, by another task's rotation.
        return None
    taken = manifest.taken if manifest else datetime.fromtimestamp(status.st_mtime, UTC)
    return Backup(path, taken, status.st_size, manifest, problem)


def next_sequence(folder: Path) -> int:
    """Return the sequence of a backup that is about to be written: higher than that of every other there."""
    sequences = []
    with suppress(Refused, PermissionError):  # A backup can be written all the same, by the clock.
        sequences = [backup.manifest.sequence for backup in find(folder) if backup.manifest]
    last = max((sequence for sequence in sequences if sequence < _HIGHEST), default=0)
    return max(last + 1, milliseconds(datetime.now(UTC)))


def surplus(
    backups: Iterable[Backup],
    *,
    identity: str | None = None,
    keep: int | None = None,
    days: float | None = None,
    spare: Collection[Path] = (),
    now: datetime | None = None,
) -> list[Backup]:
    """Choose what may go: of each ledger all but the newest `keep`, and all older than `days`.

    `backups` are newest first. With `identity`, only those of that ledger go. Never chosen are: those in
    `spare`, the last one of each ledger that is verified and not damaged since, whatever `identity` is not
    known of, and files of which there are copies by other names, since only one of them was written by us.
    """
    found = list(backups)
    # A copy that somebody made by hand has the manifest of what it is a copy of: which of the two is ours?
    copies = Counter(backup.written for backup in found)
    ours: dict[str, list[Backup]] = {}
    for backup in found:
        if backup.identity and identity in (None, backup.identity) and copies[backup.written] == 1:
            ours.setdefault(backup.identity, []).append(backup)
    oldest = (now or datetime.now(UTC)) - timedelta(days=days) if days is not None else None
    chosen = []
    for of_one_ledger in ours.values():
        candidates = [
            backup
            for place, backup in enumerate(of_one_ledger)
            if (keep is not None and place >= keep) or (oldest is not None and backup.taken < oldest)
        ]
        if candidates:
            kept = last_proven(of_one_ledger)
            chosen += [
                backup for backup in candidates if backup is not kept and not _is_among(backup.path, spare)
            ]
    return chosen


def remove(backups: Sequence[Backup]) -> None:
    """Delete backups with their manifests; what took the place of one since stays."""
    for backup in backups:
        if _backup(backup.path) != backup:
            continue
        backup.path.unlink(missing_ok=True)
        manifest_path(backup.path).unlink(missing_ok=True)


def last_proven(backups: Iterable[Backup]) -> Backup | None:
    """Return the newest backup that was verified, and is what it was then."""
    return next((backup for backup in backups if backup.verified and is_unchanged(backup)), None)


def is_unchanged(backup: Backup) -> bool:
    """Whether the file is what its manifest says, to the last byte: it is read whole."""
    with suppress(OSError):
        return backup.manifest is not None and files.digest(backup.path) == backup.manifest.sha256
    return False


def _is_among(path: Path, paths: Collection[Path]) -> bool:
    """Whether a file is one of these, by whatever names."""
    for other in paths:
        with suppress(OSError):
            if path.samefile(other):
                return True
    return False
