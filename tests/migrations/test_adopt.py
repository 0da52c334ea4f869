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
from hoox_tasks.migrations import MigrationFailed, Migrations, State
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


@pytest.mark.parametrize(
    "rows", ["", "INSERT INTO deposits VALUES (7);", "INSERT INTO deposits VALUES (2), (7);"]
)
def test_rows_that_are_not_there_are_told(ledger: Database, rows: str) -> None:
    """A table that is there without the rows that the file puts in is not recorded unasked, and they can be kept out."""
    by_hand(ledger, f"CREATE TABLE deposits (x); {rows}")
    found = files("CREATE TABLE IF NOT EXISTS deposits (x); INSERT INTO deposits VALUES (1), (2);")
    with pytest.raises(Refused, match="cannot be told") as failure:
        found.apply(ledger)
    told = (
        "which holds none"
        if not rows
        else f"{1 if '2' in rows else 2} of the 2 rows that it puts into deposits"
    )
    assert told in failure.value.detail
    before = list(ledger.query("SELECT x FROM deposits"))
    found.adopt(ledger, to="1")
    found.apply(ledger)
    assert list(ledger.query("SELECT x FROM deposits")) == before


def test_rows_are_known_whatever_their_ids_and_times(ledger: Database) -> None:
    """Rows that a migration puts in are there also with other numbers and times of day, and among others."""
    table = "CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT, at TEXT DEFAULT CURRENT_TIMESTAMP);"
    by_hand(
        ledger, table, "INSERT INTO plans VALUES (7, 'mine', '2020'), (8, 'b', '2020'), (9, 'a', '2021');"
    )
    found = files(f"{table} INSERT INTO plans (name) VALUES ('a'), ('b'), ('c');", "CREATE TABLE n (x);")
    with pytest.raises(Refused, match="1 of the 3 rows"):
        found.apply(ledger)
    by_hand(ledger, "INSERT INTO plans (name) VALUES ('c');")
    assert [each.recorded for each in found.apply(ledger)[0]] == [True, False]
    assert list(ledger.query("SELECT count(*) FROM plans")) == [(4,)]


def test_rows_that_a_later_migration_takes_away_are_not_missed(ledger: Database) -> None:
    """Only rows that all migrations together leave have to be there."""
    steps = (
        "CREATE TABLE p (n); INSERT INTO p VALUES ('a'), ('b');",
        "DELETE FROM p WHERE n = 'b'; CREATE TABLE q (x);",
    )
    by_hand(ledger, *steps)
    assert all(each.recorded for each in files(*steps).apply(ledger)[0])


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("CREATE INDEX i ON a (y);", "CREATE INDEX i ON a (x);"),
        ("CREATE VIEW i AS SELECT y FROM a;", "CREATE VIEW i AS SELECT x FROM a;"),
        ("CREATE INDEX i ON a (y);", "CREATE INDEX IF NOT EXISTS i ON a (x);"),
    ],
)
def test_another_definition_is_another_object(ledger: Database, there: str, wanted: str) -> None:
    """An index or a view of the name is not taken for the one that is meant, and the advice makes that one."""
    by_hand(ledger, "CREATE TABLE a (x, y);", there)
    found = files("CREATE TABLE a (x, y);", wanted)
    with pytest.raises(Refused, match="i is another one") as failure:
        found.apply(ledger)
    with pytest.raises(Refused, match="does not have"):
        found.adopt(ledger, to="2")
    script = failure.value.remedy.split("--write '")[1].split("'`")[0]
    by_hand(ledger, script)
    found.apply(ledger)
    assert found.check(ledger).agrees


def test_what_is_missing_is_not_recorded(ledger: Database) -> None:
    """`to` records nothing that the plan calls missing; the advice makes it, and leaves no row behind."""
    by_hand(ledger, "CREATE TABLE a (x); INSERT INTO a VALUES (1);")
    with pytest.raises(Refused, match=r"column a\.y, index i, which") as failure:
        files("CREATE TABLE a (x, y TEXT); CREATE INDEX i ON a (y);").adopt(ledger, to="1")
    assert "ALTER TABLE a ADD COLUMN y TEXT;\nCREATE INDEX i ON a (y)" in failure.value.remedy
    needed = files("CREATE TABLE a (x, y TEXT NOT NULL);")
    with pytest.raises(Refused, match=r"column a\.y, which") as failure:
        needed.adopt(ledger, to="1")
    assert "a is there without column a.y" in failure.value.remedy
    assert "keep its rows" in failure.value.remedy
    assert "RENAME" not in failure.value.remedy
    by_hand(ledger, "ALTER TABLE a ADD COLUMN y TEXT NOT NULL DEFAULT '';")
    needed.adopt(ledger, to="1")
    assert list(ledger.query("SELECT x FROM a")) == [(1,)]


def test_a_plan_that_fails_leaves_an_order(ledger: Database) -> None:
    """What is there behind a migration that fails is recorded behind it, and not before."""
    by_hand(ledger, "CREATE TABLE a (x); CREATE TABLE c (x); INSERT INTO a VALUES (1), (1);")
    found = files("CREATE TABLE a (x);", "CREATE UNIQUE INDEX u ON a (x);", "CREATE TABLE c (x);")
    with pytest.raises(MigrationFailed, match="UNIQUE"):
        found.apply(ledger)
    assert [entry.state for entry in found.status(ledger).entries] == [
        State.APPLIED,
        State.PENDING,
        State.PENDING,
    ]
    by_hand(ledger, "DELETE FROM a WHERE rowid = 1;")
    with pytest.raises(MigrationFailed, match="already exists") as failure:
        found.apply(ledger)
    assert "`inv db.migrate.mark 0003_step.sql`" in failure.value.remedy
    found.mark(ledger, "3")
    assert found.check(ledger).agrees


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
