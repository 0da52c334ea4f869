"""A backup held against what it should be: loaded into a scratch file, checked, and compared.

Loading, and SQLite's own checks after it, happen in a second process where the file is large, or of unknown
origin: meanwhile the first one reads the source, and then the scratch file, to fingerprint them.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoox_tasks import files, second_process, sql
from hoox_tasks.backups.fingerprint import contents, schema_digest
from hoox_tasks.backups.manifest import Content, Manifest, read_manifest
from hoox_tasks.database import load_program
from hoox_tasks.database.interface import SchemaObject
from hoox_tasks.database.local.connection import primary_code
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.schema import check_definitions, read_tables, with_counted_rows
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.files import digest
from hoox_tasks.values import Progress

_WORTH_A_PROCESS = 8 * 1024 * 1024
"""Bytes of a backup from which a second process pays for its start."""
_OWN_BYTES = 1 << 36
"""The size that an export of ours is let grow to while it is loaded: nothing is to be feared of it."""
_START = f"from {load_program.__name__} import main; main()"
"""What the second process does, once Python knows where our modules are."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A backup as it was loaded: the file it is in now, and what it holds.

    `counted` are the tables whose rows an export counts: not SQLite's own, nor what only indexes others.
    `violations` are the rows that refer to nothing.
    """

    path: Path
    schema: tuple[SchemaObject, ...]
    tables: dict[str, Content]
    counted: Collection[str]
    violations: int

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each table that is counted for people; an index of others' is not."""
        return {name: content.rows for name, content in self.tables.items() if name in self.counted}


class Loader:
    """Loads a backup into a scratch file, perhaps while this process still writes it; `loader` makes it.

    `schema` is run before it.
    """

    def __init__(self, source: Path, scratch: Path, schema: str) -> None:
        self.scratch = scratch
        self._source = source
        self._schema = schema
        self._process: _Process | None = None

    def tell(self) -> None:
        """Say that more was written to the backup's end; a large one is loaded from now on."""
        if self._process is None and self._source.stat().st_size >= _WORTH_A_PROCESS:
            self._process = _Process(self._source, self.scratch, self._schema, _OWN_BYTES)
        elif self._process is not None:
            self._process.tell()

    def steps(self, *, own: bool = False) -> Iterator[dict[str, Any]]:
        """Load a backup that is complete, to its end: yields the steps of `load_program`.

        `own` says that this process has just written it.
        """
        size = self._source.stat().st_size
        if self._process is None:
            if own and size < _WORTH_A_PROCESS:
                return load_program.steps(self._source, self.scratch, self._schema)
            self._process = _Process(self._source, self.scratch, self._schema, size)
        self._process.end()
        return self._process.steps()

    def close(self) -> None:
        """End what goes on."""
        if self._process is not None:
            self._process.close()


@contextmanager
def loader(source: Path, *, schema: str = "") -> Iterator[Loader]:
    """Prepare to load a backup into a scratch file that is there for the length of a block."""
    with files.scratch_folder() as folder, closing(Loader(source, folder / "scratch.sqlite", schema)) as made:
        yield made


@contextmanager
def loaded(
    source: Path,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    sequences: bool = True,
    own: bool = False,
    by: Loader | None = None,
    progress: Progress | None = None,
) -> Iterator[Scratch]:
    """Load a backup into a scratch file for the length of a block, and check it.

    `meanwhile` is called while it loads. `own` says that this process has just written the file itself,
    perhaps under the eyes of the loader `by`. Raises `Refused` where the backup does not load or is not
    sound. The scratch file may be taken away in the block.
    """
    with ExitStack() as stack:
        by = by or stack.enter_context(loader(source))
        steps = by.steps(own=own)
        stack.enter_context(_speaking_of(source, by.scratch))
        meanwhile()
        for step in steps:
            if "loaded" in step:
                break
            if progress:
                progress("bytes", step["done"], step["total"])
        with closing(LocalDatabase(by.scratch, strict=False)) as database:
            with database.snapshot() as snapshot:
                found = read_tables(snapshot)
                tables = contents(snapshot, found, sequences=sequences)
            objects = tuple(database.schema())
        if not own:
            check_definitions(objects)
        violations = next(steps)["violations"]
        yield Scratch(by.scratch, objects, tables, with_counted_rows(found), violations)


