"""Files that a user keeps: written whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from hoox_tasks.errors import Refused

_STALE = 24 * 60 * 60
"""Seconds after which what a killed task left is nobody's; none of them takes so long."""


def remove_stale(paths: Iterable[Path]) -> None:
    """Remove those of these files and folders that nothing was done to for a day: a killed task left them."""
    oldest = time.time() - _STALE
    for path in paths:
        with suppress(OSError):
            if path.lstat().st_mtime < oldest:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


@contextmanager
def scratch_folder(folder: Path | None = None) -> Iterator[Path]:
    """Make a folder in `folder`, or the system's, for a block; what killed tasks left there is taken away."""
    import tempfile

    base = folder or Path(tempfile.gettempdir())
    remove_stale(base.glob(".hoox-scratch-*"))
    with tempfile.TemporaryDirectory(prefix=".hoox-scratch-", dir=base, ignore_cleanup_errors=True) as name:
        yield Path(name)


def backup_name(moment: datetime | None = None, *, suffix: str = ".sql") -> str:
    """Give the name of a backup taken at `moment` (now), in UTC: `db-backup-2026-05-19-174000.sql`."""
    return f"db-backup-{moment or datetime.now(UTC):%Y-%m-%d-%H%M%S}{suffix}"


def free_path(path: Path) -> Path:
    """Give `path`, or the next like it that is not taken: two exports of one second keep both files."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name.split('.', 1)[0]}-{number}.{path.name.split('.', 1)[1]}")
        number += 1
    return candidate


@contextmanager
def written_whole(
    path: Path, *, compressed: bool = False, check: Callable[[Path], None] | None = None
) -> Iterator[IO[bytes]]:
    """Open a file to write, under a temporary name beside `path`; it gets its name when the block ends well.

    `check` is called with the temporary file, complete, before it gets its name, and may raise. Nothing is
    left where the block raises. Raises `Refused` where `path` cannot be written.
    """
    if path.is_dir():
        raise Refused(f"{path} is a folder.", "Name a file in it.")
    if path.exists() and not path.is_file():
        raise Refused(f"{path} is no file but a device or a pipe.", "Name a file; - is standard output.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # Of a killed run with this number, as in a container.
        for name in ("db-backup-", path.name):
            remove_stale(path.parent.glob(f".{glob.escape(name)}*.part"))
        file = temporary.open("xb")
    except OSError as error:
        raise Refused(
            f"{path} cannot be written: {error.strerror}.", "Choose another with --output."
        ) from error
    try:
        with file:
            if compressed:
                # Without a time or a name in it, equal ledgers give equal files.
                import gzip

                with gzip.GzipFile("", "wb", 6, file, 0) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield file
            file.flush()
            os.fsync(file.fileno())
        if check:
            check(temporary)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise Refused(
            f"{path} could not be written: {error.strerror or error}.", "Nothing was left of it."
        ) from error
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def standard_output(*, compressed: bool = False) -> Iterator[IO[bytes]]:
    """Open standard output for bytes."""
    output = sys.stdout.buffer
    sys.stdout.flush()
    if compressed:
        import gzip

        with gzip.GzipFile("", "wb", 6, output, 0) as packed:
            yield cast(IO[bytes], packed)
    else:
        yield output
    output.flush()


def digest(path: Path) -> str:
    """Give a file's SHA-256 in hexadecimal."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
