"""The rules have the same verdict as a real D1 engine, in the same words, on a corpus of statements."""

# ruff: noqa: SIM905  (lists of SQL read better as lines of it)

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from hoox_tasks.rules.authorizer import Authorizer, enforce, shape_refusal
from hoox_tasks.rules.limits import STATEMENT_BYTES, VALUE_BYTES
from hoox_tasks.rules.messages import explain_error
from hoox_tasks.values import Value
from tests.support.engine import Engine, EngineDatabase, EngineError

ALLOWED = "allowed"

SETUP = [
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b TEXT, c REAL)",
    "INSERT INTO t VALUES (1, 1, 'one', 1.5), (2, 2, 'two', 2.5), (3, NULL, NULL, NULL)",
    "CREATE INDEX t_a ON t (a)",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT)",
    "INSERT INTO parent VALUES (1), (2)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id))",
    "INSERT INTO child VALUES (1, 1)",
    "CREATE VIEW v AS SELECT id, a FROM t",
    "CREATE TABLE strict_t (a INTEGER) STRICT",
    "CREATE TABLE guarded (a)",
    "CREATE TRIGGER guard BEFORE INSERT ON guarded WHEN NEW.a < 0 BEGIN SELECT RAISE(ABORT, 'no'); END",
    "CREATE VIRTUAL TABLE words USING fts5(word)",
    "INSERT INTO words VALUES ('hello'), ('help')",
    "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1)",
    "INSERT INTO box VALUES (1, 0, 5)",
    # A row in d2 starts a chain of ten triggers, one in d1 a chain of eleven.
    *(f"CREATE TABLE d{i} (a)" for i in range(1, 13)),
    *(
        f"CREATE TRIGGER d{i}_next AFTER INSERT ON d{i} BEGIN INSERT INTO d{i + 1} VALUES (NEW.a); END"
        for i in range(1, 12)
    ),
    "ANALYZE",
]


@dataclass(frozen=True)
class Case:
    """A statement, what is bound to it, and what to call it where it is long."""

    sql: str
    params: tuple[Value, ...] = ()
    name: str = ""
    alone: bool = False  # sent in a batch of its own: D1 drops empty statements from larger ones

    @property
    def id(self) -> str:
        return self.name or self.sql


def _terms(count: int, term: str = "1", between: str = ", ") -> str:
    return between.join([term] * count)


def _columns(count: int) -> str:
    return ", ".join(f"c{i}" for i in range(count))


def _bytes(count: int, letter: str = "x") -> str:
    """A statement of `count` bytes."""
    sql = f"SELECT '{letter * ((count - 9) // len(letter.encode()))}'"
    return sql + " " * (count - len(sql.encode()))


