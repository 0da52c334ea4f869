"""Files that a user keeps: written whole or not at all, under names that nobody else has.

A file is written under a random temporary name beside its target, flushed to the disk, and named at the end.
What a killed task left is removed by the next one. Whether a file is still in use is known by a lock that
its task holds, never by its age: clocks differ, and some tasks take long. Where the system has no such
locks, nothing is removed.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import IO, cast

from hoox_tasks.errors import Refused

if sys.platform != "win32":
    import fcntl

PRIVATE = 0o600
"""The mode of what holds a ledger's content: only its owner reads it."""
_SCRATCH = ".hoox-scratch-"
_LOCK = ".lock"
_PART = re.compile(r"\.[0-9a-f]{16}\.part$")
_PREFIX = 40
"""Characters of a file's name in its temporary name, which must not become too long."""
_MARKER = re.compile(r"\.([1-9][0-9]{0,17})\.number$")
HIGHEST_NUMBER = 10**9
"""A number from here on was not drawn from a sequence, and does not move it."""
_MARKERS = 16
"""How many of the last numbers of a sequence have a file."""


# ---------------------------------------------------------------------------------------- what is in use


def _lock(file: int) -> bool | None:
    """Lock an open file; false where another task has it locked, None where the system cannot tell."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except OSError:
        return False


def _create_locked(path: Path, mode: int = PRIVATE) -> int:
    """Create a file that is in use until it is closed; raises `FileExistsError` where the name is taken."""
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
    # Before it is locked another task may take it for abandoned, and remove it.
    if _lock(file) is False or not _is_at(file, path):
        os.close(file)
        raise FileExistsError(path)
    return file


@contextmanager
def _taken_over(path: Path, flags: int = 0) -> Iterator[bool]:
    """Lock a file for a block, if nobody uses it: then the block is given true, and may remove it."""
    if sys.platform == "win32":
        yield False
        return
    file = -1
    try:
        with suppress(OSError):
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | flags, PRIVATE)
        yield file >= 0 and _lock(file) is True and _is_at(file, path)
    finally:
        if file >= 0:
            os.close(file)


def remove_abandoned(folder: Path, *starts: str) -> None:
    """Remove the temporary files in a folder, of names that begin so, that no task uses any more."""
    for start in starts:
        for path in folder.glob(f".{glob.escape(start[:_PREFIX])}*.part"):
            if _PART.search(path.name):
                with _taken_over(path) as abandoned, suppress(OSError):
                    if abandoned:
                        path.unlink()


@contextmanager
def scratch_folder(folder: Path | None = None) -> Iterator[Path]:
    """Make a folder in `folder`, or the system's, for a block; what killed tasks left there is removed."""
    import tempfile

    base = folder or Path(tempfile.gettempdir())
    _remove_abandoned_folders(base)
    made, lock = _make_scratch(base)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def _make_scratch(base: Path) -> tuple[Path, int]:
    """Make a folder, and the file in it whose lock says that it is in use."""
    import tempfile

    while True:
        made = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=base))
        with suppress(FileExistsError, FileNotFoundError):  # Another task took it for abandoned.
            return made, _create_locked(made / _LOCK)


