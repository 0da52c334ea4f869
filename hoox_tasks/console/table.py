"""Rows as people read them: a table, records where a terminal is too narrow for one, and Markdown."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TextIO

from hoox_tasks import sql
from hoox_tasks.console.gate import printable, unmarked
from hoox_tasks.database.interface import Rows
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.values import Approximate, Row, Value, may_be_time

with lazy_imports():
    from hoox_tasks.console import times

_TABLE_ROWS = 1000
"""Rows whose widths are worked out together; a longer result is laid out in several such blocks."""

_JOINER = "\u200d"
"""Makes one picture of the characters on its two sides."""
_NARROW = 6
"""Columns that a text should have at least, lest nothing of it can be told."""


class Layout:
    """How results are laid out for people, and whether something had to be left out.

    `times` gives the names of the columns that hold Unix seconds; it is asked only where a number might be
    a time. With `full` no text is cut. The first `whole` columns are never cut: they are what a row is called
    by. With `grouped` numbers have separators of thousands. `cut` tells afterwards whether a text was cut.
    """

    def __init__(
        self,
        times: Callable[[], frozenset[str]] = frozenset,
        *,
        full: bool = False,
        whole: int = 0,
        grouped: bool = False,
    ) -> None:
        self.times = times
        self.full = full
        self.whole = whole
        self.grouped = grouped
        self.cut = False

    def time_columns(self, columns: Sequence[str], rows: Sequence[Row]) -> list[bool]:
        """Tell which columns of some rows are shown as times."""
        if not any(map(may_be_time, chain.from_iterable(rows))):
            return [False] * len(columns)
        names = self.times()
        return [times.is_time(column, names) for column in columns]


def write_table(results: Iterable[Rows], output: TextIO, layout: Layout) -> int:
    room = shutil.get_terminal_size().columns if output.isatty() else None
    total = 0
    for result in results:
        if not result.columns:
            continue
        titles = [printable(name) for name in result.columns]
        # Numbers stand on the right, as the first rows have them.
        right: list[bool] = []
        grid = True
        for block in chain(result.blocks(_TABLE_ROWS), [[]]):
            if not block and right:
                break
            timed = layout.time_columns(result.columns, block)
            right = right or [
                bool(block) and not time and all(isinstance(row[at], int | float | None) for row in block)
                for at, time in enumerate(timed)
            ]
            cells = [
                [_shown(value, time, layout.grouped) for value, time in zip(row, timed, strict=True)]
                for row in block
            ]
            widths = _widths(titles, block, cells, room, layout) if grid else None
            if widths is None and room is not None:
                grid = False
                _write_records(titles, block, cells, total, room, output, layout)
            else:
                _write_grid(titles, cells, right, widths or [], output, layout)
            total += len(block)
    return total


def _widths(
    titles: list[str], rows: list[Row], cells: list[list[str]], room: int | None, layout: Layout
) -> list[int] | None:
    """Give the width of each column of a grid; None where it does not fit into `room`.

    Only texts are made narrower, the widest first, and none below its title.
    """
    widths, least = [], []
    for at, title in enumerate(titles):
        lengths = [_width(line[at]) for line in cells]
        uncut = layout.full or at < layout.whole
        exact = (length for length, row in zip(lengths, rows, strict=True) if uncut or _is_exact(row[at]))
        widths.append(max([_width(title), *lengths]))
        least.append(max([_width(title), min(_NARROW, widths[-1]), *exact]))
    if room is None:
        return widths
    room -= 2 * (len(titles) - 1)
    if sum(least) > room:
        return None
    widest = min(max(widths, default=0), room + 1)
    while sum(widths) > room:
        widest -= 1
        widths = [max(min(width, widest), low) for width, low in zip(widths, least, strict=True)]
    return widths


def _is_exact(value: Value) -> bool:
    """Whether a cell says something else when a part of it is missing."""
    return isinstance(value, int | float | None)


def _write_grid(
    titles: list[str],
    cells: list[list[str]],
    right: list[bool],
    widths: list[int],
    output: TextIO,
    layout: Layout,
) -> None:
    """Write rows below their titles."""
    dashes = ["-" * width for width in widths]
    for line in chain((titles, dashes), cells):
        shown = [_cut(cell, width) for cell, width in zip(line, widths, strict=True)]
        layout.cut = layout.cut or shown != line
        padded = [
            (" " * (width - _width(cell)) + cell) if aside else cell + " " * (width - _width(cell))
            for cell, width, aside in zip(shown, widths, right, strict=True)
        ]
        output.write("  ".join(padded).rstrip() + "\n")


def _write_records(
    titles: list[str],
    rows: list[Row],
    cells: list[list[str]],
    before: int,
    room: int,
    output: TextIO,
    layout: Layout,
) -> None:
    """Write one column to a line, for rows that a terminal has no room for beside each other."""
    widest = min(max(_width(title) for title in titles), room // 2)
    left = room - widest - 2
    for number, (row, line) in enumerate(zip(rows, cells, strict=True), before + 1):
        output.write(f"-- row {number} ".ljust(min(room, 40), "-") + "\n")
        for title, value, cell in zip(titles, row, line, strict=True):
            name = _cut(title, widest)
            whole = layout.full or _is_exact(value)
            pieces = [cell] if _width(cell) <= left else _broken(cell, left) if whole else [_cut(cell, left)]
            layout.cut = layout.cut or (not whole and pieces != [cell])
            indent = " " * (widest + 2)
            if whole and len(pieces) > 1 and not layout.full and _width(cell) <= room:
                output.write(f"{name}\n{cell.rjust(room)}\n")  # A number is easier to read on one line.
                continue
            output.write(f"{name}{' ' * (widest - _width(name))}  {pieces[0]}\n")
            output.writelines(f"{indent}{piece}\n" for piece in pieces[1:])


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


def _broken(text: str, width: int) -> list[str]:
    """Break a text into pieces of at most `width` columns, with nothing left out."""
    if text.isascii():
        return [text[at : at + width] for at in range(0, len(text), width)]
    pieces: list[list[str]] = [[]]
    taken = 0
    for cluster in _clusters(text):
        wide = _width(cluster)
        if pieces[-1] and taken + wide > width:
            pieces.append([])
            taken = 0
        pieces[-1].append(cluster)
        taken += wide
    return ["".join(piece) for piece in pieces]


def _clusters(text: str) -> Iterator[str]:
    """Yield characters, each with those behind it that take no room of their own or are joined to it."""
    from wcwidth import wcwidth

    start = 0
    for place in range(1, len(text)):
        if text[place - 1] != _JOINER and wcwidth(text[place]) > 0:
            yield text[start:place]
            start = place
    yield text[start:]


def write_markdown(results: Iterable[Rows], output: TextIO, layout: Layout) -> int:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |\n"

    def cell(value: Value, time: bool = False) -> str:
        if isinstance(value, str):
            lines = value.splitlines()
        else:
            lines = ["" if value is None else _shown(value, time)]
        return "<br>".join(unmarked(printable(text)) for text in lines)

    total = 0
    for result in results:
        if result.columns:
            output.write(line(map(cell, result.columns)))
            output.write(line(["---"] * len(result.columns)))
        for block in result.blocks(_TABLE_ROWS):
            timed = layout.time_columns(result.columns, block)
            output.writelines(line(map(cell, row, timed)) for row in block)
            total += len(block)
    return total


def _shown(value: Value, time: bool = False, grouped: bool = False) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return printable(value.replace("\n", "⏎"))
    if isinstance(value, bytes) or (isinstance(value, float) and math.isinf(value)):
        return sql.quote_value(value)
    if isinstance(value, Approximate):
        # A leading sign that nobody takes for a digit: the number may have been rounded.
        return f"≈{value}"
    read = times.read_time(value) if time and may_be_time(value) else ""
    return read or (f"{value:,}" if grouped else str(value))
