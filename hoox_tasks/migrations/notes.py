"""Answers of a transaction that answers none: D1 imports a trigger, and gives no rows.

What is asked is written down in the same transaction, in the table of checksums under names that no file has,
and read from there afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from hoox_tasks.database.interface import Database, Rows, Statement
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations.history import CHECKSUMS

_MARK = "/"
_NOTES = f"name GLOB '{_MARK}[0-9]*'"
_FORGET = f"DELETE FROM {CHECKSUMS} WHERE {_NOTES}"


def with_notes(
    statements: Sequence[Statement], asked: Collection[int]
) -> tuple[list[Statement], Mapping[int, int]]:
    """Write down the answers of queries, the places of which are `asked`; each gives columns `a` and `b`.

    Returns the statements, and the new place of each. The table of checksums must be there when the first
    query comes.
    """
    written: list[Statement] = []
    places: dict[int, int] = {}
    noted = False
    for place, statement in enumerate(statements):
        places[place] = len(written)
        written.append(statement)
        if place in asked:
            if not noted:  # What an interrupted run has left is none of ours.
                written.append(Statement(_FORGET))
                noted = True
            rows = f"(SELECT json_group_array(json_array(a, b)) FROM ({statement.sql}))"
            note = f"INSERT OR REPLACE INTO {CHECKSUMS} VALUES ('{_MARK}{places[place]}', {rows})"
            written.append(Statement(note))
    return written, places


def read_notes(database: Database, number: int) -> list[Rows]:
    """Read what was written down, as the answers of so many statements, and remove it; none if it fails."""
    with suppress(HooxError):
        found, _ = database.batch(
            [
                Statement(f"SELECT name, sha256 FROM {CHECKSUMS} WHERE {_NOTES}"),
                Statement(_FORGET),
            ]
        )
        answers = [Rows((), ()) for _ in range(number)]
        for name, text in found.rows:
            place = int(str(name).removeprefix(_MARK))
            if place >= number:
                return []  # Left over by a run that was interrupted.
            answers[place] = Rows(("a", "b"), [tuple(row) for row in json.loads(str(text))])
        return answers
    return []
