"""Rollback: the schema is the earlier one, object by object, no row written since is lost, or nothing happens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.database.interface import Database, Rows, SchemaObject, Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import ChangedMeanwhile, HooxError, Refused, RemoteError
from hoox_tasks.migrations import NO_CONSENT, Consent, Migration, Migrations, RolledBack, consent, rollback
from hoox_tasks.migrations.drift import compare_schemas
from tests.support.losses import AMOUNTS, START, files
from tests.support.strategies import examples

NOWHERE = Path("/nowhere")


@pytest.fixture
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty ledger in a file; on the local D1 API where a test asks for it."""
    if getattr(request, "param", "local") == "served":
        yield request.getfixturevalue("remote")
        return
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        yield database


HOMES = ("local", "served")


def cases(found: Mapping[str, Any], served: Collection[str]) -> list[Any]:
    """Give a home and what stands under each name, to be tried in a file, and by some names served as well."""
    return [
        pytest.param(home, found[name], id=f"{name}, {home}")
        for home in HOMES
        for name in found
        if home == "local" or name in served
    ]


def execute(ledger: Database, *statements: str) -> None:
    """Change a ledger as a worker does."""
    ledger.batch(map(Statement, statements))


def back(
    ledger: Database,
    migrations: Migrations,
    *,
    down: Path = NOWHERE,
    to: str | None = None,
    allowed: Consent = NO_CONSENT,
) -> RolledBack:
    """Take migrations back."""
    planned = rollback.plan(migrations, migrations.status(ledger), down=down, to=to, consent=allowed)
    return rollback.run(ledger, migrations, planned)[0]


def contents(ledger: Database) -> dict[str, list[object]]:
    """Give all rows of all tables but the tools' own and those inside of virtual ones."""
    schema = ledger.schema()
    virtual = tuple(f"{item.name}_" for item in schema if item.sql.startswith("CREATE VIRTUAL"))
    names = [
        item.name for item in schema if item.type == "table" and not item.name.startswith(virtual or "?")
    ]
    return {name: list(ledger.query(f'SELECT * FROM "{name}"')) for name in names if name not in OWN}


OWN = Migrations([]).own_tables


def differences(before: Iterable[SchemaObject], ledger: Database) -> list[str]:
    """Give what is not as in a schema."""
    return [str(each) for each in compare_schemas(before, ledger.schema(), OWN)]


def down_file(folder: Path, text: str, name: str = "0002_step.sql") -> Path:
    """Write a down file; gives their folder."""
    (folder / "down").mkdir(exist_ok=True)
    (folder / "down" / name).write_text(text)
    return folder / "down"


ADDED = {
    "a table with rows of its own": (
        "CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT, rate REAL, x BLOB);"
        "INSERT INTO plans VALUES (1, 'free', 0.1, NULL), (2, 'O''Neil', 1e300, x'00ff');"
    ),
    "tables that refer to each other": (
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b(id));"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a(id), t TEXT REFERENCES trades(id));"
    ),
    "an index": "CREATE UNIQUE INDEX by_order ON trades (order_id) WHERE order_id IS NOT NULL;",
    "a view and a trigger": (
        "CREATE VIEW big AS SELECT * FROM trades WHERE quantity > 1;"
        "CREATE TRIGGER watch AFTER UPDATE ON trades BEGIN INSERT INTO events VALUES (0, 'a; b'); END;"
    ),
    "a column with a default": "ALTER TABLE trades ADD COLUMN venue TEXT NOT NULL DEFAULT 'mexc';",
    "a column whose default is true": "ALTER TABLE trades ADD COLUMN live DEFAULT TRUE;",
    "a column that refers to a new table": (
        "CREATE TABLE desks (id INTEGER PRIMARY KEY); ALTER TABLE trades ADD COLUMN desk REFERENCES desks (id);"
        "CREATE INDEX by_desk ON trades (desk);"
    ),
    "a generated column": "ALTER TABLE fills ADD COLUMN twice AS (size * 2); CREATE INDEX t ON fills (twice);",
    "columns of every kind": (
        'ALTER TABLE trades ADD COLUMN "we ird" TEXT COLLATE NOCASE; '
        "ALTER TABLE rates ADD COLUMN n INTEGER CHECK (n > 0); ALTER TABLE rates ADD COLUMN m DEFAULT -1.5;"
    ),
    "a full-text table": (
        "CREATE VIRTUAL TABLE texts USING fts5(note, content='trades');"
        "INSERT INTO texts (texts) VALUES ('rebuild');"
        "CREATE TRIGGER t AFTER INSERT ON events BEGIN INSERT INTO texts (rowid, note) VALUES (new.at, new.word);"
        "END;"
    ),
    "a trigger that was replaced": (
        "DROP TRIGGER trades_found;CREATE TRIGGER trades_found AFTER INSERT ON accounts BEGIN SELECT 1; END;"
    ),
    "an index that was dropped": "DROP INDEX by_symbol;",
    "a view that another reads, with a trigger": (
        "ALTER TABLE trades ADD COLUMN tag TEXT; DROP VIEW one;CREATE VIEW one AS SELECT id, tag FROM trades;"
    ),
    "a table that is there already": "CREATE TABLE IF NOT EXISTS trades (id); CREATE TABLE IF NOT EXISTS x (y);",
    "its own rows changed": (
        "CREATE TABLE x (a INTEGER PRIMARY KEY, b); INSERT INTO x VALUES (1, 2), (2, 3);"
        "UPDATE x SET b = 4; DELETE FROM x WHERE a = 1;"
    ),
}
BASE = START + (
    "CREATE INDEX by_symbol ON trades (symbol);"
    "CREATE VIEW one AS SELECT id FROM trades; CREATE VIEW two AS SELECT id FROM one;"
    "CREATE TRIGGER one_in INSTEAD OF INSERT ON one BEGIN INSERT INTO events VALUES (5, new.id); END;"
)


