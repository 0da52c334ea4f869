"""The moment from which a local ledger is changed: saved and changed under one lock, whoever else writes."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local import copying, moment
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused, StatementError
from tests.support.sqlite_files import ask, contents, execute
from tests.support.writers import writing

RUNS = int(os.environ.get("HOOX_WRITER_RUNS", "3"))
"""How often each kind of change is tried beside a process that keeps writing."""
INSERT = "INSERT INTO trades (id, worker) VALUES ('w' || ?1, ?1)"
TABLE = "CREATE TABLE trades (id TEXT PRIMARY KEY, worker INTEGER, note TEXT)"


@pytest.fixture(params=["wal", "delete"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A ledger with 500 trades, in each of SQLite's two ways to write."""
    path = tmp_path / "ledger.sqlite"
    execute(
        path,
        f"PRAGMA journal_mode = {request.param}; {TABLE}; CREATE TABLE other (x); INSERT INTO other VALUES (1);"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
        " INSERT INTO trades SELECT 'old' || i, NULL, hex(randomblob(200)) FROM n",
    )
    return path


@pytest.fixture
def database(path: Path) -> Iterator[LocalDatabase]:
    """The ledger, opened."""
    with closing(LocalDatabase(path)) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where moments are saved."""
    folder = tmp_path / "points"
    folder.mkdir()
    return folder


def reset(database: LocalDatabase, saved: Path) -> None:
    database.batch([Statement("DROP TABLE trades"), Statement(TABLE)])


def delete(database: LocalDatabase, saved: Path) -> None:
    database.query("DELETE FROM trades", write=True)


def restore(database: LocalDatabase, saved: Path) -> None:
    database.replace(saved)


def restore_rows(database: LocalDatabase, saved: Path) -> None:
    database.replace(saved, ["trades"])


def undo(database: LocalDatabase, saved: Path) -> None:
    database.recover(saved.parent, saved.name)


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize("change", [reset, delete, restore, restore_rows, undo])
def test_no_acknowledged_row_is_nowhere(
    database: LocalDatabase, folder: Path, change: Callable[[LocalDatabase, Path], None], seed: int
) -> None:
    """Each row that another process was told is committed is in the saved moment, or in the ledger."""
    path = database.path
    with database.holding() as held:
        before = folder / held.save(folder, "before").mark
    database.before_first_change = lambda held: saved.append(held.save(folder, "point").mark)
    saved: list[str] = []
    chance = random.Random(seed)
    with writing(path, INSERT) as worker:
        worker.wait_for_row()
        time.sleep(chance.uniform(0, 0.2))
        change(database, before)
        time.sleep(chance.uniform(0, 0.2))
    point = folder / saved[0]
    query = "SELECT worker FROM trades WHERE worker IS NOT NULL ORDER BY worker"
    in_point, in_ledger = ([row[0] for row in ask(file, query)] for file in (point, path))
    assert worker.acknowledged <= {*in_point, *in_ledger}
    assert in_point == sorted(set(in_point))
    assert len(saved) == 1
    # Whatever the ledger has now was written after the change, or was in what it was changed to.
    assert not set(in_point) & set(in_ledger)


def test_a_point_is_the_very_moment(database: LocalDatabase, folder: Path) -> None:
    """What is saved before the first change, and the counts stated, are those at which the change began."""
    seen: list[tuple[str, dict[str, int]]] = []
    database.before_first_change = lambda held: seen.append((held.save(folder, "1").mark, dict(held.tables)))
    execute(database.path, "INSERT INTO trades VALUES ('late', 0, '')")
    before = contents(database.path)
    database.query("DELETE FROM trades WHERE id LIKE 'old%'", write=True)
    assert seen == [("1.sqlite", {"other": 1, "trades": 501})]
    assert contents(folder / "1.sqlite") == before
    database.query("DELETE FROM other", write=True)
    assert len(seen) == 1


def test_a_change_that_was_none_is_told(database: LocalDatabase) -> None:
    """Whoever saved the moment is told how it ended; until something changed, the next change is one again."""
    ended: list[bool] = []
    database.before_first_change = lambda held: held.when_ended(ended.append)
    database.query("DELETE FROM trades WHERE 0", write=True)
    database.batch([Statement("SELECT 1")])
    with pytest.raises(StatementError):
        database.batch([Statement("DELETE FROM trades"), Statement("SELECT nothing")])
    assert (ended, database.changes) == ([False, False, False], 0)
    list(database.query("SELECT * FROM trades"))
    assert len(ended) == 3
    for statement in ("UPDATE trades SET note = ''", "CREATE TABLE more (x)"):
        database.query(statement, write=True)
    assert (ended, database.changes) == ([False, False, False, True], 2)


def test_a_schema_is_a_change(database: LocalDatabase) -> None:
    """A new table is a change though no row is, and so is a number in the file's head."""
    database.batch([Statement("CREATE TABLE more (x)")])
    assert database.changes == 1
    with closing(LocalDatabase(database.path, strict=False)) as other:
        other.batch([Statement("PRAGMA user_version = 3")])
        assert other.changes == 1


