"""Load the database `argv[1]` into a scratch file in `argv[2]`, as a user who may not write beside it."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from hoox_tasks.database.load import load

if os.getuid() == 0:
    os.setuid(65534)  # Root may write whatever the permissions are.
scratch = Path(sys.argv[2], "scratch.sqlite")
load(Path(sys.argv[1]), scratch)
with closing(sqlite3.connect(scratch)) as copy:
    print(copy.execute("SELECT count(*) FROM t").fetchone()[0])