@pytest.mark.parametrize(
    ("ledger", "text"),
    cases(
        ADDED,
        {
            "a table with rows of its own",
            "a column that refers to a new table",
            "a full-text table",
            "a view that another reads, with a trigger",
        },
    ),
    indirect=["ledger"],
)
def test_what_was_only_added_is_taken_back(ledger: Database, text: str) -> None:
    """What was only added goes, with rows written since to what was there before kept, and can come again."""
    both = files(BASE, text)
    files(BASE).apply(ledger)
    before = ledger.schema()
    both.apply(ledger)
    after = ledger.schema()
    execute(ledger, "INSERT INTO settings VALUES ('since', '1')", "UPDATE trades SET fee = 7 WHERE id = 't3'")
    rows = {
        name: found for name, found in contents(ledger).items() if name not in {"trades", "fills", "rates"}
    }
    done = back(ledger, both)
    assert (done.names, done.effects or ()) == (("0002_step.sql",), ())
    assert differences(before, ledger) == []
    kept = contents(ledger)
    assert {name: rows[name] for name in kept.keys() & rows.keys()} == {
        name: kept[name] for name in kept.keys() & rows.keys()
    }
    assert list(ledger.query("SELECT count(*), sum(fee) FROM trades")) == [(5, 9.75)]
    assert both.status(ledger).version == "0001_step.sql"
    both.apply(ledger)
    assert differences(after, ledger) == []


WRITTEN = {
    "a row in a new table": (
        ADDED["a table with rows of its own"],
        "INSERT INTO plans (name) VALUES ('x')",
        "plans",
    ),
    "its own row changed": (
        ADDED["a table with rows of its own"],
        "UPDATE plans SET name = 'FREE' WHERE id = 1",
        "plans",
    ),
    "a value in a new column": (
        ADDED["a column with a default"],
        "UPDATE trades SET venue = 'MEXC' WHERE id = 't1'",
        "trades",
    ),
    "a value beside TRUE": (
        ADDED["a column whose default is true"],
        "UPDATE trades SET live = 2 WHERE id = 't1'",
        "trades",
    ),
    "a row of a child": (
        ADDED["a column that refers to a new table"],
        "INSERT INTO desks VALUES (1)",
        "desks",
    ),
    "a text that is searched": (
        "CREATE VIRTUAL TABLE texts USING fts5(note);",
        "INSERT INTO texts VALUES ('hello')",
        "texts",
    ),
}


