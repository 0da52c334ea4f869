"""What migrations lose is refused, what they change is told, and what is harmless passes, in both homes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.database.interface import Database, Rows, Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import Consent, MigrationFailed, Migrations, consent
from tests.support.losses import AMOUNTS, HARMLESS, REFUSED, START, Case, files

ASKED = consent(amounts=AMOUNTS)


@pytest.fixture(params=["local", "served"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty ledger in each of its homes."""
    if request.param == "served":
        yield request.getfixturevalue("remote")
        return
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        yield database


def told(ledger: Database, migrations: Migrations, allowed: Consent = ASKED) -> list[str]:
    """Apply migrations; gives what is told of the last."""
    applied, _ = migrations.apply(ledger, consent=allowed)
    effects = applied[-1].effects
    assert effects is not None
    return [str(effect) for effect in effects]


def rows(ledger: Database) -> dict[str, list[object]]:
    """Give all rows of all tables but the history, which knows when."""
    names = [
        item.name
        for item in ledger.schema()
        if item.type == "table" and not item.name.startswith(("words", "found", "notes_"))
    ]
    return {name: list(ledger.query(f'SELECT * FROM "{name}"')) for name in names}


def allowed(flag: str) -> Consent:
    """Give the consent that a case's flag stands for."""
    words = flag.split()
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    return consent(
        data_loss=pairs.get("loss", False), value_changes=pairs.get("changes", ()), amounts=AMOUNTS
    )


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in REFUSED.items()])
def test_losses_are_undone_unless_they_are_named(ledger: Database, case: Case) -> None:
    """A migration that loses rows or values, or changes amounts, is undone whole, and says what and how many."""
    files(START).apply(ledger)
    before = rows(ledger)
    with pytest.raises(MigrationFailed) as failure:
        told(ledger, files(START, case.text))
    for words in case.told:
        assert words in str(failure.value)
    assert rows(ledger) == before
    assert set(case.told) <= set(told(ledger, files(START, case.text), allowed(case.flag)))
    assert not [name for name in rows(ledger) if name.startswith("hoox_guard")]


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in HARMLESS.items()])
def test_what_loses_nothing_passes(ledger: Database, case: Case) -> None:
    """What moves, adds, renames, rebuilds or drops without losing a value passes, and changes are told."""
    files(START).apply(ledger)
    assert tuple(told(ledger, files(START, case.text))) == case.told


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in {**REFUSED, **HARMLESS}.items()]
)
def test_rows_of_the_same_run_may_go(ledger: Database, case: Case) -> None:
    """A ledger made from nothing takes every migration that wrangler takes, and nothing counts as lost."""
    assert told(ledger, files(START, case.text)) == []


