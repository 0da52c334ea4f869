"""The tasks on a remote ledger between faults: nothing twice, nothing half, and every failure a clear one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from hoox_tasks import backups, ledger, migrations, seeding
from hoox_tasks.config.settings import bundled
from hoox_tasks.d1 import D1Client
from hoox_tasks.database.interface import Database
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import RemoteError
from hoox_tasks.migrations import Migration, MigrationFailed, Migrations
from hoox_tasks.server import create_app
from tests.support.d1_api import ACCOUNT, BASE, DATABASE
from tests.support.faults import HISTORY, SEEDS, TOKEN, Place, failure, tell, unsure
from tests.support.proxy import FORWARDED, Fault, Faults
from tests.support.sqlite_files import execute


@pytest.mark.parametrize("seeds", SEEDS)
def test_migrate(make: Callable[..., Place], files: list[Migration], seeds: range) -> None:
    """Whatever happens on the way, a migration is there whole and once, and what is told of it is true."""
    clean = make(-1)
    states = [clean.state()]
    for migration in files:
        with clean.remote() as database:
            Migrations(files).apply(database, to=migration.name)
        states.append(clean.state())
    outcomes = []
    for seed in seeds:
        place = make(seed)
        for _ in range(3):
            before = place.history()
            with place.remote(place.faults) as database:
                error = failure(lambda: Migrations(files).apply(database))
            assert place.state() in states
            history = place.history()
            if error is None:
                assert place.state() == states[-1]
                outcomes.append("applied")
                break
            told = [one.name for one in error.applied] if isinstance(error, MigrationFailed) else []
            assert history[: len(before) + len(told)] == before + told
            assert len(history) <= len(before) + len(told) + unsure(error)
            outcomes.append("unsure" if unsure(error) else "failed")
        with place.remote() as database:
            Migrations(files).apply(database)
        assert place.state() == states[-1]
    tell("migrate", outcomes)
    assert "applied" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_apply(make: Callable[..., Place], seeds: range) -> None:
    """Migrating and noting it leaves each note once, however often it is repeated."""
    ours = migrations.discover(bundled("migrations"))

    def apply(database: Database) -> None:
        Migrations(ours).apply(database)
        ledger.audit(database, HISTORY)

    clean = make(-1)
    states = [clean.state()]
    for migration in ours:
        with clean.remote() as database:
            Migrations(ours).apply(database, to=migration.name)
        states.append(clean.state())
    names = {f"schema-{migration.name}" for migration in ours}
    outcomes = []
    for seed in seeds:
        place = make(seed)
        with place.remote(place.faults) as database:
            error = failure(lambda: apply(database))
        noted = logs(place.path)
        assert noted in (set(), names)
        assert error or noted == names
        assert noted or place.state() in states
        outcomes.append("failed" if error else "applied")
        with place.remote() as database:
            apply(database)
        assert logs(place.path) == names
    tell("apply", outcomes)
    assert "applied" in outcomes


def logs(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as file:
        try:
            found = [name for (name,) in file.execute("SELECT id FROM system_logs")]
        except sqlite3.OperationalError:
            return set()
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("imported", [False, True])
def test_seed(
    make: Callable[..., Place],
    seeded: Path,
    seeds: range,
    imported: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All rows of a scenario are there, or none, and the user is told which, or that it is not known."""
    if imported:
        monkeypatch.setattr("hoox_tasks.database.remote.changes.SCRIPT_BYTES", 0)
    quiet = seeding.load_scenario("quiet", [bundled("fixtures")])
    full = Place(seeded, Faults(0)).state()
    ours = migrations.discover(bundled("migrations"))
    empty = make(-1)
    with empty.remote() as database:
        Migrations(ours).apply(database)
    none = empty.state()
    with closing(sqlite3.connect(empty.path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    outcomes = []
    for seed in seeds:
        place = make(seed, empty.path)
        with place.remote(place.faults) as database:
            error = failure(lambda: ledger.seed(database, quiet))
        allowed = [full] if error is None else [none, full] if unsure(error) else [none]
        assert place.state() in allowed
        outcomes.append("seeded" if error is None else "unsure" if unsure(error) else "failed")
    tell("seed", outcomes)
    assert "seeded" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_reset(make: Callable[..., Place], seeded: Path, seeds: range) -> None:
    """A ledger is wiped and migrated, or as it was; and what is told of it is true."""
    ours = migrations.discover(bundled("migrations"))
    before = Place(seeded, Faults(0)).state()
    clean = make(-1, seeded)
    with clean.remote() as database:
        ledger.reset(database, Migrations(ours))
    after = clean.state()
    assert after != before
    outcomes = []
    for seed in seeds:
        place = make(seed, seeded)
        with place.remote(place.faults) as database:
            error = failure(lambda: ledger.reset(database, Migrations(ours)))
        told = "wiped" if error is None else "failed"
        if error is not None and "was wiped and migrated, but" in error.problem:
            told = "wiped, not looked at"
        elif error is not None and unsure(error):
            told = "unsure"
        allowed = [after] if "wiped" in told else [before, after] if told == "unsure" else [before]
        assert place.state() in allowed
        outcomes.append(told)
    tell("reset", outcomes)
    assert "wiped" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_mark(make: Callable[..., Place], files: list[Migration], seeds: range) -> None:
    """A migration is recorded once or not at all, and what is told of it is true."""
    outcomes = []
    for seed in seeds:
        place = make(seed)
        execute(place.path, files[0].text)
        with place.remote(place.faults) as database:
            error = failure(lambda: Migrations(files).mark(database, "0001_tables.sql"))
        done = ["0001_tables.sql"]
        allowed = [done] if error is None else [[], done] if unsure(error) else [[]]
        assert place.history() in allowed
        outcomes.append("marked" if error is None else "unsure" if unsure(error) else "failed")
    tell("mark", outcomes)
    assert "marked" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_query(make: Callable[..., Place], seeded: Path, seeds: range) -> None:
    """A query gives every row or an error, and one that writes wrote once, or says that it may have."""
    with closing(sqlite3.connect(seeded)) as file:
        expected = file.execute("SELECT id, symbol, price FROM trades ORDER BY id").fetchall()
    outcomes = []
    place = make(-1, seeded)
    for seed in seeds:
        faults = Faults(seed, rate=0.3)
        insert = f"INSERT INTO system_logs (id, level, service, message) VALUES ('{seed}', 'INFO', 'a', 'b')"
        found: list[Any] = []
        with place.remote(faults) as database:
            ask = "SELECT id, symbol, price FROM trades ORDER BY id"
            error = failure(lambda: found.extend(database.query(ask)))  # noqa: B023
            assert error or found == expected
            outcomes.append("read" if error is None else "not read")
            error = failure(lambda: database.query(insert, write=True))  # noqa: B023
        with closing(sqlite3.connect(place.path)) as file:
            (count,) = file.execute(f"SELECT count(*) FROM system_logs WHERE id = '{seed}'").fetchone()
        allowed = [1] if error is None else [0, 1] if unsure(error) else [0]
        assert count in allowed
        outcomes.append("written" if error is None else "unsure" if unsure(error) else "not written")
    tell("query", outcomes)
    assert {"read", "written"} <= set(outcomes)


@pytest.mark.parametrize("seeds", SEEDS)
def test_export(make: Callable[..., Place], seeded: Path, tmp_path: Path, seeds: range) -> None:
    """An export is a whole file and its manifest, or an error and no file at all."""
    place = make(-1, seeded)
    folder = tmp_path / "backups"
    with place.remote() as database:
        backups.export(database, folder / "whole.sql", migrations_table="d1_migrations")
    whole = (folder / "whole.sql").read_bytes()
    manifest = backups.manifest_path(folder / "run.sql")
    for path in folder.iterdir():
        path.unlink()
    outcomes = []
    for seed in seeds:
        with place.remote(Faults(seed, rate=0.2)) as database:
            error = failure(
                lambda: backups.export(database, folder / "run.sql", migrations_table="d1_migrations")
            )
        written = sorted(path.name for path in folder.iterdir())
        assert written == ([] if error else ["run.sql", manifest.name])
        assert error or (folder / "run.sql").read_bytes() == whole
        for name in written:
            (folder / name).unlink()
        outcomes.append("failed" if error else "exported")
    tell("export", outcomes)
    assert "exported" in outcomes


class Losing(httpx.BaseTransport):
    """Loses the answer to one request, and to all after it where `forever`."""

    def __init__(self, inner: httpx.BaseTransport, place: int, forever: bool) -> None:
        self._inner, self._left, self._forever = inner, place, forever

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._left -= 1
        if self._left == -1 or (self._forever and self._left < 0):
            self._inner.handle_request(request)
            raise httpx.ReadError("[Errno 104] Connection reset by peer", request=request)
        return self._inner.handle_request(request)


@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize("task", ["migrate", "seed", "reset", "mark", "audit", "query"])
def test_the_answer_to_the_write_is_lost(
    make: Callable[..., Place], seeded: Path, task: str, forever: bool
) -> None:
    """When a write's answer is lost, the ledger tells that it happened; else the user is told to look."""
    ours = migrations.discover(bundled("migrations"))
    quiet = seeding.load_scenario("quiet", [bundled("fixtures")])
    place = make(1, seeded if task in {"reset", "query"} else None)
    if task in {"seed", "audit"}:
        with place.remote() as database:
            Migrations(ours).apply(database)
    if task == "mark":
        execute(place.path, ours[0].text)
    tasks: dict[str, tuple[int, Callable[[Database], object]]] = {
        "migrate": (2, lambda database: Migrations(ours).apply(database)),
        "seed": (1, lambda database: ledger.seed(database, quiet)),
        "reset": (1, lambda database: ledger.reset(database, Migrations(ours))),
        "mark": (2, lambda database: Migrations(ours).mark(database, "1")),
        "audit": (1, lambda database: ledger.audit(database, HISTORY)),
        "query": (0, lambda database: database.query("DELETE FROM trades", write=True)),
    }
    position, run = tasks[task]
    with closing(create_app(place.path, database_id=DATABASE, token=TOKEN)) as app:
        transport = Losing(httpx.WSGITransport(app), position, forever)
        client = D1Client(
            ACCOUNT, TOKEN, database_id=DATABASE, base_url=BASE, transport=transport, sleep=lambda _: None
        )
        with closing(RemoteDatabase(client, "ledger")) as database:
            error = failure(lambda: run(database))
    if forever or task == "query":
        assert error is not None
        assert unsure(error)
        assert "`inv db." in error.remedy or "run this again" in error.remedy.lower()
    else:
        assert error is None
    with closing(sqlite3.connect(place.path)) as file:
        checks = {
            "migrate": f"SELECT count(*) > 0 FROM {HISTORY}",
            "seed": "SELECT count(*) > 0 FROM trades",
            "reset": "SELECT count(*) = 0 FROM trades",
            "mark": f"SELECT count(*) = 1 FROM {HISTORY}",
            "audit": "SELECT count(*) = 2 FROM system_logs",
            "query": "SELECT count(*) = 0 FROM trades",
        }
        assert file.execute(checks[task]).fetchone() == (1,)


def test_no_answer_is_not_success(make: Callable[..., Place], seeded: Path) -> None:
    """Where the request itself was lost on the way, the look at the ledger does not take it for done."""
    ours = migrations.discover(bundled("migrations"))
    place = make(1, seeded)

    class Dropping(Losing):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self._left -= 1
            if self._left == -1:
                raise httpx.ReadError("[Errno 104] Connection reset by peer", request=request)
            return self._inner.handle_request(request)

    with closing(create_app(place.path, database_id=DATABASE, token=TOKEN)) as app:
        transport = Dropping(httpx.WSGITransport(app), 1, False)
        client = D1Client(
            ACCOUNT, TOKEN, database_id=DATABASE, base_url=BASE, transport=transport, sleep=lambda _: None
        )
        with (
            closing(RemoteDatabase(client, "ledger")) as database,
            pytest.raises(RemoteError, match="nothing shows that ledger was wiped") as caught,
        ):
            ledger.reset(database, Migrations(ours))
    assert "inv db.list" in caught.value.remedy
    assert Fault.LOST_AFTER in FORWARDED
    assert place.state() == Place(seeded, Faults(0)).state()
