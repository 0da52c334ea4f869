"""One moment of a ledger on D1, as a SQLite file: from D1's own export, or read by queries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hoox_tasks.d1 import D1Client
from hoox_tasks.database.checksum import checksums
from hoox_tasks.database.interface import Database, Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote.export_reader import inexact_queries, is_exportable, load_export
from hoox_tasks.database.remote.live_copy import read_by_queries
from hoox_tasks.database.remote.live_reader import LiveReader
from hoox_tasks.database.schema import read_schema, read_tables, read_tables_and_schema
from hoox_tasks.errors import ChangedMeanwhile, HooxError, RemoteError
from hoox_tasks.files import scratch_folder
from hoox_tasks.values import Progress

_READINGS = 2
"""How often a ledger is read by queries, when somebody writes to it meanwhile."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a ledger, and the bookmark of its moment; None where it is not of one moment."""

    ledger: LocalDatabase
    bookmark: str | None


@contextmanager
def copy_ledger(
    database: Database, client: D1Client, *, online: bool, progress: Progress | None
) -> Iterator[Copy]:
    """Copy a ledger into a file for the length of a block.

    D1 exports it, and answers no queries meanwhile; the copy is compared with the ledger then. Where D1's
    export would change a cell, or the comparison does not prove it, and with `online`, the ledger is read
    by queries, once more where somebody writes meanwhile. Then, `online` gives a copy that is not of one
    moment; otherwise `ChangedMeanwhile` is raised.
    """
    with scratch_folder() as folder:
        path = folder / "copy.sqlite"
        bookmark = None if online else _exported(database, client, folder, path, progress)
        for left in reversed(range(_READINGS)):
            if bookmark is None:
                path.unlink(missing_ok=True)
                try:
                    bookmark = _read(database, client, path, progress)
                except HooxError as error:
                    if isinstance(error, RemoteError) or not left:
                        raise
        if bookmark is None and not online:
            raise ChangedMeanwhile(
                f"{database.name} was changed while it was read.",
                "Run it again when nobody writes to it, or with --online, which keeps nobody from it.",
            )
        with closing(LocalDatabase(path, strict=False)) as ledger:
            yield Copy(ledger, bookmark)


def _exported(
    database: Database, client: D1Client, folder: Path, path: Path, progress: Progress | None
) -> str | None:
    """Have D1 export its rows, and put them with the schema into a new SQLite file.

    Returns the bookmark of that moment; None where D1's export does not say every cell as it is, or cannot
    be proven to.
    """
    reader = LiveReader(client)
    tables, schema, _ = read_tables_and_schema(reader)
    if not is_exportable(tables):
        return None
    questions = (Statement(query) for query in inexact_queries(tables))
    if any(rows is None or rows[0][0] for rows in reader.map(questions)):
        return None
    before = client.bookmark()
    export = client.export(schema=False, progress=progress)
    with (folder / "export.sql").open("w+b") as file:
        client.download(export.signed_url, file, progress=progress)
    with (
        (folder / "export.sql").open(encoding="utf-8", newline="\n") as lines,
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        try:
            load_export(lines, schema, connection)
        except (sqlite3.Error, ValueError) as error:
            problem = str(error)
        else:
            problem = ""
    if problem or read_schema(reader) != schema:
        why = problem or "the schema changed meanwhile"
        raise HooxError(f"D1's export of {database.name} does not load: {why}.", "Run it again.")
    with closing(LocalDatabase(path, strict=False)) as copy:
        # A difference may be a write since, or a fault of the export: which of them cannot be told.
        return None if find_differences(database, copy) else export.bookmark or before


def _read(database: Database, client: D1Client, path: Path, progress: Progress | None) -> str | None:
    """Read a ledger by queries into a new SQLite file.

    Returns the bookmark of that moment; None where somebody wrote meanwhile.
    """
    before = client.bookmark()
    read_by_queries(client, database.name, path, progress)
    if client.bookmark() != before:
        return None
    with closing(LocalDatabase(path, strict=False)) as copy:
        differing = find_differences(database, copy)
    if not differing:
        return before
    if client.bookmark() != before:
        return None
    raise HooxError(
        f"What was read of {database.name} is not what it holds: {', '.join(differing)}.", "Run it again."
    )


def find_differences(database: Database, copy: LocalDatabase) -> list[str]:
    """Name the tables that do not hold what a copy of them does, by their checksums."""
    with copy.snapshot() as snapshot:
        tables = read_tables(snapshot)
    here, there = checksums(copy, tables), checksums(database, tables)
    return [name for name in here if here[name] != there[name]]
