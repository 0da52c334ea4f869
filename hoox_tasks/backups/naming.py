"""A backup and its manifest get their names together: the file first, and the manifest behind it."""

from __future__ import annotations

from pathlib import Path

from hoox_tasks import files, records
from hoox_tasks.backups import manifest as manifests
from hoox_tasks.backups.manifest import Manifest, manifest_path
from hoox_tasks.files import Draft


def name_with_manifest(draft: Draft, manifest: Manifest, *, reserve: bool) -> Path:
    """Name a backup and its manifest, both of which are on the disk by then; returns the backup's path.

    With `reserve` no file is replaced.
    """
    with files.draft(manifest_path(draft.target)) as proof:
        proof.output.write(records.encode(manifests.fields(manifest)))
        proof.finish()
        if reserve:
            written = draft.reserve(companion=manifests.SUFFIX)
        else:
            # The manifest of the file that is replaced must not speak for the new one.
            proof.target.unlink(missing_ok=True)
            written = draft.replace()
        proof.replace(manifest_path(written))
    return written
