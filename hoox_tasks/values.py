"""What travels through every room: a ledger's values, rows of them, and how far along something is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Value: TypeAlias = None | int | float | str | bytes
"""What a cell of SQLite or D1 can hold."""

Row: TypeAlias = tuple[Value, ...]

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called as `progress(what, done, total)`: rows or bytes so far, and of how many where known."""


class Approximate(int):
    """An integer that may have been rounded on the way: D1 answers in doubles, exact up to 2^53."""

    __slots__ = ()
