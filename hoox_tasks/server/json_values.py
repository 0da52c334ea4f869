"""Values as they travel through D1: every number is a double on the way in and on the way out."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from hoox_tasks.values import Value

_SAFE = 2**53


class UnknownValueError(ValueError):
    """A parameter of a kind that D1 does not bind."""


def from_wire(value: Any) -> Value:
    """The value that D1 binds for one of a request's JSON parameters.

    A number is a double first; a whole one becomes an INTEGER where 64 bits hold it.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        whole = number.is_integer() and -(2.0**63) <= number < 2.0**63
        return int(number) if whole else number
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, list) and all(isinstance(each, int) and 0 <= each <= 255 for each in value):
        return bytes(value)
    raise UnknownValueError(f"a parameter is {type(value).__name__}")


def to_wire(value: Value) -> Any:
    """The JSON value in which D1 answers a cell: integers by way of a double, blobs as lists of bytes."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, int):
        return value if -_SAFE <= value <= _SAFE else _shortest(float(value))
    if not math.isfinite(value):
        return None
    return _shortest(value) if value.is_integer() and abs(value) < 1e21 else value


def as_text(text: str) -> str:
    """Text as JavaScript makes it UTF-8: half a surrogate pair becomes a replacement character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def script_number(number: int | float) -> str:
    """A number as JavaScript writes it into a text, `Infinity` and `1e-7` included."""
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    wire = to_wire(number)
    if isinstance(wire, int):
        return str(wire)
    digits, _, exponent = repr(wire).partition("e")
    if not exponent:
        return digits
    power = int(exponent)
    if -7 < power < 0:
        return f"{Decimal(repr(wire)):f}"
    return f"{digits}e{power:+d}"


def _shortest(number: float) -> int:
    # JavaScript writes the shortest digits that name the double, and zeros after them.
    return int(Decimal(repr(number)))
