"""Rows as people read them: a table, records where a terminal is too narrow for one, and Markdown."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from itertools import chain
from typing import TextIO

from hoox_tasks import sql
from hoox_tasks.console.gate import printable, unmarked
from hoox_tasks.database.interface import Rows
from hoox_tasks.values import Approximate, Value

_TABLE_ROWS = 1000
"""Rows whose widths are worked out together; a longer result is laid out in several such blocks."""

_NARROW = 6
"""Columns that a cell should have at least, lest nothing of it can be told."""


def write_table(results: Iterable[Rows], output: TextIO, *, whole: int = 0) -> int:
    room = shutil.get_terminal_size().columns if output.isatty() else None
    total = 0
    for result in results:
        if not result.columns:
            continue
        titles = [printable(name) for name in result.columns]
        # Numbers stand on the right, as the first rows have them.
        right: list[bool] = []
        for block in chain(result.blocks(_TABLE_ROWS), [[]]):
            if not block and right:
                break
            right = right or [
                bool(block) and all(isinstance(row[at], int | float | None) for row in block)
                for at in range(len(titles))
            ]
            cells = [[_shown(value) for value in row] for row in block]
            if (
                room is not None
                and 2 * len(titles) - 2 + sum(min(_width(title), _NARROW) for title in titles) > room
            ):
                _write_records(titles, cells, total, room, output)
            else:
                _write_grid(titles, cells, right, room, output, whole)
            total += len(block)
    return total


def _write_grid(
    titles: list[str],
    cells: list[list[str]],
    right: list[bool],
    room: int | None,
    output: TextIO,
    whole: int,
) -> None:
    """Write rows below their titles; the longest cells are cut until they fit into `room`.

    The first `whole` columns are not cut: they are what a row is called by.
    """
    lines = [titles, *cells]
    widths = [max(_width(line[at]) for line in lines) for at in range(len(titles))]
    if room is not None:
        names, others = widths[:whole], widths[whole:]
        room -= 2 * (len(titles) - 1) + sum(names)
        longest = max(others, default=0)
        while longest > 1 and sum(min(width, longest) for width in others) > room:
            longest -= 1
        widths = [*names, *(min(width, longest) for width in others)]
        lines = [[_cut(cell, width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        padded = [
            (" " * (width - _width(cell)) + cell) if aside else cell + " " * (width - _width(cell))
            for cell, width, aside in zip(line, widths, right, strict=True)
        ]
        output.write("  ".join(padded).rstrip() + "\n")


def _write_records(titles: list[str], cells: list[list[str]], before: int, room: int, output: TextIO) -> None:
    """Write one column to a line, for rows of more columns than a terminal has room for."""
    widest = min(max(_width(title) for title in titles), room // 2)
    for number, row in enumerate(cells, before + 1):
        output.write(f"-- row {number} ".ljust(min(room, 40), "-") + "\n")
        for title, cell in zip(titles, row, strict=True):
            name = _cut(title, widest)
            output.write(f"{name}{' ' * (widest - _width(name))}  {_cut(cell, room - widest - 2)}\n")


def _width(text: str) -> int:
    """Give the columns that a text takes on a terminal: two for a Chinese character, none for an accent."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)


def _cut(text: str, width: int) -> str:
    """Shorten a text to a width, with … where something is missing."""
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[: min(width - 1, len(text) - 1)]
    return f"{text}…"


def write_markdown(results: Iterable[Rows], output: TextIO) -> int:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |\n"

    def cell(value: Value) -> str:
        lines = value.splitlines() if isinstance(value, str) else ["" if value is None else _shown(value)]
        return "<br>".join(unmarked(printable(text)) for text in lines)

    total = 0
    for result in results:
        if result.columns:
            output.write(line(map(cell, result.columns)))
            output.write(line(["---"] * len(result.columns)))
        for row in result:
            output.write(line(map(cell, row)))
            total += 1
    return total


def _shown(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return printable(value.replace("\n", "⏎"))
    if isinstance(value, bytes) or (isinstance(value, float) and math.isinf(value)):
        return sql.quote_value(value)
    # A leading sign that nobody takes for a digit: the number may have been rounded.
    return f"≈{value}" if isinstance(value, Approximate) else str(value)