@pytest.mark.parametrize(
    ("ledger", "case"),
    cases(WRITTEN, {"its own row changed", "a value beside TRUE", "a text that is searched"}),
    indirect=["ledger"],
)
def test_what_was_written_since_is_not_lost(ledger: Database, case: tuple[str, str, str]) -> None:
    """A value or row in what would go makes the rollback fail whole, unless its table is named."""
    text, written, table = case
    both = files(BASE, text)
    both.apply(ledger)
    execute(ledger, written)
    before, schema = contents(ledger), ledger.schema()
    with pytest.raises(Refused, match=f"would lose .* {table}.*1 row .*--allow-data-loss={table}"):
        back(ledger, both)
    with pytest.raises(Refused, match="would lose"):
        back(ledger, both, allowed=consent(data_loss="accounts"))
    assert (contents(ledger), ledger.schema()) == (before, schema)
    assert both.status(ledger).version == "0002_step.sql"
    done = back(ledger, both, allowed=consent(data_loss=table))
    assert [(effect.table, effect.rows) for effect in done.effects or ()] in ([(table, 1)], [])
    assert both.status(ledger).version == "0001_step.sql"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("INSERT INTO settings VALUES ('a', 'b');", "it puts rows into settings"),
        ("UPDATE trades SET price = price * 2;", "it changes trades.price"),
        ("DELETE FROM events;", "it removes rows from events"),
        ("DROP TABLE empty;", "it drops empty"),
        (
            "ALTER TABLE trades DROP COLUMN note; ALTER TABLE trades ADD COLUMN note TEXT;",
            "columns of trades",
        ),
        ("ALTER TABLE trades RENAME COLUMN order_id TO reference;", "columns of trades"),
        (
            "ALTER TABLE empty RENAME TO old; CREATE TABLE empty (x); DROP TABLE old;",
            "it drops or renames empty",
        ),
        (
            "CREATE TABLE copy (x, y); INSERT INTO copy SELECT x, 1 FROM empty; DROP TABLE empty;"
            "ALTER TABLE copy RENAME TO empty;",
            "it drops or renames empty",
        ),
    ],
)
def test_what_was_not_only_added_needs_a_down_file(ledger: Database, text: str, reason: str) -> None:
    """A migration that changed rows or objects that were there is refused, and the command names the way on."""
    both = files(BASE, text)
    both.apply(ledger, consent=consent(data_loss=True))
    before = contents(ledger)
    with pytest.raises(Refused, match=r"inv db\.migrate\.new --down 0002_step\.sql") as refused:
        back(ledger, both)
    assert reason in str(refused.value)
    assert (contents(ledger), both.status(ledger).version) == (before, "0002_step.sql")


def test_a_table_made_by_one_and_filled_by_another_goes_with_both(ledger: Database) -> None:
    """Migrations without down files are taken back together, so that rows in a table that goes do not count."""
    three = files(
        START, "CREATE TABLE plans (id INTEGER PRIMARY KEY, n);", "INSERT INTO plans VALUES (1, 'a');"
    )
    three.apply(ledger, to="0001")
    before = ledger.schema()
    three.apply(ledger)
    with pytest.raises(Refused, match="it puts rows into plans"):
        back(ledger, three)
    assert back(ledger, three, to="0001").names == ("0003_step.sql", "0002_step.sql")
    assert differences(before, ledger) == []
    assert rollback.plan(three, three.status(ledger), down=NOWHERE, to="1").names == ()


@pytest.mark.parametrize("ledger", HOMES, indirect=True)
def test_nothing_of_several_happens_where_one_would_lose(ledger: Database, tmp_path: Path) -> None:
    """All are taken back in one transaction: what the older one would lose undoes the newer one too."""
    three = files(START, "CREATE TABLE plans (n);", "UPDATE settings SET value = '6' WHERE name = 'limit';")
    three.apply(ledger)
    execute(ledger, "INSERT INTO plans VALUES (1)")
    text = (
        "-- hoox: allow-value-changes settings.value\nUPDATE settings SET value = '5' WHERE name = 'limit';"
    )
    down = down_file(tmp_path, text, "0003_step.sql")
    with pytest.raises(Refused, match=r"Taking back 0002_step\.sql would lose .*plans: 1 row gone"):
        back(ledger, three, down=down, to="0001")
    assert list(ledger.query("SELECT value FROM settings WHERE name = 'limit'")) == [("6",)]
    back(ledger, three, down=down, to="0001", allowed=consent(data_loss="plans"))
    assert list(ledger.query("SELECT value FROM settings WHERE name = 'limit'")) == [("5",)]


