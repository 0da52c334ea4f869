"""Rows and documents as people and programs read them, in six formats."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain, islice
from typing import Any, TextIO, TypeVar

from hoox_tasks import sql
from hoox_tasks.database.interface import Rows
from hoox_tasks.errors import Refused
from hoox_tasks.values import Approximate, Row, Value

FORMATS = ("table", "json", "csv", "tsv", "ndjson", "markdown")


_T = TypeVar("_T")


_TABLE_ROWS = 1000
"""Rows whose widths are worked out together; a longer result is laid out in several such blocks."""


_NARROW = 6
"""Columns that a cell should have at least, lest nothing of it can be told."""


def render(results: Iterable[Rows], format: str, output: TextIO) -> int:
    """Write the results of one or more statements to `output`; returns the number of rows.

    Every cell is shown in full, but in a `table` on a terminal. Nothing in a cell can steer a terminal: what
    would is written out, in csv and tsv only where the output is one. Raises `Refused` for an unknown format.
    """
    if format not in FORMATS:
        raise Refused(f"There is no format {format}.", f"Choose one of: {', '.join(FORMATS)}.")
    return _WRITERS[format](results, output)


def _write_table(results: Iterable[Rows], output: TextIO, *, whole: int = 0) -> int:
    room = shutil.get_terminal_size().columns if output.isatty() else None
    total = 0
    for result in _spaced(results, output):
        if not result.columns:
            continue
        titles = [printable(name) for name in result.columns]
        # Numbers stand on the right, as the first rows have them.
        right: list[bool] = []
        for block in chain(_blocks(iter(result), _TABLE_ROWS), [[]]):
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


def _write_markdown(results: Iterable[Rows], output: TextIO) -> int:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |\n"

    def cell(value: Value) -> str:
        lines = value.splitlines() if isinstance(value, str) else ["" if value is None else _shown(value)]
        return "<br>".join(printable(text) for text in lines).replace("|", "\\|")

    total = 0
    for result in _spaced(results, output):
        if result.columns:
            output.write(line(map(cell, result.columns)))
            output.write(line(["---"] * len(result.columns)))
        for row in result:
            output.write(line(map(cell, row)))
            total += 1
    return total


def _separated(delimiter: str) -> Callable[[Iterable[Rows], TextIO], int]:
    def write(results: Iterable[Rows], output: TextIO) -> int:
        total = 0
        terminal = output.isatty()
        for result in _spaced(results, output):
            if result.columns:
                output.write(_csv([result.columns], delimiter, terminal))
            for block in _blocks(iter(result), _TABLE_ROWS):
                output.write(_csv(block, delimiter, terminal))
                total += len(block)
        return total

    return write


def _csv(rows: Sequence[Row], delimiter: str, terminal: bool) -> str:
    cells: Sequence[Sequence[Any]] = rows
    kinds = set(map(type, chain.from_iterable(rows)))
    if terminal:
        cells = [[_printable_cell(value) for value in row] for row in rows]
    elif bytes in kinds or (float in kinds and _has_infinity(rows)):
        cells = [[_plain(value) for value in row] for row in rows]
    text = StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(cells)
    if "\r" not in text.getvalue():
        return text.getvalue()
    # A cell with a carriage return is quoted only where the line's end has one.
    lines: list[str] = []
    csv.writer(_Appending(lines), delimiter=delimiter, lineterminator="\r\n").writerows(cells)
    return "".join([f"{line[:-2]}\n" for line in lines])


def _has_infinity(rows: Sequence[Row]) -> bool:
    return any(math.inf in row or -math.inf in row for row in rows)


class _Appending:
    """What `csv` writes its lines to."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _write_json(results: Iterable[Rows], output: TextIO) -> int:
    """One array of objects; with several statements, an array of such arrays."""
    total = 0
    pending = iter(results)
    ahead = list(islice(pending, 2))
    several = len(ahead) > 1
    indent = "  " if several else ""
    output.write("[\n" if several else "" if ahead else "[]")
    for number, result in enumerate(chain(ahead, pending)):
        output.write((",\n" if number else "") + indent + "[")
        names = unique(result.columns)
        empty = True
        for block in _blocks(iter(result), _TABLE_ROWS):
            texts = [f"\n{indent}  {_json_object(names, row)}" for row in block]
            output.write(("" if empty else ",") + ",".join(texts))
            empty = False
            total += len(block)
        output.write("]" if empty else f"\n{indent}]")
    output.write("\n]\n" if several else "\n")
    return total


