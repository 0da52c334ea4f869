"""SQL as text: split as SQLite splits it, quoted as SQLite reads it."""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks import excerpts, sql
from hoox_tasks.errors import Refused
from hoox_tasks.values import Value
from tests.support.strategies import MadeLedger, doubles, examples, integers, ledgers, names, texts

# A byte order mark is white space to SQLite's parser and a letter to complete_statement(), so it is not here.
FRAGMENTS = (
    "SELECT 1", "a", ";", ";", ";", " ", "\n", "\r\n", "\t", "'it''s; '", "'", '"x;""y"', '"',
    "`a;``b`", "`", "[a;b]",
    "[", "]", "-- c;\n", "--", "/* ; */", "/*", "*/", "/", "-", "CREATE", "TEMP", "TEMPORARY",
    "TRIGGER", "EXPLAIN",
    "create trigger", "BEGIN", "END", "end", "CASE", "WHEN", "QUERY", "PLAN", "IF NOT EXISTS", "1",
    ".5", "é", "$x",
    "TRIGGER_", "x'00'", "@v", ":v", "(", ")", "\f", "END;", ";END", "; END ;",
)  # fmt: skip
scripts = st.lists(st.sampled_from(FRAGMENTS) | st.text("a;'\"`[]-/* \n", max_size=4), max_size=14).map(
    " ".join
)
tight_scripts = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A database in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


@examples(600)
@given(scripts | tight_scripts)
def test_statements_end_where_sqlite_says(script: str) -> None:
    """Every statement of a script is complete with its semicolon, and not before; blanks are no statement."""
    pieces = sql.split(script)
    for number, piece in enumerate(pieces):
        end = piece.offset + len(piece.sql)
        assert script[piece.offset : end] == piece.sql
        assert piece.line == 1 + script.count("\n", 0, piece.offset)
        if number + 1 < len(pieces):
            assert sqlite3.complete_statement(script[piece.offset : pieces[number + 1].offset])
        # None of the semicolons inside ends it.
        for place, character in enumerate(piece.sql):
            if character == ";":
                assert not sqlite3.complete_statement(piece.sql[: place + 1])


@examples(300)
@given(st.lists(scripts, max_size=4))
def test_joined_statements_split_again(several: list[str]) -> None:
    """Split after joined is what was joined, for statements that a split gave and that are closed."""
    found = [piece.sql for script in several for piece in sql.split(script)]
    whole = [text for text in found if sqlite3.complete_statement(f"{text}\n;")]
    assert [piece.sql for piece in sql.split(sql.join(whole))] == whole


def test_an_open_comment_does_not_swallow_the_next() -> None:
    """A comment that the end of the text closed, as SQLite allows, does not hide the statement behind it."""
    assert [piece.sql for piece in sql.split(sql.join(["SELECT 1 /* open", "SELECT 2"]))] == [
        "SELECT 1",
        "SELECT 2",
    ]


CASES = {
    "strings": ("SELECT ';', 'it''s;'; SELECT 2", ["SELECT ';', 'it''s;'", "SELECT 2"]),
    "names": ('SELECT ";", `;`, [;] ; SELECT 2', ['SELECT ";", `;`, [;]', "SELECT 2"]),
    "comments": (
        "-- one; \nSELECT 1 -- two; '\n; /* ' ; */ SELECT /* ; */ 2",
        ["SELECT 1", "SELECT /* ; */ 2"],
    ),
    "nothing": (" ;; -- nothing\n ; /* none */", []),
    "line ends and a byte order mark": ("\ufeffSELECT 1;\r\n\r\nSELECT 2;\r\n", ["SELECT 1", "SELECT 2"]),
    "a trigger": (
        "create temp trigger t after insert on a begin select case when 1 then 2 end; select"
        " 'end;'; end; SELECT 2",
        [
            "create temp trigger t after insert on a begin select case when 1 then 2 end; select 'end;'; end",
            "SELECT 2",
        ],
    ),
    "a trigger with comments": (
        "CREATE /* x */ TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; -- END;\n /* ;END; */ END; SELECT 2;",
        ["CREATE /* x */ TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; -- END;\n /* ;END; */ END", "SELECT 2"],
    ),
    "a table called trigger": (
        'CREATE TABLE "trigger" (a); SELECT 2',
        ['CREATE TABLE "trigger" (a)', "SELECT 2"],
    ),
}


@pytest.mark.parametrize(("script", "wanted"), [pytest.param(*case, id=name) for name, case in CASES.items()])
def test_cases_of_splitting(script: str, wanted: list[str]) -> None:
    """Semicolons inside of strings, names, comments and triggers end nothing."""
    assert [piece.sql for piece in sql.split(script)] == wanted


def test_a_nul_is_refused() -> None:
    """A NUL, at which SQLite would stop reading, is refused with its line."""
    with pytest.raises(Refused, match="NUL character in line 2"):
        sql.split("SELECT 1;\nSELECT '\0';")


PATHOLOGICAL = {
    "quotes": "'" * 200_000,
    "doubled quotes": "SELECT " + "'a''b'" * 30_000,
    "open comments": "/*" * 100_000,
    "dashes": "-" * 100_000 + "\n" + "- " * 50_000,
    "comments": "/* x */" * 30_000,
    "line comments": "-- x\n" * 40_000,
    "parentheses": "SELECT " + "(" * 100_000,
    "semicolons": ";" * 200_000,
    "statements": "SELECT 1;\n" * 10_000,
    "a trigger": "CREATE TRIGGER t BEGIN " + "SELECT CASE WHEN 1 THEN 2 END;" * 5000,
    "trigger heads": "CREATE " * 30_000,
    "explains": "EXPLAIN /**/ " * 20_000,
    "brackets": "[" * 100_000,
    "blanks": " \n" * 100_000 + "x",
    "digits": "1." * 100_000,
}


