"""What people and programs read: results in several formats, progress, and the question before a change.

Results go to standard output and everything else to standard error, so that a pipe stays clean.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TextIO, TypeVar

from hoox_tasks import sql
from hoox_tasks.database import Rows
from hoox_tasks.errors import Refused
from hoox_tasks.values import Approximate, Progress, Row, Value

FORMATS = ("table", "json", "csv", "tsv", "ndjson", "markdown")

_T = TypeVar("_T")
_TABLE_ROWS = 1000
"""Rows whose widths are worked out together; a longer result is laid out in several such blocks."""


def render(results: Iterable[Rows], format: str, output: TextIO) -> int:
    """Write the results of one or more statements to `output`; returns the number of rows.

    All formats but `table` show every cell in full. Raises `Refused` for an unknown format.
    """
    if format not in FORMATS:
        raise Refused(f"There is no format {format}.", f"Choose one of: {', '.join(FORMATS)}.")
    writer = _WRITERS[format]
    return writer(results, output)


def _write_table(results: Iterable[Rows], output: TextIO) -> int:
    from tabulate import tabulate

    total = 0
    for number, result in enumerate(results):
        if number:
            output.write("\n")
        aligned: Sequence[str] | None = None
        rows = iter(result)
        for block in _blocks(rows, _TABLE_ROWS):
            if aligned is None:
                numbers = [
                    all(isinstance(row[at], int | float | None) for row in block)
                    for at in range(len(result.columns))
                ]
                aligned = ["right" if number else "left" for number in numbers]
            cells = [[_shown(value) for value in row] for row in block]
            text = tabulate(
                _fitted(cells, result.columns, output),
                headers=list(result.columns),
                tablefmt="simple",
                colalign=aligned,
                disable_numparse=True,
            )
            output.write(f"{text}\n")
            total += len(block)
        if aligned is None and result.columns:
            output.write("  ".join(result.columns) + "\n")
    return total


def _fitted(cells: list[list[str]], columns: Sequence[str], output: TextIO) -> list[list[str]]:
    """Shorten the longest cells until the table fits a terminal; a file or a pipe gets all of it."""
    if not output.isatty() or not columns:
        return cells
    room = shutil.get_terminal_size().columns - 2 * (len(columns) - 1)
    widths = [max([len(columns[at]), *(len(row[at]) for row in cells)]) for at in range(len(columns))]
    while sum(widths) > room and max(widths) > 8:
        widest = widths.index(max(widths))
        others = sorted(width for at, width in enumerate(widths) if at != widest)
        widths[widest] = max(8, widths[widest] - (sum(widths) - room), others[-1] - 1 if others else 8)
    return [
        [
            cell if len(cell) <= width else f"{cell[: width - 1]}…"
            for cell, width in zip(row, widths, strict=True)
        ]
        for row in cells
    ]


def _write_markdown(results: Iterable[Rows], output: TextIO) -> int:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |\n"

    total = 0
    for number, result in enumerate(results):
        if number:
            output.write("\n")
        if result.columns:
            output.write(line(result.columns))
            output.write(line(["---"] * len(result.columns)))
        for row in result:
            output.write(line(_shown(value, line_breaks=True) for value in row))
            total += 1
    return total


def _separated(delimiter: str) -> Callable[[Iterable[Rows], TextIO], int]:
    def write(results: Iterable[Rows], output: TextIO) -> int:
        total = 0
        for number, result in enumerate(results):
            if number:
                output.write("\n")
            writer = csv.writer(output, delimiter=delimiter, lineterminator="\n")
            if result.columns:
                writer.writerow(result.columns)
            for block in _blocks(iter(result), _TABLE_ROWS):
                writer.writerows([_plain(value) for value in row] for row in block)
                total += len(block)
        return total

    return write


def _write_json(results: Iterable[Rows], output: TextIO) -> int:
    """One array of objects; with several statements, an array of such arrays."""
    total = 0
    pending = iter(results)
    first = next(pending, None)
    second = next(pending, None)
    several = second is not None
    opening, closing, indent = ("[\n", "\n]\n", "  ") if several else ("", "\n", "")
    output.write(opening)
    for number, result in enumerate(chain([r for r in (first, second) if r is not None], pending)):
        output.write((",\n" if number else "") + indent + "[")
        names = unique(result.columns)
        empty = True
        for row in result:
            output.write(("\n" if empty else ",\n") + indent + "  " + _json_object(names, row))
            empty = False
            total += 1
        output.write("]" if empty else f"\n{indent}]")
    output.write("[]" if first is None else "")
    output.write(closing)
    return total


def _write_ndjson(results: Iterable[Rows], output: TextIO) -> int:
    total = 0
    for result in results:
        names = unique(result.columns)
        for row in result:
            output.write(_json_object(names, row) + "\n")
            total += 1
    return total


_WRITERS: dict[str, Callable[[Iterable[Rows], TextIO], int]] = {
    "table": _write_table,
    "json": _write_json,
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "ndjson": _write_ndjson,
    "markdown": _write_markdown,
}


def unique(names: Sequence[str]) -> list[str]:
    """Tell equal column names apart, so that an object keeps every column: `id`, `id_2`."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 2
        while candidate in seen:
            candidate, number = f"{name}_{number}", number + 1
        seen.add(candidate)
        result.append(candidate)
    return result


def _json_object(names: Sequence[str], row: Row) -> str:
    return (
        json.dumps(dict(zip(names, map(json_value, row), strict=True)), ensure_ascii=False)
        .replace(
            # JSON has no infinity; a number too large for a double is read as one by most.
            ": Infinity",
            ": 1e999",
        )
        .replace(": -Infinity", ": -1e999")
    )


def json_value(value: Value) -> Any:
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


def _shown(value: Value, *, line_breaks: bool = False) -> str:
    if value is None:
        return "NULL" if not line_breaks else ""
    if isinstance(value, str):
        text = value if line_breaks else value.replace("\n", "⏎")
        return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)
    # A leading sign that nobody takes for a digit: the number may have been rounded.
    return f"≈{value}" if isinstance(value, Approximate) else str(_plain(value))


def _blocks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while block := list(islice(rows, size)):
        yield block


def table(columns: Sequence[str], rows: Sequence[Sequence[Value]], output: TextIO | None = None) -> None:
    """Print a small table for people to standard output."""
    render([Rows(tuple(columns), [tuple(row) for row in rows])], "table", output or sys.stdout)


def document(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def note(text: str) -> None:
    """Tell people something beside the result, on standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def duration(seconds: float) -> str:
    """Say a time in the unit that suits it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def count(number: int, thing: str, things: str = "") -> str:
    """Say how many there are of a thing: `1 row`, `2,000 rows`, `2 balances`."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show progress on standard error once something takes longer than a second, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from tqdm import tqdm

    bar: tqdm[Any] | None = None

    def report(what: str, done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None or bar.unit != f" {what}":
            if bar is not None:
                bar.close()
            bar = tqdm(desc=title, total=total, unit=f" {what}", unit_scale=True, leave=False, delay=1)
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()


def confirm(name: str, question: str, *, confirmed: bool) -> None:
    """Go on only if `confirmed`, or if somebody at a terminal types `name`; raises `Refused` otherwise."""
    if confirmed:
        return
    if not sys.stdin.isatty() or os.environ.get("CI"):
        raise Refused(f"{question} That needs a yes.", "Give --confirm.")
    note(question)
    sys.stderr.write(f"Type {name} to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise Refused("That was not the name, so nothing was changed.", "Run it again to try once more.")
