"""Changes and backups of a ledger on D1 while others write to it: every acknowledged row is accounted for."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hoox_tasks import backups, ledger
from hoox_tasks.config.settings import bundled
from hoox_tasks.database.attempts import change_as_of
from hoox_tasks.database.interface import Database, Moment, Statement
from hoox_tasks.database.remote import import_script, live_copy, replace
from hoox_tasks.database.remote import snapshot as snapshot_module
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.database.remote.export_reader import load_export
from hoox_tasks.errors import ChangedMeanwhile, HooxError, Refused, RemoteError, StatementError
from hoox_tasks.migrations import Migrations, discover
from hoox_tasks.server import Api, create_app
from tests.support.d1_api import DATABASE, listening
from tests.support.faults import HISTORY, RUNS, SEEDS, Place, failure, tell, unsure
from tests.support.others import Between, LateImport, Once, Worker, client
from tests.support.proxy import Faults, FaultyTransport

OURS = Migrations(discover(bundled("migrations")))


@pytest.fixture
def app(make: Callable[..., Place], seeded: Path) -> Iterable[Api]:
    """The seeded ledger, served."""
    place = make(-1, seeded)
    with closing(create_app(place.path, name="ledger", database_id=DATABASE, token="right")) as app:
        yield app


def opened(app: Api, transport: httpx.BaseTransport | None = None) -> RemoteDatabase:
    return RemoteDatabase(client(app, transport), "ledger")


def ids(app: Api, table: str = "trades") -> list[Any]:
    """The ids in a table, as the file has them."""
    (found,) = app._ledgers.values()
    with closing(sqlite3.connect(found.path)) as file:
        return [identity for (identity,) in file.execute(f"SELECT id FROM {table} ORDER BY rowid")]


class Recorder:
    """Saves the moment before a change, and forgets it where nothing was changed."""

    def __init__(self) -> None:
        self.points: list[tuple[str, dict[str, int]]] = []

    def __call__(self, moment: Moment) -> None:
        """Save a moment."""
        point = (moment.save(Path(), "x").mark, dict(moment.tables))
        self.points.append(point)

        def end(changed: bool) -> None:
            if not changed:
                self.points.remove(point)

        moment.when_ended(end)


def export_of(app: Api, path: Path) -> Path:
    """A backup of the ledger as it is."""
    with closing(opened(app)) as database:
        backups.export(database, path, migrations_table=HISTORY)
    return path


def reset(database: Database, _: backups.Checked) -> None:
    ledger.reset(database, OURS)


def restore(database: Database, backup: backups.Checked) -> None:
    backups.restore(database, backup)


def restore_trades(database: Database, backup: backups.Checked) -> None:
    backups.restore(database, backup, ["trades"])


def delete(database: Database, _: backups.Checked) -> None:
    database.query("DELETE FROM trades", write=True)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("change", [reset, restore, restore_trades, delete])
def test_no_row_of_a_worker_is_lost(
    make: Callable[..., Place],
    seeded: Path,
    tmp_path: Path,
    seeds: range,
    change: Callable[[Database, backups.Checked], None],
) -> None:
    """Each acknowledged row is in the ledger or at the moment before the change, whose counts are true."""
    backup, outcomes = tmp_path / "b.sql", []
    for seed in seeds:
        place = make(seed, seeded)
        with closing(create_app(place.path, name="ledger", database_id=DATABASE, token="right")) as app:
            if not backup.exists():
                export_of(app, backup)
            worker, recorder = Worker(app), Recorder()
            transport = Between(app, worker.trade, seed=seed, rate=0.2)
            with backups.checked(backup, OURS) as checked, closing(opened(app, transport)) as database:
                database.before_first_change = recorder
                error = failure(lambda: change(database, checked))
            now = set(ids(app))
            outcomes.append("overtaken" if error else "changed")
            if error:
                assert isinstance(error, ChangedMeanwhile)
                assert set(worker.acknowledged) <= now
                assert recorder.points == []
                continue
            ((mark, counts),) = recorder.points
            client(app).restore(mark)
            then = set(ids(app))
            assert set(worker.acknowledged) <= now | then
            assert counts["trades"] == len(then)
    tell(change.__name__, outcomes)
    assert "changed" in outcomes


@pytest.mark.parametrize("seeds", SEEDS)
def test_undo_saves_the_moment_that_it_takes_away(
    make: Callable[..., Place], seeded: Path, seeds: range
) -> None:
    """After an undo each acknowledged row is behind the bookmark that undoes it, or in the ledger."""
    for seed in seeds:
        place = make(seed, seeded)
        with closing(create_app(place.path, name="ledger", database_id=DATABASE, token="right")) as app:
            then = client(app).bookmark()
            worker, recorder = Worker(app), Recorder()
            worker.trade()
            with closing(opened(app, Between(app, worker.trade, seed=seed, rate=0.3))) as database:
                database.before_first_change = recorder
                database.recover(Path(), then)
            now = set(ids(app))
            ((mark, _),) = recorder.points
            client(app).restore(mark)
            assert set(worker.acknowledged) <= now | set(ids(app))


def test_rows_of_other_tables_stay_when_some_tables_are_restored(app: Api, tmp_path: Path) -> None:
    """`--tables positions` succeeds while trades are written all the time, and no trade goes."""
    backup = export_of(app, tmp_path / "b.sql")
    with closing(opened(app)) as database:
        database.query("DELETE FROM positions", write=True)
    worker = Worker(app)
    with (
        backups.checked(backup, OURS) as checked,
        closing(opened(app, Between(app, worker.trade))) as database,
    ):
        backups.restore(database, checked, ["positions"])
    assert set(worker.acknowledged) <= set(ids(app))
    assert ids(app, "positions")


def test_an_import_that_d1_refused_takes_nothing_back(app: Api, tmp_path: Path) -> None:
    """Where D1 refuses the script, nothing is taken back: no row of others goes, and nobody travels."""
    client(app).raw_script(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);"
        "CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent (id));"
        "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1);",
        write=True,
    )
    source = tmp_path / "source.sqlite"
    with closing(sqlite3.connect(source)) as file:
        file.executescript(
            "CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER); INSERT INTO child VALUES (2, 7);"
        )
    worker = Worker(app)
    transport = Between(app, worker.trade)
    with closing(opened(app, transport)) as database, pytest.raises(StatementError, match="FOREIGN KEY"):
        database.replace(source, ["child"])
    assert "restore" not in transport.asked
    assert set(worker.acknowledged) <= set(ids(app))
    assert ids(app, "child") == [1]


@pytest.mark.parametrize("place", range(8))
def test_two_who_restore_at_once_get_true_words(app: Api, tmp_path: Path, place: int) -> None:
    """Whenever the other restores, both are done, or who does not know it says so; nobody travels."""
    backup = export_of(app, tmp_path / "b.sql")
    Worker(app, "mine").trade()
    mine = export_of(app, tmp_path / "mine.sql")
    ended: list[str] = []

    def other() -> None:
        with backups.checked(backup, OURS) as checked, closing(opened(app)) as database:
            backups.restore(database, checked)
        ended.append("other")

    transport = Once(app, other, place)
    with backups.checked(mine, OURS) as checked, closing(opened(app, transport)) as database:
        error = failure(lambda: backups.restore(database, checked))
    assert "restore" not in transport.asked
    if error is not None:
        # D1 tells of one import only: of that of the other.
        assert place == 6
        assert "others may have written since" in error.problem
        return
    ended.append("mine")
    if ended == ["mine"]:
        other()
        assert "mine-0" not in ids(app)
    elif place < 6:
        assert "mine-0" in ids(app)


@pytest.mark.parametrize("lossy", ["", "t", "u"])
def test_what_the_import_cannot_prove_is_compared_after_it(
    app: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossy: str
) -> None:
    """Rows that are compared page by page, with gaps between their rowids, are compared when they are there."""
    monkeypatch.setattr("hoox_tasks.database.checksum._ROWS", 10)
    source = tmp_path / "source.sqlite"
    with closing(sqlite3.connect(source)) as file:
        file.executescript("CREATE TABLE t (a); CREATE TABLE u (a);")
        file.executemany("INSERT INTO t (rowid, a) VALUES (?, ?)", [(3 * n, n) for n in range(35)])
        file.executemany("INSERT INTO u (rowid, a) VALUES (?, ?)", [(n, n) for n in range(1, 35)])
        file.commit()
    write_rows = import_script.write_rows

    def write_some(snapshot: Any, table: Any, write: Any, pieces: str) -> None:
        if table.name != lossy:
            write_rows(snapshot, table, write, pieces)

    monkeypatch.setattr(import_script, "write_rows", write_some)
    with closing(opened(app)) as database:
        error = failure(lambda: database.replace(source))
        assert database.changes == (lossy != "u")
    if lossy == "u":
        assert error is not None
        assert "What arrived in u is not what was sent, so D1 undid the import" in error.problem
        assert ids(app)
    elif lossy == "t":
        assert error is not None
        assert "ledger was restored, but t is not what was sent" in error.problem
        assert "wrangler d1 time-travel restore ledger --bookmark=" in error.remedy
    else:
        assert error is None


def test_a_tampered_definition_is_not_sent(app: Api, tmp_path: Path) -> None:
    """A file with a statement hidden behind a definition is refused, and D1 is sent nothing of it."""
    source = tmp_path / "source.sqlite"
    with closing(sqlite3.connect(source)) as file:
        file.executescript(
            "CREATE TABLE trades (id TEXT); PRAGMA writable_schema = ON;"
            "UPDATE sqlite_schema SET sql = sql || '; DROP TABLE positions' WHERE name = 'trades';"
        )
    before = ids(app)
    with closing(opened(app)) as database, pytest.raises(Refused, match="has tampered"):
        database.replace(source)
    assert ids(app) == before
    assert ids(app, "positions")


# ------------------------------------------------------------------------------------- late imports


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_late_import_is_recognised(app: Api, tmp_path: Path, after: int) -> None:
    """An import that D1 began although it answered 502 is seen, and called done."""
    backup = export_of(app, tmp_path / "b.sql")
    Worker(app).trade()
    with (
        backups.checked(backup, OURS) as checked,
        closing(opened(app, LateImport(app, after))) as database,
    ):
        backups.restore(database, checked)
        assert database.changes == 1
    assert "w-0" not in ids(app)


def test_a_later_import_is_told_of(app: Api, tmp_path: Path) -> None:
    """Where nothing happened yet, the error says until when it may, and that the ledger is as it was."""
    backup = export_of(app, tmp_path / "b.sql")
    Worker(app).trade()
    late = LateImport(app, None)
    with (
        backups.checked(backup, OURS) as checked,
        closing(opened(app, late)) as database,
        pytest.raises(
            RemoteError, match=r"as it was so far, but D1 may still begin until \d\d:\d\d"
        ) as caught,
    ):
        backups.restore(database, checked)
    assert caught.value.ambiguous
    assert "w-0" in ids(app)
    late.begin()
    assert "w-0" not in ids(app)


def test_an_import_never_begins_after_it_was_called_off(
    app: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that an import carries in it, D1 does nothing any more, and that is told for certain."""
    monkeypatch.setattr(replace, "_PATIENCE", -10)
    monkeypatch.setattr(replace, "_BYTES_A_SECOND", 10**12)  # However long the script is.
    backup = export_of(app, tmp_path / "b.sql")
    Worker(app).trade()
    late = LateImport(app, None)
    with (
        backups.checked(backup, OURS) as checked,
        closing(opened(app, late)) as database,
        pytest.raises(RemoteError, match="did not import") as caught,
    ):
        backups.restore(database, checked)
    assert not caught.value.ambiguous
    late.begin()
    assert "w-0" in ids(app)