TABLES = """
CREATE TABLE k (a TEXT PRIMARY KEY, v); INSERT INTO k VALUES (NULL, 1), (NULL, 2), (NULL, 2), ('x', 3);
CREATE TABLE k2 (a TEXT, b INT, v, PRIMARY KEY (a, b)); INSERT INTO k2 VALUES (NULL, 1, 1), ('x', NULL, 2);
CREATE VIRTUAL TABLE n USING fts5(body, title UNINDEXED); INSERT INTO n VALUES ('one', 'a'), ('two', 'b');
CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES (1, 0, 1), (2, 3, 4);
CREATE VIRTUAL TABLE c USING fts5(body, content=''); INSERT INTO c (rowid, body) VALUES (1, 'x');
"""
_K = "CREATE TABLE q (a TEXT PRIMARY KEY, v); {} DROP TABLE k; ALTER TABLE q RENAME TO k;"
_N = "CREATE VIRTUAL TABLE m USING fts5(body, title); {} DROP TABLE n; ALTER TABLE m RENAME TO n;"


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("DELETE FROM k WHERE v = 1;", "k: 1 row gone"),
        ("DELETE FROM k2 WHERE v = 2;", "k2: 1 row gone"),
        (_K.format("INSERT INTO q SELECT * FROM k WHERE v <> 1;"), "k: 1 row gone or changed"),
        (_K.format("INSERT INTO q SELECT a, v + 1 FROM k;"), "k: 2 rows gone or changed"),
        ("DELETE FROM n WHERE rowid = 1;", "n: 1 row gone"),
        ("DELETE FROM n; INSERT INTO n VALUES ('one', 'a'), ('zwei', 'b');", "n: 1 row gone or changed"),
        (_N.format("INSERT INTO m SELECT upper(body), title FROM n;"), "n: 2 rows gone or changed"),
        ("DELETE FROM r WHERE id = 1;", "r: 1 row gone"),
        ("DROP TABLE c;", "c: 1 row gone"),
    ],
)
def test_rows_without_a_key_are_missed_by_their_values(ledger: Database, text: str, lost: str) -> None:
    """Rows whose key is NULL, and those of search tables, are found by rowid or by what they hold."""
    files(TABLES).apply(ledger)
    with pytest.raises(MigrationFailed, match=lost):
        files(TABLES, text).apply(ledger)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("UPDATE k SET v = 9 WHERE rowid = 1;", ["k.v: 1 row changed"]),
        ("UPDATE k SET a = 'y' WHERE rowid = 1;", ["k.a: 1 row changed"]),
        ("INSERT OR REPLACE INTO k VALUES ('x', 4);", ["k.v: 1 row changed"]),
        (_K.format("INSERT INTO q SELECT * FROM k;"), []),
        (
            "CREATE TABLE z AS SELECT * FROM k; DELETE FROM k; INSERT INTO k SELECT * FROM z; DROP TABLE z;",
            [],
        ),
        ("UPDATE n SET title = 'x' WHERE rowid = 1;", ["n.title: 1 row changed"]),
        (_N.format("INSERT INTO m SELECT body, title FROM n;"), []),
        ("UPDATE r SET x1 = 9;", ["r.x1: 2 rows changed"]),
    ],
)
def test_values_of_rows_without_a_key_are_compared(ledger: Database, text: str, changed: list[str]) -> None:
    """Of such rows too it is told what changed, and nothing where nothing did."""
    files(TABLES).apply(ledger)
    assert told(ledger, files(TABLES, text)) == changed


# ---------------------------------------------------------------------------------------------- consent


def test_consent_names_tables_with_blanks(ledger: Database) -> None:
    """A name in quotes is one name, in a file and in a flag, and the advice writes it so."""
    tables = 'CREATE TABLE "my table" (x); INSERT INTO "my table" VALUES (1); CREATE TABLE my (x); INSERT INTO my VALUES (1);'
    files(tables).apply(ledger)
    with pytest.raises(MigrationFailed) as failure:
        files(tables, 'DROP TABLE "my table";').apply(ledger, consent=consent(data_loss="my"))
    assert '`-- hoox: allow-data-loss "my table"`' in failure.value.remedy
    assert "--allow-data-loss='\"my table\"'" in failure.value.remedy
    with pytest.raises(MigrationFailed, match="my: 1 row gone"):
        files(tables, '-- hoox: allow-data-loss "my table" (old)\nDROP TABLE my;').apply(ledger)
    for flag in ('"my table",other', "my table"):
        assert consent(data_loss=flag).allows_loss("My Table")
    assert told(
        ledger, files(tables, '-- hoox: allow-data-loss x, "my table" -- old\nDROP TABLE "my table";')
    ) == ["my table: 1 row gone"]


def test_consent_stands_in_the_file(ledger: Database) -> None:
    """A comment in the migration lets through what it names, and nothing else."""
    files(START).apply(ledger)
    drops = "DROP TABLE retired; DELETE FROM events;"
    other = "-- hoox: allow-data-loss events, empty (nobody reads them)\n"
    with pytest.raises(MigrationFailed, match=r"undone: retired: 2 rows gone\. If") as failure:
        told(ledger, files(START, other + drops))
    assert "`-- hoox: allow-data-loss retired`" in str(failure.value)
    both = "-- hoox: allow-data-loss events\nDROP TABLE retired; -- hoox: allow-data-loss RETIRED\nDELETE FROM events;"
    assert told(ledger, files(START, both)) == ["events: 4 rows gone", "retired: 2 rows gone"]