def _limits() -> Iterator[Case]:
    """Every limit, at its edge and past it."""

    def case(name: str, sql: str, *params: Value) -> Case:
        return Case(sql, params, name)

    yield case("100,000 bytes", _bytes(STATEMENT_BYTES))
    yield case("100,001 bytes", _bytes(STATEMENT_BYTES + 1))
    yield case("100,000 bytes of UTF-8", _bytes(STATEMENT_BYTES, "é"))
    yield case("100,001 bytes of UTF-8", _bytes(STATEMENT_BYTES + 1, "é"))
    yield case("100 parameters", f"SELECT {_terms(100, '?')}", *range(100))
    yield case("101 parameters", f"SELECT max({_terms(101, '?')})", *range(101))
    yield case("parameter 101", "SELECT ?101")
    yield case("a parameter too few", "SELECT ?, ?", 1)
    yield case("a parameter too many", "SELECT ?", 1, 2)
    yield case("a table of 100 columns", f"CREATE TABLE n ({_columns(100)})")
    yield case("a table of 101 columns", f"CREATE TABLE n ({_columns(101)})")
    yield case("a view of 101 columns", f"CREATE VIEW n AS SELECT {_terms(101)}")
    yield case("a result of 100 columns", f"SELECT {_terms(100)}")
    yield case("a result of 101 columns", f"SELECT {_terms(101)}")
    yield case("GROUP BY 100 terms", f"SELECT 1 GROUP BY {_terms(100, 'abs(1)')}")
    yield case("GROUP BY 101 terms", f"SELECT 1 GROUP BY {_terms(101, 'abs(1)')}")
    yield case("ORDER BY 101 terms", f"SELECT 1 FROM t ORDER BY {_terms(101, 'abs(1)')}")
    yield case("an index of 101 terms", f"CREATE INDEX n ON t ({_terms(101, 'abs(a)')})")
    yield case("UPDATE of 101 columns", f"UPDATE t SET {_terms(101, 'a = 1')}")
    for count in (50, 51):
        pattern = "a" * count
        yield case(f"LIKE of {count} bytes", f"SELECT 'a' LIKE '{pattern}'")
        yield case(f"GLOB of {count} bytes", f"SELECT 'a' GLOB '{pattern}'")
        yield case(f"a bound LIKE of {count} bytes", "SELECT 'a' LIKE ?", pattern)
        yield case(f"like() of {count} bytes", f"SELECT like('{pattern}', 'a')")
    yield case("LIKE of 52 bytes of UTF-8", f"SELECT 'a' LIKE '{'é' * 26}'")
    for operator in ("UNION", "UNION ALL", "INTERSECT", "EXCEPT"):
        yield case(f"5 SELECTs by {operator}", _terms(5, "SELECT 1", f" {operator} "))
        yield case(f"6 SELECTs by {operator}", _terms(6, "SELECT 1", f" {operator} "))
    yield case("VALUES of 600 rows", f"VALUES {_terms(600, '(1)')}")
    yield case("INSERT of 600 rows", f"INSERT INTO t (a) VALUES {_terms(600, '(1)')}")
    yield case("a sum of 100 terms", f"SELECT {_terms(100, '1', ' + ')}")
    yield case("a sum of 101 terms", f"SELECT {_terms(101, '1', ' + ')}")
    yield case("AND of 100 terms", f"SELECT 1 WHERE {_terms(100, '1', ' AND ')}")
    yield case("AND of 101 terms", f"SELECT 1 WHERE {_terms(101, '1', ' AND ')}")
    yield case("50 parentheses", f"SELECT {'(' * 50}1{')' * 50}")
    yield case("200 parentheses", f"SELECT {'(' * 200}1{')' * 200}")
    yield case("30 nested SELECTs", f"SELECT * FROM {'(SELECT * FROM ' * 30}t{')' * 30}")
    yield case("127 arguments", f"SELECT max({_terms(127)})")
    yield case("128 arguments", f"SELECT max({_terms(128)})")
    yield case("IN of 5,000 values", f"SELECT 1 WHERE 1 IN ({_terms(5000)})")
    yield case("64 tables", f"SELECT count(*) FROM {', '.join(f'parent AS p{i}' for i in range(64))} LIMIT 0")
    yield case("65 tables", f"SELECT count(*) FROM {', '.join(f'parent AS p{i}' for i in range(65))} LIMIT 0")
    much = _terms(80, "abs(id)", " + ")
    yield case("9,000 rows at once", f"INSERT INTO t (a) VALUES {_terms(9000, '(1)')}")
    yield case("more than 25,000 instructions", f"SELECT {_terms(100, f'abs({much})')} FROM t")
    yield case("a text of 2,000,000 bytes", "SELECT length(?)", "x" * VALUE_BYTES)
    yield case("a text of 2,000,001 bytes", "SELECT length(?)", "x" * (VALUE_BYTES + 1))
    yield case("a blob of 2,000,001 bytes", "SELECT hex(zeroblob(1000001))")
    yield case("a text of 5,000,000 bytes", "SELECT length(hex(zeroblob(2500000)))")


def _shapes() -> Iterator[Case]:
    """Texts that are no statement, or more than one."""
    for sql in ("", "  ", "\n", ";", " ; ", "-- x", " -- x", "/* x */", "/* open", "--", "-- x\n;"):
        yield Case(sql, name=f"nothing: {sql!r}", alone=True)
    for sql in ("-- x\nSELECT 1", "/* x */ SELECT 1", "SELECT 1 -- x", "SELECT 1;\r\n", "SELECT 1 /* x"):
        yield Case(sql, name=f"something: {sql!r}")


