"""Migrations: find the files, compare them with the history, apply what is pending, look again.

The history is wrangler's own table with wrangler's names and order, so a team may mix both tools on one
ledger. What wrangler does not do is in a table beside it and in guards: a checksum for every migration,
and statements inside each migration's own transaction that make all of it fail when the history is not
what was planned against, or when rows would be lost (a table rebuild fires ON DELETE CASCADE, and on D1
nothing can switch that off).
"""

from __future__ import annotations

from hoox_tasks.migrations.adopt import Adoption, Verdict
from hoox_tasks.migrations.apply import Applied, MigrationFailed, try_on
from hoox_tasks.migrations.consent import Consent, consent
from hoox_tasks.migrations.down import DOWN
from hoox_tasks.migrations.drift import Check, Difference
from hoox_tasks.migrations.effects import Effect
from hoox_tasks.migrations.files import (
    Migration,
    copy,
    create,
    discover,
    file_name,
    find,
    order,
    passed_over,
)
from hoox_tasks.migrations.history import CHECKSUMS, Entry, State, Status, history_tables
from hoox_tasks.migrations.migrations import NO_CONSENT, Migrations
from hoox_tasks.migrations.rollback import Rollback, RolledBack

__all__ = [
    "CHECKSUMS",
    "DOWN",
    "NO_CONSENT",
    "Adoption",
    "Applied",
    "Check",
    "Consent",
    "Difference",
    "Effect",
    "Entry",
    "Migration",
    "MigrationFailed",
    "Migrations",
    "Rollback",
    "RolledBack",
    "State",
    "Status",
    "Verdict",
    "consent",
    "copy",
    "create",
    "discover",
    "file_name",
    "find",
    "history_tables",
    "order",
    "passed_over",
    "try_on",
]