def test_a_late_import_never_takes_rows_of_others(app: Api, tmp_path: Path) -> None:
    """An import that begins after somebody else has written does nothing."""
    backup = export_of(app, tmp_path / "b.sql")
    worker = Worker(app)
    worker.trade()
    late = LateImport(app, None)
    with (
        backups.checked(backup, OURS) as checked,
        closing(opened(app, late)) as database,
        pytest.raises(RemoteError),
    ):
        backups.restore(database, checked)
    worker.trade()
    late.begin()
    assert set(worker.acknowledged) <= set(ids(app))


# ------------------------------------------------------------------------------------------ backups


@pytest.mark.parametrize("seeds", SEEDS)
def test_a_verified_export_is_proven(
    make: Callable[..., Place], seeded: Path, tmp_path: Path, seeds: range
) -> None:
    """Whatever is written meanwhile, a file called verified is one moment of the ledger, to the last digit."""
    outcomes = []
    for seed in seeds:
        place, file = make(seed, seeded), tmp_path / f"{seed}.sql"
        with closing(create_app(place.path, name="ledger", database_id=DATABASE, token="right")) as app:
            others = client(app)
            others.raw("CREATE TABLE big (n INTEGER)", write=True)
            sent: list[int] = []

            def write() -> None:
                number = 123456789012345678 + len(sent)  # noqa: B023
                others.raw(f"INSERT INTO big VALUES ({number})", write=True)  # noqa: B023
                sent.append(number)  # noqa: B023

            transport = Between(app, write, seed=seed, rate=random.Random(seed).choice([0.03, 0.1, 0.3]))
            with closing(opened(app, transport)) as database:
                error = failure(lambda: backups.export(database, file, migrations_table=HISTORY))  # noqa: B023
        outcomes.append("failed" if error else "verified")
        if error:
            assert "was changed while it was read" in error.problem or "schema changed" in error.problem
            assert not file.exists()
            continue
        with closing(sqlite3.connect(":memory:")) as loaded:
            loaded.executescript(file.read_text())
            found = [number for (number,) in loaded.execute("SELECT n FROM big ORDER BY rowid")]
        assert found == sent[: len(found)]
    tell("export", outcomes)
    assert "verified" in outcomes