CASES = [
    *(
        Case(line)
        for line in Path(__file__).with_name("corpus.sql").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("--")
    ),
    *_limits(),
    *_shapes(),
]

_HERE = sqlite3.sqlite_version_info
_SYNTAX = _HERE < (3, 53)
_STRICTER = "the documented limit of 2,000,000 bytes holds here, the engine's own is higher"
_ARGUMENTS = "Python cannot say that a function of its own was given too few arguments"
_JSONB = "JSONB is a format of its own that an older SQLite cannot be given"
_DEPTH = "the parser of an older SQLite has a stack of 100 levels"
_SHADOW = "Python before 3.12 cannot switch on SQLite's defensive mode"

DIFFERENT: dict[str, tuple[bool, str]] = {
    "SELECT 1_000": (_HERE < (3, 46), "underscores in numbers came with 3.46"),
    "SELECT group_concat(b, ',' ORDER BY b DESC) FROM t": (_HERE < (3, 44), "ORDER BY came with 3.44"),
    "SELECT json('{a:1}')": (_HERE < (3, 42), "JSON5 came with 3.42"),
    "SELECT json_extract('{}', 'a')": (_HERE < (3, 45), "the words changed with 3.45"),
    "ALTER TABLE t ALTER COLUMN a SET NOT NULL": (_SYNTAX, "came with 3.53; D1 refuses it by a function"),
    "INSERT INTO d1 VALUES (1)": (_SYNTAX, "the words changed"),
    "SELECT concat()": (_HERE < (3, 44), _ARGUMENTS),
    "SELECT concat_ws('-')": (_HERE < (3, 44), _ARGUMENTS),
    "INSERT INTO words_content VALUES (99, 'x')": (sys.version_info < (3, 12), _SHADOW),
    "DELETE FROM words_data": (sys.version_info < (3, 12), _SHADOW),
    "DROP TABLE words_data": (sys.version_info < (3, 12), _SHADOW),
    "DELETE FROM box_node": (sys.version_info < (3, 12), _SHADOW),
    "200 parentheses": (_HERE < (3, 46), _DEPTH),
    "30 nested SELECTs": (_HERE < (3, 46), _DEPTH),
    "a text of 2,000,001 bytes": (True, _STRICTER),
    "a text of 5,000,000 bytes": (True, _STRICTER),
    "a blob of 2,000,001 bytes": (True, _STRICTER),
} | {case.sql: (_HERE < (3, 45), _JSONB) for case in CASES if case.sql.startswith("SELECT jsonb")}
"""Where the verdict or its words differ: whether they do with this Python and SQLite, and why."""


@pytest.fixture(scope="module")
def remote(engine: Engine) -> Iterator[EngineDatabase]:
    """A real D1 database with the tables that the corpus speaks of."""
    with engine.database() as database:
        database.batch(*SETUP)
        yield database


