"""The backups in a folder: which there are, and which may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hoox_tasks.backups.manifest import Manifest, manifest_path, read_manifest
from hoox_tasks.errors import Refused


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup in the folder; `taken` is UTC. `manifest` is None where there is none that can be read."""

    path: Path
    taken: datetime
    bytes: int
    manifest: Manifest | None

    @property
    def verified(self) -> bool:
        """Whether it was loaded and compared with its source when it was written, and is whole."""
        manifest = self.manifest
        return (
            manifest is not None
            and (manifest.verified and manifest.whole and manifest.one_moment)
            and self.bytes == manifest.bytes
        )


def find(folder: Path) -> list[Backup]:
    """Give the backups in `folder`, the newest first."""
    found = []
    for path in [*folder.glob("*.sql"), *folder.glob("*.sql.gz")]:
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            manifest = read_manifest(path)
        except Refused:
            manifest = None
        status = path.stat()
        taken = datetime.fromtimestamp(status.st_mtime, UTC)
        if manifest is not None:
            taken = datetime.fromisoformat(manifest.created_at)
        found.append(Backup(path, taken, status.st_size, manifest))
    return sorted(found, key=lambda backup: (backup.taken, backup.path.name), reverse=True)


def surplus(
    backups: Sequence[Backup],
    *,
    keep: int | None = None,
    days: float | None = None,
    now: datetime | None = None,
) -> list[Backup]:
    """Choose what may go: all but the newest `keep`, and all older than `days`.

    `backups` are newest first. The last verified one of each source is never chosen.
    """
    oldest = (now or datetime.now(UTC)) - timedelta(days=days) if days is not None else None
    last: dict[str, Backup] = {}
    for backup in backups:
        if backup.verified and backup.manifest:
            last.setdefault(backup.manifest.source, backup)
    return [
        backup
        for place, backup in enumerate(backups)
        if (keep is not None and place >= keep) or (oldest is not None and backup.taken < oldest)
        if backup not in last.values()
    ]


def remove(backups: Sequence[Backup]) -> None:
    """Delete backups with their manifests."""
    for backup in backups:
        backup.path.unlink(missing_ok=True)
        manifest_path(backup.path).unlink(missing_ok=True)
