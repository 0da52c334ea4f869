"""What is said where a ledger has a migration in part: it leads on, and no row is lost, left or changed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import MigrationFailed, State
from hoox_tasks.sql import split
from tests.support.losses import files

ACCOUNTS = (
    "CREATE TABLE acc (id INTEGER PRIMARY KEY, name TEXT, cents INTEGER); CREATE INDEX acc_n ON acc (name);"
    " INSERT INTO acc (name, cents) VALUES ('a', 100), ('b', 200);"
)
EVENTS = (
    "CREATE TABLE IF NOT EXISTS ev (id INTEGER PRIMARY KEY, x); ALTER TABLE acc ADD COLUMN note TEXT;"
    " INSERT INTO ev VALUES (1, 'start');"
)
MORE = "CREATE VIEW v AS SELECT name FROM acc; CREATE UNIQUE INDEX acc_u ON acc (name);"
SETTING = "CREATE TABLE IF NOT EXISTS cfg (id INTEGER PRIMARY KEY, n INTEGER);"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LocalDatabase]:
    """An empty ledger."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        yield database


def by_hand(ledger: LocalDatabase, text: str) -> None:
    """Run statements as somebody does who does not know of a history."""
    ledger.batch([Statement(piece.sql) for piece in split(text)])


def written(remedy: str) -> str:
    """Give the statements of the command that writes, in an advice."""
    command = re.search(r"`(inv db\.query --write [^`]*)`", remedy)
    assert command, remedy
    return shlex.split(command[1])[-1]


def test_the_table_that_differs_is_put_aside_and_no_other(ledger: LocalDatabase) -> None:
    """Of two tables that lack columns, the one that the file only adds to stays, and keeps its rows."""
    foreign = "INSERT INTO acc (name, cents) VALUES ('c', 300); CREATE TABLE ev (k TEXT, y);"
    by_hand(ledger, f"{ACCOUNTS} {foreign} INSERT INTO ev VALUES ('k', 1);")
    found = files(ACCOUNTS, EVENTS, MORE)
    with pytest.raises(Refused, match="there in part") as failure:
        found.apply(ledger)
    assert written(failure.value.remedy) == "ALTER TABLE ev RENAME TO ev_before"
    by_hand(ledger, written(failure.value.remedy))
    found.apply(ledger)
    assert list(ledger.query("SELECT name, cents FROM acc ORDER BY id")) == [
        ("a", 100),
        ("b", 200),
        ("c", 300),
    ]
    assert list(ledger.query("SELECT k, y FROM ev_before")) == [("k", 1)]
    assert list(ledger.query("SELECT id, x FROM ev")) == [(1, "start")]


@pytest.mark.parametrize("column", ["u TEXT UNIQUE", "u TEXT DEFAULT CURRENT_TIMESTAMP", "u TEXT NOT NULL"])
@pytest.mark.parametrize("before", ["", "CREATE TABLE first (x);"])
def test_a_table_that_lacks_a_column_is_left_where_it_is(
    ledger: LocalDatabase, column: str, before: str
) -> None:
    """Where no statement adds the column to rows, it is said in words, with and without a history."""
    made = f"CREATE TABLE a (id INTEGER PRIMARY KEY, {column});"
    if before:
        files(before).apply(ledger)
    by_hand(
        ledger,
        "CREATE TABLE a (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1);"
        "CREATE TABLE kid (a REFERENCES a (id)); INSERT INTO kid VALUES (1);",
    )
    with pytest.raises(HooxError) as failure:
        files(*[before] * bool(before), made).apply(ledger)
    assert "table a is there without column a.u" in failure.value.remedy
    assert "keep its rows" in failure.value.remedy
    assert "--write" not in failure.value.remedy
    command = "mark 0002_step.sql" if before else "adopt --to 0001_step.sql"
    assert f"`inv db.migrate.{command}`" in failure.value.remedy


def test_a_table_that_others_refer_to_is_not_put_aside(ledger: LocalDatabase) -> None:
    """Foreign keys follow a table that is renamed, so that they would point at what was put aside."""
    by_hand(ledger, "CREATE TABLE a (k INTEGER PRIMARY KEY); CREATE TABLE kid (a REFERENCES a (k));")
    with pytest.raises(Refused) as failure:
        files("CREATE TABLE a (id INTEGER PRIMARY KEY, x);").apply(ledger)
    assert "RENAME" not in failure.value.remedy


