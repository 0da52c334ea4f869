"""What in a statement an older SQLite does not understand, and which one it needs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from hoox_tasks.rules.functions import SOURCES

_TOKEN: Final = (
    r"(?s)--[^\n]*|/\*.*?(?:\*/|\Z)|\s+|(?P<text>'[^']*+(?:''[^']*+)*+(?:'|\Z))"
    r"|(?P<name>\"[^\"]*+(?:\"\"[^\"]*+)*+(?:\"|\Z)|`[^`]*+(?:`|\Z)|\[[^]]*+(?:\]|\Z))"
    r"|(?P<number>\d[\w.]*)|(?P<word>[^\W\d]\w*)|(?P<sign>.)"
)
_NO_FUNCTION: Final = frozenset({"AS", "IN", "OVER", "FILTER"})
_QUERY: Final = frozenset({"SELECT", "WITH", "VALUES"})


class Feature(NamedTuple):
    """A piece of SQL that came with a version of SQLite (https://sqlite.org/changes.html)."""

    words: str
    version: tuple[int, int]


def newest_feature(statement: str) -> Feature | None:
    """Give what in a statement older versions do not understand, of several the newest; None for nothing."""
    return max(_features(statement), key=lambda feature: feature.version, default=None)


def needs_newer(statement: str) -> str:
    """Say which SQLite a statement needs, as two sentences; empty where this Python's is new enough."""
    feature = newest_feature(statement)
    if feature is None or feature.version <= sqlite3.sqlite_version_info[:2]:
        return ""
    return (
        f"{feature.words} came with SQLite {'.'.join(map(str, feature.version))}, and this Python has"
        f" {sqlite3.sqlite_version}. Use a Python with a newer one: {SOURCES}."
    )


def _features(statement: str) -> Iterator[Feature]:
    words: list[str] = []
    calls: list[tuple[str, int]] = []  # The open brackets: a function's name or nothing, and commas in it.
    for match in re.finditer(_TOKEN, statement):
        kind, text = match.lastgroup, match[0]
        if kind is None:
            continue
        word = text.upper() if kind in {"word", "sign"} else kind
        if kind == "number" and "_" in text:
            yield Feature("An underscore in a number", (3, 46))
        if word == "(":
            named = words and words[-1].isidentifier() and words[-1] not in _NO_FUNCTION
            calls.append((words[-1] if named else "", 0))
        elif word == "," and calls:
            calls[-1] = (calls[-1][0], calls[-1][1] + 1)
        elif word in _QUERY and words[-1:] == ["("]:
            calls[-1] = ("", 0)
        elif word == ")" and calls:
            yield from _called(*calls.pop())
        elif word == "BY" and words[-1:] == ["ORDER"] and calls and calls[-1][0]:
            yield Feature("ORDER BY in the brackets of a function", (3, 44))
        elif word == "JOIN" and {"RIGHT", "FULL"} & set(words[-2:]):
            yield Feature("RIGHT and FULL JOIN", (3, 39))
        elif word == "FROM" and words[-1:] == ["DISTINCT"] and {"IS", "NOT"} & set(words[-2:-1]):
            yield Feature("IS DISTINCT FROM", (3, 39))
        elif calls[-1:] == [("RAISE", 1)] and (kind != "text" or words[-1] != ","):
            yield Feature("An expression as the message of RAISE", (3, 47))
        words.append(word)


def _called(name: str, commas: int) -> Iterator[Feature]:
    if name == "JSON_VALID" and commas == 1:
        yield Feature("json_valid with two arguments", (3, 45))
    elif name == "IF" or (name == "IIF" and commas != 2):
        yield Feature("if(), and iif() with other than three arguments,", (3, 48))