@pytest.mark.parametrize("ledger", HOMES, indirect=True)
def test_all_are_taken_back(ledger: Database) -> None:
    """`--to 0` takes back every migration, and leaves nothing but the history's own tables."""
    both = files("CREATE TABLE plans (n);", "CREATE INDEX plans_n ON plans (n);")
    both.apply(ledger)
    assert back(ledger, both, to="0").names == ("0002_step.sql", "0001_step.sql")
    assert {item.table for item in ledger.schema()} <= set(both.own_tables)


@pytest.mark.parametrize("ledger", HOMES, indirect=True)
def test_consent_in_a_down_file_is_for_its_migration_alone(ledger: Database, tmp_path: Path) -> None:
    """What one down file lets go of, another migration's rollback in the same transaction does not."""
    three = files(START, "ALTER TABLE settings ADD COLUMN unit TEXT;", "ALTER TABLE settings ADD COLUMN x;")
    three.apply(ledger)
    execute(ledger, "UPDATE settings SET unit = 'USD', x = 1")
    text = "-- hoox: allow-data-loss settings\nALTER TABLE settings DROP COLUMN x;"
    down = down_file(tmp_path, text, "0003_step.sql")
    with pytest.raises(Refused, match=r"Taking back 0002_step\.sql would lose .*settings\.unit: 2 rows"):
        back(ledger, three, down=down, to="0001")
    assert back(ledger, three, down=down).names == ("0003_step.sql",)


# ------------------------------------------------------------------------------------------------- down files

RENAME = "ALTER TABLE trades RENAME COLUMN order_id TO reference; UPDATE settings SET value = 'paper' WHERE name = 'mode';"


@pytest.mark.parametrize("ledger", HOMES, indirect=True)
def test_a_down_file_takes_back_what_cannot_be_derived(ledger: Database, tmp_path: Path) -> None:
    """A down file that leads to the schema before is run, with its rows' changes as it says them."""
    both = files(START, RENAME)
    both.apply(ledger, to="0001")
    before, rows = ledger.schema(), contents(ledger)
    both.apply(ledger)
    down = down_file(
        tmp_path,
        "ALTER TABLE trades RENAME COLUMN reference TO order_id;\n"
        "-- hoox: allow-value-changes settings.value\n"
        "UPDATE settings SET value = 'live' WHERE name = 'mode';\n",
    )
    back(ledger, both, down=down)
    assert (differences(before, ledger), contents(ledger)) == ([], rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ALTER TABLE trades RENAME COLUMN reference TO orders;", "does not lead to the schema before"),
        (
            "ALTER TABLE trades RENAME COLUMN missing TO order_id;",
            r"in line 1 of down/0002_step\.sql: no such column",
        ),
        (
            "-- hoox: draft: complete it\nALTER TABLE trades RENAME COLUMN reference TO order_id;",
            "is a draft",
        ),
        ("-- later\n", "says nothing"),
        ("DELETE FROM [D1_migrations];", "speaks of d1_migrations in line 1"),
        ("BEGIN; ALTER TABLE trades RENAME COLUMN reference TO order_id;", "BEGIN"),
        ("-- hoox: allow-everything\nSELECT 1;", "says nothing known"),
        (
            "ALTER TABLE trades RENAME COLUMN reference TO order_id; UPDATE trades SET price = 1;",
            r"would change values, which may have been written since.*trades\.price: 5 rows changed",
        ),
        (
            "ALTER TABLE trades RENAME COLUMN reference TO order_id; DELETE FROM fills WHERE size > 1;",
            r"would lose .*fills: 1 row gone.*allow-data-loss fills",
        ),
    ],
)
def test_a_wrong_down_file_changes_nothing(ledger: Database, tmp_path: Path, text: str, said: str) -> None:
    """A down file that fails, loses something or leads elsewhere leaves the ledger as it was."""
    both = files(START, RENAME)
    both.apply(ledger)
    before, schema = contents(ledger), ledger.schema()
    with pytest.raises(HooxError, match=f"(?s){said}"):
        back(ledger, both, down=down_file(tmp_path, text), allowed=consent(amounts=AMOUNTS))
    assert (contents(ledger), ledger.schema()) == (before, schema)
    assert both.status(ledger).version == "0002_step.sql"


