"""What a statement and its values must be to travel to D1, and arrive as they were sent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hoox_tasks.errors import Refused
from hoox_tasks.rules.limits import PARAMETERS, STATEMENT_BYTES
from hoox_tasks.values import Value

MAX_EXACT_INTEGER = 2**53
"""The wire carries numbers as doubles: up to here every integer arrives as it was sent."""


def check_text(text: str, what: str = "The statement") -> str:
    """Give the text back, or raise `Refused` where it cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(f"{what} holds half a surrogate pair, which is no text.", "Remove it.") from None
    return text


def check_statement(sql: str, index: int | None = None) -> str:
    """Give the statement back, or raise `Refused` where it is longer than D1 takes."""
    what = "The statement" if index is None else f"Statement {index + 1}"
    size = len(check_text(sql, what).encode())
    if size > STATEMENT_BYTES:
        raise Refused(
            f"{what} is {size:,} bytes long; D1 takes {STATEMENT_BYTES:,}.",
            "Split it, or bind its long values as parameters.",
        )
    return sql


def check_parameters(params: Sequence[Value], index: int | None = None) -> list[Value]:
    """Give the values as JSON carries them; raises `Refused` where it cannot carry one exactly."""
    of = "" if index is None else f" of statement {index + 1}"
    if len(params) > PARAMETERS:
        raise Refused(f"There are {len(params):,} parameters{of}; D1 takes {PARAMETERS}.", "Run it in parts.")
    checked: list[Value] = []
    for place, value in enumerate(params, 1):
        what = f"Parameter {place}{of}"
        if isinstance(value, bytes | bytearray | memoryview):
            raise Refused(
                f"{what} is a blob, which D1's API does not take.", "Write it as X'...' in the SQL."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise Refused(f"{what} is {value}, which JSON cannot carry.", "Write 9e999 or NULL in the SQL.")
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
            raise Refused(
                f"{what} is {value!r}, which D1 would bind as an INTEGER.", "Write it as CAST(? AS REAL)."
            )
        if isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER:
            raise Refused(
                f"{what} is {value}, an integer beyond 2^53, which D1's API would round.",
                "Bind it as text and write CAST(? AS INTEGER).",
            )
        if isinstance(value, str):
            check_text(value, what)
        checked.append(int(value) if isinstance(value, bool) else value)
    return checked
