"""Text from outside is read in a time that grows with its size: 100 KB of anything take at most a second."""

from __future__ import annotations

import gc
import io
import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks import excerpts, sql
from hoox_tasks.config.wrangler import _plain_json
from hoox_tasks.console.table import Layout, write_table
from hoox_tasks.console.times import dates_compared
from hoox_tasks.database.interface import Rows
from hoox_tasks.database.remote.statements import unmistakable
from hoox_tasks.errors import Refused
from hoox_tasks.inserting.reading import Reading, read
from hoox_tasks.rules.authorizer import shape_refusal
from hoox_tasks.rules.features import needs_newer
from hoox_tasks.tasks.parameters import bind, read_param
from hoox_tasks.views.shell import completions, read_inputs
from tests.support.strategies import examples


class Narrow(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return True


NAMES = {"trades": ["id", "price"]}
_ATTEMPTS = 5
READERS: dict[str, Callable[[str], object]] = {
    "split": sql.split,
    "tokens": lambda text: list(sql.tokens(text)),
    "format": sql.format_ddl,
    "excerpt": lambda text: excerpts.excerpt(text, len(text) // 2),
    "locate": lambda text: excerpts.locate_error(text, 'near ",": syntax error'),
    "locate a word": lambda text: excerpts.locate_error(text, 'near "END": syntax error'),
    "locate a column": lambda text: excerpts.locate_error(text, "no such column: x"),
    "shape": shape_refusal,
    "completions": lambda text: completions(text, NAMES),
    "completions before": lambda text: completions("SELECT ", NAMES, text),
    "shell": lambda text: list(read_inputs(text.splitlines(keepends=True))),
    "one statement": unmistakable,
}
SHAPES = {
    "commas": ("SELECT 1", ",1", ",,1"),
    "newlines": ("", "\n", ""),
    "spaces and newlines": ("", " \n", "x"),
    "comments": ("", "--\n", ""),
    "open comments": ("", "/*", ""),
    "closed comments": ("SELECT 1", "/**/", "-"),
    "quotes": ("SELECT ", "'", ""),
    "names": ("SELECT ", "[", ""),
    "backticks": ("SELECT 1 AS ", "`", ""),
    "semicolons": ("", ";", ""),
    "text of lines": ("INSERT INTO t VALUES ('", "a;\n", "');"),
    "a trigger": ("CREATE TRIGGER r AFTER INSERT ON t BEGIN ", "SELECT 1; ", "END;"),
    "many triggers": ("", "CREATE TRIGGER r BEGIN ", ""),
    "ends": ("CREATE TRIGGER r BEGIN ", "END ", ""),
    "parentheses": ("SELECT ", "(", ""),
    "words": ("SELECT ", "trades ", ""),
    "renames": ("ALTER TABLE t ", "rename to ", "_cf_"),
    "minus": ("SELECT ", "- ", ""),
}


def cost(function: Callable[..., object], *arguments: object) -> float:
    """The seconds of CPU that a call takes, without the collector: it goes through what other tests left."""
    gc.disable()
    try:
        started = time.process_time()
        with suppress(Refused):
            function(*arguments)
        return time.process_time() - started
    finally:
        gc.enable()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reader", READERS)
def test_time_grows_with_the_size(reader: str, shape: str) -> None:
    """100 KB take at most a second of CPU, and twice as many about twice as long."""
    start, repeated, end = SHAPES[shape]

    def seconds(size: int) -> float:
        return cost(READERS[reader], start + repeated * (size // len(repeated)) + end)

    once = twice = math.inf
    for _ in range(_ATTEMPTS):  # Another program may take the processor's caches meanwhile.
        once, twice = min(once, seconds(100_000)), min(twice, seconds(200_000))
        if once < 1 and twice < 2.5 * once + 0.2:
            break
    assert once < 1
    assert twice < 2.5 * once + 0.2


def _insert(content: str, format: str) -> None:
    list(read(io.BytesIO(content.encode()), Reading("a file"), format))


def _placeholders(statement: str) -> None:
    with pytest.raises(Refused):
        bind(statement, [])


_NEAR = "SELECT [" + 'near "' * 16_000 + "]"
_NAMES = ",".join(f"column{number}" for number in range(9_000))
_MANY = ",".join(f'"k{number}":1' for number in range(9_999))
_DOTS = f"SELECT '2026-01-01',{'a,' * 25_000}{'a.' * 24_000}timestamp FROM trades"
HOSTILE: dict[str, tuple[Callable[..., object], *tuple[object, ...]]] = {
    "the words of a message": (excerpts.locate_error, _NEAR, f"no such column: {_NEAR[8:-1]}"),
    "a long column": (
        excerpts.locate_error,
        "SELECT " + "a," * 25_000,
        f"no such column: {'A' * 50_000}",
    ),
    "open names": (needs_newer, "SELECT " + "[" * 99_000),
    "open quotes": (needs_newer, "SELECT " + '`x"y' * 25_000),
    "names with dots": (dates_compared, _DOTS, [], {"trades": frozenset({"timestamp"})}),
    "a header with a name twice": (_insert, f"{_NAMES},column8999\n", "csv"),
    "an object with a key twice": (_insert, f'{{{_MANY},"k9998":1}}', "json"),
    "accents": (write_table, [Rows(("x",), [("e" * 100 + "\u0301" * 50_000,)])], Narrow(), Layout(full=True)),
    "comments": (_plain_json, "[" + "/* x */ 1, // y\n" * 6_000 + "]"),
    "open comments of JSON": (_plain_json, "/*" * 50_000),
    "commas": (_plain_json, "," * 100_000),
    "commas and spaces": (_plain_json, ", " * 25_000 + " " * 50_000),
    "a placeholder's number": (_placeholders, "SELECT ?" + "7" * 100_000),
    "a number": (read_param, "7" * 100_000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_made_to_take_long_takes_no_second(kind: str) -> None:
    """100 KB of what would take a reader by the square of its size take at most a second of CPU."""
    function, *arguments = HOSTILE[kind]

    assert any(cost(function, *arguments) < 1 for _ in range(_ATTEMPTS))


@pytest.mark.parametrize(
    ("statement", "message", "place"),
    [
        ("SELECT 1,1,1,,1,1", 'near ",": syntax error', 13),
        ("SELECT a FROM t WHERE , , ,", 'near ",": syntax error', 22),
        ("SELECT (1), (2)), (3)", 'near ")": syntax error', 15),
        ("SELECT 1 FROM FROM FROM", 'near "FROM": syntax error', 14),
        ("SELECT 1 'near \"x\": syntax error' 2", 'near "\'near "x": syntax error\'": syntax error', 9),
    ],
)
def test_an_error_is_located_at_the_first_place_that_is_wrong(
    statement: str, message: str, place: int
) -> None:
    """Of several places that an error may mean, it is the one at which SQLite stumbled."""
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError, match="syntax error"),
    ):
        connection.execute(statement)
    assert excerpts.locate_error(statement, message) == place


_WORDS = [
    "create",
    "temp",
    "temporary",
    "trigger",
    "explain",
    "query plan",
    "end",
    "begin",
    "select",
    "x",
    "é",
    ";",
    "\n",
    "'",
    "''",
    '"',
    "`",
    "[",
    "]",
    "--",
    "/*",
    "*/",
    "-",
    "/",
    "1",
    " ",
    "\ufeff",
    "\x0b",
    "\t",
]


@given(st.lists(st.tuples(st.sampled_from(_WORDS), st.sampled_from(["", " "])), max_size=20))
@examples(300)
def test_completion_line_by_line_is_sqlites(words: list[tuple[str, str]]) -> None:
    """What is read line by line is complete where SQLite says so of all of it."""
    completion, read = sql.Completion(), ""
    for line in "".join(map("".join, words)).split("\n"):
        read += f"{line}\n"
        assert completion.feed(f"{line}\n") == sqlite3.complete_statement(read)
