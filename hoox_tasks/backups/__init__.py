"""Backups that are proven: exports checked before they get their name, restored after they were checked.

A backup in any of the formats that `database.load` reads is loaded into a scratch SQLite file, checked and
fingerprinted there (`verification`) before anything else happens.
"""

from __future__ import annotations

from hoox_tasks.backups import difference
from hoox_tasks.backups.encryption import check_recipients, is_encrypted, seal, seal_to
from hoox_tasks.backups.exporting import Export, default_path, discard, export
from hoox_tasks.backups.manifest import Content, Manifest, manifest_path, read_manifest
from hoox_tasks.backups.naming import check_target
from hoox_tasks.backups.restoring import Checked, checked, compare_with, restore, restore_beside
from hoox_tasks.backups.rotation import Backup, find, is_unchanged, last_proven, remove, surplus

__all__ = [
    "Backup",
    "Checked",
    "Content",
    "Export",
    "Manifest",
    "check_recipients",
    "check_target",
    "checked",
    "compare_with",
    "default_path",
    "difference",
    "discard",
    "export",
    "find",
    "is_encrypted",
    "is_unchanged",
    "last_proven",
    "manifest_path",
    "read_manifest",
    "remove",
    "restore",
    "restore_beside",
    "seal",
    "seal_to",
    "surplus",
]
