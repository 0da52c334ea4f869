"""What D1 says of a statement that it does not run."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from hoox_tasks.rules.authorizer import (
    _TRANSACTION_REFUSED,
    Authorizer,
    _function_refused,
)
from hoox_tasks.rules.features import needs_newer
from hoox_tasks.rules.functions import FUNCTIONS, SINCE, SOURCES

_DENIED: Final = r"not authorized|authorization denied|access to .* is prohibited"


_ERRORS: Final = ("no such ", "not authorized to use ")


# Python 3.11 to 3.14 call a code that they do not know "unknown" (https://sqlite.org/rescode.html).
_CODES: Final = {3091: "SQLITE_CONSTRAINT_DATATYPE", 2835: "SQLITE_CONSTRAINT_PINNED"}


OVERLOAD: Final = ("exceeded timeout", "memory limit", "CPU time limit")
"""After these words D1 has given up on a statement, and would again."""


def is_overload(message: str) -> bool:
    """Whether D1 gave up on a request, or did not answer in time, because it was to do too much."""
    return any(words in message for words in (*OVERLOAD, "No answer from"))


def explain_error(error: sqlite3.Error | MemoryError, authorizer: Authorizer) -> str:
    """Say an error of `sqlite3` in D1's words, and let the authorizer forget its refusal.

    D1 puts the name of SQLite's result code after the message: `no such table: t: SQLITE_ERROR`, or
    `UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)`. Often it
    says `at offset N` before that, which Python does not tell. For a refusal of `read_only` the words
    are those of its `Denial`. A statement that compiles to too much is a MemoryError in Python.
    """
    denied, authorizer.denied = authorizer.denied, None
    message = str(error)
    if isinstance(error, MemoryError):
        return "out of memory: SQLITE_NOMEM"
    if isinstance(error, sqlite3.DataError) and "too large" in message:
        return "statement too long: SQLITE_TOOBIG"
    if isinstance(error, sqlite3.ProgrammingError) and "bindings" in message:
        return "Wrong number of parameter bindings for SQL query."
    if denied is not None and re.match(_DENIED, message):
        message = denied.words
        if denied.read_only or message == _TRANSACTION_REFUSED:
            return message
        return f"{message}: {'SQLITE_ERROR' if message.startswith(_ERRORS) else 'SQLITE_AUTH'}"
    unknown = re.fullmatch(r"no such function: (\w+)", message)
    if unknown is not None:
        message = _function_refused(unknown[1])
    return f"{message}{_code(error)}"


def _code(error: sqlite3.Error) -> str:
    """How D1 ends a message; '' for an error that is Python's own and not SQLite's."""
    number = getattr(error, "sqlite_errorcode", None)
    if number is None:
        return ""
    name = _CODES.get(number, error.sqlite_errorname)
    primary = "_".join(name.split("_")[:2])
    if number == sqlite3.SQLITE_SCHEMA and "schema" not in str(error):
        primary = "SQLITE_ERROR"  # older versions of SQLite say so when a statement fails after a rollback
    return f": {primary}" if number < 256 else f": {primary} (extended: {name})"


_NOT_UNDERSTOOD: Final = r"syntax error|unrecognized token|incomplete input|wrong number of arguments"


def find_remedy(error: sqlite3.Error, statement: str = "") -> str:
    """What to do where a statement fails here only because this machine's SQLite is old; else ''."""
    if re.search(_NOT_UNDERSTOOD, str(error)):
        return needs_newer(statement)
    match = re.fullmatch(r"no such function: (\w+)", str(error))
    if match is None or match[1].lower() not in FUNCTIONS:
        return ""
    since = ".".join(map(str, SINCE[match[1].lower()])) if match[1].lower() in SINCE else "a fuller build"
    return (
        f"D1 has {match[1]}, this Python's SQLite {sqlite3.sqlite_version} has not: "
        f"use a Python whose SQLite is {since} or newer ({SOURCES}), or write the statement without it."
    )
