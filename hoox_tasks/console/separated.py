"""Rows as programs read them line by line: CSV, and the same with tabs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import chain
from typing import Any, TextIO

from hoox_tasks import sql
from hoox_tasks.console.gate import printable
from hoox_tasks.database.interface import Rows
from hoox_tasks.values import Row, Value

_ROWS = 1000
"""Rows that are written at once."""
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20|%"
"""Characters that begin a formula in some spreadsheet, in full width as well."""
_LEFT_OUT = " \t\r\n\u00a0\u3000\ufeff\"'"


def write(results: Iterable[Rows], output: TextIO, delimiter: str) -> int:
    """Write the columns' names, then a line for each row; returns the number of rows."""
    total = 0
    terminal = output.isatty()
    for result in results:
        if result.columns:
            output.write(_csv([result.columns], delimiter, terminal))
        for block in result.blocks(_ROWS):
            output.write(_csv(block, delimiter, terminal))
            total += len(block)
    return total


def disarm(result: Rows) -> Rows:
    """Let no text of a result be a formula to a spreadsheet: those that could begin one get a ' before them.

    It is for people who open the file; a program that reads it gets other texts than the ledger holds
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    result.columns = tuple(map(_without_formula, result.columns))
    result.rows = (
        tuple([_without_formula(value) if isinstance(value, str) else value for value in row])
        for row in result.rows
    )
    return result


def _without_formula(text: str) -> str:
    # What a spreadsheet leaves out at the start of a cell does not keep it from seeing a formula.
    first = text.lstrip(_LEFT_OUT)[:1]
    return f"'{text}" if (first in _FORMULA and first) or text[:1] in {"\t", "\r", "\n"} else text


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


def _plain(value: Value) -> Any:
    """Give a cell as CSV has it: NULL is empty, a blob is a SQL literal."""
    if isinstance(value, bytes):
        return sql.quote_value(value)
    if isinstance(value, float) and math.isinf(value):
        return sql.quote_real(value)
    return value


def _printable_cell(value: Value) -> Any:
    return printable(value, lines=True) if isinstance(value, str) else _plain(value)