def test_a_download_that_lacks_rows_is_never_verified(
    app: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that D1's export lost is in the backup, although somebody else wrote a log meanwhile."""
    before = ids(app)

    def lossy(lines: Iterable[str], *others: Any) -> None:
        kept = [line for line in lines if not line.startswith('INSERT INTO "trades"')]
        load_export(kept, *others)
        client(app).raw(
            "INSERT INTO system_logs (id, level, service, message) VALUES ('x', 'INFO', 'a', 'b')", write=True
        )

    monkeypatch.setattr(snapshot_module, "load_export", lossy)
    with closing(sqlite3.connect(":memory:")) as loaded:
        loaded.executescript(export_of(app, tmp_path / "b.sql").read_text())
        assert [identity for (identity,) in loaded.execute("SELECT id FROM trades")] == before
        assert loaded.execute("SELECT count(*) FROM system_logs WHERE id = 'x'").fetchone() == (1,)


@pytest.mark.parametrize("seeds", SEEDS)
def test_an_online_export_misses_no_row_that_moves(
    make: Callable[..., Place], seeded: Path, tmp_path: Path, seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that INSERT OR REPLACE gives new rowids all the time are each in the file once, and it says so."""
    monkeypatch.setattr("hoox_tasks.database.dump._CHUNK_ROWS", 20)
    for seed in seeds:
        place, file = make(seed, seeded), tmp_path / f"{seed}.sql"
        draw = random.Random(seed)
        with closing(create_app(place.path, name="ledger", database_id=DATABASE, token="right")) as app:
            others = client(app)
            others.raw_script(
                "CREATE TABLE moving (id TEXT PRIMARY KEY, label TEXT UNIQUE, n);"
                "INSERT INTO moving SELECT value, 'l' || value, 0 FROM json_each('["
                + ",".join(map(str, range(150)))
                + "]');",
                write=True,
            )

            def move() -> None:
                for _ in range(draw.randrange(4)):  # noqa: B023
                    row = draw.randrange(150)  # noqa: B023
                    others.raw(  # noqa: B023
                        f"INSERT OR REPLACE INTO moving VALUES ('{row}', 'l{row}', random())", write=True
                    )

            with closing(opened(app, Between(app, move, rate=0.7, seed=seed))) as database:
                written = backups.export(database, file, migrations_table=HISTORY, online=True)
        with closing(sqlite3.connect(":memory:")) as loaded:
            loaded.executescript(file.read_text())
            found = sorted(int(identity) for (identity,) in loaded.execute("SELECT id FROM moving"))
        assert found == list(range(150))
        assert not written.one_moment
        assert not backups.read_manifest(file).one_moment  # type: ignore[union-attr]


def test_an_online_export_keeps_rows_whose_keys_are_passed_on(
    app: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is not taken for another that has had its key before: both are in the file."""
    monkeypatch.setattr("hoox_tasks.database.dump._CHUNK_ROWS", 2)
    others = client(app)
    others.raw_script(
        "CREATE TABLE seats (id INTEGER PRIMARY KEY, label TEXT UNIQUE);"
        "INSERT INTO seats VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e');",
        write=True,
    )

    def pass_on() -> None:
        others.raw_script(
            "UPDATE seats SET label = 'z' WHERE id = 1; UPDATE seats SET label = 'a' WHERE id = 5;",
            write=True,
        )

    transport = OncePage(app, pass_on)
    path = tmp_path / "copy.sqlite"
    live_copy.read_by_queries(client(app, transport), "ledger", path, None)
    with closing(sqlite3.connect(path)) as copy:
        found = copy.execute("SELECT * FROM seats ORDER BY id").fetchall()
    assert found == [(1, "z"), (2, "b"), (3, "c"), (4, "d"), (5, "a")]


class OncePage(httpx.BaseTransport):
    """Has others act once, after the first page of a table was read."""

    def __init__(self, app: Api, act: Callable[[], None]) -> None:
        self._inner = httpx.WSGITransport(app)
        self._act: Callable[[], None] | None = act

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        response = self._inner.handle_request(request)
        response.read()
        if self._act is not None and b"seats NOT INDEXED" in request.read().replace(b'\\"', b""):
            act, self._act = self._act, None
            act()
        return response


def test_a_moment_is_read_as_it_was(app: Api) -> None:
    """What is read of a held moment is that moment, or it is said that it is gone."""
    worker = Worker(app)
    with closing(opened(app)) as database, database.holding() as moment:
        with moment.snapshot() as snapshot:
            rows = list(snapshot.stream(Statement("SELECT count(*) FROM trades")))
            assert rows == [(moment.tables["trades"],)]
        worker.trade()
        with pytest.raises(ChangedMeanwhile), moment.snapshot():
            pass
        with pytest.raises(ChangedMeanwhile, match="changed trades of ledger"):
            database.query("DELETE FROM positions", write=True)
    assert ids(app, "positions")


def test_a_moment_is_read_wherever_its_views_and_triggers_stand(app: Api) -> None:
    """What D1's export would change is read by queries, and is the moment, though it is made in another order."""
    client(app).raw_script(
        "CREATE VIRTUAL TABLE found USING fts5(t); INSERT INTO found VALUES ('x');"
        "CREATE TRIGGER into_found AFTER INSERT ON positions BEGIN INSERT INTO found VALUES (new.id); END;"
        "CREATE VIEW seen AS SELECT id FROM trades;",
        write=True,
    )
    with closing(opened(app)) as database, database.holding() as moment, moment.snapshot() as snapshot:
        assert list(snapshot.stream(Statement("SELECT t FROM found"))) == [(b"x",)]


def test_a_change_of_a_moment_that_is_gone_is_made_of_a_new_one(app: Api) -> None:
    """Who holds a moment is given a new one where somebody else was ahead, until nobody is."""
    worker = Worker(app)
    seen: list[int] = []
    with closing(opened(app)) as database:

        def change(moment: Moment) -> None:
            seen.append(moment.tables["trades"])
            if len(seen) < 3:
                worker.trade()
            database.query("DELETE FROM trades", write=True)

        change_as_of(database, change, sleep=lambda _: None)
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]
    assert ids(app) == []


def test_a_moment_that_goes_while_it_is_read_is_a_reason_to_begin_again(app: Api) -> None:
    """Where others write between all requests of a reading, whoever holds the moment is to take a new one."""
    worker = Worker(app)
    transport = Between(app, worker.trade, rate=0.0)
    with closing(opened(app, transport)) as database, database.holding() as moment:
        transport._rate = 1.0
        said = pytest.raises(ChangedMeanwhile, match="was changed while it was read")
        with said as failure, moment.snapshot():
            pass
    assert "--online" not in failure.value.remedy


def test_a_change_of_nothing_is_told(app: Api) -> None:
    """A change that changed no row is not counted, and its moment is told so."""
    ended: list[bool] = []
    with closing(opened(app)) as database:
        database.before_first_change = lambda moment: moment.when_ended(ended.append)
        database.query("UPDATE trades SET price = 1 WHERE id = 'nothing'", write=True)
        database.batch([Statement("DELETE FROM trades WHERE id = 'nothing'")])
        with pytest.raises(HooxError):
            database.query("INSERT INTO nowhere VALUES (1)", write=True)
        assert (database.changes, ended) == (0, [False, False, False])
        database.query("DELETE FROM trades", write=True)
        assert (database.changes, ended) == (1, [False, False, False, True])
        database.query("DELETE FROM positions", write=True)
        assert (database.changes, len(ended)) == (2, 4)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (a)",
        "ALTER TABLE trades ADD COLUMN remark TEXT",
        "UPDATE balances SET total = 1",
        "INSERT INTO system_logs (id, level, service, message) VALUES ('x', 'INFO', 'a', 'b')",
    ],
)
def test_what_takes_nothing_from_trades_is_done_while_they_are_written(app: Api, statement: str) -> None:
    """On a ledger that never rests, only the rows that a change can take away have to be what they were."""
    worker, recorder = Worker(app), Recorder()
    with closing(opened(app, Between(app, worker.trade))) as database:
        database.before_first_change = recorder
        database.batch([Statement(statement)])
    assert set(worker.acknowledged) <= set(ids(app))
    assert len(recorder.points) == 1


