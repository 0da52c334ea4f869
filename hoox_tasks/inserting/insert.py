"""Rows that were tried, brought into a ledger: all of them or none, and none that is there already."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hoox_tasks import sql
from hoox_tasks.database.interface import Database, Statement
from hoox_tasks.database.lost_answers import confirm
from hoox_tasks.errors import HooxError, Refused, RemoteError, StatementError
from hoox_tasks.inserting.staging import Staging
from hoox_tasks.values import Row

_ASKED_BYTES = 60_000
"""Of the JSON in a statement that asks for rows; D1 takes statements of 100,000 bytes."""
_ASKED_AT_ONCE = 10
"""Statements in one request."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """How many rows are new, and how many were there and got new values."""

    new: int
    changed: int


def plan(database: Database, staging: Staging, *, upsert: bool = False) -> Inserted:
    """Compare tried rows with a ledger; raises `Refused`, with the line, where one is there already.

    With `upsert` those whose key is there may be; of another unique column they may not.
    """
    target = staging.target
    if upsert and (not target.key or not set(target.key) <= set(staging.columns)):
        raise Refused(
            f"{target.name} cannot be told by a key in the file, as --upsert needs.",
            f"Give the file its {' and '.join(target.key)}." if target.key else "Leave --upsert out.",
        )
    if not staging.rows or not _holds_rows(database, target.name):
        return Inserted(staging.rows, 0)
    there = 0
    for columns in staging.unique:
        is_key = columns == target.key
        for found in _present(database, staging, columns, other_key=upsert and not is_key):
            if upsert and is_key:
                there += found.rows
            else:
                raise Refused(
                    f"{staging.reading.label}, line {found.line:,}: its {' and '.join(columns)}"
                    f" {found.value} is in {target.name} already.",
                    "Nothing was changed. Take it out of the file"
                    + ("." if upsert else ", or give --upsert to give the row these values."),
                )
    return Inserted(staging.rows - there, there)


def insert(database: Database, staging: Staging, *, upsert: bool = False) -> Inserted:
    """Bring tried rows into a ledger, all or none; raises `Refused` as `plan` does.

    Where the answer of D1 was lost, the first row tells whether they went in.
    """
    planned = plan(database, staging, upsert=upsert)
    if not staging.rows:
        return planned
    key = staging.target.key if upsert else ()
    try:
        database.insert(staging.batches(), key=key)
    except StatementError as error:
        raise HooxError(
            f"{database.label} did not take the rows: {error.message.rstrip('.')}.",
            "None of them went in. Look at what it says, and run it again.",
        ) from error
    except RemoteError as error:
        if upsert:
            raise RemoteError(
                error.problem,
                "Run it again: with --upsert that does no harm.",
                status=error.status,
                code=error.code,
                ambiguous=error.ambiguous,
            ) from error
        confirm(
            error,
            "the rows were inserted",
            lambda: _went_in(database, staging),
            f"Look with `inv db.list` whether {staging.target.name} has more rows before you repeat it.",
        )
    return planned


def _went_in(database: Database, staging: Staging) -> bool:
    """Whether rows are in a ledger that were not before, as far as the first of them tells."""
    return (
        any(found.rows for found in _present(database, staging, staging.unique[0], first=True))
        if staging.unique
        else False
    )


def _holds_rows(database: Database, table: str) -> bool:
    query = f"SELECT 1 FROM {sql.quote_name(table)} LIMIT 1"
    return bool(list(database.batch([Statement(query)], write=False)[0]))


@dataclass(frozen=True, slots=True)
class _Found:
    """Of rows that were asked for: how many are there, and the first of them."""

    rows: int
    line: int
    value: str


def _present(
    database: Database,
    staging: Staging,
    columns: Sequence[str],
    *,
    other_key: bool = False,
    first: bool = False,
) -> Iterator[_Found]:
    """Ask a ledger which rows of the file it has, by some columns; with `other_key`, under another key."""
    names = [*columns, *(staging.target.key if other_key else ())]
    pending: list[tuple[Statement, list[tuple[Row, int]]]] = []
    for group in _groups(staging, names, len(columns), first=first):
        pending.append((_question(staging, columns, names, [row for row, _ in group]), group))
        if len(pending) == _ASKED_AT_ONCE or first:
            yield from _answers(database, pending, len(columns))
            pending = []
        if first:
            return
    yield from _answers(database, pending, len(columns))


def _groups(
    staging: Staging, names: Sequence[str], width: int, *, first: bool
) -> Iterator[list[tuple[Row, int]]]:
    """Yield the rows that can be equal to others, with their lines, as many as one statement takes."""
    group: list[tuple[Row, int]] = []
    size = 0
    for block in staging.blocks(names, lines=True):
        for *cells, line in block:
            # NULL is equal to nothing, and JSON has no blobs: there the ledger itself has the last word.
            if None in cells[:width] or any(isinstance(cell, bytes) for cell in cells):
                continue
            length = len(json.dumps(cells).encode()) + 20
            if group and (size + length > _ASKED_BYTES or first):
                yield group
                group, size = [], 0
            group.append((tuple(cells), int(str(line))))
            size += length
    if group:
        yield group


def _question(staging: Staging, columns: Sequence[str], names: Sequence[str], rows: list[Row]) -> Statement:
    there = [f"there.{sql.quote_name(name)}" for name in names]
    given = [f"given.c{place}" for place in range(len(names))]
    cells = ", ".join(f"json_extract(value, '$[{place}]') AS c{place}" for place in range(len(names)))
    width = len(columns)
    conditions = [f"{name} = {value}" for name, value in zip(there[:width], given[:width], strict=True)]
    others = [f"{name} IS {value}" for name, value in zip(there[width:], given[width:], strict=True)]
    if others:
        conditions.append(f"NOT ({' AND '.join(others)})")
    return Statement(
        f"WITH given AS MATERIALIZED (SELECT key AS n, {cells} FROM json_each(?))"
        f" SELECT count(*), min(n) FROM given CROSS JOIN {sql.quote_name(staging.target.name)} AS there"
        f" WHERE {' AND '.join(conditions)}",
        (json.dumps(rows, ensure_ascii=False),),
    )


def _answers(
    database: Database, asked: Sequence[tuple[Statement, list[tuple[Row, int]]]], width: int
) -> Iterator[_Found]:
    if not asked:
        return
    results = database.batch([statement for statement, _ in asked], write=False)
    for result, (_, rows) in zip(results, asked, strict=True):
        ((number, place),) = result
        if number:
            cells, line = rows[int(str(place))]
            yield _Found(int(str(number)), line, ", ".join(map(str, cells[:width])))
