"""Files that were renamed after they ran: recognised whatever else changed, and never run twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import Migration, Migrations, State

ACCOUNTS = "CREATE TABLE accounts (owner TEXT);\n"
BONUS = "INSERT INTO accounts VALUES ('bonus');\n"
GIFT = "INSERT INTO accounts VALUES ('gift');\n"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LocalDatabase]:
    """A ledger that has its accounts and one bonus."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS}).apply(database)
        yield database


def named(texts: dict[str, str]) -> Migrations:
    """Give migrations of these names and texts."""
    return Migrations([Migration(name, Path(name), text) for name, text in texts.items()])


def states(migrations: Migrations, ledger: LocalDatabase) -> dict[str, State]:
    """Give the state of each migration."""
    return {entry.name: entry.state for entry in migrations.status(ledger).entries}


def owners(ledger: LocalDatabase) -> list[str]:
    """Give what the migrations have put in."""
    return [str(row[0]) for row in ledger.query("SELECT owner FROM accounts ORDER BY rowid")]


def test_a_new_file_may_have_the_name(ledger: LocalDatabase) -> None:
    """A file that has the name under which another one ran is a new one, and the other does not run again."""
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": GIFT, "0003_c.sql": BONUS})
    assert states(found, ledger)["0003_c.sql"] is State.RENAMED
    assert states(found, ledger)["0002_b.sql"] is State.PENDING
    with pytest.raises(Refused, match="does not fit"):
        found.apply(ledger)
    with pytest.raises(Refused, match=r"0003_c\.sql says ran under the name 0002_b\.sql") as failure:
        found.mark(ledger, "0002_b.sql")
    assert "`inv db.migrate.mark 0003_c.sql`" in failure.value.remedy
    found.mark(ledger, "0003_c.sql")
    assert states(found, ledger)["0002_b.sql"] is State.OUT_OF_ORDER
    found.apply(ledger, allow_out_of_order=True)
    assert owners(ledger) == ["bonus", "gift"]
    assert found.check(ledger).agrees


def test_names_may_have_moved_on(ledger: LocalDatabase) -> None:
    """Of files that each have the next one's name all are recognised, and recorded one after the other."""
    named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, "0003_c.sql": GIFT}).apply(ledger)
    found = named({"0001_a.sql": ACCOUNTS, "0003_c.sql": BONUS, "0004_d.sql": GIFT})
    assert list(states(found, ledger).values()) == [State.APPLIED, State.RENAMED, State.RENAMED]
    with pytest.raises(Refused, match="ran under the name"):
        found.mark(ledger, "0003_c.sql")
    found.mark(ledger, "0004_d.sql")
    found.mark(ledger, "0003_c.sql")
    found.apply(ledger)
    assert owners(ledger) == ["bonus", "gift"]


@pytest.mark.parametrize(
    "text", [f"-- the bonus of May\n{BONUS}", BONUS.replace("VALUES", "/* one */\nVALUES")]
)
def test_comments_do_not_hide_a_renamed_file(ledger: LocalDatabase, text: str) -> None:
    """A file that was renamed, and got a comment, is the same one."""
    found = named({"0001_a.sql": ACCOUNTS, "0003_may.sql": text})
    assert states(found, ledger) == {"0001_a.sql": State.APPLIED, "0003_may.sql": State.RENAMED}


def test_what_may_be_a_renamed_file_is_recorded_first(ledger: LocalDatabase) -> None:
    """Beside a pending file, to forget one whose file is gone is never the first advice."""
    found = named({"0001_a.sql": ACCOUNTS, "0003_may.sql": BONUS.replace("'bonus'", "'Bonus'")})
    for entry in found.status(ledger).entries[1:]:
        assert "`inv db.migrate.mark 0003_may.sql`" in entry.advice.split(" Otherwise")[0]


def test_an_edited_file_is_still_edited(ledger: LocalDatabase) -> None:
    """A file that says something else under its own name is edited, and not a new one."""
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": GIFT})
    assert states(found, ledger)["0002_b.sql"] is State.EDITED


# -------------------------------------------------------------------------------------------- un-marking


def test_what_was_recorded_by_mistake_is_pending_again(ledger: LocalDatabase) -> None:
    """A migration that was marked, and did not run, is forgotten, and runs then; once."""
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, "0003_c.sql": GIFT})
    found.mark(ledger, "0003_c.sql")
    assert found.mark(ledger, "3", forget=True) == "Forgot 0003_c.sql."
    found.apply(ledger)
    assert owners(ledger) == ["bonus", "gift"]


def test_what_ran_is_not_forgotten(ledger: LocalDatabase) -> None:
    """A migration that ran is refused, with the command that takes it back, and the history stays."""
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS})
    with pytest.raises(Refused, match="it would run once more") as failure:
        found.mark(ledger, "0002_b.sql", forget=True)
    assert failure.value.remedy == "Take it back with `inv db.migrate.rollback`."
    found.apply(ledger)
    assert owners(ledger) == ["bonus"]


def test_what_is_not_there_is_forgotten(ledger: LocalDatabase) -> None:
    """A recorded migration of which nothing is there, whoever recorded it, did not run."""
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, "0003_n.sql": "CREATE TABLE notes (x);"})
    ledger.query("INSERT INTO d1_migrations (name) VALUES ('0003_n.sql')", write=True)
    found.mark(ledger, "0003_n", forget=True)
    found.apply(ledger)
    assert found.check(ledger).agrees


def test_a_recorded_migration_stays_as_it_is(ledger: LocalDatabase) -> None:
    """To mark what is recorded writes nothing, and says so."""
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS})
    before = ledger.path.read_bytes()
    assert found.mark(ledger, "2") == "0002_b.sql is recorded as applied already; nothing was changed."
    assert ledger.path.read_bytes() == before


