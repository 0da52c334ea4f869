"""Where in a statement an error is, and the lines around it."""

from __future__ import annotations

import re
import sqlite3
from bisect import bisect_left
from contextlib import closing

from hoox_tasks import sql


def locate_error(statement: str, message: str) -> int | None:
    """Find the character at which SQLite stumbled over `statement`, from the message that it gave.

    Python does not hand out SQLite's own error offset. The token that the message names is looked for;
    of several, the first is taken at which SQLite, given the text up to it, says the same. None where the
    message names no place.
    """
    if "incomplete input" in message:
        return len(statement.rstrip())
    said, wanted = _stumbling_block(message)
    if not wanted:
        match = re.search(r"no such (?:column|table|function): (\S+)", message)
        name = match.group(1).split(".")[-1].lower() if match else ""
        named = (t.offset for t in sql.tokens(statement) if sql.unquote_name(t.text).lower() == name)
        return next(named, None) if name else None
    places = [
        t.offset for t in sql.tokens(statement) if t.text.startswith(wanted) or wanted.startswith(t.text)
    ]
    if len(places) < 2:
        return places[0] if places else None
    # SQLite reads from left to right: it says the same of every text that goes on to this place, and of none
    # that ends before. So a few tries are enough, whatever the number of places.
    with closing(sqlite3.connect(":memory:")) as connection:

        def stumbles(place: int) -> bool:
            try:
                # The character at the end, which is in no token, keeps SQLite from going on to compile it.
                connection.execute(f"EXPLAIN {statement[: place + len(wanted)]} \x01")
            except sqlite3.Error as error:
                return said in str(error)
            return False

        found = bisect_left(places, True, key=stumbles)
    return places[found] if found < len(places) else places[0]


def _stumbling_block(message: str) -> tuple[str, str]:
    """Give what SQLite says of a token that it does not understand, and the token; empty for other messages.

    The token may hold these words itself, many times.
    """
    for before, behind in (('near "', '": syntax error'), ('unrecognized token: "', '"')):
        start, end = message.find(before), message.rfind(behind)
        if 0 <= start < end - len(before) and (before.startswith("un") or "unrec" not in message[:start]):
            return message[start : end + len(behind)], message[start + len(before) : end]
    return "", ""


def excerpt(statement: str, offset: int | None, *, context: int = 2) -> str:
    """Show the lines of a statement around a character of it, with a caret below the place."""
    lines = statement.replace("\t", " ").split("\n")
    at = statement.count("\n", 0, offset) if offset is not None else 0
    column = 0 if offset is None else offset - (statement.rfind("\n", 0, offset) + 1)
    start = max(0, column - 60)
    shown = []
    for number, line in enumerate(lines):
        if abs(number - at) <= context:
            shown.append(f"    {line[start : start + 100]}")
            if offset is not None and number == at:
                shown.append(f"    {' ' * (column - start)}^")
    return "\n".join(shown)
