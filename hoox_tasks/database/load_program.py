"""A backup of unknown origin loaded and checked in a process of its own, which is confined.

The process may use so much memory, disk and time and no more, imports nothing from the current folder, and
holds no token. Whoever started it can end it at any time, whatever SQLite is busy with.
"""

from __future__ import annotations

import io
import json
import math
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from hoox_tasks.database.load import CACHE_KIBIBYTES, largest_scratch, load
from hoox_tasks.errors import HooxError, Refused

_SECONDS = 0.5
"""Between two reports of progress."""
_MEMORY = 2 << 30
"""Bytes of address space: a statement of 64 million characters, several times."""
_TIME = 300
"""Seconds of CPU that any backup may take; one more for each so many bytes of it."""
_BYTES_PER_SECOND = 20_000
_VIEWS = 10
"""Seconds of CPU for looking into all views."""
_NEWS = 4096
"""Bytes of news that are taken at once."""
_STEPS = 100_000
"""Steps of SQLite's virtual machine between two looks at signals."""


def steps(
    source: Path,
    scratch: Path,
    schema: str,
    *,
    most: int | None = None,
    wait: Callable[[], bool] | None = None,
    report: Callable[[Mapping[str, Any]], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Load a backup and check it: yields a step after each; progress is sent to `report`.

    With `wait` it may still be written, as for `load`.
    """
    reported = time.monotonic()

    def report_progress(what: str, done: int, total: int | None) -> None:
        nonlocal reported
        if report and time.monotonic() - reported > _SECONDS:
            reported = time.monotonic()
            report({"done": done, "total": total})

    load(source, scratch, schema=schema, most=most, wait=wait, progress=report_progress if report else None)
    yield {"loaded": True}
    with closing(sqlite3.connect(f"{scratch.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        # Lets Python see Ctrl-C while SQLite is busy.
        connection.set_progress_handler(lambda: 0, _STEPS)
        for pragma in (f"cache_size = -{CACHE_KIBIBYTES}", "trusted_schema = OFF", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        try:
            complaints = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise KeyboardInterrupt from error
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


def main() -> None:
    """Send the steps, a line of JSON each, to the process that started this one.

    The first line of the input is the schema, in JSON. Each byte behind it says that more of the backup was
    written, the end of the input that all of it was.
    """
    source, scratch = map(Path, sys.argv[1:3])
    size = int(sys.argv[3])
    news = cast(io.BufferedReader, sys.stdin.buffer)
    schema = json.loads(news.readline())
    _confine(size)
    written = False

    def wait() -> bool:
        nonlocal written
        written = not news.read1(_NEWS)
        return not written

    def report(progress: Mapping[str, Any]) -> None:
        if written:  # Before that nobody reads it.
            _send(progress)

    try:
        for step in steps(source, scratch, schema, most=size, wait=wait, report=report):
            if "loaded" in step:
                _expand_views(scratch)
            _send(step)
    except HooxError as error:
        _send({"problem": error.problem, "remedy": error.remedy})
    except MemoryError:
        _send(
            {
                "problem": f"{source} would need more than {_MEMORY >> 30} GB of memory.",
                "remedy": "It is no backup of a ledger.",
            }
        )
    except Exception as error:
        problem = f"{source} cannot be checked ({type(error).__name__}: {error})."
        _send({"problem": problem, "remedy": "Take another backup."})


def _expand_views(scratch: Path) -> None:
    """Have SQLite look into each view, as it does before it lists a table; it may take `_VIEWS` seconds.

    A few views of each other can take it for ever, and nothing but the end of the process ends that. It is
    better ended here than in the process that reads the scratch file next.
    """
    address = f"{scratch.resolve().as_uri()}?mode=ro"
    with _limited(_VIEWS), closing(sqlite3.connect(address, uri=True)) as file:
        file.execute("PRAGMA trusted_schema = OFF").fetchall()
        with suppress(sqlite3.Error):  # Whoever reads the file is told.
            file.execute("SELECT count(*) FROM pragma_table_list").fetchall()


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Let this process take so many seconds of CPU for a block, where the system has limits."""
    if sys.platform == "win32":
        yield
        return
    import resource

    former = resource.getrlimit(resource.RLIMIT_CPU)
    most = math.ceil(time.process_time()) + seconds
    if former[0] != resource.RLIM_INFINITY:
        most = min(most, former[0])
    resource.setrlimit(resource.RLIMIT_CPU, (most, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, former)


def _send(step: Mapping[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(step)}\n")
    sys.stdout.flush()


def _confine(size: int) -> None:
    """Let this process take no more than a backup of `size` bytes can need, where the system has limits."""
    if sys.platform == "win32":
        return
    import resource

    # A file that grows too large then is an error of SQLite's instead of the end.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, 2 * largest_scratch(size)),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, _TIME + size // _BYTES_PER_SECOND),
    ):
        with suppress(ValueError, OSError):
            _, hard = resource.getrlimit(kind)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))
