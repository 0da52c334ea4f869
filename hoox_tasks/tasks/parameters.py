"""`--param`: which value a text stands for, and to which placeholder of the SQL it is bound."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from hoox_tasks import sql
from hoox_tasks.console import terminal
from hoox_tasks.errors import Refused
from hoox_tasks.values import Value

# https://www.sqlite.org/syntax/numeric-literal.html, with a sign. A leading zero is an id's, as in 007,
# and so is 0x as in an address: those stay text.
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NUMERIC = re.compile(r"[+-]?[.,]?\d[\d.,_' ]*(?:[eE][+-]?\d+)?|0[xX][0-9A-Fa-f]+", re.ASCII)
"""What somebody may take for a number."""
_DIGITS = 20
"""Characters of the longest number that SQLite stores, with its sign; Python reads none of thousands."""


def read_param(text: str) -> Value:
    """Give the value that a --param stands for: a SQL literal where it is one, else the text itself."""
    if text.upper() == "NULL":
        return None
    if len(text) > 1 and text[0] == text[-1] == "'":
        tokens = list(sql.tokens(text))
        if len(tokens) == 1:
            return text[1:-1].replace("''", "'")
    if text[:2].upper() == "X'" and text.endswith("'"):
        try:
            return bytes.fromhex(text[2:-1])
        except ValueError:
            return text
    if _NUMBER.fullmatch(text):
        if not set(text) & set(".eE"):
            # A longer one would be rounded: as text it stays what it is.
            return int(text) if len(text) <= _DIGITS and -(2**63) <= int(text) < 2**63 else text
        return float(text)
    return text


def bind(statement: str, given: Sequence[str]) -> tuple[str, list[Value]]:
    """Give a statement with numbered placeholders, and the value of each; notes what may surprise.

    D1 binds by place only, so `:name`, `@name` and `$name` become the number that SQLite gives them. A
    parameter `name=value` is that name's where the statement has it; all others take what is left, in order.
    Raises `Refused` where they do not match.
    """
    text, names = _numbered(statement)
    values: dict[int, Value] = {}
    others = []
    for param in given:
        name, equals, value = param.partition("=")
        number = names.index(name) if equals and name in names else None
        if number is None:
            others.append(param)
        elif number in values:
            raise Refused(f"There are two values for :{name}.", "Give one of them.")
        else:
            values[number] = _told(value, f"{name}=")
    free = [number for number in range(len(names)) if number not in values]
    named = [names[number] for number in free[len(others) :] if names[number]]
    if named:
        raise Refused(f"There is no value for :{named[0]}.", f"Give it with --param {named[0]}=VALUE.")
    if len(free) != len(others):
        raise Refused(
            f"The SQL has {terminal.count(len(names), 'placeholder')}, and --param gives "
            f"{terminal.count(len(given), 'value')} (parameters).",
            "Give one --param for each ?, or :name and --param name=VALUE.",
        )
    values |= {number: _told(param) for number, param in zip(free, others, strict=True)}
    return text, [values[number] for number in range(len(names))]


def _told(text: str, name: str = "") -> Value:
    """Read a value, and say what it was taken for where that might surprise."""
    value = read_param(text)
    if isinstance(value, float) and "e" in text.lower():
        terminal.note(f"--param {name}{text} is the number {value!r}; '{text}' in quotes is the text.")
    elif isinstance(value, str) and value == text and _NUMERIC.fullmatch(text):
        terminal.note(f"--param {name}{text} is text, not a number.")
    elif isinstance(value, str) and value == text and not name and re.match(r"[A-Za-z_]\w*=", text):
        terminal.note(f"--param {text} is the text '{text}': the SQL has no :{text.partition('=')[0]}.")
    return value


class _Placeholder(NamedTuple):
    """A placeholder's text and where it stands."""

    text: str
    offset: int


def _numbered(statement: str) -> tuple[str, list[str]]:
    """Give a statement whose named placeholders are numbers, and for each number its name, or nothing."""
    names: list[str] = []
    found = _placeholders(statement)
    changed = statement
    replaced: list[tuple[_Placeholder, int]] = []
    for placeholder in found:
        kind, rest = placeholder.text[0], placeholder.text[1:]
        if kind == "?" and rest:
            number = int(rest)
            names += [""] * (number - len(names))
        elif kind == "?":
            names.append("")
            number = len(names)
        else:
            if rest not in names:
                names.append(rest)
            number = names.index(rest) + 1
        replaced.append((placeholder, number))
    if any(names):
        for placeholder, number in reversed(replaced):
            end = placeholder.offset + len(placeholder.text)
            changed = f"{changed[: placeholder.offset]}?{number}{changed[end:]}"
    return changed, names


def _placeholders(statement: str) -> list[_Placeholder]:
    tokens = list(sql.tokens(statement))
    found = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.text not in {"?", ":", "@", "$"}:
            continue
        joined = following is not None and following.offset == token.offset + 1
        rest = following.text if following and joined and following.kind in {"word", "number"} else ""
        if token.text == "?" and rest.isdecimal() and not 0 < int(rest[:_DIGITS]) < 32_767:
            raise Refused(
                f"There is no placeholder ?{rest[:_DIGITS]}{'…' if len(rest) > _DIGITS else ''}.",
                "They have numbers from ?1 on.",
            )
        if token.text == "?" and not rest.isdecimal():
            rest = ""
        if token.text == "?" or rest:
            found.append(_Placeholder(token.text + rest, token.offset))
    return found
