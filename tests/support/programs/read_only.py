"""Use the ledger `argv[1]` as a user who may only read it; print what came of it."""

from __future__ import annotations

# Whoever becomes nobody may no longer read what is imported later.
import concurrent.futures.thread  # noqa: F401
import os
import sys
import urllib.parse  # noqa: F401
from pathlib import Path

from hoox_tasks.database import dump
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local import moment, reader
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import Migrations

assert reader.__doc__
assert moment.__doc__
if os.getuid() == 0:
    os.setuid(65534)  # Root may write whatever the permissions are.
database = LocalDatabase(Path(sys.argv[1]))
print(list(database.query("SELECT x FROM t ORDER BY x")))
print(Migrations([]).status(database).entries)
print(dump.dump(database, lambda text: None))
try:
    database.batch([Statement("DELETE FROM t")])
except Refused as error:
    print(error)
