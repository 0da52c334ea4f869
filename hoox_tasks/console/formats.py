"""Results and documents on standard output, in six formats."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO, cast

from hoox_tasks.console import gate
from hoox_tasks.console.table import Layout, write_markdown, write_table
from hoox_tasks.database.interface import Rows
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.values import Value

with lazy_imports():
    from hoox_tasks import suggestions
    from hoox_tasks.console import documents, separated

FORMATS = ("table", "json", "csv", "tsv", "ndjson", "markdown")


def render(results: Iterable[Rows], format: str, output: TextIO, layout: Layout | None = None) -> int:
    """Write the results of one or more statements to `output`; returns the number of rows.

    `layout` is for people: for table and markdown. All others show what is stored. Every cell is shown in
    full, but for texts of a `table` on a terminal. Nothing in a cell can steer a terminal: what
    would is written out, in csv and tsv only where the output is one. Raises `Refused` for an unknown format.
    """
    layout = layout or Layout()
    if format in {"table", "markdown"} and gate.in_job():
        output = cast(TextIO, gate.Gated(output))
    match format:
        case "table":
            return write_table(_spaced(results, output), output, layout)
        case "markdown":
            return write_markdown(_spaced(results, output), output, layout)
        case "csv":
            return separated.write(_spaced(results, output), output, ",")
        case "tsv":
            return separated.write(_spaced(results, output), output, "\t")
        case "json":
            return documents.write_json(results, output)
        case "ndjson":
            return documents.write_ndjson(results, output)
    raise unknown_format(format, FORMATS)


def unknown_format(format: str, known: Sequence[str]) -> Refused:
    """Give the error about a format that there is not."""
    choice = f"Choose one of: {', '.join(known)}."
    return Refused(f"There is no format {format}.", suggestions.remedy(format, known, choice))


class Watched(io.TextIOBase):
    """An output that tells when something is first written to it."""

    def __init__(self, output: TextIO, begun: Callable[[], None]) -> None:
        self._output = output
        self._begun = begun

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the output."""
        return self._output.encoding

    def isatty(self) -> bool:
        """Whether the output is a terminal."""
        return self._output.isatty()

    def write(self, text: str) -> int:
        """Write text."""
        self._begun()
        return self._output.write(text)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Value]], output: TextIO | None = None
) -> None:
    """Print a small table of ours to standard output; its first column is never cut.

    Its numbers are counts, and have separators of thousands; the data of a ledger never has.
    """
    result = Rows(tuple(columns), [tuple(row) for row in rows])
    output = output or sys.stdout
    gated = cast(TextIO, gate.Gated(output)) if gate.in_job() else output
    write_table([result], gated, Layout(whole=1, grouped=True))


def result_document(result: Rows) -> list[dict[str, Any]]:
    """Give a result as it stands in a JSON document: an object of its columns for each row."""
    return documents.objects(result)


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
