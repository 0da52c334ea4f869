"""Results and documents on standard output, in six formats."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO, cast

from hoox_tasks.console import gate
from hoox_tasks.console.table import write_markdown, write_table
from hoox_tasks.database.interface import Rows
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.values import Value

with lazy_imports():
    from hoox_tasks.console import documents, separated

FORMATS = ("table", "json", "csv", "tsv", "ndjson", "markdown")


def render(results: Iterable[Rows], format: str, output: TextIO) -> int:
    """Write the results of one or more statements to `output`; returns the number of rows.

    Every cell is shown in full, but in a `table` on a terminal. Nothing in a cell can steer a terminal: what
    would is written out, in csv and tsv only where the output is one. Raises `Refused` for an unknown format.
    """
    if format in {"table", "markdown"} and gate.in_job():
        output = cast(TextIO, gate.Gated(output))
    match format:
        case "table":
            return write_table(_spaced(results, output), output)
        case "markdown":
            return write_markdown(_spaced(results, output), output)
        case "csv":
            return separated.write(_spaced(results, output), output, ",")
        case "tsv":
            return separated.write(_spaced(results, output), output, "\t")
        case "json":
            return documents.write_json(results, output)
        case "ndjson":
            return documents.write_ndjson(results, output)
    raise Refused(f"There is no format {format}.", f"Choose one of: {', '.join(FORMATS)}.")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Value]], output: TextIO | None = None
) -> None:
    """Print a small table for people to standard output; its first column is never cut."""
    result = Rows(tuple(columns), [tuple(row) for row in rows])
    output = output or sys.stdout
    write_table([result], cast(TextIO, gate.Gated(output)) if gate.in_job() else output, whole=1)


def print_document(value: Any) -> None:
    """Print one JSON document to standard output."""
    documents.write(value, sys.stdout)


def _spaced(results: Iterable[Rows], output: TextIO) -> Iterator[Rows]:
    """Yield results, with an empty line between those that show something."""
    shown = False
    for result in results:
        if result.columns and shown:
            output.write("\n")
        shown = shown or bool(result.columns)
        yield result