def test_what_cannot_be_saved_is_not_changed(database: LocalDatabase, folder: Path) -> None:
    """Where the moment cannot be saved, nothing is changed, and the lock is let go of."""
    before = contents(database.path)
    database.before_first_change = lambda held: print(held.save(folder / "nowhere", "1"))
    with pytest.raises(HooxError, match="cannot be written"):
        database.query("DELETE FROM trades", write=True)
    assert contents(database.path) == before
    execute(database.path, "INSERT INTO other VALUES (2)")


def test_a_held_moment_keeps_others_out(database: LocalDatabase) -> None:
    """While a moment is held nobody else writes; what the block changes is one transaction."""
    with closing(LocalDatabase(database.path, busy_timeout=0.1)) as other:
        with database.holding() as held:
            with pytest.raises(Refused, match="is locked"):
                other.query("DELETE FROM other", write=True)
            with held.snapshot() as snapshot:
                counted = list(snapshot.stream(Statement("SELECT count(*) FROM trades")))
            database.batch([Statement("DELETE FROM trades")])
            database.insert([("other", ["x"], [(2,)])])
        assert counted == [(500,)]
        assert [table.rows for table in other.list_tables() if table.kind == "table"] == [2, 0]
    with pytest.raises(KeyboardInterrupt), database.holding():  # noqa: PT012
        database.batch([Statement("DELETE FROM other")])
        raise KeyboardInterrupt
    assert ask(database.path, "SELECT count(*) FROM other") == [(2,)]


@pytest.mark.parametrize("large", [False, True])
def test_a_copy_is_whole_and_private(
    database: LocalDatabase, folder: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A saved moment has all rows, those in the log as well, stands alone, and only its owner can read it."""
    monkeypatch.setattr(moment, "_WORTH_A_PROCESS", 0 if large else 1 << 40)
    copied: list[Path] = []
    original = copying.copy_file

    def copy_file(source: Path, target: Path) -> str:
        copied.append(target)
        return original(source, target)

    monkeypatch.setattr(copying, "copy_file", copy_file)
    execute(database.path, "UPDATE trades SET note = 'in the log' WHERE id = 'old7'")
    with database.holding() as held:
        saved = held.save(folder, "1")
    file = folder / "1.sqlite"
    assert saved == ("1.sqlite", hashlib.sha256(file.read_bytes()).hexdigest())
    assert bool(copied) == large
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [found.name for found in folder.iterdir()] == ["1.sqlite"]
    alone = folder.parent / "alone.sqlite"
    shutil.copyfile(file, alone)
    assert contents(alone) == contents(database.path)
    assert ask(alone, "PRAGMA journal_mode") == [("delete",)]
    assert ask(alone, "PRAGMA integrity_check") == [("ok",)]


def test_a_reader_of_an_older_moment_does_no_harm(
    database: LocalDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody reads an older moment the log cannot be brought into the file; the copy has it still."""
    monkeypatch.setattr(moment, "_WORTH_A_PROCESS", 0)
    with closing(sqlite3.connect(database.path, isolation_level=None, timeout=0.1)) as reader:
        if reader.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            pytest.skip("In this mode a reader keeps writers out.")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM trades").fetchall()
        execute(database.path, "INSERT INTO trades VALUES ('late', 0, '')")
        with database.holding() as held:
            held.save(folder, "1")
    assert ask(folder / "1.sqlite", "SELECT count(*) FROM trades") == [(501,)]


def test_the_lock_outlasts_the_copy(
    database: LocalDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copying the file does not lose the lock on it, as closing it in the process that holds it would."""
    monkeypatch.setattr(moment, "_WORTH_A_PROCESS", 0)
    with database.holding() as held:
        held.save(folder, "1")
        with writing(database.path, INSERT, rate=200) as worker:
            time.sleep(0.3)
    assert worker.acknowledged == set()


def test_after_a_change_the_copy_is_of_before(database: LocalDatabase, folder: Path) -> None:
    """A moment that is saved late, after the block changed something, is still the one of its beginning."""
    with database.holding() as held:
        database.batch([Statement("DELETE FROM trades")])
        held.save(folder, "1")
    assert ask(folder / "1.sqlite", "SELECT count(*) FROM trades") == [(500,)]
    assert ask(database.path, "SELECT count(*) FROM trades") == [(0,)]


def test_identity(tmp_path: Path) -> None:
    """A ledger in the workspace is known by its path from there, links followed; another by its whole path."""
    root, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    (root / "data").mkdir(parents=True)
    elsewhere.mkdir()
    for path in (root / "data" / "a.sqlite", elsewhere / "b.sqlite"):
        execute(path, "CREATE TABLE t (x)")
    (root / "link.sqlite").symlink_to(root / "data" / "a.sqlite")
    (tmp_path / "moved").symlink_to(root)
    found = {}
    for name in ("work/data/a.sqlite", "work/link.sqlite", "moved/data/a.sqlite", "elsewhere/b.sqlite"):
        with closing(LocalDatabase(tmp_path / name, root=tmp_path / name.split("/")[0])) as database:
            found[name] = database.identity
    assert found == {
        "work/data/a.sqlite": "file:data/a.sqlite",
        "work/link.sqlite": "file:data/a.sqlite",
        "moved/data/a.sqlite": "file:data/a.sqlite",
        "elsewhere/b.sqlite": "file:b.sqlite",
    }
    with closing(LocalDatabase(elsewhere / "b.sqlite", root=root)) as database:
        assert database.identity == f"file:{(elsewhere / 'b.sqlite').as_posix()}"
