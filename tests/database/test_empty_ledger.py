"""The empty ledger on which SQL is tried before it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject, Statement
from hoox_tasks.errors import Refused, StatementError

SCHEMA = [
    SchemaObject("table", "f_data", "f_data", "CREATE TABLE 'f_data'(id INTEGER PRIMARY KEY, block BLOB)"),
    SchemaObject("table", "a", "a", "CREATE TABLE a (id INTEGER PRIMARY KEY, x UNIQUE)"),
    SchemaObject("table", "b", "b", "CREATE TABLE b (a REFERENCES a ON DELETE CASCADE, b REFERENCES c)"),
    SchemaObject("table", "c", "c", "CREATE TABLE c (id INTEGER PRIMARY KEY, g AS (id * 2))"),
    SchemaObject("table", "f", "f", "CREATE VIRTUAL TABLE f USING fts5(w)"),
    SchemaObject("table", "z", "z", "CREATE VIRTUAL TABLE z USING unheard_of(x)"),
    SchemaObject("view", "v", "v", "CREATE VIEW v AS SELECT * FROM a"),
]


@pytest.fixture
def empty() -> Iterator[EmptyLedger]:
    """An empty ledger with tables of every kind, one of which no SQLite can make."""
    with closing(EmptyLedger(SCHEMA)) as made:
        yield made


def test_it_has_the_schema(empty: EmptyLedger) -> None:
    """It knows its tables, their kinds, columns and parents, and which objects this SQLite cannot make."""
    assert empty.tables() == ["a", "b", "c", "f"]
    assert empty.of_kind("virtual") == {"f"}
    assert "f_data" in empty.of_kind("shadow")
    assert empty.columns("c") == ["id", "g"]
    assert empty.parents() == {"a": set(), "b": {"a", "c"}, "c": set(), "f": set()}
    assert empty.cascades() == {"a": set(), "b": {"a"}, "c": set(), "f": set()}
    assert [item.name for item in empty.missing] == ["z"]


def test_a_unit_is_tried_as_a_whole(empty: EmptyLedger) -> None:
    """A unit changes the schema as a whole or not at all; rows that are not there are no error."""
    empty.run([Statement("INSERT INTO b VALUES (1, 2)"), Statement("CREATE TABLE d (x)")])
    assert "d" in empty.tables()
    with pytest.raises(StatementError, match="no such table: nowhere") as failure:
        empty.run([Statement("CREATE TABLE e (x)"), Statement("INSERT INTO nowhere VALUES (1)")])
    assert failure.value.index == 1
    assert "e" not in empty.tables()
    with pytest.raises(StatementError, match="no such table"):
        empty.run([Statement("ALTER TABLE z RENAME TO y")])


def test_rules_hold(empty: EmptyLedger) -> None:
    """What D1 refuses is refused; without `strict` only what SQLite refuses is."""
    text = "ATTACH ':memory:' AS other"
    with pytest.raises(StatementError, match="not authorized"):
        empty.run([Statement(text)])
    with closing(EmptyLedger(SCHEMA, strict=False)) as other:
        other.run([Statement("PRAGMA user_version = 3")])
    with pytest.raises(StatementError, match="not authorized"):
        empty.run([Statement("PRAGMA user_version = 3")])


def test_reading_is_compiled_only(empty: EmptyLedger) -> None:
    """A statement that reads passes, one that changes anything is refused, an error tells its place."""
    empty.compile("SELECT x FROM a WHERE id = ?", (1,))
    empty.compile("EXPLAIN QUERY PLAN SELECT * FROM v")
    with pytest.raises(Refused, match="delete from a"):
        empty.compile("DELETE FROM a")
    with pytest.raises(StatementError, match="no such column: y") as failure:
        empty.compile("SELECT y FROM a")
    assert (failure.value.offset, failure.value.sql) == (7, "SELECT y FROM a")
    empty.compile("SELECT count(*) FROM f")
    empty.run([Statement("DROP TABLE c")])