def test_a_draft_is_as_complete_as_can_be(tmp_path: Path) -> None:
    """A draft has what is derived; where that is not all, it says what is missing, and is not run."""
    steps = files(START, "CREATE TABLE x (y);", "CREATE TABLE z (y); UPDATE trades SET fee = 1;")
    whole = rollback.write_draft(steps, steps.files[1], tmp_path)
    assert whole.read_text() == "-- Takes back 0002_step.sql.\nDROP TABLE x;\n"
    part = rollback.write_draft(steps, steps.files[2], tmp_path)
    assert part.read_text() == (
        "-- Takes back 0003_step.sql.\n-- hoox: draft: complete it, then remove this line.\n"
        "-- Not by what stands here: it changes trades.fee.\nDROP TABLE z;\n"
    )
    with pytest.raises(Refused, match="There is a down file"):
        rollback.write_draft(steps, steps.files[1], tmp_path)


# ------------------------------------------------------------------------------- histories and others


def test_a_history_that_does_not_fit_is_refused(ledger: Database) -> None:
    """Where a file was edited or is gone nothing is taken back, and the message says what to do about it."""
    files(START, "CREATE TABLE x (y);").apply(ledger)
    for wrong in (files(START, "CREATE TABLE x (y, z);"), files(START)):
        with pytest.raises(Refused, match=r"(?s)does not fit.*0002_step\.sql is (edited|missing)\. \w+"):
            back(ledger, wrong)
    with pytest.raises(Refused, match=r"0003_step\.sql was not applied"):
        back(ledger, files(START, "CREATE TABLE x (y);", "CREATE TABLE z (y);"), to="3")


def test_an_object_that_was_changed_by_hand_is_refused(ledger: Database) -> None:
    """What is not as its migration made it is not dropped; what else was made by hand stays."""
    both = files(START, "CREATE TABLE x (y);")
    both.apply(ledger)
    execute(ledger, "CREATE INDEX by_hand ON events (at)", "ALTER TABLE x ADD COLUMN z")
    with pytest.raises(Refused, match="Table x is not as"):
        back(ledger, both)
    execute(ledger, "ALTER TABLE x DROP COLUMN z", "CREATE INDEX on_x ON x (y)")
    with pytest.raises(Refused, match="index on_x, which no migration made"):
        back(ledger, both)
    execute(ledger, "DROP INDEX on_x")
    back(ledger, both)
    assert {item.name for item in ledger.schema()} >= {"by_hand"}


@pytest.mark.parametrize(
    "made",
    [
        "CREATE VIEW v AS SELECT * FROM x",
        "CREATE TRIGGER v AFTER UPDATE OF fee ON trades BEGIN INSERT INTO x VALUES (new.fee); END",
        "CREATE TRIGGER v AFTER INSERT ON accounts BEGIN INSERT INTO x VALUES (new.id); END",
        "CREATE TRIGGER v AFTER DELETE ON rates BEGIN DELETE FROM x; END",
    ],
)
def test_what_was_made_by_hand_is_not_broken(ledger: Database, made: str) -> None:
    """A view or trigger that no migration made and that needs what would go keeps it, and is named."""
    both = files(START, "CREATE TABLE x (y);")
    both.apply(ledger)
    execute(ledger, made)
    with pytest.raises(
        Refused, match=r"(view|trigger) v, which no migration made, needs what 0002_step\.sql made"
    ):
        back(ledger, both)
    assert both.status(ledger).version == "0002_step.sql"


@pytest.mark.parametrize("ledger", HOMES, indirect=True)
@pytest.mark.parametrize(
    ("act", "what"),
    [
        ("INSERT INTO d1_migrations (name) VALUES ('0003_other.sql')", "history"),
        ("CREATE TABLE other (x)", "schema"),
        ("DROP INDEX i; CREATE INDEX i ON trades (fee)", "schema"),
    ],
)
def test_somebody_is_ahead(ledger: Database, act: str, what: str) -> None:
    """Where another run changed history or schema since the plan, nothing is taken back."""
    both = files(START, "CREATE INDEX i ON trades (note);")
    both.apply(ledger)
    planned = rollback.plan(both, both.status(ledger), down=NOWHERE)
    execute(ledger, *act.split("; "))
    with pytest.raises(ChangedMeanwhile, match=f"changed the {what}"):
        rollback.run(ledger, both, planned)
    assert "i" in {item.name for item in ledger.schema()}


@pytest.mark.parametrize("ledger", HOMES, indirect=True)
def test_rows_written_between_plan_and_rollback_count(ledger: Database) -> None:
    """What a worker writes after the plan was made is seen inside the transaction."""
    both = files(START, "CREATE TABLE x (y);")
    both.apply(ledger)
    planned = rollback.plan(both, both.status(ledger), down=NOWHERE)
    execute(ledger, "INSERT INTO x VALUES (1)")
    with pytest.raises(Refused, match="x: 1 row gone"):
        rollback.run(ledger, both, planned)
    assert list(ledger.query("SELECT y FROM x")) == [(1,)]


