"""Comparisons of values as SQL text, within what D1 allows a statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_NUMBERS = 30
"""Counts that one statement makes: D1's documentation allows a function 32 arguments."""
_TEXT = 60_000
"""Characters of them: D1 allows a statement 100,000 bytes."""


def all_hold(conditions: Sequence[str]) -> str:
    """Write that all conditions hold, in pairs: an expression may be 100 levels deep."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({all_hold(conditions[:half])} AND {all_hold(conditions[half:])})"


def chunks(counts: Sequence[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Divide counts, so that a statement has no more of them, and no more text, than D1 allows."""
    chunk: list[tuple[int, str]] = []
    size = 0
    for number, text in counts:
        if chunk and (len(chunk) == _NUMBERS or size + len(text) > _TEXT):
            yield chunk
            chunk, size = [], 0
        chunk.append((number, text))
        size += len(text)
    yield chunk


def same(was: str, now: str) -> str:
    """Write whether two values are the same: as stored, or as text and number that say the same.

    A number is the same as an integer or a real; a text in another column's type is the same only where both
    its text and its number are.
    """
    numbers = "('integer', 'real')"
    kinds = f"(typeof({was}) = typeof({now}) OR typeof({was}) IN {numbers} AND typeof({now}) IN {numbers})"
    alike = (
        f"typeof({was}) <> 'blob' AND typeof({now}) <> 'blob'"
        f" AND CAST({was} AS TEXT) = CAST({now} AS TEXT) AND CAST({was} AS NUMERIC) = CAST({now} AS NUMERIC)"
    )
    return f"coalesce({was} IS {now} COLLATE BINARY AND {kinds} OR {alike}, 0)"
