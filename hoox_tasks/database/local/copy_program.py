"""Copies the file `argv[1]` over the file `argv[2]`; prints the SHA-256 of the copy.

Where it fails, it prints the number of the error, and exits with 1. It is run by path, and imports next to
nothing, so that it starts in a few hundredths of a second.
"""

import hashlib
import os
import sys
from threading import Thread

_AT_ONCE = 1 << 30
"""Bytes that one call is asked to copy."""
_VERSIONS = 18
"""Where a SQLite file's head says by which version it is written and read: 2 in WAL mode, else 1
(https://sqlite.org/fileformat.html)."""
_OLD = b"\1\1"
_BLOCK = 1 << 20


def copy(source: str, target: str) -> str:
    """Copy a SQLite file, take it out of WAL mode, and bring it to the disk; returns its SHA-256."""
    # The digest is computed beside the copy: it is there soon after the disk is done.
    digests: list[str | OSError] = []
    digesting = Thread(target=_digest, args=(source, digests))
    digesting.start()
    try:
        _copy(source, target)
    finally:
        digesting.join()
    (digest,) = digests
    if isinstance(digest, OSError):
        raise digest
    return digest


def _copy(source: str, target: str) -> None:
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
        os.write(written.fileno(), _OLD)
        os.fsync(written.fileno())


def _digest(source: str, digests: list[str | OSError]) -> None:
    """Compute the SHA-256 that the copy of a file will have."""
    try:
        with open(source, "rb") as read:  # noqa: PTH123
            head = bytearray(read.read(_BLOCK))
            head[_VERSIONS : _VERSIONS + len(_OLD)] = _OLD
            digest = hashlib.sha256(head)
            while block := read.read(_BLOCK):
                digest.update(block)
        digests.append(digest.hexdigest())
    except OSError as error:
        digests.append(error)


def _copy_by_hand(read: int, written: int) -> None:
    os.lseek(read, 0, os.SEEK_SET)
    os.lseek(written, 0, os.SEEK_SET)
    while block := os.read(read, _BLOCK):
        left = memoryview(block)
        while left:
            left = left[os.write(written, left) :]


def main() -> None:
    """Copy, and print the digest; where that fails, the number of the error, and exit with 1."""
    try:
        print(copy(sys.argv[1], sys.argv[2]))
    except OSError as error:
        print(error.errno)
        sys.exit(1)


if __name__ == "__main__":
    main()