class Cut(LocalDatabase):
    """Is interrupted, or loses the answer, before or after a transaction that writes."""

    cut: BaseException | None = None
    committed = False

    def batch(
        self, statements: Iterable[Statement], *, write: bool = True, timeout: float | None = None
    ) -> list[Rows]:
        """Run statements."""
        cut = self.cut if write else None
        if cut and not self.committed:
            raise cut
        results = super().batch(statements, write=write, timeout=timeout)
        if cut:
            raise cut
        return results


@pytest.mark.parametrize("committed", [True, False])
def test_an_interruption_tells_what_happened(tmp_path: Path, committed: bool) -> None:
    """Whoever interrupts is told of the rollback where it is in the ledger, and only then."""
    both, told = files(START, "CREATE TABLE x (y);"), list[str]()
    with closing(Cut(tmp_path / "l.sqlite", create=True)) as ledger:
        both.apply(ledger)
        planned = rollback.plan(both, both.status(ledger), down=NOWHERE)
        ledger.cut, ledger.committed = KeyboardInterrupt(), committed
        with pytest.raises(KeyboardInterrupt):
            rollback.run(ledger, both, planned, report=lambda done: told.extend(done.names))
        assert told == ["0002_step.sql"] * committed
        assert both.status(ledger).version == ("0001_step.sql" if committed else "0002_step.sql")


@pytest.mark.parametrize("committed", [True, False])
def test_a_lost_answer_is_looked_after(tmp_path: Path, committed: bool) -> None:
    """Where an answer was lost the history tells whether it happened; where it did not, nothing says it did."""
    both = files(START, "CREATE TABLE x (y);")
    with closing(Cut(tmp_path / "l.sqlite", create=True)) as ledger:
        both.apply(ledger)
        planned = rollback.plan(both, both.status(ledger), down=NOWHERE)
        ledger.cut, ledger.committed = RemoteError("No answer.", ambiguous=True), committed
        if committed:
            assert rollback.run(ledger, both, planned)[0].effects is None
        else:
            with pytest.raises(RemoteError, match=r"nothing shows that 0002_step\.sql was taken back"):
                rollback.run(ledger, both, planned)


# --------------------------------------------------------------------------------------------- any migrations


@dataclass
class Made:
    """Additive migrations made up, with what is there by now."""

    columns: dict[str, list[str]] = field(default_factory=lambda: {"base": ["a"], "other": ["a"]})
    views: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)
    number: int = 0

    def name(self, kind: str) -> str:
        """Give a new name."""
        self.number += 1
        return f"{kind}{self.number}"


KINDS = ("table", "column", "index", "view", "trigger", "new view", "no index", "search")


@st.composite
def additions(draw: st.DrawFn) -> list[str]:
    """Draw migrations that only add, or replace what holds no rows."""
    made = Made()
    return [
        " ".join(_addition(draw, made) for _ in range(draw(st.integers(0, 3))))
        for _ in range(draw(st.integers(1, 4)))
    ]


def _addition(draw: st.DrawFn, made: Made) -> str:
    kind = draw(st.sampled_from(KINDS))
    table = draw(st.sampled_from(sorted(made.columns)))
    column = draw(st.sampled_from(made.columns[table]))
    if kind == "table":
        name = made.name("t")
        made.columns[name] = ["id", "a"]
        rows = f" INSERT INTO {name} (a) VALUES (1.5), ('x'), (NULL);" if draw(st.booleans()) else ""
        parent = draw(st.sampled_from(["", f" REFERENCES {table} (rowid)" if table == name else ""]))
        return f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, a{parent});{rows}"
    if kind == "column":
        name = made.name("c")
        made.columns[table].append(name)
        rest = draw(st.sampled_from(["", "TEXT NOT NULL DEFAULT 'd'", "INTEGER CHECK (1)", "REAL DEFAULT 1"]))
        return f"ALTER TABLE {table} ADD COLUMN {name} {rest};"
    if kind == "index":
        made.indexes.append(made.name("i"))
        return f"CREATE INDEX {made.indexes[-1]} ON {table} ({column});"
    if kind == "view":
        made.views.append(made.name("v"))
        source = draw(st.sampled_from([table, *made.views[:-1]]))
        return f"CREATE VIEW {made.views[-1]} AS SELECT * FROM {source};"
    if kind == "trigger":
        made.triggers.append(made.name("w"))
        return f"CREATE TRIGGER {made.triggers[-1]} AFTER UPDATE OF {column} ON {table} BEGIN SELECT new.{column}; END;"
    if kind == "new view" and made.views:
        name = draw(st.sampled_from(made.views))
        return f"DROP VIEW {name}; CREATE VIEW {name} AS SELECT {column} FROM {table};"
    if kind == "no index" and made.indexes:
        return f"DROP INDEX {made.indexes.pop()};"
    return f"CREATE VIRTUAL TABLE {made.name('f')} USING fts5(x, content='{table}');"


