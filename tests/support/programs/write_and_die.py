"""Make a database `argv[1]` in WAL mode, insert a row, and end without closing it."""

from __future__ import annotations

import os
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE t (x)")
connection.execute("INSERT INTO t VALUES (1)")
os._exit(0)