def test_only_what_is_recorded_can_be_forgotten(ledger: LocalDatabase) -> None:
    """A pending name and a renamed one are refused, each with the way on."""
    found = named({"0001_a.sql": ACCOUNTS, "0003_b.sql": BONUS, "0004_d.sql": GIFT})
    with pytest.raises(Refused, match=r"0004_d\.sql is not recorded"):
        found.mark(ledger, "0004_d.sql", forget=True)
    with pytest.raises(Refused, match=r"0003_b\.sql ran as 0002_b\.sql") as failure:
        found.mark(ledger, "0002_b.sql", forget=True)
    assert "`inv db.migrate.mark 0003_b.sql`" in failure.value.remedy


# ---------------------------------------------------------------------------------- renamed and edited


@pytest.mark.parametrize("text", [BONUS + GIFT, GIFT + BONUS, f"{BONUS}{GIFT}CREATE TABLE fresh (x);\n"])
@pytest.mark.parametrize("name", ["0003_b.sql", "0003_may.sql"])
def test_what_was_added_to_a_renamed_file_is_told(ledger: LocalDatabase, name: str, text: str) -> None:
    """New statements in a renamed file are named, not passed over; as a migration of their own they run."""
    found = named({"0001_a.sql": ACCOUNTS, name: text})
    assert states(found, ledger)[name] is State.RENAMED_AND_EDITED
    for change in (lambda: found.mark(ledger, name), lambda: found.apply(ledger)):
        with pytest.raises(Refused) as failure:
            change()
        assert (
            "take out `INSERT INTO accounts VALUES ('gift')`" in failure.value.remedy + failure.value.detail
        )
    rest = {name: BONUS, "0004_d.sql": text.replace(BONUS, "")}
    found = named({"0001_a.sql": ACCOUNTS, **rest})
    found.mark(ledger, name)
    found.apply(ledger)
    assert owners(ledger) == ["bonus", "gift"]
    assert found.check(ledger).agrees


def test_statements_between_the_former_ones_are_found(ledger: LocalDatabase) -> None:
    """Where the file had several statements, one that was put between them is the new one."""
    both = {"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, "0003_c.sql": GIFT + BONUS}
    named(both).apply(ledger)
    middle = "INSERT INTO accounts VALUES ('middle');\n"
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, "0004_c.sql": GIFT + middle + BONUS})
    entry = found.status(ledger).entries[-1]
    assert entry.state is State.RENAMED_AND_EDITED
    assert middle.strip(";\n") in entry.advice


def test_a_renamed_file_that_says_something_else_is_not_recorded(ledger: LocalDatabase) -> None:
    """A file with the words of one that is gone, and other rows, is neither recorded nor run in silence."""
    found = named({"0001_a.sql": ACCOUNTS, "0003_b.sql": GIFT})
    assert states(found, ledger)["0003_b.sql"] is State.RENAMED_AND_EDITED
    with pytest.raises(Refused, match="not as its file is now") as failure:
        found.mark(ledger, "0003_b.sql")
    assert "give it a name of its own" in failure.value.remedy
    with pytest.raises(Refused, match="does not fit"):
        found.apply(ledger)
    assert owners(ledger) == ["bonus"]


def test_several_files_made_one_are_no_edit(ledger: LocalDatabase) -> None:
    """A file of nothing but the statements of two that are gone is recorded in their place."""
    found = named({"0003_all.sql": ACCOUNTS + BONUS})
    assert states(found, ledger)["0003_all.sql"] is State.PENDING
    found.mark(ledger, "0003_all.sql")
    found.mark(ledger, "1", forget=True)
    found.mark(ledger, "2", forget=True)
    found.apply(ledger)
    assert owners(ledger) == ["bonus"]


def test_mark_and_migrate_do_not_send_to_each_other(tmp_path: Path) -> None:
    """Of a file that is there in part, beside one that is gone, mark says how it is completed."""
    with closing(LocalDatabase(tmp_path / "other.sqlite", create=True)) as ledger:
        named({"0001_a.sql": ACCOUNTS, "0002_n.sql": "CREATE TABLE notes (x);"}).apply(ledger)
        ledger.query("DELETE FROM hoox_checksums", write=True)
        found = named({"0001_a.sql": ACCOUNTS, "0003_m.sql": "CREATE TABLE notes (x); CREATE TABLE m (x);"})
        with pytest.raises(Refused, match="makes table m") as failure:
            found.mark(ledger, "0003_m.sql")
        assert "inv db.query --write 'CREATE TABLE m (x)'" in failure.value.remedy
        found = named({"0001_a.sql": ACCOUNTS, "0003_m.sql": "CREATE TABLE m (x);"})
        with pytest.raises(Refused, match="makes table m") as failure:
            found.mark(ledger, "0003_m.sql")
        assert "0002_n.sql is missing" in failure.value.remedy


@pytest.mark.parametrize("gone", [True, False])
def test_who_forgets_rows_is_told_that_they_stay(ledger: LocalDatabase, gone: bool) -> None:
    """A migration that may have put rows in leaves them when it is forgotten: that is said, once."""
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, "0003_c.sql": GIFT})
    found.mark(ledger, "0003_c.sql")
    found = named({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, **({} if gone else {"0003_c.sql": GIFT})})
    told: list[str] = []
    found.mark(ledger, "3", forget=True, warn=told.append)
    assert len(told) == 1
    assert "its rows would be there twice" in told[0]
    assert ("do not bring its file back" in told[0]) == gone