@pytest.mark.parametrize(
    "unit",
    [
        ["DELETE FROM trades"],
        ["UPDATE trades SET price = 1"],
        ["DROP TABLE trades"],
        ["ALTER TABLE trades DROP COLUMN price"],
        ["CREATE TABLE new AS SELECT * FROM trades", "DROP TABLE trades", "ALTER TABLE new RENAME TO trades"],
        ["INSERT OR REPLACE INTO trades SELECT * FROM trades"],
        ["INSERT INTO watched VALUES (1)"],
        ["DELETE FROM parents"],
        ["WITH gone AS (SELECT 1) DELETE FROM trades WHERE 1 IN gone"],
        ["INSERT INTO trades SELECT * FROM trades WHERE true ON CONFLICT DO UPDATE SET price = 1"],
    ],
    ids=lambda unit: unit[-1],
)
def test_what_takes_rows_that_nobody_saw_is_not_done(app: Api, unit: list[str]) -> None:
    """What would delete or change trades is not done while they are written, nor by a trigger or a key."""
    client(app).raw_script(
        "CREATE TABLE watched (a); CREATE TABLE parents (id INTEGER PRIMARY KEY);"
        "CREATE TABLE children (id TEXT, p INTEGER REFERENCES parents ON DELETE CASCADE);"
        "CREATE TRIGGER t AFTER INSERT ON watched BEGIN DELETE FROM trades; END;",
        write=True,
    )
    worker, recorder = Worker(app), Recorder()

    def write() -> None:
        worker.trade()
        client(app).raw("INSERT INTO children VALUES (random(), NULL)", write=True)

    with closing(opened(app, Between(app, write))) as database:
        database.before_first_change = recorder
        with pytest.raises(ChangedMeanwhile):
            database.batch([Statement(statement) for statement in unit])
    assert set(worker.acknowledged) <= set(ids(app))
    assert recorder.points == []


