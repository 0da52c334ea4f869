"""What a cell of a file becomes in a column: the same value, or nothing at all."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from hoox_tasks.inserting.reading import Number
from hoox_tasks.rules.limits import VALUE_BYTES
from hoox_tasks.values import Value

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_GROUPED = re.compile(r"[+-]?[0-9]+(?:[,.'_ \u00a0\u202f][0-9]+)+", re.ASCII)
_TIME = re.compile(
    r"(?P<moment>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?)"
    r"(?P<fraction>[.,][0-9]+)?(?: ?(?P<zone>[Zz]|UTC|[+-][0-9]{2}:?[0-9]{2}))?",
    re.ASCII,
)
_DAY = re.compile(r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])", re.ASCII)
_DIGITS_OF_AN_INTEGER = 19
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadCell(Exception):
    """A cell that the column does not take as it is; the words say what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is filled.

    `affinity` is INTEGER, REAL, NUMERIC, TEXT or BLOB (https://sqlite.org/datatype3.html); `required` says
    that NULL may not be in it, `is_time` that it holds Unix seconds, `is_date` that texts are usual in it
    although it is NUMERIC.
    """

    name: str
    affinity: str
    required: bool = False
    is_time: bool = False
    is_date: bool = False


def affinity(declared: str) -> str:
    """Give the affinity of a column by its declared type, as SQLite determines it."""
    declared = declared.upper()
    for affinity, words in (
        ("INTEGER", ("INT",)),
        ("TEXT", ("CHAR", "CLOB", "TEXT")),
        ("BLOB", ("BLOB",)),
        ("REAL", ("REAL", "FLOA", "DOUB")),
    ):
        if any(word in declared for word in words):
            return affinity
    return "NUMERIC" if declared and declared != "ANY" else "BLOB"


def convert(column: Column, cell: Any, *, whole_seconds: bool = False) -> Value:
    """Give the value for a cell; raises `BadCell` where a digit, or anything else of it, would be lost.

    With `whole_seconds` parts of a second are cut off a time.
    """
    if cell is None:
        if column.required:
            raise BadCell("it is empty, and there has to be a value")
        return None
    if not isinstance(cell, str):
        return _of_json(column, cell)
    if column.is_time and not isinstance(cell, Number) and (match := _TIME.fullmatch(cell.strip())):
        return _seconds(match, whole_seconds)
    match column.affinity:
        case "TEXT":
            return _utf8(cell)
        case "BLOB" if not isinstance(cell, Number):
            return _utf8(cell)
        case "NUMERIC" if column.is_date and not _NUMBER.fullmatch(cell):
            return _utf8(cell)
    text = _number(cell.strip(" "), column)
    if column.is_time and _DAY.fullmatch(text):
        raise BadCell(f"{text} looks like a day; write it as {text[:4]}-{text[4:6]}-{text[6:]}")
    if column.affinity == "REAL" or (column.affinity == "BLOB" and not text.lstrip("+-").isdigit()):
        return _real(text)
    exact = _decimal(text)
    whole = exact.adjusted() < _DIGITS_OF_AN_INTEGER and exact == exact.to_integral_value()
    if whole and -(2**63) <= (number := int(exact)) < 2**63:
        return number
    if column.affinity == "INTEGER":
        large = exact.adjusted() >= _DIGITS_OF_AN_INTEGER or whole
        raise BadCell(
            f"{_short(text)} is beyond 2^63, which an INTEGER does not hold"
            if large
            else f"{_short(text)} is not a whole number"
        )
    return _real(text)


def _of_json(column: Column, cell: Any) -> Value:
    """Give the value for what only JSON has: true, false, lists, objects, and blobs as queries show them."""
    if isinstance(cell, bool):
        if column.affinity == "TEXT":
            return "true" if cell else "false"
        if column.affinity == "REAL" or column.is_time:
            raise BadCell(f"{str(cell).lower()} is not a number")
        return int(cell)
    if isinstance(cell, dict) and cell.keys() == {"$base64", "encoded"}:
        return _blob(cell)
    if column.affinity not in {"TEXT", "BLOB"}:
        raise BadCell("it is a list or an object, and the column takes a number")
    return _utf8(_compact(cell))


def _number(text: str, column: Column) -> str:
    if _NUMBER.fullmatch(text):
        return text
    if _GROUPED.fullmatch(text):
        raise BadCell(f"{_short(text)!r} has separators in it; write a number as 64000.5")
    what = "a time (YYYY-MM-DD HH:MM:SS, in UTC) nor a number" if column.is_time else "a number"
    raise BadCell(f"{_short(text)!r} is {'neither ' if column.is_time else 'not '}{what}")


def _real(text: str) -> float:
    """Give the double whose shortest decimal is the one that stands there."""
    number = float(text)
    if math.isinf(number):
        raise BadCell(f"{_short(text)} is beyond what a REAL holds")
    if Decimal(repr(number)) != _decimal(text):
        raise BadCell(f"{_short(text)} has more digits than a REAL keeps: it would become {number!r}")
    return number


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise BadCell(f"the exponent of {_short(text)} is too large") from None


def _seconds(match: re.Match[str], whole_seconds: bool) -> int:
    fraction = match["fraction"] or ""
    if fraction.strip(".,0") and not whole_seconds:
        raise BadCell(
            f"{match.group()} has parts of a second, which Unix seconds do not keep;"
            " --whole-seconds cuts them off"
        )
    zone = match["zone"] or "Z"
    zone = "+00:00" if zone.upper() in {"Z", "UTC"} else zone
    day, clock = match["moment"][:10], match["moment"][11:] or "00:00"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{zone}")
    except ValueError as error:
        raise BadCell(f"{match.group()} is no time ({error})") from error
    past = moment - _EPOCH
    return past.days * 86_400 + past.seconds


def _blob(cell: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(cell["encoded"], validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadCell(f"it is no base64 ({error})") from error


def _compact(value: Any) -> str:
    """Write a value as JSON again, with every number as it was written."""
    if isinstance(value, dict):
        pairs = [f"{json.dumps(key, ensure_ascii=False)}:{_compact(item)}" for key, item in value.items()]
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_compact, value))}]"
    return str(value) if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


def _utf8(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadCell("half of a character stands alone in it (a lone surrogate)") from error
    if size > VALUE_BYTES:
        raise BadCell(f"it has {size:,} bytes, and D1 takes {VALUE_BYTES:,}")
    return str(text)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
