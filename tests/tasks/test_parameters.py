"""`--param`: the value that a text stands for, and the placeholder that it is bound to."""

from __future__ import annotations

import sqlite3
import sys
import warnings
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.errors import Refused
from hoox_tasks.tasks.parameters import bind, read_param
from hoox_tasks.values import Value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e4", 10000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+5", 5),
        ("-5", -5),
        ("1e-8", 1e-8),
        ("-.5E+2", -50.0),
        ("0", 0),
        ("0.10", 0.1),
        ("9223372036854775807", 2**63 - 1),
        ("'007'", "007"),
        ("007", "007"),
        ("-007.5", "-007.5"),
        ("12345678901234567890", "12345678901234567890"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("64,000.5", "64,000.5"),
        ("1e", "1e"),
        (".", "."),
        ("+", "+"),
        ("٣", "٣"),
        ("it's", "it's"),
        ("'it''s'", "it's"),
        ("NULL", None),
        ("null", None),
        ("nan", "nan"),
        ("inf", "inf"),
        ("X'00ff'", b"\x00\xff"),
        ("", ""),
    ],
)
def test_a_param_is_the_value_it_looks_like(text: str, value: Value) -> None:
    """SQLite's numbers are numbers; ids, quoted and plain texts are texts."""
    found = read_param(text)
    assert found == value
    assert type(found) is type(value)


@given(st.from_regex(r"[+-]?(0|[1-9][0-9]{0,17})?(\.[0-9]{0,8})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_numbers_are_those_of_sqlite(text: str) -> None:
    """What SQLite reads as a numeric literal has the value and the type that it has there."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            (expected,) = connection.execute(f"SELECT {text}").fetchone()
        except sqlite3.OperationalError:
            expected = text
    found = read_param(text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("statement", "given", "text", "values"),
    [
        ("SELECT ?, ?", ["1", "b"], "SELECT ?, ?", [1, "b"]),
        ("SELECT :sym", ["sym=BTC"], "SELECT ?1", ["BTC"]),
        ("SELECT :sym", ["BTC"], "SELECT ?1", ["BTC"]),
        ("SELECT @a, $b, :a", ["b=2", "a=1"], "SELECT ?1, ?2, ?1", [1, 2]),
        ("SELECT ?, :n, ?", ["1", "n=x=y", "3"], "SELECT ?1, ?2, ?3", [1, "x=y", 3]),
        ("SELECT ?2, ?1, ?", ["1", "2", "3"], "SELECT ?2, ?1, ?", [1, 2, 3]),
        ("SELECT ?", ["sym=BTC"], "SELECT ?", ["sym=BTC"]),
        ("SELECT ':a', \"?\" -- ?\n", [], "SELECT ':a', \"?\" -- ?\n", []),
        ("SELECT a[1:2]", [], "SELECT a[1:2]", []),
    ],
)
def test_params_go_to_their_placeholders(
    statement: str, given: list[str], text: str, values: list[Value]
) -> None:
    """A name takes its own value, the others come in order; strings and comments have no placeholders."""
    assert bind(statement, given) == (text, values)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="it binds names to sequences no more: no peer")
@given(
    st.lists(st.sampled_from(["?", "?1", "?2", "?5", ":a", "@b", "$c"]), min_size=1, max_size=6),
)
def test_numbers_of_placeholders_are_those_of_sqlite(placeholders: list[str]) -> None:
    """A statement with its names taken out gives what SQLite gives for the one with the names."""
    statement = f"SELECT {', '.join(placeholders)}"
    with closing(sqlite3.connect(":memory:")) as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        count = next(
            n for n in range(12) if _rows(connection, statement, [f"v{i}" for i in range(n)]) is not None
        )
        given = [f"v{i}" for i in range(count)]
        text, values = bind(statement, given)
        assert connection.execute(text, values).fetchone() == _rows(connection, statement, given)


def _rows(connection: sqlite3.Connection, statement: str, values: list[str]) -> tuple[object, ...] | None:
    try:
        found: tuple[object, ...] = connection.execute(statement, values).fetchone()
    except sqlite3.ProgrammingError:
        return None
    return found


@pytest.mark.parametrize(
    ("statement", "given", "says"),
    [
        ("SELECT :sym", [], "There is no value for :sym. Give it with --param sym=VALUE."),
        ("SELECT :a, :b", ["a=1"], "There is no value for :b."),
        ("SELECT :a", ["a=1", "a=2"], "There are two values for :a."),
        (f"SELECT ?{'7' * 5000}", [], "There is no placeholder ?77777777777777777777…"),
        ("SELECT ?0", [], "There is no placeholder ?0."),
        ("SELECT ?", [], "The SQL has 1 placeholder, and --param gives 0 values"),
        ("SELECT 1", ["1"], "The SQL has 0 placeholders, and --param gives 1 value"),
    ],
)
def test_what_does_not_match_is_refused(statement: str, given: list[str], says: str) -> None:
    """With the name that lacks a value, or the numbers of both."""
    with pytest.raises(Refused) as caught:
        bind(statement, given)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("statement", "given", "told"),
    [
        ("SELECT ?", "1e4", "--param 1e4 is the number 10000.0; '1e4' in quotes is the text.\n"),
        ("SELECT ?", "007", "--param 007 is text, not a number.\n"),
        ("SELECT ?", "64,000.5", "--param 64,000.5 is text, not a number.\n"),
        ("SELECT ?", "0x1F", "--param 0x1F is text, not a number.\n"),
        ("SELECT ?", "sym=BTC", "--param sym=BTC is the text 'sym=BTC': the SQL has no :sym.\n"),
        ("SELECT :id", "id=007", "--param id=007 is text, not a number.\n"),
        ("SELECT ?", "'007'", ""),
        ("SELECT ?", "42", ""),
        ("SELECT ?", "BTCUSDT", ""),
    ],
)
def test_what_might_surprise_is_told(
    statement: str, given: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, so that a pipe stays clean; what is plain is not told."""
    bind(statement, [given])
    assert capsys.readouterr() == ("", told)
