"""Restore, undo, pull and rehearsal between faults: the old ledger or the new one, and the way back told."""

from __future__ import annotations

import inspect
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from invoke.config import Config
from invoke.context import Context
from invoke.exceptions import Exit

from hoox_tasks import backups, migrations, tasks
from hoox_tasks.backups import Checked
from hoox_tasks.config.settings import Settings, bundled
from hoox_tasks.database.interface import Database
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations import Migrations
from hoox_tasks.recovery import points
from hoox_tasks.recovery.recording import recording
from hoox_tasks.recovery.undo import undo_to
from hoox_tasks.release import rehearsal
from tests.support.faults import SEEDS, Place, State, connected, failure, tell, unsure
from tests.support.others import Once
from tests.support.proxy import Faults, FaultyTransport
from tests.support.worker import INSERT

TABLES = ["trades", "positions"]
OURS = migrations.discover(bundled("migrations"))
LEFT = (
    "may be left over",
    "It is not known whether the database copy",
    "nothing shows that the database copy",
)
NEITHER = "may be neither what it was nor what it should be"
MAY_STILL = "It is not known whether ledger will be restored"
WAY_BACK = re.compile(r"`wrangler d1 time-travel restore ledger --bookmark=([0-9a-f-]{59,})`")
CHANGES = (
    "DELETE FROM trades WHERE rowid % 3 = 0; UPDATE trades SET price = price * 1.5;"
    "DELETE FROM positions WHERE rowid = 1;"
    "CREATE TRIGGER note AFTER INSERT ON trades BEGIN DELETE FROM positions WHERE 'a;' = 'b'; END;"
)
LONG = (
    "CREATE TABLE long (id INTEGER PRIMARY KEY, x, y);"
    "INSERT INTO long (x, y) VALUES (hex(randomblob(60000)), 1), ('short', 2.0), (randomblob(110000), NULL);"
    "UPDATE trades SET symbol = hex(zeroblob(60000)) WHERE rowid = 1;"
)