def test_consent_in_the_file_covers_amounts(ledger: Database) -> None:
    """A comment that names a column of money lets its values change, and they are still told."""
    files(START).apply(ledger)
    text = "-- hoox: allow-value-changes trades.price\nUPDATE trades SET price = 1, fee = 2 WHERE id = 't1';"
    with pytest.raises(
        MigrationFailed, match=r"change amounts, so it was undone: trades\.fee: 1 row changed"
    ):
        told(ledger, files(START, text))
    assert told(ledger, files(START, "-- hoox: allow-value-changes trades.fee\n" + text)) == [
        "trades.price: 1 row changed",
        "trades.fee: 1 row changed",
    ]


@pytest.mark.parametrize(
    "comment",
    ["-- hoox: allow-dataloss trades", "-- hoox: allow-data-loss", "--hoox:allow-value-changes (x)"],
)
def test_a_misspelt_consent_is_refused_before_anything_runs(ledger: Database, comment: str) -> None:
    """A comment for these tools that says nothing known is refused with its line, and nothing is applied."""
    with pytest.raises(Refused, match=r"0002_step\.sql has `.*` in line 2, which says nothing known"):
        files(START, f"CREATE TABLE a (x);\n{comment}\n").apply(ledger)
    assert ledger.schema() == []


def test_a_text_is_no_consent(ledger: Database) -> None:
    """What stands in a literal is no comment, however it looks."""
    files(START).apply(ledger)
    text = "INSERT INTO settings VALUES ('note', '\n-- hoox: allow-data-loss retired\n'); DROP TABLE retired;"
    with pytest.raises(MigrationFailed, match="retired: 2 rows gone"):
        told(ledger, files(START, text))


def test_a_bare_flag_says_what_it_let_through(ledger: Database) -> None:
    """Consent to any loss lets every loss through and tells it; amounts are still asked for."""
    files(START).apply(ledger)
    anything = consent(data_loss=True, amounts=AMOUNTS)
    assert told(ledger, files(START, "DROP TABLE retired;"), anything) == ["retired: 2 rows gone"]
    with pytest.raises(MigrationFailed, match="would change amounts"):
        told(ledger, files(START, "DROP TABLE retired;", "UPDATE trades SET fee = 9;"), anything)


# --------------------------------------------------------------------------- rows of the same run, exactly


def test_rows_of_a_migration_with_a_trigger_are_the_runs_own(ledger: Database) -> None:
    """What a migration puts in may go in the same run, also where D1 imports it for its trigger; more may not."""
    tables = (
        "CREATE TABLE a (id INTEGER PRIMARY KEY, x); INSERT INTO a (x) VALUES (1), (2);"
        "CREATE TRIGGER t AFTER DELETE ON a BEGIN SELECT 1; END;"
    )
    files(tables, "DELETE FROM a; DROP TRIGGER t;", "INSERT INTO a (x) VALUES (7);").apply(ledger)
    known = [tables, "DELETE FROM a; DROP TRIGGER t;", "INSERT INTO a (x) VALUES (7);"]
    more = "INSERT INTO a (x) VALUES (8); CREATE TRIGGER {} AFTER DELETE ON a BEGIN SELECT 1; END;"
    known += [more.format("u"), "DELETE FROM a WHERE x = 8;"]
    applied, _ = files(*known).apply(ledger)
    assert [each.effects for each in applied] == [(), ()]
    with pytest.raises(MigrationFailed, match="a: 1 row gone"):
        files(*known, more.format("v"), "DELETE FROM a;").apply(ledger)
    assert list(ledger.query("SELECT name FROM hoox_checksums WHERE name GLOB '/*'")) == []


def test_an_earlier_row_is_not_the_runs_own(ledger: Database) -> None:
    """Of a table that was there, a run may delete the rows that it put in, and no row that was there before."""
    files(START).apply(ledger)
    more = "INSERT INTO settings VALUES ('new', '1'), ('newer', '2');"
    assert told(ledger, files(START, more, "DELETE FROM settings WHERE name LIKE 'new%';")) == []
    with pytest.raises(MigrationFailed, match="settings: 1 row gone"):
        told(
            ledger,
            files(
                START,
                more,
                "DELETE FROM settings WHERE name LIKE 'new%';",
                more,
                "DELETE FROM settings WHERE name <> 'mode';",
            ),
        )


