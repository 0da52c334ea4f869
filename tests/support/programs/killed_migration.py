"""Migrate the ledger `argv[1]` with the folder `argv[2]`, and be killed after `argv[3]` looks at the progress."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Migrations

looks = itertools.count(1)


def look() -> None:
    """Count a look, and die of the last one."""
    if next(looks) >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)


database = LocalDatabase(Path(sys.argv[1]))
database.connection.set_progress_handler(look, 50)
Migrations.read(Path(sys.argv[2])).apply(database)