@pytest.fixture
def changed(seeded: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Gives a copy of the seeded ledger after a script."""

    def change(script: str) -> Path:
        path = tmp_path / "changed.sqlite"
        shutil.copy(seeded, path)
        with closing(sqlite3.connect(path)) as file:
            file.executescript(script)
            file.execute("PRAGMA journal_mode = DELETE").fetchall()
        return path

    return change


@contextmanager
def backup_of(path: Path) -> Iterator[Checked]:
    """Export a ledger file and load the backup for a block."""
    backup = path.with_suffix(".sql")
    with closing(LocalDatabase(path)) as database:
        backups.export(database, backup, migrations_table="d1_migrations")
    with backups.checked(backup, Migrations(OURS)) as checked:
        yield checked


def check_way_back(error: HooxError, place: Place, clean: RemoteDatabase, before: State) -> None:
    """Expect that an error names the bookmark to go back to, and that going there gives the old ledger."""
    found = WAY_BACK.search(error.remedy)
    assert found is not None
    assert "inv db.undo --remote" in error.remedy
    clean.client.restore(found[1])
    assert place.state() == before


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("what", ["whole", "tables", "long rows"])
def test_restore(
    make: Callable[..., Place], seeded: Path, changed: Callable[[str], Path], seeds: range, what: str
) -> None:
    """The ledger is the old one or the backup's, and which of them is told, or that it is not known."""
    tables = TABLES if what == "tables" else []
    source = changed(CHANGES + LONG if what == "long rows" else CHANGES)
    before = Place(seeded, Faults(0)).state()
    outcomes = []
    with backup_of(source) as backup:
        whole = make(-1, seeded)
        with whole.remote() as database:
            backups.restore(database, backup, tables)
        after = whole.state()
        assert after != before
        assert tables or after == Place(source, Faults(0)).state()
        for seed in seeds:
            place = make(seed, seeded)
            with place.served() as app:
                inner = httpx.WSGITransport(app)
                with connected(inner) as clean, connected(FaultyTransport(inner, place.faults)) as database:
                    error = failure(lambda: backups.restore(database, backup, tables))
                    if error is None:
                        outcomes.append("restored")
                        assert place.state() == after
                    elif NEITHER in error.problem:
                        assert place.state() in (before, after)
                        check_way_back(error, place, clean, before)
                        outcomes.append("not looked at")
                    else:
                        assert place.state() == before
                        assert unsure(error) is (MAY_STILL in error.problem)
                        outcomes.append("may still happen" if unsure(error) else "failed")
    tell(f"restore {what}", outcomes)
    assert "restored" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_restore_beside(
    make: Callable[..., Place], seeded: Path, changed: Callable[[str], Path], seeds: range
) -> None:
    """A new database holds the backup, or there is none, or the error says that one may be left."""
    source = changed(CHANGES + LONG)
    before, after = Place(seeded, Faults(0)).state(), Place(source, Faults(0)).state()
    outcomes = []
    with backup_of(source) as backup:
        for seed in seeds:
            place = make(seed, seeded, rate=0.2)
            with place.served() as app:
                transport = FaultyTransport(httpx.WSGITransport(app), place.faults)
                with connected(transport) as database:
                    error = failure(lambda: backups.restore_beside(database, backup, "copy").close())
                made = [ledger for ledger in app._ledgers.values() if ledger.name == "copy"]
                told = error is not None and any(words in error.problem for words in LEFT)
                if error is None:
                    assert Place(made[0].path, Faults(0)).state() == after
                elif told:
                    assert "wrangler d1 delete copy" in error.remedy
                else:
                    assert made == []
                outcomes.append(
                    "left" if made and error else "told" if told else "failed" if error else "made"
                )
            assert place.state() == before
    tell("restore --into", outcomes)
    assert "made" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_undo(make: Callable[..., Place], seeded: Path, tmp_path: Path, seeds: range) -> None:
    """The ledger is as it was or as it was at the point; which of them is told, or that it is not known."""
    then = Place(seeded, Faults(0)).state()
    outcomes = []
    for seed in seeds:
        place, folder = make(seed, seeded), tmp_path / f"points-{seed}"
        with place.served() as app:
            inner = httpx.WSGITransport(app)
            with connected(inner) as clean, connected(FaultyTransport(inner, place.faults)) as database:
                with recording(clean, folder, "a test", keep=10) as recorder:
                    clean.query("DELETE FROM trades", write=True)
                point = recorder.point
                assert point is not None
                before = place.state()
                with recording(database, folder, "undo", keep=10):
                    error = failure(lambda: undo_to(database, folder, point))  # noqa: B023
                left = points.history(clean, folder)
                if error is None:
                    assert place.state() == then
                    assert len(left) == 2
                    outcomes.append("undone")
                elif unsure(error):
                    assert place.state() in (before, then)
                    assert f"--to {point.id}" in error.remedy
                    undo_to(clean, folder, points.find(clean, folder, point.id))
                    assert place.state() == then
                    outcomes.append("unsure")
                else:
                    assert place.state() == before
                    assert left == [point], "the last point is still the one to go back to"
                    outcomes.append("failed")
    tell("undo", outcomes)
    assert "undone" in outcomes


def run_task(task: str, *arguments: str) -> Exit | None:
    """Run a task in this process; gives how it failed."""
    found = tasks.db[task]
    flags = {
        name: parameter.default
        for name, parameter in inspect.signature(found.body).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    given: dict[str, object] = {}
    for one in arguments:
        name, _, value = one.partition("=")
        given[name] = value or True
    try:
        found.body(Context(Config(tasks.ns.configuration())), **flags | given)
    except Exit as failed:
        return failed
    return None


@pytest.fixture
def workspace(tmp_path: Path, seeded: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Database], None]:
    """A workspace of tasks that run in this process; gives how to set what is open as the remote ledger."""
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    for name in ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN"):
        monkeypatch.setenv(name, "a" * 32)
    from hoox_tasks.database import opening

    original = opening.open_database

    def use(remote: Database) -> None:
        def opened(settings: Settings, *, create: bool = False) -> Database:
            return remote if settings.remote else original(settings, create=create)

        monkeypatch.setattr(opening, "open_database", opened)
        monkeypatch.setattr("hoox_tasks.tasks.command.open_database", opened)

    return use


@pytest.mark.parametrize("seeds", SEEDS)
def test_pull(
    make: Callable[..., Place],
    seeded: Path,
    changed: Callable[[str], Path],
    workspace: Callable[[Database], None],
    seeds: range,
) -> None:
    """The local ledger is the remote one's equal, or as it was, and nothing else changes."""
    production = changed(CHANGES)
    before, after = Place(seeded, Faults(0)).state(), Place(production, Faults(0)).state()
    local = Place(Path(".hoox/local.sqlite"), Faults(0))
    local.path.parent.mkdir()
    snapshots = Path(".hoox/snapshots")
    outcomes = []
    for seed in seeds:
        for end in ("", "-wal", "-shm"):
            Path(f"{local.path}{end}").unlink(missing_ok=True)
        shutil.copy(seeded, local.path)
        place = make(seed, production, rate=0.2)
        with place.remote(place.faults) as database:
            workspace(database)
            failed = run_task("pull", "json")
        assert local.state() == (before if failed else after)
        assert place.state() == after
        hidden = [path.name for path in Path().rglob(".*") if path.is_file()]
        assert [name for name in hidden if not re.fullmatch(r"\.gitignore|\.\d+\.number", name)] == []
        outcomes.append("failed" if failed else "pulled")
    assert len(list(snapshots.glob("*.json"))) == outcomes.count("pulled")
    tell("pull", outcomes)
    assert "pulled" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_rehearsal(make: Callable[..., Place], seeded: Path, tmp_path: Path, seeds: range) -> None:
    """A rehearsal tells what one without faults tells, or fails; the ledger stays."""
    folder = tmp_path / "migrations"
    migrations.copy(OURS, folder)
    (folder / "0009_more.sql").write_text("CREATE TABLE more AS SELECT id FROM trades; DELETE FROM balances;")
    files = migrations.discover(folder)
    place = make(-1, seeded)
    before = place.state()
    with place.remote() as database:
        expected = rehearsal.rehearse(
            database, Migrations(files), consent=migrations.consent(data_loss=True)
        ).effects
    assert len(expected) > 1
    outcomes = []
    for seed in seeds:
        found: list[rehearsal.TableEffect] = []
        with place.remote(Faults(seed, rate=0.2)) as database:
            error = failure(
                lambda: found.extend(  # noqa: B023
                    rehearsal.rehearse(
                        database, Migrations(files), consent=migrations.consent(data_loss=True)
                    ).effects
                )
            )
        assert error or found == expected
        assert place.state() == before
        outcomes.append("failed" if error else "rehearsed")
    tell("rehearsal", outcomes)
    assert "rehearsed" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_online_export(
    make: Callable[..., Place], changed: Callable[[str], Path], tmp_path: Path, seeds: range
) -> None:
    """An export by queries is whole and has its manifest, or there is an error and no file at all."""
    place = make(-1, changed(CHANGES + LONG))
    folder = tmp_path / "backups"
    with place.remote() as database:
        backups.export(database, folder / "whole.sql", online=True, migrations_table="d1_migrations")
    whole = (folder / "whole.sql").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    outcomes = []
    for seed in seeds:
        with place.remote(Faults(seed, rate=0.1)) as database:
            error = failure(
                lambda: backups.export(
                    database, folder / "run.sql", online=True, migrations_table="d1_migrations"
                )
            )
        written = {path.name for path in folder.iterdir()}
        assert written == (set() if error else {"run.sql", backups.manifest_path(folder / "run.sql").name})
        assert error or (folder / "run.sql").read_bytes() == whole
        for name in written:
            (folder / name).unlink()
        outcomes.append("failed" if error else "exported")
    tell("export --online", outcomes)
    assert "exported" in outcomes


class Interrupting(httpx.BaseTransport):
    """Raises something at the requests with these numbers, before or after they are passed on."""

    def __init__(
        self, inner: httpx.BaseTransport, places: range, attack: Callable[[], object], *, after: bool
    ) -> None:
        self._inner, self._places, self._attack, self._after = inner, places, attack, after
        self.count = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or not."""
        self.count += 1
        hit = self.count - 1 in self._places
        if hit and not self._after:
            self._attack()
        response = self._inner.handle_request(request)
        if hit:
            self._attack()
        return response


def lose() -> None:
    raise httpx.ReadError("[Errno 104] Connection reset by peer")


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("attack", [lose, interrupt])
@pytest.mark.parametrize("length", [1, 2, 100])
def test_a_restore_fails_at_every_request(
    make: Callable[..., Place],
    seeded: Path,
    changed: Callable[[str], Path],
    attack: Callable[[], object],
    length: int,
    after: bool,
) -> None:
    """Whichever request is lost or interrupted, the next one or all others too, what is told is true."""
    source = changed(CHANGES + LONG)
    old, new = Place(seeded, Faults(0)).state(), Place(source, Faults(0)).state()
    outcomes: set[str] = set()
    with backup_of(source) as backup:
        with make(-1, seeded).served() as app:
            counted = Interrupting(httpx.WSGITransport(app), range(0), attack, after=after)
            with connected(counted) as database:
                backups.restore(database, backup)
        assert counted.count >= 7
        for position in range(counted.count):
            place = make(position, seeded)
            with place.served() as app:
                inner = httpx.WSGITransport(app)
                attacked = Interrupting(inner, range(position, position + length), attack, after=after)
                with connected(inner) as clean, connected(attacked) as database:
                    try:
                        error = failure(lambda: backups.restore(database, backup))
                    except KeyboardInterrupt:
                        assert place.state() == (new if database.changes else old)
                        outcomes.add("interrupted")
                        continue
                    if error is None:
                        assert place.state() == new
                        outcomes.add("restored")
                    elif NEITHER in error.problem:
                        check_way_back(error, place, clean, old)
                        outcomes.add("neither")
                    else:
                        assert place.state() == old
                        outcomes.add("may still happen" if MAY_STILL in error.problem else "old")
    survived = 1 if attack is interrupt else 2
    assert ("may still happen" in outcomes) is (not after and length <= survived)
    assert ("neither" in outcomes) is (length > survived)
    assert ("interrupted" in outcomes) is (attack is interrupt)


def test_a_second_interruption_does_not_hide_the_state(
    make: Callable[..., Place],
    seeded: Path,
    changed: Callable[[str], Path],
    workspace: Callable[[Database], None],
) -> None:
    """Ctrl-C in a restore on D1, and again while it is looked at, ends with the way back, not with a lie."""
    source = changed(CHANGES)
    with backup_of(source):
        place = make(0, seeded)
        with place.served() as app:
            inner = httpx.WSGITransport(app)
            begun: list[bool] = []

            class Impatient(httpx.BaseTransport):
                def handle_request(self, request: httpx.Request) -> httpx.Response:
                    ingests = b'"ingest"' in request.read()
                    response = inner.handle_request(request)
                    if ingests or begun:
                        begun.append(True)
                        signal.raise_signal(signal.SIGINT)
                    return response

            with connected(Impatient()) as database:
                workspace(database)
                failed = run_task("restore", f"file={source.with_suffix('.sql')}", "remote", "confirm")
    assert failed is not None
    assert NEITHER in str(failed.message)
    assert WAY_BACK.search(str(failed.message))
    assert "nothing was changed" not in str(failed.message)


@pytest.mark.parametrize("place", range(4, 14, 3))
def test_a_reset_begins_again_where_a_worker_is_ahead(
    make: Callable[..., Place],
    seeded: Path,
    workspace: Callable[[Database], None],
    monkeypatch: pytest.MonkeyPatch,
    place: int,
) -> None:
    """Whenever a worker writes between two requests, the ledger is wiped, and its one backup has that row."""
    monkeypatch.setattr("hoox_tasks.database.attempts.pause_before", lambda _: 0.0)
    with make(place, seeded).served() as app, connected(httpx.WSGITransport(app)) as others:
        acknowledged = []

        def trade() -> None:
            others.query(INSERT, ["late"], write=True)
            acknowledged.append("late")

        with connected(Once(app, trade, place)) as database:
            workspace(database)
            failed = run_task("reset", "remote", "confirm")
        left = [row[0] for row in others.query("SELECT id FROM trades")]
    assert failed is None
    (backup,) = Path("backups").glob("*.sql")
    assert len(list(Path("backups").glob("*.json"))) == 1
    assert acknowledged
    assert ("'late'" in backup.read_text()) != ("late" in left)


@pytest.mark.parametrize("rows", [25_000, 20])
def test_a_reset_of_a_ledger_with_gaps_is_done(
    make: Callable[..., Place],
    seeded: Path,
    workspace: Callable[[Database], None],
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
) -> None:
    """D1's export does not tell rowids: a ledger is the same where rows have others, as after a deletion."""
    monkeypatch.setattr("hoox_tasks.database.attempts.ATTEMPTS", 1)
    monkeypatch.setattr("hoox_tasks.database.checksum._ROWS", rows)
    with make(0, seeded).served() as app, connected(httpx.WSGITransport(app)) as database:
        for table in ("positions", "trades", "system_logs"):
            database.query(f"DELETE FROM {table} WHERE rowid IN (1, 3)", write=True)
        workspace(database)
        assert run_task("reset", "remote", "confirm") is None
    assert len(list(Path("backups").glob("*.sql"))) == 1


def test_a_seed_begins_again_where_a_worker_is_ahead(
    make: Callable[..., Place],
    workspace: Callable[[Database], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows of others that are no trades make an attempt to fill the ledger begin again, and not fail."""
    monkeypatch.setattr("hoox_tasks.database.attempts.pause_before", lambda _: 0.0)
    outcomes = []
    for place in range(3, 7):
        with make(place).served() as app, connected(httpx.WSGITransport(app)) as others:
            Migrations(OURS).apply(others)

            def log(others: Database = others) -> None:
                others.query(
                    "INSERT INTO system_logs (id, level, service, message) VALUES ('x', 'INFO', 'a', 'b')",
                    write=True,
                )

            transport = Once(app, log, place)
            with connected(transport) as database:
                workspace(database)
                failed = run_task("seed", "scenario=quiet", "remote", "confirm")
            assert list(others.query("SELECT count(*) FROM system_logs WHERE id = 'x'")) == [(1,)]
        outcomes.append(str(failed.message) if failed else "seeded")
    assert outcomes == ["seeded"] * len(outcomes)
