"""Use what of the ledger `argv[1]` goes through sqlite-utils: list, insert, restore a table from `argv[2]`.

Prints which SQLite sqlite-utils would open connections with, and the tables with their rows.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import sqlite_utils.utils

from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import StatementError

print(vars(sqlite_utils.utils)["sqlite3"].__name__)
with closing(LocalDatabase(Path(sys.argv[1]))) as database:
    database.batch([Statement("CREATE TABLE u (x)"), Statement("CREATE UNIQUE INDEX i ON u (x)")])
    database.insert([("u", ["x"], [(1,), ("\0",), (2**63 - 1,), (b"\xff",), (-0.0,)])])
    try:
        database.insert([("u", ["x"], [(1,)])])
    except StatementError as error:
        print(error.message)
    database.replace(Path(sys.argv[2]), ["t"])
    print([(table.name, table.rows) for table in database.list_tables() if table.kind != "internal"])
    print([list(database.query("SELECT typeof(x), quote(x) FROM u ORDER BY rowid"))])
