"""Which rows differ between two sides: all of them, by their keys, and nothing where all is equal."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.backups import difference
from hoox_tasks.backups.difference import Comparison, Difference
from hoox_tasks.database.dump import dump
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from tests.support.sqlite_files import execute
from tests.support.strategies import examples

TABLE = "CREATE TABLE t (id TEXT PRIMARY KEY, a, b REAL);"


def compared(a: Path, b: Path, **how: Any) -> tuple[list[Difference], Comparison]:
    with ExitStack() as stack:
        sides = [stack.enter_context(difference.side_of_file(path, path.name)) for path in (a, b)]
        found = Comparison(*sides, **how)
        return list(found.differences()), found


def ledger(path: Path, script: str) -> Path:
    execute(path, script)
    return path


def test_every_difference_is_told(tmp_path: Path) -> None:
    """Changed cells with their column, rows of one side only, in type and bits as well."""
    a = ledger(
        tmp_path / "a",
        TABLE + "INSERT INTO t VALUES ('1', 1, 1), ('2', 'x', 2), ('3', NULL, 3), ('5', 1, 5);",
    )
    b = ledger(
        tmp_path / "b",
        TABLE + "INSERT INTO t VALUES ('1', '1', 1), ('3', NULL, 4), ('4', 1, 1), ('5', 1.0, 5);",
    )
    found, comparison = compared(a, b)
    assert found == [
        ("t", "1", "changed", "a", "1", "'1'"),
        ("t", "2", "only in a", "", "", ""),
        ("t", "3", "changed", "b", 3.0, 4.0),
        ("t", "4", "only in b", "", "", ""),
        ("t", "5", "changed", "a", 1, 1.0),
    ]
    (table,) = comparison.tables
    assert (table.rows, table.changed, table.only, table.by) == ([4, 4], 3, [1, 1], ("id",))
    assert not comparison.equal


def test_a_ledger_equals_its_dump(tmp_path: Path) -> None:
    """A dump, in which hidden rowids are others, is equal to where it came from, cell by cell."""
    script = (
        TABLE + "CREATE TABLE logs (level, text); CREATE TABLE n (k INTEGER PRIMARY KEY, v BLOB);"
        "CREATE TABLE w (x TEXT COLLATE NOCASE, y INTEGER, z, PRIMARY KEY (x, y)) WITHOUT ROWID;"
        "INSERT INTO t VALUES ('é', X'00ff', 1e300), ('Z', CAST(X'ff' AS TEXT), -0.0), ('a', 9223372036854775807, NULL);"
        "INSERT INTO logs VALUES ('INFO', 'same'), ('INFO', 'same'), (NULL, NULL), (1, 'x'), (1.0, 'x');"
        "DELETE FROM logs WHERE level IS NULL; INSERT INTO logs VALUES (NULL, NULL);"
        "INSERT INTO n VALUES (5, NULL), (-1, 'x'); INSERT INTO w VALUES ('b', 1, 1), ('A', 2, 2), ('a', 1, 3);"
        "CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('some words');"
    )
    a = ledger(tmp_path / "a.sqlite", script)
    b = tmp_path / "b.sql"
    with closing(LocalDatabase(a)) as database, b.open("wb") as file:
        dump(database, file.write)
    found, comparison = compared(a, b)
    assert found == []
    assert comparison.equal
    assert {table.name for table in comparison.tables} == {"t", "logs", "n", "w", "words"}


def test_rows_without_a_key_are_counted(tmp_path: Path) -> None:
    """How often a row is there counts, not where."""
    table = "CREATE TABLE logs (level, text);"
    a = ledger(tmp_path / "a", table + "INSERT INTO logs VALUES (1, 'x'), (2, 'y'), (1, 'x'), (1, 'x');")
    b = ledger(tmp_path / "b", table + "INSERT INTO logs VALUES (2, 'y'), (1, 'x'), (1.0, 'x'), (2, NULL);")
    found, comparison = compared(a, b)
    assert Counter((row.key, row.what) for row in found) == {
        ("1, x", "only in a"): 2,
        ("1.0, x", "only in b"): 1,
        ("2, NULL", "only in b"): 1,
    }
    assert comparison.tables[0].by == ()


def test_definitions_count_and_common_columns_are_compared(tmp_path: Path) -> None:
    """Tables, indexes and columns that only one side has are told; the rest is compared all the same."""
    a = ledger(tmp_path / "a", TABLE + "CREATE TABLE x (a); INSERT INTO t VALUES ('1', 1, 1);")
    b = ledger(
        tmp_path / "b",
        TABLE + "ALTER TABLE t ADD COLUMN c; CREATE INDEX i ON t (a); INSERT INTO t VALUES ('1', 2, 1, 9);",
    )
    found, comparison = compared(a, b)
    assert [(row.table, row.what) for row in found] == [
        ("i", "index only in b"),
        ("t", "table defined otherwise"),
        ("x", "table only in a"),
        ("t", "changed"),
    ]
    assert comparison.tables[0].left_out == ("c",)
    assert compared(a, b, without=frozenset({"t", "x"}))[0] == []


def test_texts_in_utf_16_are_refused(tmp_path: Path) -> None:
    """They are in another order, by which rows would be missed."""
    a = ledger(tmp_path / "a", "PRAGMA encoding = 'UTF-16'; CREATE TABLE t (a); INSERT INTO t VALUES ('x');")
    with pytest.raises(Refused, match="--exact"):
        compared(a, a)


CELLS = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, -0.5, 2.5]),
    st.sampled_from(["", "a", "A", "b", "é", "\U0001f4b0", "1"]),
    st.sampled_from([b"", b"a", b"\xff"]),
)


@given(st.lists(st.lists(st.tuples(CELLS, CELLS), max_size=7), min_size=2, max_size=2), st.booleans())
@examples(15)
def test_the_differences_are_those_of_two_multisets(
    tmp_path_factory: pytest.TempPathFactory, sides: list[list[tuple[Any, Any]]], keyed: bool
) -> None:
    """Whatever is in two tables: as many rows are told as two multisets differ by, and none where they agree."""
    folder = tmp_path_factory.mktemp("sides")
    held = []
    for number, rows in enumerate(sides):
        path = ledger(folder / str(number), f"CREATE TABLE t (k {'PRIMARY KEY' if keyed else ''}, v)")
        with closing(LocalDatabase(path, strict=False)) as database:
            database.connection.executemany("INSERT OR IGNORE INTO t VALUES (?, ?)", rows)
            found = database.connection.execute("SELECT typeof(k), k, typeof(v), v FROM t").fetchall()
            held.append(Counter(found))
    differences, comparison = compared(folder / "0", folder / "1")
    (table,) = comparison.tables
    assert [table.changed + only for only in table.only] == [
        (held[0] - held[1]).total(),
        (held[1] - held[0]).total(),
    ]
    assert comparison.equal == (held[0] == held[1]) == (not differences)