@contextmanager
def working(base_url: str, name: str) -> Iterator[list[str]]:
    """A worker's process for a block; afterwards, the list has the trades that D1 acknowledged."""
    command = [sys.executable, "-m", "tests.support.worker", base_url, name, "0.005"]
    acknowledged: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged.append(process.stdout.readline().strip())
        try:
            yield acknowledged
        finally:
            out, _ = process.communicate("", timeout=60)
            acknowledged += out.split()
    assert process.returncode == 0


@pytest.mark.parametrize("change", [reset, restore, restore_trades, delete])
def test_no_row_of_a_process_that_writes_is_lost(
    app: Api, tmp_path: Path, change: Callable[[Database, backups.Checked], None]
) -> None:
    """With a worker in a process of its own and faults on the way, each acknowledged trade is somewhere."""
    backup, outcomes, rows = export_of(app, tmp_path / "b.sql"), [], 0
    with listening(app) as base_url:
        for seed in range(max(2, RUNS // 10)):
            recorder = Recorder()
            with (
                working(base_url, f"p{seed}") as acknowledged,
                backups.checked(backup, OURS) as checked,
                closing(
                    opened(app, FaultyTransport(httpx.WSGITransport(app), Faults(seed, rate=0.1)))
                ) as database,
            ):
                database.before_first_change = recorder
                error = failure(lambda: change(database, checked))
            outcomes.append(type(error).__name__)
            there = set(ids(app))
            for mark, _ in recorder.points:
                client(app).restore(mark)
                there |= set(ids(app))
            assert set(acknowledged) <= there
            rows += len(acknowledged)
            assert len(recorder.points) == (error is None or unsure(error) or "neither" in error.problem)
    tell(f"{change.__name__} beside a process of {rows} acknowledged trades", outcomes)
