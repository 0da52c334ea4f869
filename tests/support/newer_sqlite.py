"""Dump or load with the SQLite of `pysqlite3`, newer than the one that Python has; run as a script.

newer_sqlite.py PACKAGES load FILE < dump.sql
newer_sqlite.py PACKAGES dump FILE > dump.sql
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any


def main(packages: str, action: str, file: str) -> None:
    """Do what the arguments say."""
    sys.path[:0] = [packages, str(Path(__file__).parents[2])]
    newer: Any = __import__("pysqlite3.dbapi2").dbapi2
    if action == "load":
        with closing(newer.connect(file, isolation_level=None)) as connection:
            connection.executescript(sys.stdin.buffer.read().decode())
        return

    class Connection(newer.Connection):  # type: ignore[misc]
        """Has the one method of the standard library's that the dump calls and pysqlite3 lacks."""

        def setlimit(self, category: int, limit: int) -> int:
            return limit

    def connect(*arguments: Any, **options: Any) -> Any:
        return newer.connect(*arguments, factory=Connection, **options)

    sqlite3.connect = connect
    for error in ("Error", "OperationalError", "DatabaseError"):
        setattr(sqlite3, error, getattr(newer, error))

    from hoox_tasks.database import dump
    from hoox_tasks.database.local.database import LocalDatabase

    with closing(LocalDatabase(Path(file))) as database:
        dump.dump(database, sys.stdout.buffer.write)
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
