"""The functions of D1's SQLite, those that an older one is given, and how old it may be."""

# ruff: noqa: SIM905  (lists of names read better as lines of words)

from __future__ import annotations

import math
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import Final

from hoox_tasks.errors import Refused
from hoox_tasks.values import Value

MINIMUM: Final = (3, 38)
"""The oldest SQLite that all tasks run on: it brought `unixepoch` and `format`, and JSON to all builds."""

SOURCES: Final = "the Pythons of uv and conda bring one, and python.org's for Windows and macOS"
"""Where a Python has its SQLite with it; on Linux most use the distribution's."""

FUNCTIONS: Final = frozenset(
    """
    abs changes char coalesce concat concat_ws format glob hex ifnull iif instr last_insert_rowid length
    like likelihood likely load_extension lower ltrim nullif octet_length printf
    quote random randomblob replace round rtrim sign substr substring total_changes trim typeof
    unhex unicode unlikely upper zeroblob
    date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp
    avg count group_concat max min string_agg sum total
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
    acos acosh asin asinh atan atan2 atanh ceil cos cosh degrees exp floor ln log log2 mod pi pow radians
    sin sinh sqrt tan tanh trunc
    json jsonb json_array jsonb_array json_array_length json_extract jsonb_extract -> ->> json_insert
    jsonb_insert json_object jsonb_object json_patch jsonb_patch json_remove jsonb_remove json_replace
    jsonb_replace json_set jsonb_set json_type json_valid json_quote json_group_array jsonb_group_array
    json_group_object jsonb_group_object json_each json_tree
    match highlight bm25 snippet rtreecheck
    sqlite_rename_column sqlite_rename_table sqlite_rename_test sqlite_drop_column sqlite_rename_quotefix
    """.split()
)
"""Functions and operators that a statement may use on D1, by the name under which SQLite knows them.

The last five are what ALTER TABLE calls. The engine's list also names `soundex`, `max_scalar` and
`min_scalar`, but its build has no such functions.
"""


WITHHELD: Final = frozenset(
    """
    sqlite_version sqlite_source_id sqlite_compileoption_get sqlite_compileoption_used sqlite_log subtype
    ceiling power log10 if unistr unistr_quote json_pretty json_error_position json_array_insert
    jsonb_array_insert fts5 fts5_source_id fts5_locale sqlite_fail
    """.split()
)
"""Functions that D1's SQLite has and does not let anybody use; any other unknown one it does not have."""


SINCE: Final = {
    "unhex": (3, 41),
    "octet_length": (3, 43),
    "timediff": (3, 43),
    "concat": (3, 44),
    "concat_ws": (3, 44),
    "string_agg": (3, 44),
} | {name: (3, 45) for name in FUNCTIONS if name.startswith("jsonb")}
"""The SQLite version that brought a function (https://sqlite.org/changes.html)."""


_DAY: Final = 86_400_000  # milliseconds


def _text(value: Value) -> str | None:
    """A value as D1's SQLite makes a text of it: since 3.53 a REAL has 17 digits where 15 lose
    something, of which the last may be another here."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, int):
        return str(value)
    if value in (float("inf"), float("-inf")):
        return "Inf" if value > 0 else "-Inf"
    text = f"{value:.15g}"
    if float(text) != value or text.endswith(("e+15", "e+16")):
        text = f"{value:.17g}"
    digits, exponent, power = text.partition("e")
    return (digits if "." in digits else f"{digits}.0") + exponent + power


def _concat(*values: Value) -> str:
    if not values:
        raise TypeError
    return "".join(_text(value) or "" for value in values)


def _concat_ws(*values: Value) -> str | None:
    if len(values) < 2:
        raise TypeError
    separator, *parts = map(_text, values)
    return None if separator is None else separator.join(part for part in parts if part is not None)


def _octet_length(value: Value) -> int | None:
    if isinstance(value, bytes):
        return len(value)
    text = _text(value)
    return None if text is None else len(text.encode())


def _unhex(value: Value, ignored: Value = "") -> bytes | None:
    text, between = _text(value), _text(ignored)
    if text is None or between is None:
        return None
    digits = ""
    for letter in text:
        if letter in "0123456789abcdefABCDEF":
            digits += letter
        elif letter not in between or len(digits) % 2:
            return None
    return bytes.fromhex(digits) if len(digits) % 2 == 0 else None


def _milliseconds(year: int, month: int, day: int) -> int:
    """The Julian day of a date, in milliseconds; a day past the month's end counts on into the next."""
    past = (14 - month) // 12
    years, months = year + 4800 - past, month + 12 * past - 3
    days = (153 * months + 2) // 5 + 365 * years + years // 4 - years // 100 + years // 400 - 32045
    return (days + day - 1) * _DAY - _DAY // 2