@pytest.mark.parametrize("script", [pytest.param(script, id=name) for name, script in PATHOLOGICAL.items()])
def test_time_is_linear(script: str) -> None:
    """Twice the text takes about twice the time, whatever it consists of."""

    def seconds(text: str) -> float:
        started = time.process_time()
        sql.split(text)
        return time.process_time() - started

    half, whole = (min(seconds(text) for _ in range(2)) for text in (script, script + script))
    assert whole < 4 * half + 0.1


@examples(150)
@given(names)
def test_names_are_quoted_as_sqlite_reads_them(name: str) -> None:
    """A name that was quoted, in any of the four ways, is that name to SQLite and to ourselves."""
    with closing(sqlite3.connect(":memory:")) as connection:
        quoted = sql.quote_name(name)
        connection.execute(f"CREATE TABLE {quoted} ({quoted} INTEGER)")
        assert connection.execute("SELECT name FROM sqlite_schema").fetchone() == (name,)
        connection.execute(f"INSERT INTO {quoted} ({quoted}) VALUES (7)")
        assert connection.execute(f"SELECT {quoted} FROM {quoted}").fetchall() == [(7,)]
    assert sql.unquote_name(quoted) == name
    assert sql.unquote_name("`" + name.replace("`", "``") + "`") == name
    if "]" not in name:
        assert sql.unquote_name(f"[{name}]") == name


@pytest.mark.parametrize("word", sorted(sql.KEYWORDS))
def test_keywords_are_quoted(word: str) -> None:
    """A keyword as a name is quoted, in small letters as well."""
    assert sql.quote_name(word.lower()) == f'"{word.lower()}"'


@examples(400)
@given(st.none() | integers | doubles | texts | st.binary(max_size=20))
def test_values_are_quoted_as_sqlite_reads_them(value: Value) -> None:
    """A value's literal has its type and its bits."""
    with closing(sqlite3.connect(":memory:")) as connection:
        (read,) = connection.execute(f"SELECT {sql.quote_value(value)}").fetchone()
    assert type(read) is type(value)
    if isinstance(value, float):
        assert struct.pack(">d", read) == struct.pack(">d", value)
    else:
        assert read == value


@examples(100)
@given(st.binary(max_size=12))
def test_text_that_is_not_utf8_is_quoted_by_its_bytes(content: bytes) -> None:
    """Text whose bytes are not UTF-8, as surrogates stand for them, keeps its bytes."""
    literal = sql.quote_text(content.decode("utf-8", "surrogateescape"))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = bytes
        assert connection.execute(f"SELECT typeof({literal}), {literal}").fetchone() == (b"text", content)


ERRORS = {
    "a misspelt word": ("SELEC 1", 0),
    "a comma too many": ("SELECT a,\n  FROM t", 12),
    "the second of two": ("SELECT 'x' FROM (SELECT 1) FROM t", 27),
    "a string that is open": ("SELECT 1, 'abc", 10),
    "an end that comes early": ("SELECT (1 + ", 11),
    "a missing table": ("SELECT 1 FROM nowhere WHERE 1", 14),
    "a missing column": ("SELECT 1, missing", 10),
    "a missing function": ("SELECT 1 + nofunction(2)", 11),
}


@pytest.mark.parametrize(
    ("statement", "place"), [pytest.param(*case, id=name) for name, case in ERRORS.items()]
)
def test_errors_are_located(connection: sqlite3.Connection, statement: str, place: int) -> None:
    """The place at which SQLite stumbled is found from its message."""
    with pytest.raises(sqlite3.OperationalError) as failure:
        connection.execute(statement)
    assert excerpts.locate_error(statement, str(failure.value)) == place


def test_an_error_without_a_place_has_none() -> None:
    """A message that names no place in the statement gives none."""
    assert excerpts.locate_error("INSERT INTO t VALUES (1)", "UNIQUE constraint failed: t.x") is None


@examples(60)
@given(ledgers())
def test_formatted_ddl_makes_the_same(ledger: MadeLedger) -> None:
    """Formatting twice changes nothing more, and the formatted statements make tables of the same columns."""
    first, second = (sqlite3.connect(":memory:", isolation_level=None) for _ in range(2))
    with closing(first) as one, closing(second) as other:
        ledger.build(one)
        found = one.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'"
        ).fetchall()
        ranks = ("table", "index", "view", "trigger")
        for _, _, ddl in sorted(found, key=lambda item: ranks.index(item[0])):
            formatted = sql.format_ddl(ddl)
            assert sql.format_ddl(formatted) == formatted
            other.execute(formatted)
        for _, name, _ in found:
            for pragma in ("table_xinfo", "foreign_key_list", "index_list", "index_xinfo"):
                ask = f"PRAGMA {pragma}({sql.quote_name(name)})"
                assert sorted(other.execute(ask)) == sorted(one.execute(ask))


def test_an_excerpt_points_at_the_place() -> None:
    """An excerpt shows the lines around a character, and a caret below it."""
    statement = "SELECT a,\n\tb\x0b,\nFORM t\nWHERE 1\nAND 2\nAND 3"
    assert excerpts.excerpt(statement, statement.index("FORM"), context=1) == (
        "     b\x0b,\n    FORM t\n    ^\n    WHERE 1"
    )
    long = "SELECT " + "x, " * 100 + "FORM t"
    shown, caret = excerpts.excerpt(long, long.index("FORM")).split("\n")
    assert shown[caret.index("^") :].startswith("FORM")
    assert len(shown) < 110
