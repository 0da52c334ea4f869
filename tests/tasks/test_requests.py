"""What the tasks cost on D1: how many requests each makes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks import backups, ledger, migrations, seeding
from hoox_tasks.config.settings import bundled
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.migrations import Migration, Migrations
from tests.support.d1_api import TRIGGER
from tests.support.remote import Counting, connect

HISTORY = "d1_migrations"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[Migration]]:
    """Writes migrations, the texts given, and reads them all."""

    def write(*texts: str) -> list[Migration]:
        folder = tmp_path / "migrations"
        folder.mkdir(exist_ok=True)
        for number, text in enumerate(texts, 1):
            (folder / f"{number:04d}_step.sql").write_text(text)
        return migrations.discover(folder)

    return write


@pytest.fixture
def ours() -> list[Migration]:
    return migrations.discover(bundled("migrations"))


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("begun", ["nothing", "wrangler", "ours"])
def test_pending_migrations(
    remote: RemoteDatabase, wire: Counting, write: Callable[..., list[Migration]], count: int, begun: str
) -> None:
    """k pending migrations cost at most k + 3 requests, on an empty ledger and on one with any history."""
    texts = [f"CREATE TABLE t{number} (a); INSERT INTO t0 VALUES (1)" for number in range(count + 1)]
    if begun == "ours":
        Migrations(write(texts[0])).apply(remote)
    if begun == "wrangler":
        remote.batch([migrations.history_tables(HISTORY)[0]])
    files = write(*texts)
    pending = len(files) - (begun == "ours")
    wire.asked.clear()
    applied, _ = Migrations(files).apply(remote)
    assert len(applied) == pending
    assert len(wire.asked) <= pending + 3
    assert set(wire.asked) == {"raw"}


def test_migrations_that_write_rows_cost_no_more(
    remote: RemoteDatabase, wire: Counting, write: Callable[..., list[Migration]]
) -> None:
    """Updates, deletions and rebuilds are watched in their own request: k of them cost at most k + 3."""
    start = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 2), (2, 3); CREATE TABLE u (b);"
    )
    Migrations(write(start)).apply(remote)
    rebuild = (
        "CREATE TABLE n (id INTEGER PRIMARY KEY, a, b); INSERT INTO n SELECT id, a, 0 FROM t; DROP TABLE t;"
    )
    texts = ["UPDATE t SET a = a + 1;", f"{rebuild} ALTER TABLE n RENAME TO t;", "INSERT INTO u VALUES (1);"]
    files = write(start, *texts, "DELETE FROM u;")
    wire.asked.clear()
    applied, _ = Migrations(files).apply(remote)
    assert [list(map(str, migration.effects or ())) for migration in applied] == [
        ["t.a: 2 rows changed"],
        [],
        [],
        [],
    ]
    assert len(wire.asked) <= 4 + 3


def test_nothing_pending(remote: RemoteDatabase, wire: Counting, ours: list[Migration]) -> None:
    """Where nothing is pending, migrating costs the one request that finds it out."""
    Migrations(ours).apply(remote)
    wire.asked.clear()
    assert Migrations(ours).apply(remote)[0] == []
    assert wire.asked == ["raw"]


def test_status_is_one_request_and_only_reads(wire: Counting, ours: list[Migration]) -> None:
    """On a ledger with a history, the status is one request, and a token that may only read is enough."""
    with closing(connect(wire)) as database:
        Migrations(ours).apply(database)
    wire.asked.clear()
    with closing(connect(wire, "look")) as database:
        status = Migrations(ours).status(database)
    assert wire.asked == ["raw"]
    assert status.version == ours[-1].name


def test_looking(remote: RemoteDatabase, wire: Counting, ours: list[Migration]) -> None:
    """A list is two requests, a schema one; a query is one, and before the first the schema is asked for."""
    Migrations(ours).apply(remote)
    wire.asked.clear()
    ledger.list_tables(remote, HISTORY)
    assert wire.asked == ["raw"] * 2
    wire.asked.clear()
    remote.schema()
    assert wire.asked == ["raw"]
    wire.asked.clear()
    list(remote.query("SELECT 1"))
    assert wire.asked == ["raw"] * 2
    list(remote.query("SELECT 2"))
    assert wire.asked == ["raw"] * 3
    wire.asked.clear()
    remote.query("DELETE FROM trades", write=True)
    assert wire.asked == ["raw"]


def test_changing(remote: RemoteDatabase, wire: Counting, ours: list[Migration], tmp_path: Path) -> None:
    """Seeding is two requests, noting two, a reset three, an export eight."""
    Migrations(ours).apply(remote)
    wire.asked.clear()
    ledger.seed(remote, seeding.load_scenario("quiet", [bundled("fixtures")]))
    assert wire.asked == ["raw"] * 2
    wire.asked.clear()
    assert ledger.audit(remote, HISTORY) == len(ours)
    assert wire.asked == ["raw"] * 2
    wire.asked.clear()
    backups.export(remote, tmp_path / "x.sql", migrations_table="d1_migrations")
    kinds = ["file" if kind.endswith(".sql") else kind for kind in wire.asked]
    # The schema, what D1's export would change; the export; the schema again, and the checksums.
    assert kinds == ["raw"] * 2 + ["bookmark", "export", "export", "file"] + ["raw"] * 2
    wire.asked.clear()
    ledger.reset(remote, Migrations(ours))
    assert wire.asked == ["raw"] * 3


@pytest.mark.parametrize("statement", ["DROP TABLE trades", "CREATE TABLE more (a)"])
def test_a_moment_is_three_requests(
    remote: RemoteDatabase, wire: Counting, ours: list[Migration], statement: str
) -> None:
    """To look at the ledger before its first change, and to save that moment, costs three requests more."""
    Migrations(ours).apply(remote)
    with closing(connect(wire)) as database:
        database.before_first_change = lambda moment: None
        wire.asked.clear()
        database.batch([Statement(statement)])
        assert wire.asked == ["raw", "raw", "bookmark", "raw"]
        wire.asked.clear()
        database.batch([Statement("DELETE FROM balances")])
        assert wire.asked == ["raw"]


def test_restoring_asks_little(
    remote: RemoteDatabase, wire: Counting, ours: list[Migration], tmp_path: Path
) -> None:
    """Beside its import, a restore to D1 of seven tables asks at most five times, the comparison included."""
    Migrations(ours).apply(remote)
    ledger.seed(remote, seeding.load_scenario("quiet", [bundled("fixtures")]))
    backups.export(remote, tmp_path / "x.sql", migrations_table=HISTORY)
    remote.query("DELETE FROM trades", write=True)
    with backups.checked(tmp_path / "x.sql", Migrations(ours)) as checked:
        assert len(checked.scratch.tables) >= 7
        wire.asked.clear()
        backups.restore(remote, checked)
        backups.compare_with(checked, remote)
    kinds = ["file" if kind.endswith(".sql") else kind for kind in wire.asked]
    assert kinds.count("raw") <= 5
    assert [kind for kind in kinds if kind != "raw"] == ["bookmark", "import", "file", "import", "import"]


def test_exporting_online_asks_little(
    remote: RemoteDatabase, wire: Counting, ours: list[Migration], tmp_path: Path
) -> None:
    """An export by queries asks at most once for each table, and six times beside."""
    Migrations(ours).apply(remote)
    ledger.seed(remote, seeding.load_scenario("quiet", [bundled("fixtures")]))
    tables = [item for item in remote.schema() if item.type == "table"]
    wire.asked.clear()
    backups.export(remote, tmp_path / "x.sql", migrations_table=HISTORY, online=True)
    assert len(wire.asked) <= len(tables) + 6


def test_a_migration_with_a_trigger_is_imported_and_recorded(
    remote: RemoteDatabase, wire: Counting, write: Callable[..., list[Migration]]
) -> None:
    """A trigger that D1's splitter would break comes whole, in one unit with its row in the history."""
    files = write("CREATE TABLE t (a); CREATE TABLE log (a);", TRIGGER, "INSERT INTO t VALUES (1);")
    Migrations(files).apply(remote)
    assert wire.asked.count("import") == 3
    assert list(remote.query("SELECT a FROM log")) == [("one; two",)]
    assert [entry.state.value for entry in Migrations(files).status(remote).entries] == ["applied"] * 3
    ledger.reset(remote, Migrations(files))
    assert list(remote.query("SELECT a FROM log")) == [("one; two",)]


def test_a_glance(remote: RemoteDatabase, wire: Counting, ours: list[Migration]) -> None:
    """What `db.info` tells of a ledger is four requests, and a token that may only read is enough."""
    Migrations(ours).apply(remote)
    wire.asked.clear()
    with closing(connect(wire, "look")) as database:
        found = ledger.info(database, Migrations(ours))
    assert len(wire.asked) == 4
    assert found.storage.bytes
    assert found.check.agrees
