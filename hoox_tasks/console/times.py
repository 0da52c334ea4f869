"""Times in results and in questions: Unix seconds as people read them, and what they are compared with.

A result tells the names of its columns and not where they come from. A column counts as a time by its name:
that of a column which the data dictionary gives in Unix seconds, or `min` or `max` of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hoox_tasks import sql
from hoox_tasks.config.moments import write_moment
from hoox_tasks.values import Value, may_be_time

MILLISECONDS = 10**11
"""The first number that is taken for milliseconds, as some workers write them: also 1973, but in those."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXTREME = re.compile(r"(?i:min|max)\((?:\w+\.)?(\w+)\)")
_DATE = re.compile(r"\s*\d{4}-\d\d?(?:\D.*)?", re.DOTALL)
_DIGITS = 10
"""No placeholder's number has as many."""
_SHAPES = {**dict.fromkeys(("<", ">", "=", "!", "LIKE", "IS"), "o"), "NOT": "n", "BETWEEN": "b", "AND": "a"}
_SHAPES |= {"IN": "i", "(": "("}
_COMPARED = re.compile(r"Tn?(?:oo?|b|b.a|i\()D|Doo?T")
"""A time column T beside a date D, in a statement of one letter for each token."""


def read_time(value: Value) -> str:
    """Write Unix seconds, or milliseconds where the number is clearly of those; empty where it is no time."""
    if not isinstance(value, int | float) or not may_be_time(value):
        return ""
    thousandths = value if value >= MILLISECONDS else value * 1000
    if thousandths != int(thousandths):  # Finer than it would be written.
        return ""
    return write_moment(_EPOCH + timedelta(milliseconds=int(thousandths)))


def is_time(column: str, names: frozenset[str]) -> bool:
    """Whether a result's column holds times, where those of `names` do."""
    extreme = _EXTREME.fullmatch(column)
    return (extreme[1] if extreme else column).lower() in names


class Comparison(NamedTuple):
    """A column of times that is compared with a date as text: where, and with what."""

    table: str
    column: str
    text: str


def dates_compared(
    statement: str, params: Sequence[Value], times: Mapping[str, frozenset[str]]
) -> list[Comparison]:
    """Find where a statement compares a column of times with a date as text, which is never what is meant.

    SQLite takes every text for greater than every number: `created_at > '2026-01-30'` finds nothing, and
    `created_at < '2026-01-30'` finds every row. `times` has the columns of each table.
    """
    tokens = list(sql.tokens(statement))
    words = {sql.unquote_name(token.text).lower() for token in tokens}
    tables = {column: table for table, columns in times.items() if table in words for column in columns}
    shape: list[str] = []
    meant: list[str] = []
    bound = 0
    for before, token, following in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        letter = _SHAPES.get(token.text.upper(), "x")
        value: Value = sql.unquote_name(token.text).lower()
        if token.text == ".":  # What stands before it names the column's table.
            del shape[-1:], meant[-1:]
            continue
        if before and before.text == "?" and token.kind == "number":
            continue
        if token.text == "?":
            number = following.text if following and following.kind == "number" else ""
            bound = int(number) if number.isdecimal() and len(number) < _DIGITS else bound + 1
            value = params[bound - 1] if 0 < bound <= len(params) else None
            letter = "D" if isinstance(value, str) and _DATE.fullmatch(value) else "?"
        elif token.kind == "quoted" and token.text[0] == "'":
            value = token.text[1:-1].replace("''", "'")
            letter = "D" if _DATE.fullmatch(value) else "x"
        elif token.kind in {"word", "quoted"} and value in tables:
            letter = "T"
        shape.append(letter)
        meant.append(str(value))
    found = []
    for match in _COMPARED.finditer("".join(shape)):
        column = meant[match.start() + match[0].index("T")]
        found.append(Comparison(tables[column], column, meant[match.start() + match[0].index("D")]))
    return found