def _write_ndjson(results: Iterable[Rows], output: TextIO) -> int:
    total = 0
    for result in results:
        names = unique(result.columns)
        for block in _blocks(iter(result), _TABLE_ROWS):
            output.write("".join([f"{_json_object(names, row)}\n" for row in block]))
            total += len(block)
    return total


_WRITERS: dict[str, Callable[[Iterable[Rows], TextIO], int]] = {
    "table": _write_table,
    "json": _write_json,
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "ndjson": _write_ndjson,
    "markdown": _write_markdown,
}


def _spaced(results: Iterable[Rows], output: TextIO) -> Iterator[Rows]:
    """Yield results, with an empty line between those that show something."""
    shown = False
    for result in results:
        if result.columns and shown:
            output.write("\n")
        shown = shown or bool(result.columns)
        yield result


def unique(names: Sequence[str]) -> list[str]:
    """Tell equal column names apart, so that an object keeps every column: `id`, `id_2`."""
    result: list[str] = []
    taken = set(names)
    for name in names:
        candidate, number = name, 2
        while candidate in result or (candidate != name and candidate in taken):
            candidate, number = f"{name}_{number}", number + 1
        result.append(candidate)
    return result


def _json_object(names: Sequence[str], row: Row) -> str:
    values = map(_json_value, row)
    try:
        text = json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False, allow_nan=False)
    except ValueError:
        pairs = zip(names, row, strict=True)
        text = "{" + ", ".join(f"{_json_text(name)}: {_json_text(value)}" for name, value in pairs) + "}"
    return _json_printable(text)


def _json_text(value: Value) -> str:
    if isinstance(value, float) and math.isinf(value):
        # JSON has no infinity; a number too large for a double is read as one by most.
        return "1e999" if value > 0 else "-1e999"
    return json.dumps(_json_value(value), ensure_ascii=False)


def _json_printable(text: str) -> str:
    """Escape what `json` leaves as it is and a terminal would obey: DEL, and the controls beyond ASCII."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def _json_value(value: Value) -> Any:
    """Give a cell as JSON has it; a blob as sqlite-utils writes it, {"$base64": true, "encoded": ...}."""
    if isinstance(value, bytes):
        import base64

        return {"$base64": True, "encoded": base64.b64encode(value).decode()}
    return value


def _plain(value: Value) -> Any:
    """Give a cell as CSV has it: NULL is empty, a blob is a SQL literal."""
    if isinstance(value, bytes):
        return sql.quote_value(value)
    if isinstance(value, float) and math.isinf(value):
        return sql.quote_real(value)
    return value


def _printable_cell(value: Value) -> Any:
    return printable(value, lines=True) if isinstance(value, str) else _plain(value)


def _shown(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return printable(value.replace("\n", "⏎"))
    # A leading sign that nobody takes for a digit: the number may have been rounded.
    return f"≈{value}" if isinstance(value, Approximate) else str(_plain(value))


def printable(text: str, *, lines: bool = False) -> str:
    """Write out what would steer a terminal instead of being shown on it: ESC becomes \\x1b.

    With `lines`, line ends stay.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\u3000" or (lines and char == "\n") else _escaped(char)
        for char in text
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _blocks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while block := list(islice(rows, size)):
        yield block


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Value]], output: TextIO | None = None
) -> None:
    """Print a small table for people to standard output; its first column is never cut."""
    _write_table([Rows(tuple(columns), [tuple(row) for row in rows])], output or sys.stdout, whole=1)


def print_document(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(_json_printable(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")
