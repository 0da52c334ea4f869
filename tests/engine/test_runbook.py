"""The remote runbook on a real D1 engine and on the local D1 API, with equal output.

The engine behind its adapter has neither import nor Time Travel: what needs those (a trigger in a migration,
an export of D1's own) runs on the local D1 API alone.
"""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks import backups, ledger, migrations, seeding
from hoox_tasks.config.settings import bundled
from hoox_tasks.console.formats import FORMATS, render
from hoox_tasks.d1 import D1Client
from hoox_tasks.database.remote import snapshot
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations import Migration, MigrationFailed, Migrations
from hoox_tasks.server import create_app
from hoox_tasks.tasks.query import run as run_query
from tests.support.d1_api import DATABASE, listening
from tests.support.engine import EngineDatabase

HISTORY = "d1_migrations"
Connect = Callable[[], RemoteDatabase]


class Unmoved(D1Client):
    """The engine has no Time Travel; nobody else writes to it here."""

    def bookmark(self, timestamp: int | None = None) -> str:
        return "unmoved"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Connect]:
    """Connects to the local D1 API, each time anew, over a real socket."""
    with (
        closing(create_app(tmp_path / "l.sqlite", database_id=DATABASE, strict_splitter=True)) as app,
        listening(app) as base_url,
    ):
        yield lambda: RemoteDatabase(
            D1Client("any", "any", database_id=DATABASE, base_url=base_url), "ledger"
        )


@pytest.fixture
def real(engine_database: EngineDatabase) -> Connect:
    """Connects to the real engine, each time anew."""
    return lambda: RemoteDatabase(
        Unmoved(
            engine_database.account,
            "any",
            database_id=engine_database.uuid,
            base_url=engine_database.base_url,
        ),
        "ledger",
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[Migration]]:
    """Writes migrations, the texts given, into a folder; reads them all."""

    def write(*texts: str, folder: str = "migrations") -> list[Migration]:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        for number, text in enumerate(texts, 1):
            (place / f"{number:04d}_step.sql").write_text(text)
        return migrations.discover(place)

    return write


def runbook(connect: Connect, folder: Path, *, capture: Callable[[], str]) -> list[Any]:
    """Run the whole runbook; gives everything that it shows but times and figures of the engine."""
    ours = migrations.discover(bundled("migrations"))
    quiet = seeding.load_scenario("quiet", [bundled("fixtures")])
    shown: list[Any] = []

    def status() -> list[Any]:
        entries = Migrations(ours).status(database).entries
        return [(entry.name, entry.state, bool(entry.applied_at)) for entry in entries]

    with closing(connect()) as database:
        shown.append(status())
        applied, after = Migrations(ours).apply(database)
        shown += [[one.name for one in applied], after.version, status()]
        shown += [Migrations(ours).apply(database)[0], ledger.audit(database, HISTORY)]
        shown += [ledger.audit(database, HISTORY), ledger.seed(database, quiet)]
        shown.append([table for table in ledger.list_tables(database, HISTORY) if table.name != "_cf_KV"])
        shown.append(ledger.describe(database.schema(), HISTORY))
        for format in FORMATS:
            output = io.StringIO()
            query = (
                "SELECT id, price, fee, order_id, 9007199254740993 AS n, NULL, X'00ff' FROM trades ORDER BY 1"
            )
            render([database.query(query)], format, output)
            shown.append(output.getvalue())
        run_query(
            database,
            ["UPDATE trades SET fee = 1.5", "SELECT sum(fee) FROM trades"],
            [],
            "csv",
            write=True,
            timeout=None,
        )
        shown.append(capture())
        for refused in ("DELETE FROM trades", "SELECT * FROM nowhere", "SELECT sqlite_version()", "SELEC 1"):
            with pytest.raises(HooxError) as caught:
                list(database.query(refused))
            shown.append(str(caught.value))
        exported = backups.export(
            database, folder / "export.sql.gz", compressed=True, migrations_table="d1_migrations"
        )
        shown += [exported.tables, _loaded((folder / "export.sql.gz").read_bytes())]
        shown.append(ledger.reset(database, Migrations(ours)).version)
        shown += [status(), [table.rows for table in ledger.list_tables(database, HISTORY)]]
    return shown


