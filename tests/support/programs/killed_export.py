"""Dump the ledger `argv[1]` into the file `argv[2]`, and be killed in the midst of it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hoox_tasks import files
from hoox_tasks.database import dump
from hoox_tasks.database.local.database import LocalDatabase

with files.written_whole(Path(sys.argv[2])) as file:

    def write(text: bytes) -> None:
        """Write, up to half a megabyte."""
        file.write(text)
        if file.tell() > 500_000:
            os.kill(os.getpid(), signal.SIGKILL)

    dump.dump(LocalDatabase(Path(sys.argv[1])), write)