def _remove_abandoned_folders(base: Path) -> None:
    if sys.platform == "win32":
        return
    for path in base.glob(f"{_SCRATCH}*"):
        with suppress(OSError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                continue
            with _taken_over(path / _LOCK, os.O_CREAT) as abandoned:
                if abandoned:
                    shutil.rmtree(path, ignore_errors=True)


# ------------------------------------------------------------------------------------- numbers of a folder


class Number:
    """A number of a folder's sequence, which nobody is given again; in use until it is closed."""

    def __init__(self, value: int, file: int) -> None:
        self.value = value
        self._file = file

    def close(self) -> None:
        """Say that whatever the number was taken for is done."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def next_number(folder: Path, *, above: int = 0) -> Number:
    """Reserve the next number of a folder's sequence: higher than all before it, and than `above`.

    The last few numbers have a file each, which is created exclusively: this holds among processes,
    containers and machines that share the folder. Raises `OSError` where the folder cannot be written.
    """
    while True:
        above = max(above, _last_number(folder)) + 1
        marker = _marker(folder, above)
        try:
            file = _create_locked(marker)
        except FileExistsError:
            continue
        if _last_number(folder) < above + _MARKERS:
            break
        # This number may have been given before, and its file removed, while this task was stopped.
        os.close(file)
        marker.unlink(missing_ok=True)
    for number in numbers(folder):
        if number <= above - _MARKERS:
            with _taken_over(_marker(folder, number)) as abandoned, suppress(OSError):
                if abandoned:
                    _marker(folder, number).unlink()
    return Number(above, file)


def number_in_use(folder: Path, number: int) -> bool:
    """Whether the task that reserved a number is still at work."""
    marker = _marker(folder, number)
    with _taken_over(marker) as abandoned:
        return not abandoned and marker.exists()


def _marker(folder: Path, number: int) -> Path:
    return folder / f".{number}.number"


def numbers(folder: Path) -> list[int]:
    """Give the last numbers that were drawn in a folder; it need not be there."""
    if not folder.is_dir():
        return []
    found = [int(match.group(1)) for path in folder.iterdir() if (match := _MARKER.match(path.name))]
    return [number for number in found if number < HIGHEST_NUMBER]


def _last_number(folder: Path) -> int:
    return max(numbers(folder), default=0)


# ----------------------------------------------------------------------------------------- files and names


def listed(folder: Path, pattern: str) -> list[Path]:
    """Give what a folder has by names of a pattern, in their order; nothing where there is no such folder.

    Raises `Refused` where it cannot be looked into, which `Path.glob` takes for an empty one.
    """
    try:
        with os.scandir(folder):
            pass
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Refused(
            f"The folder {folder} cannot be looked into: {error.strerror}.",
            "Look at its place and its permissions.",
        ) from error
    return sorted(folder.glob(pattern))


def backup_name(moment: datetime | None = None, *, suffix: str = ".sql") -> str:
    """Return the name of a backup taken at `moment` (now), in UTC: `db-backup-2026-05-19-174000.sql`."""
    return f"db-backup-{moment or datetime.now(UTC):%Y-%m-%d-%H%M%S}{suffix}"


def make_ignored_folder(folder: Path) -> None:
    """Make a folder for files of ours, where there is none, of which git takes no notice."""
    top = folder
    while not top.parent.exists():
        top = top.parent
    if top.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), (top / ".gitignore").open("x") as file:
        file.write("*\n")


class Draft:
    """A file that is being written, under a temporary name; `draft` makes it.

    What is written to `output` is in the file `path` when `finish` was called; `replace` or `reserve` names
    it.
    """

    def __init__(self, target: Path, path: Path, file: IO[bytes], output: IO[bytes]) -> None:
        self.target = target
        self.path = path
        self.output = output
        self._file = file

    def flush(self) -> None:
        """Let others read in the file what was written by now; what is compressed lags behind."""
        self._file.flush()

    def finish(self) -> Path:
        """Bring all that was written to the disk; returns the temporary file's path."""
        if self.output is not self._file:
            self.output.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.path

    def replace(self, target: Path | None = None, *, at_most: int = 0o7777) -> Path:
        """Put the file in the place of what was at `target`; returns its path.

        It gets the mode of what it replaces, but no right that is not in `at_most`.
        """
        self.finish()
        target = target or self.target
        with suppress(FileNotFoundError):
            self.path.chmod(stat.S_IMODE(target.stat().st_mode) & at_most)
        self.path.replace(target)
        _sync_folder(target.parent)
        return target

    def reserve(self, *, companion: str = "") -> Path:
        """Name the file `target`, or like it with the next free number; returns its path.

        No file is ever replaced. A name is free where there is no file of it, and none with `companion`
        behind it.
        """
        self.finish()
        for candidate in _candidates(self.target):
            if companion and candidate.with_name(candidate.name + companion).exists():
                continue
            try:
                self._link(candidate)
            except FileExistsError:
                continue
            _sync_folder(candidate.parent)
            return candidate
        raise AssertionError("unreachable")

    def _link(self, candidate: Path) -> None:
        try:
            candidate.hardlink_to(self.path)
        except FileExistsError:
            # Over a network the answer may be lost, and the call repeated, though the first one did it.
            if self.path.stat().st_nlink < 2 or not _same(candidate, self.path):
                raise
            self.path.unlink()
        except OSError:  # The file system has no hard links.
            os.close(os.open(candidate, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
            self.path.replace(candidate)
        else:
            self.path.unlink()


@contextmanager
def draft(wanted: Path, *, mode: int = PRIVATE, compressed: bool = False) -> Iterator[Draft]:
    """Write a file for `wanted` for a block, under a temporary name; nothing is left unless it is named.

    Nobody can read it whom `mode` does not let. Through a symbolic link the file behind it is meant. Raises
    `Refused` where it cannot be written.
    """
    target = Path(os.path.realpath(wanted)) if wanted.is_symlink() else wanted
    if target.is_dir():
        raise Refused(f"{wanted} is a folder.", "Name a file in it.")
    if target.exists() and not target.is_file():
        raise Refused(f"{wanted} is no file but a device or a pipe.", "Name a file; - is standard output.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent, "db-backup-", target.name)
        path, file = _create_part(target, mode)
    except OSError as error:
        raise Refused(
            f"{wanted} cannot be written: {error.strerror}.", "Choose another with --output."
        ) from error
    try:
        with file:
            if compressed:
                # Without a time or a name in it, equal ledgers give equal files.
                import gzip

                with gzip.GzipFile("", "wb", 6, file, 0) as packed:
                    yield Draft(target, path, file, cast(IO[bytes], packed))
            else:
                yield Draft(target, path, file, file)
    except OSError as error:
        raise Refused(
            f"{wanted} could not be written: {error.strerror or error}.", "Nothing was left of it."
        ) from error
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _create_part(target: Path, mode: int) -> tuple[Path, IO[bytes]]:
    """Create a file of a random temporary name beside `target`."""
    while True:
        path = target.with_name(f".{target.name[:_PREFIX]}.{os.urandom(8).hex()}.part")
        with suppress(FileExistsError):
            return path, os.fdopen(_create_locked(path, mode), "wb")


@contextmanager
def written_whole(path: Path, *, mode: int = PRIVATE, compressed: bool = False) -> Iterator[IO[bytes]]:
    """Open a file to write; when the block ends well, it takes the place of what was at `path`.

    Nothing is left where the block raises. A file that is replaced keeps its mode; a new one is readable by
    its owner alone, unless `mode` says otherwise. Raises `Refused` where `path` cannot be written.
    """
    with draft(path, mode=mode, compressed=compressed) as written:
        yield written.output
        written.replace()


def _candidates(path: Path) -> Iterator[Path]:
    """Yield `path`, and the names like it with a number: `a.sql.gz`, `a-2.sql.gz`, `a-3.sql.gz`."""
    yield path
    stem, dot, suffixes = path.name.partition(".")
    for number in count(2):
        yield path.with_name(f"{stem}-{number}{dot}{suffixes}")


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


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
    """Return a file's SHA-256 in hexadecimal."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