def test_a_column_is_added_to_an_empty_table(ledger: LocalDatabase) -> None:
    """What SQLite refuses only where there are rows is still advised where there are none."""
    by_hand(ledger, "CREATE TABLE a (id INTEGER PRIMARY KEY);")
    found = files("CREATE TABLE a (id INTEGER PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP);")
    with pytest.raises(Refused) as failure:
        found.apply(ledger)
    by_hand(ledger, written(failure.value.remedy))
    found.apply(ledger)
    assert found.check(ledger).status.named(State.APPLIED)


def test_values_that_are_there_twice_are_told_before_a_unique_index(ledger: LocalDatabase) -> None:
    """A command that would fail at the ledger's rows is not named; the query for these rows is."""
    by_hand(
        ledger, "CREATE TABLE a (n, m); INSERT INTO a VALUES (1, 1), (1, 1), (2, 2), (NULL, 3), (NULL, 3);"
    )
    found = files("CREATE TABLE a (n, m); CREATE UNIQUE INDEX an ON a (n, m);")
    with pytest.raises(Refused, match="index an is missing") as failure:
        found.apply(ledger)
    assert "--write" not in failure.value.remedy
    query = re.search(r"`inv db\.query ([^`]*)`", failure.value.remedy)
    assert query
    assert list(ledger.query(shlex.split(query[1])[0])) == [(1, 1, 2)]
    by_hand(ledger, "DELETE FROM a WHERE rowid = 1;")
    with pytest.raises(Refused) as failure:
        found.apply(ledger)
    by_hand(ledger, written(failure.value.remedy))
    found.apply(ledger)
    assert list(ledger.query("SELECT count(*) FROM a")) == [(4,)]


@pytest.mark.parametrize("history", [False, True])
def test_a_view_in_a_tables_place_is_named(ledger: LocalDatabase, history: bool) -> None:
    """A view that has a table's name is told, with the command that makes room, which then does."""
    found = files("CREATE TABLE z (x);", "CREATE TABLE a (id); CREATE TABLE q (a);")
    if history:
        files("CREATE TABLE z (x);").apply(ledger)
    else:
        by_hand(ledger, "CREATE TABLE z (x);")
    by_hand(ledger, "CREATE VIEW A AS SELECT 1 AS id;")
    with pytest.raises(MigrationFailed) as failure:
        found.apply(ledger)
    assert "A is that of a view, where a table should be" in failure.value.remedy
    by_hand(ledger, written(failure.value.remedy))
    found.apply(ledger)
    assert found.check(ledger).agrees


@pytest.mark.parametrize(
    "change",
    ["UPDATE cfg SET n = n * 10", "DELETE FROM cfg WHERE n < 100", "UPDATE OR REPLACE cfg SET id = 2"],
)
@pytest.mark.parametrize("makes", ["CREATE INDEX IF NOT EXISTS ix ON cfg (n);", "CREATE TABLE fresh (x);"])
def test_rows_that_are_there_are_not_changed_by_a_take_over(
    ledger: LocalDatabase, makes: str, change: str
) -> None:
    """Whether a change of rows ran, only the caller knows; both answers lead on."""
    by_hand(ledger, f"{SETTING} INSERT INTO cfg VALUES (1, 5);")
    found = files(f"{SETTING} {makes} {change};")
    with pytest.raises(Refused, match="cannot be told whether it ran") as failure:
        found.apply(ledger)
    assert "it changes rows of cfg, which holds some" in failure.value.detail
    assert "`inv db.migrate.adopt --to 0`" in failure.value.remedy
    with pytest.raises(Refused, match=r"which .* does not have"):
        found.adopt(ledger, to="1")
    by_hand(ledger, written(failure.value.remedy))
    found.apply(ledger)
    assert list(ledger.query("SELECT id, n FROM cfg")) == [(1, 5)]


def test_values_of_a_new_column_are_nobodys(ledger: LocalDatabase) -> None:
    """A migration that adds a column and fills it is applied: nobody has a value there yet."""
    by_hand(ledger, f"{SETTING} INSERT INTO cfg VALUES (1, 5);")
    files(SETTING, "ALTER TABLE cfg ADD COLUMN tenfold; UPDATE cfg SET tenfold = n * 10;").apply(ledger)
    assert list(ledger.query("SELECT n, tenfold FROM cfg")) == [(5, 50)]