@pytest.fixture(scope="module")
def local() -> Iterator[tuple[sqlite3.Connection, Authorizer]]:
    """A SQLite connection under the rules, with the same tables."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("CREATE TABLE _cf_METADATA (key INTEGER PRIMARY KEY, value BLOB)")
        authorizer = enforce(connection, read_only=False)
        for sql in SETUP:
            connection.execute(sql)
        yield connection, authorizer


def _remote_verdict(database: EngineDatabase, case: Case) -> str:
    undo = [] if case.alone else ["SELECT * FROM to_roll_back"]
    with pytest.raises(EngineError) as raised:
        database.batch((case.sql, case.params), *undo)
    words = re.sub(r" at offset \d+", "", raised.value.message)
    return ALLOWED if words == "no such table: to_roll_back: SQLITE_ERROR" else words


def _local_verdict(connection: sqlite3.Connection, authorizer: Authorizer, case: Case) -> str:
    if (refusal := shape_refusal(case.sql)) is not None:
        return refusal
    with authorizer.trusted():
        connection.execute("BEGIN")
    try:
        connection.execute(case.sql, case.params).fetchall()
    except (sqlite3.Error, MemoryError) as error:
        return explain_error(error, authorizer)
    finally:
        with authorizer.trusted():
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    return ALLOWED


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id[:60]) for case in CASES])
def test_same_verdict_in_the_same_words(
    case: Case, remote: EngineDatabase, local: tuple[sqlite3.Connection, Authorizer]
) -> None:
    """What D1 allows is allowed here, and what it refuses is refused here in its words."""
    there, here = _remote_verdict(remote, case), _local_verdict(*local, case)
    differs, why = DIFFERENT.get(case.id, (False, ""))
    if differs:
        assert there != here, f"No longer different, though {why}"
    else:
        assert there == here


def test_every_difference_is_of_the_corpus() -> None:
    """The table of differences names only statements that are tried, and no statement is tried twice."""
    names = [case.id for case in CASES]
    assert set(DIFFERENT) <= set(names)
    assert len(names) == len(set(names))


VALUES = (
    "NULL | '' | 'a' | 'é漢😀' | '12' | '4142' | '41 42' | '4' | 'xyz' | 0 | -7 | 9223372036854775807 | 1.0"
    " | -0.5 | 0.1 | 1e20 | 1e-7 | 123456.789 | 0.1+0.2 | 9e999 | x'' | x'4142' | ' 4142 ' | '41-42' | '41-4'"
).split(" | ")
MOMENTS = (
    "NULL | 'nonsense' | '' | '2024-02-29' | '2023-12-31 23:59:59.999' | '2024-01-31' | '2024-03-01 12:30'"
    " | '2024-03-31' | '1999-05-30T01:02:03' | 0 | 2460000.5 | '0001-01-01' | '9999-12-31' | '12:00'"
).split(" | ")

EXPRESSIONS = [
    *(f"concat({a})" for a in ("1e14", "1e15", "1e16", "-1e17", "1.5e16", "2e21/3", "93644.05867994596")),
    *(f"concat({a}, {b})" for a in VALUES for b in ("'|'", "NULL", "2.5")),
    *(f"concat({a})" for a in VALUES),
    *(f"concat_ws({s}, {a}, 'z', NULL, {a})" for a in VALUES for s in ("'-'", "NULL", "''", "1")),
    *(f"octet_length({a})" for a in VALUES),
    *(f"unhex({a})" for a in VALUES),
    *(f"unhex({a}, {ignored})" for a in VALUES for ignored in ("' '", "'-'", "''", "NULL", "'4'")),
    *(f"timediff({a}, {b})" for a in MOMENTS for b in MOMENTS),
    *(
        f"(SELECT string_agg(x, {s}) FROM (SELECT {a} AS x UNION ALL SELECT NULL UNION ALL SELECT 'm'))"
        for a in VALUES
        for s in ("','", "''", "NULL", "x")
    ),
]


def test_supplied_functions_give_what_the_engine_gives(
    remote: EngineDatabase, local: tuple[sqlite3.Connection, Authorizer]
) -> None:
    """Functions that an older SQLite lacks give, value and type, what they give on D1."""
    connection, _ = local
    statements = [f"SELECT typeof(r), quote(r) FROM (SELECT {e} AS r)" for e in EXPRESSIONS]
    there = [tuple(result["results"]["rows"][0]) for result in remote.batch(*statements)]
    here = [connection.execute(sql).fetchone() for sql in statements]
    assert {e: t for e, t, h in zip(EXPRESSIONS, there, here, strict=True) if t != h} == {
        e: h for e, t, h in zip(EXPRESSIONS, there, here, strict=True) if t != h
    }


def test_supplied_window_function(
    remote: EngineDatabase, local: tuple[sqlite3.Connection, Authorizer]
) -> None:
    """string_agg slides over a window, and drops the separator of the row that becomes the first."""
    sql = (
        "SELECT string_agg(x, s) OVER (ORDER BY i ROWS 1 PRECEDING) FROM (SELECT 1 AS i, 'a' AS x, '-' AS s "
        "UNION ALL SELECT 2, 'b', '+' UNION ALL SELECT 3, NULL, '*' UNION ALL SELECT 4, 'c', '/' "
        "UNION ALL SELECT 5, 'd', ',')"
    )
    assert [tuple(row) for row in remote.raw(sql)] == local[0].execute(sql).fetchall()