@given(additions(), st.data())
@examples(15)
def test_any_additions_up_and_down_again(texts: list[str], data: st.DataObject) -> None:
    """Any additive migrations are taken back to any of them: same schema, same rows, and they apply again."""
    start = "CREATE TABLE base (a); INSERT INTO base VALUES (1), ('two'); CREATE TABLE other (a);"
    every = files(start, *texts)
    with TemporaryDirectory() as folder, closing(LocalDatabase(Path(folder) / "l", create=True)) as ledger:
        schemas: Mapping[int, list[SchemaObject]] = {}
        for number in range(1, len(texts) + 2):
            every.apply(ledger, to=str(number))
            schemas = {**schemas, number: ledger.schema()}
        execute(ledger, "INSERT INTO base (a) VALUES (3)", "INSERT INTO other (a) VALUES (4.5)")
        to = data.draw(st.integers(1, len(texts)))
        back(ledger, every, to=str(to))
        assert differences(schemas[to], ledger) == []
        assert list(ledger.query("SELECT a FROM base ORDER BY rowid")) == [(1,), ("two",), (3,)]
        assert list(ledger.query("SELECT a FROM other")) == [(4.5,)]
        every.apply(ledger)
        assert differences(schemas[len(texts) + 1], ledger) == []


def test_names_of_migrations_that_are_there(tmp_path: Path) -> None:
    """A number or a whole name means a migration that is there; other words are those of a new one."""
    steps = Migrations([Migration(name, tmp_path / name, "") for name in ("0001_a.sql", "0002_b.sql")])
    found = [rollback.named(steps, wanted) for wanted in ("2", "0001_a", "0002_b.sql", "add fills")]
    assert [each.name if each else None for each in found] == ["0002_b.sql", "0001_a.sql", "0002_b.sql", None]
    with pytest.raises(Refused, match="There is no migration 7"):
        rollback.named(steps, "7")


def test_a_history_that_does_not_run_here_is_refused(ledger: Database) -> None:
    """Where the migrations before do not run on an empty ledger, nothing is derived, and the reason is named."""
    execute(ledger, "CREATE TABLE mails (id)")
    both = files("ALTER TABLE mails ADD COLUMN seen;", "CREATE TABLE x (y);")
    both.apply(ledger)
    with pytest.raises(Refused, match=r"cannot be told, .*no such table: mails"):
        back(ledger, both)


# ------------------------------------------------------------------------- what the migration wrote itself

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b');"
BY_ITSELF = {
    "rows out of another table": "CREATE TABLE n (id INTEGER PRIMARY KEY, s TEXT); INSERT INTO n SELECT id, s FROM t;",
    "a copy of a table": "CREATE TABLE n AS SELECT * FROM t;",
    "rows with the time of day": (
        "CREATE TABLE n (id INTEGER PRIMARY KEY, s TEXT, at TEXT DEFAULT CURRENT_TIMESTAMP); INSERT INTO n (s) VALUES ('q');"
    ),
    "a column that is filled": "ALTER TABLE t ADD COLUMN u TEXT; UPDATE t SET u = upper(s);",
    "a filled column, an index and a view": (
        "ALTER TABLE t ADD COLUMN u TEXT DEFAULT 'x'; UPDATE t SET u = s WHERE id = 1;"
        "CREATE INDEX by_u ON t (u); CREATE VIEW v AS SELECT u FROM t;"
    ),
    "a search table": "CREATE VIRTUAL TABLE n USING fts5(s); INSERT INTO n (rowid, s) SELECT id, s FROM t;",
}