def test_a_row_that_came_between_is_not_the_runs_own(tmp_path: Path) -> None:
    """A row that a worker writes between two migrations of a run is not lost with the run's own rows."""

    class Worked(LocalDatabase):
        """Somebody writes a row whenever a migration is through."""

        def batch(
            self, statements: Iterable[Statement], *, write: bool = True, timeout: float | None = None
        ) -> list[Rows]:
            results = super().batch(statements, write=write, timeout=timeout)
            if write:
                self.connection.execute("INSERT INTO plans (name) VALUES ('of the worker')")
            return results

    plans = "CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO plans (name) VALUES ('a'), ('b');"
    with closing(Worked(tmp_path / "ledger.sqlite", create=True)) as ledger:
        with pytest.raises(MigrationFailed, match="plans: 3 rows gone"):
            files(plans, "DELETE FROM plans;").apply(ledger)
        assert list(ledger.query("SELECT count(*) FROM plans")) == [(3,)]


def test_a_row_between_two_of_the_runs_own_is_kept(tmp_path: Path) -> None:
    """Of a table that was there, a row that a worker puts between two rows of a run is not the run's own."""

    class Worked(LocalDatabase):
        """Somebody writes a row whenever a migration is through."""

        working = False

        def batch(
            self, statements: Iterable[Statement], *, write: bool = True, timeout: float | None = None
        ) -> list[Rows]:
            results = super().batch(statements, write=write, timeout=timeout)
            if write and self.working:
                self.connection.execute("INSERT INTO plans (name) VALUES ('of the worker')")
            return results

    plans = (
        "CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO plans (name) VALUES ('first');"
    )
    more = "INSERT INTO plans (name) VALUES ('ours');"
    with closing(Worked(tmp_path / "ledger.sqlite", create=True)) as ledger:
        files(plans).apply(ledger)
        ledger.working = True
        with pytest.raises(MigrationFailed, match="plans: 2 rows gone"):
            files(plans, more, more, "DELETE FROM plans WHERE name <> 'first' AND id < 5;").apply(ledger)
        assert len(list(ledger.query("SELECT id FROM plans"))) == 5


@pytest.mark.parametrize(
    ("aside", "then"),
    [
        (
            "CREATE TABLE aside AS SELECT * FROM plans; DROP TABLE plans;"
            "CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT, side TEXT);",
            "DROP TABLE aside;",
        ),
        ("CREATE TABLE aside AS SELECT * FROM plans; DELETE FROM plans;", "DELETE FROM aside;"),
        ("CREATE TABLE aside AS SELECT * FROM plans; DELETE FROM plans;", "DELETE FROM aside WHERE id = 1;"),
        ("INSERT INTO others SELECT * FROM plans; DELETE FROM plans;", "DELETE FROM others;"),
    ],
)
def test_rows_that_were_moved_aside_are_not_the_runs_own(tmp_path: Path, aside: str, then: str) -> None:
    """Rows of before that one migration moves are not lost by the next of the same run."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as ledger:
        tables = "CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE others AS SELECT * FROM plans;"
        files(tables).apply(ledger)
        ledger.query("INSERT INTO plans (name) VALUES ('a'), ('b')", write=True)
        with pytest.raises(MigrationFailed, match=r"would lose rows.*(aside|others): \d rows? gone"):
            files(tables, aside, then).apply(ledger)


def test_what_a_run_made_of_nothing_may_go_again(tmp_path: Path) -> None:
    """Rows that a run put in itself, and copies of them, are nobody's loss."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as ledger:
        files(
            "CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO plans (name) VALUES ('a'), ('b');",
            "CREATE TABLE aside AS SELECT * FROM plans; DROP TABLE plans;",
            "DROP TABLE aside;",
        ).apply(ledger)
