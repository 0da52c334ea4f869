"""What travels through every room: a ledger's values, rows of them, and how far along something is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeGuard

Value: TypeAlias = None | int | float | str | bytes
"""What a cell of SQLite or D1 can hold."""

Row: TypeAlias = tuple[Value, ...]

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called as `progress(what, done, total)`: rows or bytes so far, and of how many where known."""


class Approximate(int):
    """An integer that may have been rounded on the way: D1 answers in doubles, exact up to 2^53."""

    __slots__ = ()


_SECONDS = 10**8
"""The first number that is taken for a time: 1973. What is smaller is shown as the number that it is."""
_END = 10**14


def may_be_time(value: Value) -> TypeGuard[int | float]:
    """Whether a value is in the range of Unix seconds, or of milliseconds."""
    return isinstance(value, int | float) and _SECONDS <= value < _END
