"""Migrations: find the files, compare them with the history, apply what is pending, look again.

The history is wrangler's own table with wrangler's names and order, so a team may mix both tools on one
ledger. What wrangler does not do is in a table beside it and in guards: a checksum for every migration,
and statements inside each migration's own transaction that make all of it fail when the history is not
what was planned against, or when rows would be lost (a table rebuild fires ON DELETE CASCADE, and on D1
nothing can switch that off).
"""

from __future__ import annotations

from hoox_tasks.migrations.apply import Applied, MigrationFailed, apply, try_on
from hoox_tasks.migrations.drift import Difference, find_drift
from hoox_tasks.migrations.files import Migration, copy, create, discover, find, order
from hoox_tasks.migrations.history import (
    CHECKSUMS,
    Entry,
    State,
    Status,
    history_tables,
    mark,
    plan,
    record,
    refuse_transactions,
    status,
)
from hoox_tasks.migrations.model import Model, build_schema, read_schema

__all__ = [
    "CHECKSUMS",
    "Applied",
    "Difference",
    "Entry",
    "Migration",
    "MigrationFailed",
    "Model",
    "State",
    "Status",
    "apply",
    "build_schema",
    "copy",
    "create",
    "discover",
    "find",
    "find_drift",
    "history_tables",
    "mark",
    "order",
    "plan",
    "read_schema",
    "record",
    "refuse_transactions",
    "status",
    "try_on",
]
