"""Dump the ledger `argv[1]` to nowhere; print the peaks of memory, in KiB, of this process and of its
children. The first comes from /proc: getrusage() tells that of the process which started it, too."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from hoox_tasks.database import dump
from hoox_tasks.database.local.database import LocalDatabase

dump.dump(LocalDatabase(Path(sys.argv[1])), lambda text: None)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