def _loaded(packed: bytes) -> dict[str, Any]:
    """What an export holds, without times: the two engines write one double in two ways."""
    with closing(sqlite3.connect(":memory:")) as loaded:
        loaded.executescript(gzip.decompress(packed).decode())
        loaded.execute("UPDATE system_logs SET timestamp = 0 WHERE id LIKE 'schema-%'")
        loaded.execute(f"UPDATE {HISTORY} SET applied_at = ''")
        names = [
            name
            for (name,) in loaded.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
        ]
        return {name: sorted(loaded.execute(f"SELECT * FROM {name}"), key=repr) for name in names}


def test_the_runbook_shows_the_same(
    real: Connect, local: Connect, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """Apply, status, list, query in every format, export and reset give the same on both."""
    # The engine's adapter has no export: there and here the ledger is read by queries.
    monkeypatch.setattr(snapshot, "is_exportable", lambda tables: False)
    results = []
    for name, connect in (("real", real), ("local", local)):
        (tmp_path / name).mkdir()
        results.append(runbook(connect, tmp_path / name, capture=lambda: capsys.readouterr().out))
    for one, other in zip(*results, strict=True):
        assert one == other


CASES = {
    "cascade": (
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, a);"
        "CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE);"
        "INSERT INTO parent VALUES (1, 'x'); INSERT INTO child VALUES (1, 1), (2, 1);",
        "CREATE TABLE fresh (id INTEGER PRIMARY KEY, a, b); INSERT INTO fresh SELECT id, a, 0 FROM parent;"
        "PRAGMA foreign_keys = OFF; DROP TABLE parent; ALTER TABLE fresh RENAME TO parent;",
        "would lose rows, so it was undone: child: 2 rows gone",
    ),
    "set null": (
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, a);"
        "CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE SET NULL);"
        "INSERT INTO parent VALUES (1, 'x'); INSERT INTO child VALUES (1, 1), (2, 1);",
        "CREATE TABLE fresh (id INTEGER PRIMARY KEY, a, b); INSERT INTO fresh SELECT id, a, 0 FROM parent;"
        "DROP TABLE parent; ALTER TABLE fresh RENAME TO parent;",
        "would lose rows, so it was undone: child.parent: 2 rows emptied",
    ),
    "rows": (
        "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3);",
        "DELETE FROM t WHERE a > 1;",
        "would lose rows, so it was undone: t: 2 rows gone",
    ),
    "fails on the rows": (
        "CREATE TABLE t (a); INSERT INTO t VALUES (1), (1);",
        "CREATE UNIQUE INDEX once ON t (a);",
        "failed: UNIQUE constraint failed: t.a",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_guards(real: Connect, local: Connect, write: Callable[..., list[Migration]], case: str) -> None:
    """A migration that would lose rows, or fails on them, is undone whole, in the same words on both."""
    first, second, words = CASES[case]
    told = []
    for connect in (real, local):
        with closing(connect()) as database:
            Migrations(write(first)).apply(database)
            before = database.schema()
            files = write(first, second)
            with pytest.raises(MigrationFailed) as caught:
                Migrations(files).apply(database)
            told.append(str(caught.value).split(": SQLITE")[0])
            assert database.schema() == before
            assert Migrations(files).status(database).version == "0001_step.sql"
        (files[1].path).unlink()
    assert told[0] == told[1]
    assert words in told[0]


class Overtaken(RemoteDatabase):
    """Another run applies the same migrations between this one's plan and its first unit."""

    other: Callable[[], object] | None = None

    def batch(self, statements: Any, *, write: bool = True, timeout: float | None = None) -> Any:
        if write and self.other:
            other, self.other = self.other, None
            other()
        return super().batch(statements, write=write, timeout=timeout)


def test_a_changed_history_stops_the_unit(
    real: Connect, local: Connect, write: Callable[..., list[Migration]]
) -> None:
    """A run that was overtaken applies nothing of what the other did, and ends well, on both."""
    files = write("CREATE TABLE t (a); INSERT INTO t VALUES (1);", "INSERT INTO t VALUES (2);")
    for connect in (real, local):
        with closing(connect()) as plain, closing(connect()) as second:
            overtaken = Overtaken(plain.client, "ledger")
            overtaken.other = lambda: Migrations(files[:1]).apply(second)
            applied, _ = Migrations(files).apply(overtaken)
            assert [one.name for one in applied] == ["0002_step.sql"]
            assert list(second.query("SELECT a FROM t")) == [(1,), (2,)]


@pytest.mark.parametrize("where", ["real", "local"])
def test_concurrent_runs(request: Any, write: Callable[..., list[Migration]], where: str) -> None:
    """Several runs at once apply each migration once and in order; every run ends well."""
    connect: Connect = request.getfixturevalue(where)
    texts = ["CREATE TABLE t (a);"] + [f"INSERT INTO t VALUES ({number});" for number in range(2, 7)]
    files = write(*texts)
    ready, problems, counts = threading.Barrier(3), [], []

    def migrate() -> None:
        with closing(connect()) as database:
            ready.wait(10)
            try:
                counts.append(len(Migrations(files).apply(database)[0]))
            except HooxError as error:
                problems.append(str(error))

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert sum(counts) == len(files)
    with closing(connect()) as database:
        assert list(database.query("SELECT a FROM t ORDER BY rowid")) == [(n,) for n in range(2, 7)]
        names = [str(name) for (name,) in database.query(f"SELECT name FROM {HISTORY} ORDER BY id")]
    assert names == [migration.name for migration in files]


LONG = "é" * 60_000


def test_long_rows_are_bound(real: Connect, local: Connect) -> None:
    """A row that is too long for one statement goes in with the others, all or none, exactly, on both."""
    rows = [(1, "a", None, 1.0), (2, LONG, bytes(80_000), 2**53 + 1), (3, "it's", b"x", 0.5)]
    found = []
    for connect in (real, local):
        with closing(connect()) as database:
            database.query("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c)", write=True)
            assert database.insert([("t", ("id", "a", "b", "c"), rows)]) == {"t": 3}
            with pytest.raises(HooxError, match="UNIQUE"):
                database.insert([("t", ("id", "a", "b", "c"), [(4, LONG, None, None), rows[0]])])
            query = "SELECT id, length(a), substr(a, 1, 3), typeof(a), length(b), typeof(b), quote(c) FROM t"
            found.append(list(database.query(query)))
    assert found[0] == found[1]
    assert found[0] == [
        (1, 1, "a", "text", None, "null", "1.0"),
        (2, 60_000, "ééé", "text", 80_000, "blob", str(2**53 + 1)),
        (3, 4, "it'", "text", 1, "blob", "0.5"),
    ]


def test_the_footer_tells_what_d1_bills(real: Connect, local: Connect, capfd: Any) -> None:
    """The rows read and written stand under a result, with the mark on numbers that may have been rounded."""
    for connect in (real, local):
        with closing(connect()) as database:
            database.query("CREATE TABLE t (a)", write=True)
            database.query("INSERT INTO t VALUES (9007199254740993)", write=True)
            run_query(database, ["SELECT a FROM t"], [], "table", write=False, timeout=None)
            out, err = capfd.readouterr()
            assert out.splitlines()[-1].strip() == "≈9007199254740992"
            assert "1 number beyond 2^53 may have been rounded" in err
            assert "D1 read 1 and wrote 0" in err
            run_query(database, ["SELECT a FROM t"], [], "json", write=False, timeout=None)
            assert json.loads(capfd.readouterr().out) == [{"a": 2**53}]
