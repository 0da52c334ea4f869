"""A backup held against what it should be: loaded into a scratch file, checked, and compared.

Loading, and SQLite's own checks after it, happen in a second process where the file is large: meanwhile the
first one reads the source, and then the scratch file, to fingerprint them.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoox_tasks import files, sql
from hoox_tasks.backups.fingerprint import contents, schema_digest
from hoox_tasks.backups.manifest import Content, Manifest, read_manifest
from hoox_tasks.database.interface import SchemaObject
from hoox_tasks.database.load import CACHE_KIBIBYTES, load
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.schema import read_tables
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.files import digest
from hoox_tasks.values import Progress

_WORTH_A_PROCESS = 8 * 1024 * 1024
"""Bytes of a backup from which a second process pays for its start."""
_SECONDS = 0.5
"""Between two reports of progress from one process to the other."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A backup as it was loaded: the file it is in now, what it holds, and how many rows refer to nothing."""

    path: Path
    schema: tuple[SchemaObject, ...]
    tables: dict[str, Content]
    violations: int

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each table."""
        return {name: content.rows for name, content in self.tables.items()}


@contextmanager
def loaded(
    source: Path,
    *,
    schema: str = "",
    meanwhile: Callable[[], None] = lambda: None,
    sequences: bool = True,
    progress: Progress | None = None,
) -> Iterator[Scratch]:
    """Load a backup into a scratch file for the length of a block, and check it.

    `meanwhile` is called while it loads. `schema` is run before it. Raises `Refused` where the backup does
    not load or is not sound. The scratch file may be taken away in the block.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(files.scratch_folder()) / "scratch.sqlite"
        if source.stat().st_size < _WORTH_A_PROCESS:
            steps = _steps(source, scratch, schema)
        else:
            process = _Process(source, scratch, schema)
            stack.callback(process.close)
            steps = process.steps()
        meanwhile()
        for step in steps:
            if "loaded" in step:
                break
            if progress:
                progress("bytes", step["done"], step["total"])
        with closing(LocalDatabase(scratch, strict=False)) as database:
            with database.snapshot() as snapshot:
                tables = contents(snapshot, read_tables(snapshot), sequences=sequences)
            objects = tuple(database.schema())
        violations = next(steps)["violations"]
        yield Scratch(scratch, objects, tables, violations)


def _steps(source: Path, scratch: Path, schema: str, *, report: bool = False) -> Iterator[dict[str, Any]]:
    """Load a backup and check it: yields a step after each, and sends progress if it is to `report`."""
    reported = time.monotonic()

    def report_progress(what: str, done: int, total: int | None) -> None:
        nonlocal reported
        if time.monotonic() - reported > _SECONDS:
            reported = time.monotonic()
            _send({"done": done, "total": total})

    load(source, scratch, schema=schema, progress=report_progress if report else None)
    yield {"loaded": True}
    with closing(sqlite3.connect(f"{scratch.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}").fetchall()
        try:
            complaints = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
        except sqlite3.DatabaseError as error:
            complaints = [str(error)]
        if complaints != ["ok"]:
            raise Refused(f"{source} is not sound: {complaints[0]}.", "Take another backup.")
        yield {"violations": violations(connection)}


def violations(connection: sqlite3.Connection) -> int:
    """Count the rows that refer to others which are not there.

    The keys of a table that refer to something that cannot be referred to are not counted.
    """
    found = 0
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for table in tables:
        with suppress(sqlite3.OperationalError):
            query = "SELECT count(*) FROM pragma_foreign_key_check(?)"
            found += connection.execute(query, table).fetchone()[0]
    return found


def _send(step: Mapping[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(step)}\n")
    sys.stdout.flush()


class _Process:
    """The steps, in a process of their own."""

    def __init__(self, source: Path, scratch: Path, schema: str) -> None:
        # What Python finds for this process comes behind what it finds by itself; from the current folder
        # nothing is imported that has the name of a module of Python's.
        start = f"import sys; sys.path += {[path for path in sys.path if path]!r}"
        secret = ("CLOUDFLARE_", "CF_", "HOOX_", "PYTHON")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(secret)}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                f"{start}; from {__name__} import main; main()",
                str(source),
                str(scratch),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Ctrl-C is for the process that the user started; it ends this one.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write(schema.encode("utf-8", "surrogateescape"))

    def steps(self) -> Iterator[dict[str, Any]]:
        """Yield the steps that the other process sends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "problem" in answer:
                raise Refused(answer["problem"], answer["remedy"])
            yield answer
        raise HooxError("The check of the backup ended early.", "Run it again.")

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
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


def main() -> None:
    """Send the steps to another process, on standard output."""
    source, scratch = map(Path, sys.argv[1:])
    schema = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    try:
        for step in _steps(source, scratch, schema, report=True):
            _send(step)
    except HooxError as error:
        _send({"problem": error.problem, "remedy": error.remedy})
