"""A ledger's file copied as a file, in a process of its own.

POSIX locks belong to a process: whenever it closes a file it loses all its locks on it, those of SQLite's
connections as well (https://sqlite.org/howtocorrupt.html, 2.2). So a process that holds a ledger's lock never
opens the ledger's file by itself. This file is run by path, with nothing but the standard library, so that it
starts in a few hundredths of a second; SQLite's backup of a large ledger takes several times as long.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_AT_ONCE = 1 << 30
"""Bytes that one call is asked to copy."""
_VERSIONS = 18
"""Where the file's head says by which version it is written and read: 2 in WAL mode, else 1
(https://sqlite.org/fileformat.html)."""


def copy_file(source: Path, target: Path) -> None:
    """Copy the ledger's file `source` over the file `target`, flushed to the disk; not in WAL mode.

    The caller sees to it that `source` is complete and that nobody writes to it. Where the file system can,
    both share their blocks. Raises `OSError`.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", __file__, str(source), str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # Ctrl-C is for the process that the user started; it ends this one.
        start_new_session=True,
        check=False,
    )
    if done.returncode or done.stdout:
        code = int(done.stdout or 5)
        raise OSError(code, os.strerror(code))


def _copy(source: str, target: str) -> None:
    with open(source, "rb") as read, open(target, "r+b") as written:  # noqa: PTH123  (starts faster)
        size = os.fstat(read.fileno()).st_size
        try:
            copied = 0
            while copied < size:
                copied += os.copy_file_range(read.fileno(), written.fileno(), min(size - copied, _AT_ONCE))
        except (AttributeError, OSError):  # Not on this system, or not between these file systems.
            _copy_by_hand(read.fileno(), written.fileno())
        os.pwrite(written.fileno(), b"\1\1", _VERSIONS)
        os.fsync(written.fileno())


def _copy_by_hand(read: int, written: int) -> None:
    os.lseek(read, 0, os.SEEK_SET)
    os.lseek(written, 0, os.SEEK_SET)
    while block := os.read(read, 1 << 20):
        view = memoryview(block)
        while view:
            view = view[os.write(written, view) :]


if __name__ == "__main__":
    try:
        _copy(*sys.argv[1:3])
    except OSError as failure:
        print(failure.errno)
