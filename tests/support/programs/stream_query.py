"""Read a million rows of a query from the ledger `argv[1]`; print their number and the peak of memory in KiB (Linux)."""

from __future__ import annotations

import sys
from pathlib import Path

from hoox_tasks.database.local.database import LocalDatabase

database = LocalDatabase(Path(sys.argv[1]))
many = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
    " SELECT i, 'row ' || i FROM n"
)
print(sum(1 for _ in database.query(many)))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
