"""Migrate the ledger `argv[1]` with the folder `argv[2]` once a line arrives; print what was applied."""

from __future__ import annotations

import sys
from pathlib import Path

from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Migrations

database = LocalDatabase(Path(sys.argv[1]), create=True, busy_timeout=30)
migrations = Migrations.read(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
applied, _ = migrations.apply(database)
print(" ".join(migration.name for migration in applied))