def _timediff(later: Value, earlier: Value) -> str | None:
    """What must be added to `earlier` to come to `later`: years and months first, then days and time."""
    with closing(sqlite3.connect(":memory:")) as dates:
        read = "SELECT strftime('%Y', :at), strftime('%m', :at), strftime('%d', :at), julianday(:at)"
        to, since = (dates.execute(read, {"at": moment}).fetchone() for moment in (later, earlier))
    if None in to or None in since:
        return None
    end, start = round(to[3] * _DAY), round(since[3] * _DAY)
    year, month, day = map(int, since[:3])
    clock: int = start - _milliseconds(year, month, day)
    sign = 1 if end >= start else -1
    months = sign * ((int(to[0]) - year) * 12 + int(to[1]) - month)

    def moved() -> int:
        """`earlier`, so many months later."""
        years, index = divmod(year * 12 + month - 1 + sign * months, 12)
        return _milliseconds(years, index + 1, day) + clock

    while sign * (end - moved()) < 0:
        months -= 1
    days, rest = divmod(abs(end - moved()), _DAY)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return (
        f"{'+' if sign > 0 else '-'}{months // 12:04}-{months % 12:02}-{days:02} "
        f"{hours:02}:{minutes:02}:{rest / 1000:06.3f}"
    )


class _StringAgg:
    """`string_agg(value, separator)`: each value but the first follows the separator of its own row."""

    def __init__(self) -> None:
        self._parts: deque[tuple[str, str]] = deque()

    def step(self, value: Value, separator: Value) -> None:
        text = _text(value)
        if text is not None:
            self._parts.append((_text(separator) or "", text))

    def inverse(self, value: Value, separator: Value) -> None:
        if value is not None:
            self._parts.popleft()

    def value(self) -> str | None:
        return "".join(s + t for s, t in self._parts)[len(self._parts[0][0]) :] if self._parts else None

    def finalize(self) -> str | None:
        return self.value()


_SUPPLIED: Final[tuple[tuple[str, int, Callable[..., Value]], ...]] = (
    ("concat", -1, _concat),
    ("concat_ws", -1, _concat_ws),
    ("octet_length", 1, _octet_length),
    ("timediff", 2, _timediff),
    ("unhex", 1, _unhex),
    ("unhex", 2, _unhex),
)


@cache
def _has_math() -> bool:
    """Whether this SQLite was built with the functions of mathematics."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT atan2(1, 1)")
        except sqlite3.OperationalError:
            return False
    return True


def _atan2(y: float | None, x: float | None) -> float | None:
    return None if x is None or y is None else math.atan2(y, x)


def refuse_old(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise `Refused` where this Python's SQLite is too old for the tasks."""
    if version[:2] < MINIMUM:
        raise Refused(
            f"This Python's SQLite is {'.'.join(map(str, version))}, and hoox_tasks needs"
            f" {'.'.join(map(str, MINIMUM))} or newer.",
            f"Use a Python with a newer one: {SOURCES}.",
        )


def supply_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that D1's SQLite has and this machine's older one lacks.

    Of those of mathematics only `atan2`, which checksums need, is supplied to a SQLite built without them.
    """
    here = sqlite3.sqlite_version_info[:2]
    try:
        if not _has_math():
            connection.create_function("atan2", 2, _atan2, deterministic=True)
        for name, arguments, function in _SUPPLIED:
            if here < SINCE[name]:
                connection.create_function(name, arguments, function, deterministic=True)
        if here < SINCE["string_agg"]:
            # typeshed wants the methods to be attributes
            connection.create_window_function("string_agg", 2, _StringAgg)  # type: ignore[arg-type]
    except sqlite3.OperationalError:
        # SQLite changes no function while a statement is open, as FTS5 has them in a transaction that has
        # written: then they are there from an earlier time.
        (supplied,) = connection.execute(
            "SELECT count(DISTINCT name) FROM pragma_function_list"
            f" WHERE name IN ({', '.join(repr(name) for name, _, _ in _SUPPLIED)})"
        ).fetchone()
        if supplied < len({name for name, _, _ in _SUPPLIED}):
            raise
