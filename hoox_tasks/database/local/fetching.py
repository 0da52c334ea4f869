"""A query's rows in blocks, also where one of their texts is not UTF-8."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from hoox_tasks.values import Row

_BLOCK = 1000
"""Rows of a query that are fetched at once."""
_NOT_UTF_8 = "Could not decode to UTF-8"
"""How Python begins to say so of a text; there is no code for it."""


def fetch_blocks(
    connection: sqlite3.Connection, run: Callable[[], sqlite3.Cursor], cursor: sqlite3.Cursor
) -> Iterator[list[Row]]:
    """Fetch a query's rows from `cursor`, and once more from `run` where a text is not UTF-8.

    Such a text has its bytes as lone surrogates. To read every text that way takes half as long again. The
    connection has to hold one moment: the second time gives the same rows.
    """
    taken = 0
    try:
        while block := cursor.fetchmany(_BLOCK):
            yield block
            taken += len(block)
        return
    except sqlite3.OperationalError as error:
        if not str(error).startswith(_NOT_UTF_8):
            raise
    connection.text_factory = with_surrogates
    cursor = run()
    while block := cursor.fetchmany(_BLOCK):
        rest, taken = block[taken:], max(0, taken - len(block))
        if rest:
            yield rest


def with_surrogates(text: bytes) -> str:
    """Give a text whose bytes that are not UTF-8 are lone surrogates."""
    return text.decode("utf-8", "surrogateescape")


def columns_of(cursor: sqlite3.Cursor) -> tuple[str, ...]:
    """Give the names of a result's columns; none where the statement gives no rows."""
    return tuple(column[0] for column in cursor.description or ())
