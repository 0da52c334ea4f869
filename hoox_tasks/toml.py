"""TOML of files that come with a checkout: it is read in a time that its size can explain, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_DOTS = 1000
"""Dots of one line. The time for a dotted key grows with the square of its parts."""
_CHARACTERS = 1_000_000


def read_toml(text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Read TOML; raises `ValueError` where it is none, is nested too deeply or is too large."""
    import tomllib

    check_size(text)
    if any(line.count(".") > _DOTS for line in text.splitlines()):
        raise ValueError(f"a line has more than {_DOTS:,} dots")
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_size(text: str) -> None:
    """Raise `ValueError` for a text that no file of settings has the size of."""
    if len(text) > _CHARACTERS:
        raise ValueError(f"it has more than {_CHARACTERS:,} characters")
