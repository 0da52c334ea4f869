"""What an older SQLite does not understand is known by name, with the version that it came with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import MigrationFailed
from hoox_tasks.rules import functions
from hoox_tasks.rules.features import newest_feature
from hoox_tasks.rules.functions import refuse_old
from tests.support.losses import files


@pytest.mark.parametrize(
    ("statement", "version"),
    [
        ("CREATE VIEW v AS SELECT group_concat(a, ',' ORDER BY b) FROM t", (3, 44)),
        ("CREATE TABLE t (a DEFAULT 1_000)", (3, 46)),
        ("CREATE TABLE t (a CHECK (json_valid(a, 6)))", (3, 45)),
        ("SELECT * FROM a FULL OUTER JOIN b", (3, 39)),
        ("SELECT a IS NOT DISTINCT FROM b", (3, 39)),
        ("SELECT iif(a, 1), string_agg(a, '' ORDER BY 1)", (3, 48)),
        ("SELECT RAISE(ABORT, 'a, b'), RAISE(IGNORE)", None),
        ("SELECT RAISE(ABORT, 'a' || new.b)", (3, 47)),
        ("SELECT sum(a) OVER (PARTITION BY b ORDER BY c), iif(a, 1, 2), json_valid(a)", None),
        (
            "SELECT (SELECT a FROM t ORDER BY b), count(*) FILTER (WHERE a) FROM t WINDOW w AS (ORDER BY b)",
            None,
        ),
        ("SELECT a_1, 'x 1_000', \"1_0\" FROM t LEFT JOIN b WHERE a IN (SELECT 1 ORDER BY 1) -- 1_0", None),
        ("SELECT DISTINCT a FROM t; INSERT INTO t (a, b) SELECT 1, 2 ORDER BY 1", None),
    ],
)
def test_newer_sql_is_recognised(statement: str, version: tuple[int, int] | None) -> None:
    """Of what is in a statement the newest counts; names, texts and comments do not."""
    feature = newest_feature(statement)
    assert (feature.version if feature else None) == version


@pytest.mark.parametrize(("statement", "version"), [("SELECT 1_000", (3, 46)), ("SELECT if(1, 2)", (3, 48))])
def test_this_sqlite_agrees(statement: str, version: tuple[int, int]) -> None:
    """A statement with a newer feature runs here exactly where this SQLite has it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        if sqlite3.sqlite_version_info >= version:
            connection.execute(statement)
        else:
            with pytest.raises(sqlite3.OperationalError):
                connection.execute(statement)


def test_a_sqlite_that_is_too_old_is_refused() -> None:
    """Below the minimum one sentence says what is here and needed, and one how to come by it; above it, nothing."""
    with pytest.raises(
        Refused, match=r"SQLite is 3\.37\.2, and hoox_tasks needs 3\.38 or newer\. Use a Python"
    ):
        refuse_old((3, 37, 2))
    refuse_old((3, 38, 0))
    refuse_old()


def test_a_migration_of_a_newer_sqlite_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration with SQL that this SQLite does not know is not called wrong: the version that it needs is named."""
    if sqlite3.sqlite_version_info >= (3, 46):
        pytest.skip("This SQLite knows all that D1's knows.")
    with (
        closing(LocalDatabase(tmp_path / "l.sqlite", create=True)) as ledger,
        pytest.raises(
            MigrationFailed, match=r"in line 2: .*(?s:.)*came with SQLite 3\.46, and this Python has"
        ),
    ):
        files("CREATE TABLE a (x);\nCREATE TABLE b (x DEFAULT 1_000);").apply(ledger)
    assert "uv" in functions.SOURCES