@contextmanager
def _speaking_of(source: Path, scratch: Path) -> Iterator[None]:
    """Let what is wrong with the scratch file be said of the backup, which is what its user knows."""
    try:
        yield
    except Refused as error:
        if primary_code(error.__cause__) != sqlite3.SQLITE_CORRUPT or str(scratch) not in error.problem:
            raise
        problem = error.problem.replace(str(scratch), str(source))
        raise Refused(problem, "Take another backup.") from error


class _Process:
    """The steps, in a process of their own, which takes what a backup of `size` bytes can need."""

    def __init__(self, source: Path, scratch: Path, schema: str, size: int) -> None:
        # It finds Python's own modules and ours, and nothing in the current folder, whatever that is called.
        root = str(Path(load_program.__file__).parents[2])
        start = f"import sys; sys.path.append({root!r})"
        self._source = source
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                f"{start}; {_START}",
                str(source),
                str(scratch),
                str(size),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=second_process.environment(),
            # Ctrl-C is for the process that the user started; it ends this one.
            start_new_session=True,
        )
        self._send(f"{json.dumps(schema)}\n".encode("ascii"))

    def tell(self) -> None:
        """Say that more of the file was written."""
        self._send(b"+")

    def end(self) -> None:
        """Say that all of the file was written."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def _send(self, news: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # It has ended; what it says of that is read later.
            self._process.stdin.write(news)
            self._process.stdin.flush()

    def steps(self) -> Iterator[dict[str, Any]]:
        """Yield the steps that the other process sends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "problem" in answer:
                raise Refused(answer["problem"], answer["remedy"])
            yield answer
        if self._process.wait() in {-getattr(signal, "SIGXCPU", 0), -signal.SIGKILL}:
            raise Refused(
                f"{self._source} takes more time or memory to load than a ledger of its size can.",
                "It is no backup of a ledger.",
            )
        raise HooxError("The check of the backup ended early.", "Run it again.")

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self.end()
        if self._process.stdout:
            self._process.stdout.close()


def compare(scratch: Scratch, tables: Mapping[str, Content], what: str, *, fixed: bool = False) -> None:
    """Raise `HooxError` where the backup does not hold what `tables` say of `what`, naming every table."""
    wrong = []
    for name in sorted({*scratch.tables, *tables}):
        here, there = scratch.tables.get(name), tables.get(name)
        if here == there or ((here or there or Content(0, "")).rows == 0 and (here is None or there is None)):
            continue
        if here is None or there is None:
            wrong.append(f"{name} is only in {'the file' if here else what}")
        elif here.rows != there.rows:
            wrong.append(f"{name} has {here.rows:,} rows in the file, {there.rows:,} in {what}")
        else:
            wrong.append(f"{name} has other values in the file than in {what}")
    if wrong:
        raise HooxError(
            f"The backup does not hold what {what} does: {wrong[0]}.",
            "Take another backup."
            if fixed
            else "Do not rely on it, unless something was written in between.",
            detail="\n".join(f"  {line}" for line in wrong) if len(wrong) > 1 else "",
        )


def compare_schema(scratch: Scratch, schema: Iterable[SchemaObject], what: str) -> None:
    """Raise `HooxError` naming the first object of a backup's schema that is not that of `what`."""
    here = {(item.type, item.name): sql.format_ddl(item.sql) for item in scratch.schema}
    there = {(item.type, item.name): sql.format_ddl(item.sql) for item in schema}
    for kind, name in sorted({*here, *there}):
        if here.get((kind, name)) != there.get((kind, name)):
            raise HooxError(f"The {kind} {name} is not in the backup as in {what}.", "Do not rely on it.")


def check_file(path: Path) -> Manifest | None:
    """Read a backup's manifest, and hold the file against it; None where it has none.

    Raises `Refused` where the file was changed or cut off since.
    """
    if not path.is_file():
        raise Refused(f"There is no backup {path}.", "See them with `inv db.backups`.")
    manifest = read_manifest(path)
    if manifest is None:
        return None
    size = path.stat().st_size
    if size < manifest.bytes:
        raise Refused(
            f"{path} was cut off: it has {size:,} of {manifest.bytes:,} bytes.", "Take another backup."
        )
    if size > manifest.bytes or digest(path) != manifest.sha256:
        raise Refused(f"{path} was changed since it was written.", "Take another backup.")
    return manifest


def check_content(scratch: Scratch, manifest: Manifest) -> None:
    """Raise `HooxError` where a loaded backup does not hold what its manifest says."""
    compare(scratch, manifest.tables, "its manifest", fixed=True)
    if manifest.whole and schema_digest(scratch.schema) != manifest.schema:
        raise HooxError("The backup's schema is not the one of its manifest.", "Do not rely on it.")
