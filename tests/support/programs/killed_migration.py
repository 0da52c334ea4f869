"""Migrate the ledger `argv[1]` with the folder `argv[2]`, and be killed after `argv[3]` looks at the progress."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from pathlib import Path

from hoox_tasks.database.local import database as local
from hoox_tasks.database.local.connection import TimeLimit
from hoox_tasks.migrations import Migrations

looks = itertools.count(1)


def look() -> None:
    """Count a look, and die of the last one."""
    if next(looks) >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)


class Deadly(TimeLimit):
    """What looks at the progress of statements otherwise, and would take the place of any other."""

    def __init__(self, connection: sqlite3.Connection, seconds: float | None) -> None:
        super().__init__(connection, seconds)
        connection.set_progress_handler(look, 50)


vars(local)["TimeLimit"] = Deadly
Migrations.read(Path(sys.argv[2])).apply(local.LocalDatabase(Path(sys.argv[1])))
