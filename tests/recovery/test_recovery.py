"""The way back: recovery points, undo, and what a kill at any moment leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from hoox_tasks import migrations
from hoox_tasks.config import settings
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import Migrations
from hoox_tasks.recovery import points
from hoox_tasks.recovery.recording import recording
from hoox_tasks.recovery.undo import Change, find_changes, undo_to
from hoox_tasks.release import rehearsal
from tests.support.programs import program
from tests.support.remote import Counting, connect
from tests.support.sqlite_files import ask, contents, execute, opened
from tests.support.strategies import MadeLedger, examples, ledgers

KILLS = int(os.environ.get("HOOX_KILLS", "8"))
"""How often each of export, restore, undo and migrate is killed."""
SECONDS = 60
HISTORY = "d1_migrations"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LocalDatabase]:
    path = tmp_path / "ledger.sqlite"
    with closing(LocalDatabase(path, create=True)) as database:
        database.batch([])
        execute(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t (x) VALUES (1), (2), (3)")
        yield database


def change(database: LocalDatabase, folder: Path, sql: str, cause: str = "a test") -> points.RecoveryPoint:
    """Run a statement as a task does; gives the point that was taken before it."""
    with recording(database, folder, cause, keep=10) as recorder:
        database.query(sql, write=True)
    assert recorder.point is not None
    return recorder.point


@examples(40)
@given(ledgers(), ledgers())
def test_any_ledger_is_brought_back(before: MadeLedger, after: MadeLedger) -> None:
    """Whatever was done since, undo gives the ledger of the point, and undo of that the one it replaced."""
    with tempfile.TemporaryDirectory() as name:
        path, folder = Path(name, "l.sqlite"), Path(name, "snapshots")
        with opened(path) as connection:
            before.build(connection)
        first = state(path)
        with closing(LocalDatabase(path)) as database:
            with (
                recording(database, folder, "a test", keep=10) as recorder,
                closing(LocalDatabase(Path(name, "empty.sqlite"), create=True)) as empty,
            ):
                database.replace(empty.path)
            point = recorder.point
            if point is None:
                assert not first["objects"]
                return
            with opened(path) as connection:
                after.build(connection)
            second = state(path)
            with recording(database, folder, "undo", keep=10) as recorder:
                undo_to(database, folder, point)
            assert state(path) == first
            if recorder.point is not None:
                undo_to(database, folder, recorder.point)
                assert state(path) == second


def test_a_point_remembers_its_cause_and_rows(ledger: LocalDatabase, folder: Path) -> None:
    """The history names what each point was taken before, the newest first, with the rows of then."""
    change(ledger, folder, "DELETE FROM t WHERE id = 1", "db.reset")
    with closing(LocalDatabase(ledger.path)) as later:
        point = change(later, folder, "DELETE FROM t", "db.restore")
    found = points.history(ledger, folder)
    assert [(one.cause, one.tables) for one in found] == [("db.restore", {"t": 2}), ("db.reset", {"t": 3})]
    execute(ledger.path, "CREATE TABLE u (x)")
    assert find_changes(ledger, point) == [Change("t", 0, 2), Change("u", 0, None)]


def test_others_go_on_using_the_file(ledger: LocalDatabase, folder: Path) -> None:
    """Another connection that was open all the time sees the ledger as it was brought back."""
    with opened(ledger.path) as other:
        assert other.execute("SELECT count(*) FROM t").fetchall() == [(3,)]
        point = change(ledger, folder, "DELETE FROM t")
        undo_to(ledger, folder, point)
        assert other.execute("SELECT count(*) FROM t").fetchall() == [(3,)]
        other.execute("INSERT INTO t (x) VALUES (4)")
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(4,)]


def test_a_remote_ledger_goes_back_by_bookmark(wire: Counting, folder: Path) -> None:
    """On D1 a point is a Time Travel bookmark, and undo restores it; there, too, undo can be undone."""
    with closing(connect(wire)) as remote:
        remote.query("CREATE TABLE t (x)", write=True)
        remote.query("INSERT INTO t VALUES (1)", write=True)
    with closing(connect(wire)) as remote:
        with recording(remote, folder, "a test", keep=10) as recorder:
            remote.query("DELETE FROM t", write=True)
        point = recorder.point
        assert point is not None
        assert json.loads((folder / f"{point.id}.json").read_text())["mark"] == point.mark
    with closing(connect(wire)) as remote:
        with recording(remote, folder, "undo", keep=10) as recorder:
            undo_to(remote, folder, point)
        assert list(remote.query("SELECT x FROM t")) == [(1,)]
        assert recorder.point is not None
        undo_to(remote, folder, recorder.point)
        assert list(remote.query("SELECT x FROM t")) == []


# ------------------------------------------------------------------------------------------- kill -9

_ROWS = "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"


_BASE = "CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT UNIQUE, r REAL); CREATE INDEX i ON t (r);"


def _ledger(path: Path, sign: str) -> None:
    execute(path, f"{_BASE} INSERT INTO t {_ROWS} SELECT i, '{sign}' || i, {sign}i / 3.0 FROM n;")


def state(path: Path) -> dict[str, Any]:
    """All of a ledger but when its migrations were applied, and SQLite's table of sequences where it is empty.

    SQLite never drops that one.
    """
    found = contents(path)
    found["tables"] = {
        name: [row[:4] for row in rows] if name == HISTORY else rows
        for name, rows in found["tables"].items()
        if rows or name != "sqlite_sequence"
    }
    found["objects"] = {item for item in found["objects"] if item[1] != b"sqlite_sequence"}
    return found


@pytest.mark.parametrize("what", ["export", "restore", "undo", "migrate"])
def test_a_kill_leaves_the_old_or_the_new_ledger(tmp_path: Path, what: str) -> None:
    """Whenever a task is killed, the ledger is the one before or the one after, whole, and opens at once."""
    from hoox_tasks import backups

    folder = tmp_path / "folder"
    (folder / "migrations").mkdir(parents=True)
    (folder / "migrations" / "0001_a.sql").write_text(
        "CREATE TABLE u AS SELECT * FROM t; UPDATE t SET x = '+' || x; CREATE INDEX j ON t (id, r);"
    )
    original, other = tmp_path / "original.sqlite", tmp_path / "other.sqlite"
    _ledger(original, "-")
    _ledger(other, "+")
    if what == "migrate":  # Without a history, nobody would run what changes rows.
        (folder / "migrations" / "0000_base.sql").write_text(_BASE)
        made = ";".join(statement.sql for statement in migrations.history.history_tables(HISTORY))
        execute(original, f"{made}; INSERT INTO {HISTORY} (name) VALUES ('0000_base.sql')")
    with closing(LocalDatabase(other)) as database:
        backups.export(database, folder / "new.sql", verify=False, migrations_table="d1_migrations")
    path = tmp_path / "ledger.sqlite"

    def prepare() -> subprocess.Popen[bytes]:
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        shutil.rmtree(folder / "points", ignore_errors=True)
        path.write_bytes((other if what == "undo" else original).read_bytes())
        with opened(path) as connection:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        if what == "undo":
            with closing(LocalDatabase(path)) as database:
                change(database, folder / "points", "DELETE FROM t")
                execute(path, f"INSERT INTO t {_ROWS} SELECT i, '-' || i, -i / 3.0 FROM n")
        process = subprocess.Popen(
            [*program("at_work"), path, folder, what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def run(after: float | None, since: bytes = b"begun") -> tuple[dict[bytes, float], bool]:
        """Let it go until it says `since`, and kill it so many seconds later, or never.

        Returns the seconds from each word that it said to its end, and whether it was still at work.
        """
        process = prepare()
        assert process.stdin is not None
        assert process.stdout is not None
        said: dict[bytes, float] = {}
        with process.stdin, process.stdout:
            process.stdin.write(b"\n")
            process.stdin.flush()
            for line in iter(process.stdout.readline, b""):
                said[line.strip()] = time.perf_counter()
                if after is not None and line.strip() == since:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(after)
                    process.kill()
            end = time.perf_counter()
            process.wait(SECONDS)
        assert since in said
        assert after is not None or (b"ended" in said and process.returncode == 0)
        return {word: end - moment for word, moment in said.items()}, b"ended" not in said

    process = prepare()
    before = state(path)
    process.kill()
    process.communicate()
    # Half of the kills fall into all of the task, half into its transaction.
    moments = [b"begun", b"begun" if what == "export" else b"changing"]
    # The fastest of a few: other work on the machine must not put all kills behind the end.
    whole = [run(None)[0] for _ in range(3)]
    lengths = {since: min(seconds[since] for seconds in whole) for since in moments}
    after = state(path)
    assert (after == before) is (what == "export")
    draw = random.Random(what)
    outcomes = []
    at_work = 0
    for kill in range(3 * KILLS):
        if kill >= KILLS and at_work >= KILLS / 2:
            break
        for file in ("b.sql", "b.sql.json"):
            (folder / file).unlink(missing_ok=True)
        # One somewhere in each stretch of the time that it takes.
        since = moments[kill % 2]
        hit = run((kill % KILLS + draw.random()) / KILLS * lengths[since], since)[1]
        at_work += hit
        if not hit:  # The machine was slower when it was measured.
            lengths[since] *= 0.8
        now = state(path)
        assert now in (before, after)
        assert ask(path, "PRAGMA integrity_check") == [("ok",)]
        listed = backups.find(folder)
        if what == "export" and listed:
            assert [one.path.name for one in listed] in (["b.sql", "new.sql"], ["new.sql"])
        if (folder / "b.sql").exists():
            with backups.verification.loaded(folder / "b.sql") as copy:
                assert state(copy.path) == before
        with closing(LocalDatabase(path)) as database:
            found = points.history(database, folder / "points")
        assert len(found) in ((1, 2) if what == "undo" else (0,))
        for point in found:
            copy_of_then = folder / "points" / point.mark
            assert ask(copy_of_then, "PRAGMA integrity_check") == [("ok",)]
            assert ask(copy_of_then, "SELECT count(*) FROM t") == [(point.tables["t"],)]
        new = (folder / "b.sql").exists() if what == "export" else now == after
        outcomes.append("new" if new else "old")
    print(
        f"{what}: killed at work {at_work} of {len(outcomes)}, old {outcomes.count('old')}, new {outcomes.count('new')}"
    )
    assert at_work >= KILLS / 2
    assert "old" in outcomes
    assert "new" in outcomes or KILLS < 100


# ------------------------------------------------------------------------------- check and rehearsal


def migrated(path: Path) -> LocalDatabase:
    database = LocalDatabase(path, create=True)
    Migrations(files()).apply(database)
    return database


def files() -> list[migrations.Migration]:
    return migrations.discover(settings.bundled("migrations"))


def test_drift_is_named_object_by_object(tmp_path: Path) -> None:
    """What somebody added, dropped or changed by hand is found, and nothing else is."""
    path = tmp_path / "l.sqlite"
    with closing(migrated(path)) as database:
        assert Migrations(files()).drift(Migrations(files()).status(database)).differences == []
        execute(
            path,
            "CREATE TABLE more (x); DROP INDEX idx_trades_symbol; ALTER TABLE balances ADD COLUMN note TEXT",
        )
        found = Migrations(files()).drift(Migrations(files()).status(database)).differences
    assert [(item.type, item.name, item.what) for item in found] == [
        ("index", "idx_trades_symbol", "missing"),
        ("table", "balances", "different"),
        ("table", "more", "extra"),
    ]
    assert "+   note TEXT" in found[1].lines


def test_a_rehearsal_changes_nothing_and_tells_everything(tmp_path: Path) -> None:
    """Pending migrations run on a copy with all rows; the ledger itself stays as it is."""
    path = tmp_path / "l.sqlite"
    folder = tmp_path / "migrations"
    migrations.copy(files(), folder)
    (folder / "0003_fills.sql").write_text(
        "CREATE TABLE fills AS SELECT id FROM trades; ALTER TABLE trades ADD COLUMN fills INTEGER;"
    )
    with closing(migrated(path)) as database:
        execute(
            path,
            "INSERT INTO trades (id, timestamp, exchange, symbol, action, status)"
            " VALUES ('a', 1, 'bybit', 'BTCUSDT', 'LONG', 'EXECUTED')",
        )
        before = contents(path)
        found = rehearsal.rehearse(database, Migrations.read(folder))
    assert contents(path) == before
    assert [one.name for one in found.applied] == ["0003_fills.sql"]
    effects = {one.table: one for one in found.effects}
    assert effects["fills"] == rehearsal.TableEffect("fills", None, 1, ("made",))
    assert effects["trades"] == rehearsal.TableEffect("trades", 1, 1, ("changed",))
    assert effects["balances"].schema == ()


def test_a_migration_that_fails_on_the_rows_fails_in_rehearsal(tmp_path: Path) -> None:
    """What an empty model cannot know, such as a value that is there twice, the copy finds."""
    path, folder = tmp_path / "l.sqlite", tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_a.sql").write_text("CREATE UNIQUE INDEX u ON t (x);")
    execute(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1), (1)")
    with closing(LocalDatabase(path)) as database:
        before = contents(path)
        with pytest.raises(HooxError, match="UNIQUE constraint failed"):
            rehearsal.rehearse(database, Migrations.read(folder))
    assert contents(path) == before


def test_a_point_that_cannot_be_read_is_refused(ledger: LocalDatabase, folder: Path) -> None:
    """Where a point's copy is gone or damaged, undo is refused and the ledger stays."""
    point = change(ledger, folder, "DELETE FROM t WHERE id = 1")
    (folder / point.mark).write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises((Refused, HooxError, sqlite3.Error)):
        ledger.recover(folder, point.mark)
    (folder / point.mark).unlink()
    with pytest.raises(Refused, match="is gone"):
        ledger.recover(folder, point.mark)
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(2,)]
