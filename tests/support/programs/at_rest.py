"""Be in the middle of `argv[1]`, write or point, in the folder `argv[2]`: says "ready" and stays there."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hoox_tasks import files, records
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.recovery.recording import recording


def rest(fields: Mapping[str, Any] | None = None) -> bytes:
    """Say that the middle is reached, and wait for the end."""
    print("ready", flush=True)
    time.sleep(60)
    return b""


def write(folder: Path) -> None:
    """Write a file, and another in a scratch folder."""
    with files.scratch_folder(folder) as scratch, files.draft(folder / "out.sql"):
        (scratch / "big").write_bytes(b"x")
        rest()


def point(folder: Path) -> None:
    """Take a recovery point: its copy is there, and it is not listed yet."""
    records.encode = rest
    database = LocalDatabase(folder / "ledger.sqlite", root=folder)
    with recording(database, folder / ".hoox" / "snapshots", "x", keep=10):
        database.query("DELETE FROM t", write=True)


if __name__ == "__main__":
    {"write": write, "point": point}[sys.argv[1]](Path(sys.argv[2]))
