"""A ledger that has tables and no history: what is there of each migration, in a file and on D1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.database.interface import Database, Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import Migrations
from hoox_tasks.server import Api
from hoox_tasks.sql import split
from tests.support.losses import files
from tests.support.remote import Counting, connect
from tests.support.strategies import examples

DEPOSITS = "CREATE TABLE IF NOT EXISTS deposits (x); INSERT INTO deposits VALUES (1);"
STEPS = (
    "CREATE TABLE a (x, y);",
    "CREATE INDEX ax ON a (x);",
    "ALTER TABLE a ADD COLUMN z;",
    "CREATE TABLE b (x); INSERT INTO b VALUES (1), (2);",
    "CREATE VIEW v AS SELECT x FROM b;",
    "ALTER TABLE b RENAME TO c;",
    "ALTER TABLE a DROP COLUMN y;",
    "DROP VIEW v;",
    "CREATE TABLE n (x, z CHECK (x > 0)); INSERT INTO n (x, z) SELECT x, z FROM a; DROP TABLE a;"
    " ALTER TABLE n RENAME TO a;",
    "",
)


@pytest.fixture(params=["local", "remote"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty ledger in a file, and one on a local D1 API."""
    if request.param == "local":
        with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
            yield database
    else:
        app: Api = request.getfixturevalue("app")
        with closing(connect(Counting(app))) as remote:
            yield remote


def by_hand(ledger: Database, *texts: str) -> None:
    """Run migrations as somebody does who does not know of a history."""
    ledger.batch([Statement(piece.sql) for text in texts for piece in split(text)])


def test_what_was_run_by_hand_is_recorded(ledger: Database) -> None:
    """Objects that are there are not made again, rows not put in again; what is new is applied."""
    by_hand(ledger, DEPOSITS)
    applied, _ = files(DEPOSITS, "CREATE TABLE notes (x); INSERT INTO notes VALUES (1);").apply(ledger)
    assert [(each.name, each.recorded) for each in applied] == [
        ("0001_step.sql", True),
        ("0002_step.sql", False),
    ]
    assert list(ledger.query("SELECT count(*) FROM deposits")) == [(1,)]
    assert list(ledger.query("SELECT count(*) FROM notes")) == [(1,)]


def test_rows_into_what_holds_some_are_refused(ledger: Database) -> None:
    """A migration of rows alone is left to whoever knows, and nothing is changed."""
    by_hand(ledger, DEPOSITS)
    before = ledger.schema()
    found = files(DEPOSITS, "INSERT INTO deposits VALUES (2);")
    with pytest.raises(Refused, match=r"of 0002_step\.sql it cannot be told") as failure:
        found.apply(ledger)
    assert "`inv db.migrate.adopt --to 0002_step.sql`" in failure.value.remedy
    assert ledger.schema() == before
    found.adopt(ledger, to="1")
    found.apply(ledger)
    assert list(ledger.query("SELECT x FROM deposits")) == [(1,), (2,)]


def test_what_is_there_in_part_is_completed_or_told(ledger: Database) -> None:
    """A file that makes only what is missing runs; of any other it is said what is missing, and how it is made."""
    by_hand(ledger, "CREATE TABLE a (x)")
    part = "CREATE TABLE{} a (x); CREATE INDEX{} ax ON a (x);"
    with pytest.raises(Refused, match=r"index ax is missing") as failure:
        files(part.format("", "")).apply(ledger)
    assert "inv db.query --write 'CREATE INDEX ax ON a (x)'" in failure.value.remedy
    applied, _ = files(part.format(" IF NOT EXISTS", " IF NOT EXISTS")).apply(ledger)
    assert [each.recorded for each in applied] == [False]


def test_another_table_of_the_name_is_not_taken_for_it(ledger: Database) -> None:
    """IF NOT EXISTS passes over a table that lacks a column: it is told, and not recorded."""
    by_hand(ledger, "CREATE TABLE deposits (id)")
    with pytest.raises(Refused, match=r"column deposits\.x is missing"):
        files("CREATE TABLE IF NOT EXISTS deposits (id, x);").apply(ledger)


def test_only_a_ledger_without_history_is_taken_over(ledger: Database) -> None:
    """An empty ledger, and one with a history, have nothing that could be taken over."""
    found = files("CREATE TABLE a (x);")
    with pytest.raises(Refused, match="no tables that could be taken over"):
        found.adopt(ledger)
    found.apply(ledger)
    with pytest.raises(Refused, match="has a history already"):
        found.adopt(ledger)


def test_that_nothing_ran_can_be_said(ledger: Database) -> None:
    """With 0 as the last one, all of them run, although the table holds rows."""
    by_hand(ledger, DEPOSITS)
    found = files("INSERT INTO deposits VALUES (2);")
    with pytest.raises(Refused):
        found.apply(ledger)
    found.adopt(ledger, to="0")
    found.apply(ledger)
    assert list(ledger.query("SELECT count(*) FROM deposits")) == [(2,)]


@examples(25)
@given(st.integers(0, len(STEPS)))
def test_wherever_somebody_stopped_the_rest_is_applied(
    tmp_path_factory: pytest.TempPathFactory, done: int
) -> None:
    """Of migrations that were run by hand up to some place, those are recorded, and the others run."""
    folder = tmp_path_factory.mktemp("stopped")
    migrations = files(*STEPS)
    with (
        closing(LocalDatabase(folder / "hand.sqlite", create=True)) as hand,
        closing(LocalDatabase(folder / "whole.sqlite", create=True)) as whole,
    ):
        if done:
            by_hand(hand, *STEPS[:done])
        migrations.apply(whole)
        migrations.apply(hand)
        assert migrations.check(hand).agrees
        assert {(item.type, item.name) for item in hand.schema()} == {
            (item.type, item.name) for item in whole.schema()
        }
        assert list(hand.query("SELECT x FROM c")) == [(1,), (2,)]


@examples(40)
@given(st.lists(st.sampled_from(STEPS), unique=True), st.sets(st.integers(0, 9)))
def test_no_row_comes_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], done: set[int]
) -> None:
    """Whatever was run by hand of whatever migrations, rows are never put in again."""
    folder = tmp_path_factory.mktemp("some")
    with closing(LocalDatabase(folder / "l.sqlite", create=True)) as database:
        for place, text in enumerate(steps):
            if place in done:
                with suppress(HooxError):
                    by_hand(database, text)
        migrations: Migrations = files(*steps)
        with suppress(HooxError):
            migrations.apply(database)
        for name in ("b", "c"):
            if any(item.name == name for item in database.schema()):
                assert list(database.query(f"SELECT x FROM {name}")) in ([], [(1,), (2,)])
