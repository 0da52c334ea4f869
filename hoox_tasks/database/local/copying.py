"""A ledger's file copied as a file, in a process of its own.

POSIX locks belong to a process: whenever it closes a file it loses all its locks on it, those of SQLite's
connections as well (https://sqlite.org/howtocorrupt.html, 2.2). So a process that holds a ledger's lock never
opens the ledger's file by itself. SQLite's own backup of a large ledger takes several times as long.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

from hoox_tasks import second_process

_PROGRAM = Path(__file__).with_name("copy_program.py")


def copy_file(source: Path, target: Path) -> str:
    """Copy the ledger's file `source` over the file `target`, flushed to the disk; not in WAL mode.

    Returns the copy's SHA-256, which is computed while the disk is at work. The caller sees to it that
    `source` is complete and that nobody writes to it. Where the file system can, both share their blocks.
    Raises `OSError`.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(_PROGRAM), str(source), str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # Ctrl-C is for the process that the user started; it ends this one.
        start_new_session=True,
        env=second_process.environment(),
        check=False,
    )
    if done.returncode:
        code = int(done.stdout or errno.EIO)
        raise OSError(code, os.strerror(code))
    return done.stdout.decode("ascii").strip()
