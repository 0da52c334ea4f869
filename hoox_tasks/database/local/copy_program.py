"""Copies the file `argv[1]` over the file `argv[2]`; prints the number of the error that it met, if any.

It is run by path, and imports next to nothing, so that it starts in a few hundredths of a second.
"""

import os
import sys

_AT_ONCE = 1 << 30
"""Bytes that one call is asked to copy."""
_VERSIONS = 18
"""Where a SQLite file's head says by which version it is written and read: 2 in WAL mode, else 1
(https://sqlite.org/fileformat.html)."""


def copy(source: str, target: str) -> None:
    """Copy a SQLite file, take it out of WAL mode, and bring it to the disk."""
    with open(source, "rb") as read, open(target, "r+b") as written:  # noqa: PTH123  (pathlib starts slowly)
        size = os.fstat(read.fileno()).st_size
        copied = 0
        try:
            while copied < size:
                step = os.copy_file_range(read.fileno(), written.fileno(), min(size - copied, _AT_ONCE))
                if not step:
                    raise OSError
                copied += step
        except (AttributeError, OSError):  # Not on this system, or not between these file systems.
            _copy_by_hand(read.fileno(), written.fileno())
        os.lseek(written.fileno(), _VERSIONS, os.SEEK_SET)
        os.write(written.fileno(), b"\1\1")
        os.fsync(written.fileno())


def _copy_by_hand(read: int, written: int) -> None:
    os.lseek(read, 0, os.SEEK_SET)
    os.lseek(written, 0, os.SEEK_SET)
    while block := os.read(read, 1 << 20):
        left = memoryview(block)
        while left:
            left = left[os.write(written, left) :]


def main() -> None:
    """Copy, and print the number of the error where that fails."""
    try:
        copy(sys.argv[1], sys.argv[2])
    except OSError as error:
        print(error.errno)


if __name__ == "__main__":
    main()
