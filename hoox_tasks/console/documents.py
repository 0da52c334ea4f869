"""JSON: rows as one array or one object to a line, and the one document that a task prints."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any, TextIO

from hoox_tasks.console.gate import in_job
from hoox_tasks.database.interface import Rows
from hoox_tasks.values import Row, Value

_ROWS = 1000
"""Rows that are written at once."""


def write_json(results: Iterable[Rows], output: TextIO) -> int:
    """Write an array of objects, or an array of such arrays for several statements; returns the row count."""
    ascii = _is_narrow(output)
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
        for block in result.blocks(_ROWS):
            texts = [f"\n{indent}  {_json_object(names, row, ascii=ascii)}" for row in block]
            output.write(("" if empty else ",") + ",".join(texts))
            empty = False
            total += len(block)
        output.write("]" if empty else f"\n{indent}]")
    output.write("\n]\n" if several else "\n")
    return total


def write_ndjson(results: Iterable[Rows], output: TextIO) -> int:
    """Write one object to a line; returns the number of rows."""
    ascii = _is_narrow(output)
    total = 0
    for result in results:
        names = unique(result.columns)
        for block in result.blocks(_ROWS):
            output.write("".join([f"{_json_object(names, row, ascii=ascii)}\n" for row in block]))
            total += len(block)
    return total


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


def write(value: Any, output: TextIO) -> None:
    """Write one document."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    output.write(_printable(text, ascii=_is_narrow(output)) + "\n")


def _is_narrow(output: TextIO) -> bool:
    """Whether some characters cannot be written, as on a pipe of Windows; JSON can do without them."""
    return not (output.encoding or "utf-8").lower().startswith("utf")


def _json_object(names: Sequence[str], row: Row, *, ascii: bool) -> str:
    values = map(_json_value, row)
    try:
        text = json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False, allow_nan=False)
    except ValueError:
        pairs = zip(names, row, strict=True)
        text = "{" + ", ".join(f"{_json_text(name)}: {_json_text(value)}" for name, value in pairs) + "}"
    return _printable(text, ascii=ascii)


def _json_text(value: Value) -> str:
    if isinstance(value, float) and math.isinf(value):
        # JSON has no infinity; a number too large for a double is read as one by most.
        return "1e999" if value > 0 else "-1e999"
    return json.dumps(_json_value(value), ensure_ascii=False)


def _printable(text: str, *, ascii: bool) -> str:
    """Escape what `json` leaves as it is and a terminal would obey: DEL, and the controls beyond ASCII.

    With `ascii`, escape every character beyond ASCII.
    """
    if in_job():  # A string of JSON may have any of its characters written so.
        text = text.replace("##", "#\\u0023")
    if text.isprintable() and (text.isascii() or not ascii):
        return text

    def stays(char: str) -> bool:
        return char == "\n" or (char.isprintable() and (char.isascii() or not ascii))

    return "".join(char if stays(char) else json.dumps(char)[1:-1] for char in text)


def _json_value(value: Value) -> Any:
    """Give a cell as JSON has it; a blob as sqlite-utils writes it, {"$base64": true, "encoded": ...}."""
    if isinstance(value, bytes):
        import base64

        return {"$base64": True, "encoded": base64.b64encode(value).decode()}
    return value
