"""`inv db.insert`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hoox_tasks.console import terminal
from hoox_tasks.console.formats import render, unknown_format
from hoox_tasks.database.interface import Rows
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import inserting, migrations

_SHOWN = 10
"""Rows that --dry shows."""


@ledger_task(
    {
        "table": "The table that the rows are for.",
        "file": "The file with the rows, or - for standard input.",
        "format": "What is in it: csv, tsv, json or ndjson; else its name or its beginning tells.",
        "map": "Which column a field is for (repeatable): 'Exec Price=price'; 'Note=' leaves it out.",
        "upsert": "Give a row whose key is there already the values of the file.",
        "whole-seconds": "Cut parts of a second off times.",
    },
    positional=("table", "file"),
    iterable=("map",),
    asks=True,
)
def insert(
    command: Command,
    table: str,
    file: str,
    format: str | None = None,
    map: list[str] | None = None,
    upsert: bool = False,
    whole_seconds: bool = False,
) -> None:
    """Insert the rows of a CSV, TSV, JSON or NDJSON file, all or none.

    The names in the header, or of the objects' fields, are columns. Times in
    ISO 8601 (UTC without a zone) become Unix seconds where the data
    dictionary says so. An empty cell of CSV is NULL. A row that is there
    already, and a value of which a digit would be lost, is refused with its
    line and column. With Invoke's own --dry (`inv db.insert ... --dry`) it
    shows what would go in.

    JSON: database, table, columns [name], rows (in the file), inserted,
    updated (rows that were there, with --upsert), recovery_point, seconds.
    With --dry: first [row] as well.
    """
    if format and format not in inserting.FORMATS:
        raise unknown_format(format, inserting.FORMATS)
    own = migrations.history.own_tables(command.settings.migrations_table)
    if table.lower() in {name.lower() for name in own}:
        raise Refused(f"{table} is the migrations' own table.", "Change it with `inv db.migrate.mark`.")
    mapping = _mapping(map or [])
    with _opened(file) as (stream, label), command.ledger() as database:
        read = inserting.reading.Reading(label)
        schema = database.schema()
        name = inserting.staging.find_table(schema, table).name
        with (
            terminal.progress("Reading") as progress,
            inserting.staged(
                schema,
                name,
                inserting.read(stream, read, format or ""),
                read,
                times=command.times.get(name, frozenset()),
                mapping=mapping,
                whole_seconds=whole_seconds,
                upsert=upsert,
                progress=progress,
            ) as staging,
        ):
            if read.unfinished and file == "-":
                terminal.note("The last line has no end: if it was cut off, so is its last value.")
            facts = {
                "database": database.label,
                "table": name,
                "columns": list(staging.columns),
                "rows": staging.rows,
            }
            if command.dry:
                planned = inserting.plan(database, staging, upsert=upsert)
                first = inserting.staging.first_rows(staging, _SHOWN)
                if first and not command.json:
                    render([Rows(tuple(staging.columns), first)], "table", sys.stdout)
                shown = [dict(zip(staging.columns, row, strict=True)) for row in first]
                did = _worded(planned, "Would insert", "update")
                command.done(
                    f"{did} {name} of {database.label}",
                    **facts,
                    inserted=planned.new,
                    updated=planned.changed,
                    first=shown,
                )
                return
            command.intention = f"insert {terminal.count(staging.rows, 'row')} into {name}"
            done = inserting.insert(database, staging, upsert=upsert)
        command.done(
            f"{_worded(done, 'Inserted', 'updated')} {name} of {database.label}",
            **facts,
            inserted=done.new,
            updated=done.changed,
        )


def _worded(found: inserting.Inserted, verb: str, other: str) -> str:
    text = f"{verb} {terminal.count(found.new, 'row')}"
    return f"{text} and {other} {found.changed:,} in" if found.changed else f"{text} into"


@contextmanager
def _opened(file: str) -> Iterator[tuple[IO[bytes], str]]:
    """Open the file for a block, and say what to call it."""
    if file == "-":
        yield sys.stdin.buffer, "standard input"
        return
    path = Path(file).expanduser()
    try:
        stream = path.open("rb")
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.", "Name a file with rows.") from error
    with stream:
        yield stream, str(path)


def _mapping(pairs: list[str]) -> dict[str, str]:
    """Read what --map says: a field's name, = and the column's name, or nothing."""
    found: dict[str, str] = {}
    for pair in pairs:
        field, equals, column = pair.rpartition("=")
        if not equals or not field.strip():
            raise Refused(
                f"--map {pair!r} does not say which column a field is for.",
                "Write it as --map 'Exec Price=price'.",
            )
        if field.strip() in found:
            raise Refused(f"--map names {field.strip()} twice.", "Give it once.")
        found[field.strip()] = column.strip()
    return found