@pytest.mark.parametrize(
    ("ledger", "text"),
    cases(BY_ITSELF, ("rows out of another table", "a column that is filled")),
    indirect=["ledger"],
)
def test_what_the_migration_wrote_is_nobodys_loss(ledger: Database, text: str) -> None:
    """Rows and values that a migration made out of others go with it, and all else stays."""
    both = files(T, text)
    both.apply(ledger, to="1")
    before = ledger.schema()
    execute(ledger, "INSERT INTO t (id, s) VALUES (9, 'z')")
    both.apply(ledger)
    if "DEFAULT CURRENT" in text:
        execute(ledger, "UPDATE n SET at = '2020-01-01'")
    execute(ledger, "INSERT INTO t (id, s) VALUES (3, 'c')")
    assert back(ledger, both).effects == ()
    assert differences(before, ledger) == []
    assert list(ledger.query("SELECT * FROM t")) == [(1, "a"), (2, "b"), (3, "c"), (9, "z")]


@pytest.mark.parametrize(
    ("text", "change", "lost"),
    [
        (BY_ITSELF["rows out of another table"], "INSERT INTO n VALUES (8, 'w')", "n: 1 row gone"),
        (BY_ITSELF["rows out of another table"], "UPDATE n SET s = 'w' WHERE id = 1", "n: 1 row gone"),
        (BY_ITSELF["a column that is filled"], "UPDATE t SET u = 'w' WHERE id = 1", r"t\.u: 1 row dropped"),
        (BY_ITSELF["a search table"], "INSERT INTO n VALUES ('w')", "n: 1 row gone"),
    ],
)
def test_what_was_written_beside_it_is_a_loss(ledger: Database, text: str, change: str, lost: str) -> None:
    """Exactly what somebody else wrote there since is refused, and counted."""
    both = files(T, text)
    both.apply(ledger, to="1")
    execute(ledger, "INSERT INTO t (id, s) VALUES (9, 'z')")
    both.apply(ledger)
    execute(ledger, change)
    before = contents(ledger)
    with pytest.raises(Refused, match=f"would lose .*: {lost}\\."):
        back(ledger, both)
    assert contents(ledger) == before
    back(ledger, both, allowed=consent(data_loss=True))


def test_what_does_not_run_again_is_told(ledger: Database) -> None:
    """Where the migration does not run a second time, nothing happens, and the flag is named that lets all go."""
    both = files(T, "CREATE TABLE n (s TEXT UNIQUE); INSERT INTO n SELECT s FROM t;")
    both.apply(ledger)
    execute(ledger, "INSERT INTO t VALUES (3, 'a')")
    with pytest.raises(Refused, match="does not run again") as failure:
        back(ledger, both)
    assert "--allow-data-loss=n" in failure.value.remedy
    back(ledger, both, allowed=consent(data_loss="n"))


@pytest.mark.parametrize(
    ("made", "drop"),
    [
        ("CREATE INDEX hand ON t (u)", "DROP INDEX hand"),
        ("CREATE VIEW hand AS SELECT u FROM t", "DROP VIEW hand"),
        ("CREATE VIRTUAL TABLE hand USING fts5(u, content='t', content_rowid='id')", "DROP TABLE hand"),
        ("CREATE INDEX hand ON n (x)", "DROP INDEX hand"),
    ],
)
def test_what_is_in_the_way_is_named_with_its_command(ledger: Database, made: str, drop: str) -> None:
    """What somebody put on a new column or table by hand is named, with the command that leads on."""
    both = files(T, "ALTER TABLE t ADD COLUMN u TEXT; CREATE TABLE n (x);")
    both.apply(ledger)
    execute(ledger, made)
    with pytest.raises(Refused, match="hand, which no migration made") as failure:
        back(ledger, both)
    assert f"`inv db.query '{drop}' --write`" in failure.value.remedy
    execute(ledger, drop)
    back(ledger, both)


def test_a_search_index_that_is_rebuilt_is_no_obstacle(ledger: Database) -> None:
    """A search table whose text lies in another one holds nothing of its own, so that it may be rebuilt."""
    search = "CREATE VIRTUAL TABLE f USING fts5(u, content='t', content_rowid='id');"
    both = files(T + search, "ALTER TABLE t ADD COLUMN u TEXT; INSERT INTO f (f) VALUES ('rebuild');")
    both.apply(ledger)
    assert back(ledger, both).effects == ()
