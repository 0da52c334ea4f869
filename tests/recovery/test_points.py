"""Recovery points: what they are called, which of them stay, and that others' JSON does no harm."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks import files, records
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.recovery import points
from hoox_tasks.recovery.recording import recording
from hoox_tasks.recovery.undo import undo_to
from tests.support.processes import full_disk, killed_after, run_at_once
from tests.support.programs import program
from tests.support.remote import Counting, connect
from tests.support.sqlite_files import ask, execute, opened

SetClock = Callable[[datetime], None]
NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
"""Half an hour before the clocks of much of Europe go from three back to two."""


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set the clock that points are dated by."""

    def set_to(moment: datetime) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return moment

        monkeypatch.setattr(points, "datetime", Clock)

    return set_to


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    root.mkdir()
    return root


@pytest.fixture
def folder(workspace: Path) -> Path:
    return workspace / ".hoox" / "snapshots"


def make(workspace: Path, name: str = "ledger.sqlite") -> LocalDatabase:
    execute(
        workspace / name,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t (x) VALUES ('{name}'), (2), (3)",
    )
    return LocalDatabase(workspace / name, root=workspace)


@pytest.fixture
def ledger(workspace: Path) -> Iterator[LocalDatabase]:
    with closing(make(workspace)) as database:
        yield database


def change(
    database: LocalDatabase, folder: Path, sql: str = "INSERT INTO t (x) VALUES (4)", **how: Any
) -> points.RecoveryPoint | None:
    """Do what a task does that runs one statement; gives the point that its receipt names."""
    how = {"keep": 10, **how}
    with closing(LocalDatabase(database.path, root=folder.parents[1])) as again:
        with recording(again, folder, "db.query --write", **how) as recorder:
            again.query(sql, write=True)
        return recorder.point


def ids(database: LocalDatabase, folder: Path) -> list[str]:
    return [point.id for point in points.history(database, folder)]


# -------------------------------------------------------------------------------------------- taking


def test_a_point_is_taken_before_the_first_change(ledger: LocalDatabase, folder: Path) -> None:
    """One point for a task, however many changes it makes, of the ledger as it was before the first."""
    with recording(ledger, folder, "db.migrate", keep=10) as recorder:
        assert list(ledger.query("SELECT count(*) FROM t")) == [(3,)]
        assert not folder.exists()
        for _ in range(3):
            ledger.query("DELETE FROM t WHERE id = (SELECT max(id) FROM t)", write=True)
    (point,) = points.history(ledger, folder)
    assert point == recorder.point
    assert (point.id, point.cause, point.tables) == ("1", "db.migrate", {"t": 3})
    assert (point.identity, point.mark) == ("file:ledger.sqlite", "1.sqlite")
    undo_to(ledger, folder, point)
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(3,)]


def test_what_changes_nothing_leaves_no_point(ledger: LocalDatabase, folder: Path) -> None:
    """Ten statements that change nothing, or fail, leave the point before a DELETE the last one."""
    deleted = change(ledger, folder, "DELETE FROM t", keep=1)
    assert deleted is not None
    for _ in range(10):
        assert change(ledger, folder, "SELECT 1", keep=1) is None
        assert change(ledger, folder, "DELETE FROM t WHERE id > 100", keep=1) is None
        with pytest.raises(HooxError):
            change(ledger, folder, "INSERT INTO t VALUES (1, 2, 3)", keep=1)
    assert points.find(ledger, folder) == deleted
    assert [path.name for path in folder.glob("*.sqlite")] == [deleted.mark]
    undo_to(ledger, folder, deleted)
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(3,)]


def test_nothing_is_taken_of_an_empty_ledger(workspace: Path, folder: Path) -> None:
    """An empty ledger has nothing to lose."""
    with closing(LocalDatabase(workspace / "empty.sqlite", create=True)) as empty:
        with recording(empty, folder, "a test", keep=10) as recorder:
            empty.query("CREATE TABLE t (x)", write=True)
        assert recorder.point is None
    assert not folder.exists()


def test_points_can_be_switched_off(ledger: LocalDatabase, folder: Path) -> None:
    """Where none are to be kept, none is taken."""
    assert change(ledger, folder, keep=0) is None
    assert not folder.exists()


def test_a_ledger_is_not_changed_without_its_point(ledger: LocalDatabase, folder: Path) -> None:
    """Where the point cannot be written, the change is refused, and nothing is left of either."""
    folder.parent.mkdir()
    folder.write_text("no folder")
    with pytest.raises(HooxError, match="The recovery point cannot be written"):
        change(ledger, folder, "DELETE FROM t")
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(3,)]
    folder.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "encode", lambda fields: b"x" * 1_000_000)
        with full_disk(100_000), pytest.raises(HooxError, match=r"1\.json could not be written"):
            change(ledger, folder, "DELETE FROM t")
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(3,)]
    assert {path.name for path in folder.iterdir()} == {".gitignore", ".1.number"}


def test_a_point_is_private_and_out_of_gits_sight(ledger: LocalDatabase, folder: Path) -> None:
    """Nobody but its owner can read a point, whatever the umask; git does not see it."""
    former = os.umask(0)
    try:
        point = change(ledger, folder)
    finally:
        os.umask(former)
    assert point is not None
    for path in folder.glob("[0-9]*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (folder.parent / ".gitignore").read_text() == "*\n"


def test_parallel_points_of_two_ledgers_are_all_their_own(workspace: Path, folder: Path) -> None:
    """Of 50 pairs of changes at once, by processes of one id, each has its point, with its own ledger in it."""
    ledgers = {name: make(workspace, name) for name in ("a.sqlite", "b.sqlite")}
    printed = run_at_once(workspace, *[("change", "a.sqlite"), ("change", "b.sqlite")] * 2)
    told = [line.split() for line in "".join(printed).splitlines()]
    assert len({number for _, number, _ in told}) == len(told) == 100
    for name, database in ledgers.items():
        with closing(database):
            found = points.history(database, folder)
        assert [point.id for point in found] == sorted(
            (number for of, number, _ in told if of == name), key=int, reverse=True
        )
        assert [point.tables["t"] for point in found] == list(range(52, 2, -1))
        for point in found:
            points.check(folder, point)
            copy = folder / point.mark
            assert ask(copy, "SELECT x FROM t WHERE id = 1") == [(name,)]
            assert ask(copy, "SELECT count(*) FROM t") == [(point.tables["t"],)]


# ----------------------------------------------------------------------------------------- which stay


def test_points_younger_than_a_day_stay(ledger: LocalDatabase, folder: Path, set_clock: SetClock) -> None:
    """Beside the last few, whatever is younger than a day stays; older ones go with their files."""
    for hours in range(30):
        set_clock(NOW + timedelta(hours=hours))
        assert change(ledger, folder, keep=3)
    # The change before the last was made in hour 28: the points of the hours 5 to 29 are not a day older.
    assert ids(ledger, folder) == [str(number) for number in range(30, 5, -1)]
    set_clock(NOW + timedelta(days=30))
    # It takes a second change to know that a month has passed, and not the clock is wrong.
    assert change(ledger, folder, keep=3)
    assert change(ledger, folder, keep=3)
    assert ids(ledger, folder) == ["32", "31", "30"]
    assert sorted(path.name for path in folder.glob("*.sqlite")) == ["30.sqlite", "31.sqlite", "32.sqlite"]


@given(st.lists(st.integers(-400, 400), min_size=1, max_size=12), st.integers(1, 4))
def test_the_clock_does_not_order_points(days: list[int], keep: int) -> None:
    """Whatever the clock says, the last points stay, and what a task has just taken is the last."""
    numbers = [str(number) for number in range(len(days), 0, -1)]
    taken = [
        points.RecoveryPoint(number, (NOW + timedelta(days=day)).isoformat(), "", "", "mark", {})
        for number, day in zip(numbers, days, strict=True)
    ]
    gone, young = points.surplus(Path("/nowhere"), taken, keep, now=NOW + timedelta(days=days[0]))
    assert not any(point in gone for point in taken[:keep])
    assert [point for point in taken[keep:] if point not in gone] == [
        point for point, day in list(zip(taken, days, strict=True))[keep:] if day > days[0] - 1
    ]
    assert not young


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=1), timedelta(days=400)])
def test_a_clock_that_was_set_back_takes_no_point_away(
    ledger: LocalDatabase, folder: Path, set_clock: SetClock, back: timedelta
) -> None:
    """The point that a receipt has just named is there, and undo without a name goes back to it."""
    set_clock(NOW)
    for _ in range(3):
        assert change(ledger, folder, keep=2)
    set_clock(NOW - back)
    point = change(ledger, folder, "DELETE FROM t", keep=2)
    assert points.find(ledger, folder) == point
    assert point is not None
    undo_to(ledger, folder, point)
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(6,)]


def test_room_for_young_points_has_an_end(
    ledger: LocalDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Young points take so much room and no more; when some have to go for it, that is said."""
    notes: list[str] = []
    for _ in range(4):
        assert change(ledger, folder, keep=2, note=notes.append)
    assert len(ids(ledger, folder)) == 4
    assert notes == []
    size = sum((folder / f"3.{end}").stat().st_size for end in ("json", "sqlite"))
    monkeypatch.setattr(points, "YOUNG_BYTES", int(size * 1.5))
    assert change(ledger, folder, keep=2, note=notes.append)
    assert ids(ledger, folder) == ["5", "4", "3"]
    (note,) = notes
    assert "from the last 24 hours were removed" in note


def test_a_number_is_never_given_again(ledger: LocalDatabase, folder: Path) -> None:
    """The id of a point that is gone names no other point later."""
    assert [point.id for point in filter(None, (change(ledger, folder) for _ in range(3)))] == ["1", "2", "3"]
    for point in points.history(ledger, folder):
        points.forget(folder, point)
    assert change(ledger, folder, "SELECT 1") is None
    after = change(ledger, folder)
    assert after is not None
    assert after.id == "5"  # 4 was the one of the task that changed nothing.
    for marker in folder.glob(".*.number"):
        marker.unlink()
    again = change(ledger, folder)
    assert again is not None
    assert again.id == "6"


def test_points_of_running_tasks_stay(ledger: LocalDatabase, folder: Path, set_clock: SetClock) -> None:
    """A task does not remove the point of another that has not ended, nor a copy that is not yet listed."""
    set_clock(NOW)
    with recording(ledger, folder, "the slow one", keep=1) as recorder:
        ledger.query("DELETE FROM t WHERE id = 1", write=True)
        set_clock(NOW + timedelta(days=9))
        for _ in range(3):
            assert change(ledger, folder, keep=1)
        assert recorder.point in points.history(ledger, folder)
        points.check(folder, points.find(ledger, folder, "1"))
    assert change(ledger, folder, keep=1)
    assert "1" not in ids(ledger, folder)


def test_what_a_killed_task_left_goes(ledger: LocalDatabase, folder: Path) -> None:
    """A copy whose task was killed before it was listed goes with the next change; strangers' files stay."""
    with killed_after([*program("at_rest"), "point", str(ledger.path.parent)]):
        assert (folder / "1.sqlite").exists()
        with (
            closing(LocalDatabase(ledger.path, busy_timeout=0)) as impatient,
            recording(impatient, folder, "x", keep=10),
            pytest.raises(Refused, match="is locked"),
        ):
            impatient.query("DELETE FROM t", write=True)
        points.prune(ledger, folder, 1)
        assert (folder / "1.sqlite").exists()
        assert list(folder.glob(".1.json.*.part"))
    (folder / "notes.sqlite").write_text("mine")
    assert change(ledger, folder)
    assert sorted(path.name for path in folder.glob("*.sqlite")) == ["2.sqlite", "notes.sqlite"]
    assert not list(folder.glob(".*.part"))


def test_a_clock_that_is_ahead_once_makes_nothing_old(
    ledger: LocalDatabase, folder: Path, set_clock: SetClock
) -> None:
    """Points of a day stay although one task believes that weeks have passed; they go when that is true."""
    set_clock(NOW)
    for _ in range(4):
        assert change(ledger, folder, keep=1)
    set_clock(NOW + timedelta(days=40))
    assert change(ledger, folder, keep=1)
    set_clock(NOW + timedelta(hours=1))
    assert change(ledger, folder, keep=1)
    assert ids(ledger, folder) == ["6", "5", "4", "3", "2", "1"]
    set_clock(NOW + timedelta(days=41))
    for _ in range(2):
        assert change(ledger, folder, keep=1)
    assert "1" not in ids(ledger, folder)


def test_pruning_fails_no_task(ledger: LocalDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where old points cannot be removed, the change was made all the same, and that is said."""
    notes: list[str] = []

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    assert change(ledger, folder, keep=1)
    monkeypatch.setattr(points, "forget", fail)
    monkeypatch.setattr(points, "YOUNG", timedelta(0))
    assert change(ledger, folder, keep=1, note=notes.append)
    assert notes == [f"Old recovery points in {folder} could not be removed: Permission denied."]
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(5,)]


# --------------------------------------------------------------------------------- whose they are


def test_a_workspace_that_was_moved_has_its_points(workspace: Path, tmp_path: Path) -> None:
    """After a workspace was renamed, copied or mounted elsewhere its points can be gone back to."""
    with closing(make(workspace)) as database:
        point = change(database, workspace / ".hoox" / "snapshots", "DELETE FROM t")
        assert point is not None
    moved = workspace.rename(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(moved)
    for root in (moved, tmp_path / "link"):
        folder = root / ".hoox" / "snapshots"
        with closing(LocalDatabase(root / "ledger.sqlite", root=root)) as database:
            assert points.find(database, folder) == point
            undo_to(database, folder, point)
            assert ask(database.path, "SELECT count(*) FROM t") == [(3,)]
            database.query("DELETE FROM t", write=True)


def test_points_of_another_ledger_are_not_shown(workspace: Path, folder: Path) -> None:
    """Two ledgers of one workspace have histories of their own; an unknown point is refused."""
    with closing(make(workspace, "a.sqlite")) as first, closing(make(workspace, "b.sqlite")) as second:
        point = change(first, folder)
        assert point is not None
        assert points.history(second, folder) == []
        with pytest.raises(Refused, match="There is no recovery point of"):
            points.find(second, folder, point.id)
        assert change(second, folder)
        with pytest.raises(Refused, match="There is no recovery point 1 of"):
            points.find(second, folder, point.id)


def test_a_renamed_d1_database_has_its_points(wire: Counting, folder: Path) -> None:
    """A D1 database is known by its id: under another name it has the points of before, old ones as well."""
    with closing(connect(wire)) as remote:
        remote.query("CREATE TABLE t (x)", write=True)
    with closing(connect(wire)) as remote:
        with recording(remote, folder, "a test", keep=10) as recorder:
            remote.query("INSERT INTO t VALUES (1)", write=True)
        point = recorder.point
        assert point is not None
        former = json.loads((folder / f"{point.id}.json").read_text())
        for field in ("format", "identity"):
            del former[field]
        former |= {
            "id": "20260101-000000",
            "ledger": f"D1 database former ({remote.client.database_id}) of account {remote.client.account_id}",
        }
        (folder / "20260101-000000.json").write_text(json.dumps(former))
        remote._name = "renamed"
        assert ids(remote, folder) == [point.id, "20260101-000000"]  # type: ignore[arg-type]


def old_point(folder: Path, database: LocalDatabase, name: str) -> Path:
    """Write a point as older versions did."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"{name}.sqlite"
    shutil.copy(database.path, copy)
    (folder / f"{name}.json").write_text(
        json.dumps(
            {
                "id": name,
                "created_at": "2026-01-01T00:00:00+00:00",
                "cause": "db.reset",
                "ledger": str(database.path),
                "mark": copy.name,
                "tables": {"t": 3},
                "sha256": files.digest(copy),
            }
        )
    )
    return copy


def test_points_of_older_versions_can_be_gone_back_to(ledger: LocalDatabase, folder: Path) -> None:
    """Points that are called by their second are listed behind the new ones, in their order, and usable."""
    for name in ("20260101-000000-10", "20260101-000000", "20260101-000000-2"):
        old_point(folder, ledger, name)
    assert change(ledger, folder, "DELETE FROM t")
    assert ids(ledger, folder) == ["1", "20260101-000000-10", "20260101-000000-2", "20260101-000000"]
    undo_to(ledger, folder, points.find(ledger, folder, "20260101-000000-2"))
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(3,)]
    assert change(ledger, folder, keep=2)
    assert ids(ledger, folder) == ["2", "1"]
    assert len(list(folder.glob("*.sqlite"))) == 2


def test_old_points_of_a_workspace_that_was_moved_are_found(workspace: Path, tmp_path: Path) -> None:
    """A point that knows its ledger by a path is of the file at that place in the workspace, and of no other."""
    for name in ("l.sqlite", "data/l.sqlite"):
        (workspace / name).parent.mkdir(exist_ok=True)
        with closing(make(workspace, name)) as database:
            old_point(workspace / ".hoox" / "snapshots", database, f"20260101-00000{len(name) % 10}")
    moved = workspace.rename(tmp_path / "elsewhere")
    folder = moved / ".hoox" / "snapshots"
    for name in ("l.sqlite", "data/l.sqlite"):
        with closing(LocalDatabase(moved / name, root=moved)) as database:
            (point,) = points.history(database, folder)
            assert point.ledger == str(workspace / name)
            database.query("DELETE FROM t", write=True)
            undo_to(database, folder, point)
            assert ask(database.path, "SELECT count(*) FROM t") == [(3,)]
    # Where the former file is there, the points are its own.
    workspace.mkdir()
    shutil.copy(moved / "l.sqlite", workspace / "l.sqlite")
    with closing(LocalDatabase(moved / "l.sqlite", root=moved)) as database:
        assert points.history(database, folder) == []


# ------------------------------------------------------------------------------------- hostile JSON


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "0-0/../../../../x/package"),
        ("id", "../x"),
        ("id", "2"),
        ("id", "abc"),
        ("id", 1),
        ("mark", "../../other.sqlite"),
        ("mark", "/tmp/other.sqlite"),
        ("mark", "2.sqlite"),
        ("mark", "../bookmark"),
        ("mark", ""),
        ("mark", None),
        ("created_at", 5),
        ("created_at", "x"),
        ("created_at", "2026-01-01T00:00:00"),
        ("tables", {"t": "3"}),
        ("tables", {"t": -3}),
        ("tables", [1]),
        ("sha256", ""),
        ("sha256", "x"),
        ("identity", 7),
        ("cause", None),
        ("cause", "db.reset\nall is well"),
        ("format", 3),
    ],
)
def test_a_point_that_makes_no_sense_is_left_out(
    ledger: LocalDatabase, folder: Path, workspace: Path, field: str, value: object
) -> None:
    """What a point's JSON says reaches no other file; it is left out with a sentence, and fails no change."""
    other = workspace / "x"
    other.mkdir()
    (other / "package.json").write_text("{}")
    execute(workspace.parent / "other.sqlite", "CREATE TABLE t (x)")
    assert change(ledger, folder)
    path = folder / "1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    notes: list[str] = []
    assert points.history(ledger, folder, note=notes.append) == []
    (note,) = notes
    assert note.startswith(f"The recovery point {path} is left out: ")
    assert note.endswith(".")
    for _ in range(3):
        assert change(ledger, folder, keep=1)
    assert ids(ledger, folder)[0] == "4"
    assert (other / "package.json").exists()
    assert ask(workspace.parent / "other.sqlite", "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, None])
def test_a_point_that_is_none_is_left_out(ledger: LocalDatabase, folder: Path, content: bytes | None) -> None:
    """Whatever lies in the place of a point's JSON, the others are listed and changes go on."""
    assert change(ledger, folder)
    path = folder / "7.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    notes: list[str] = []
    assert [point.id for point in points.history(ledger, folder, note=notes.append)] == ["1"]
    assert len(notes) == 1
    after = change(ledger, folder)
    assert after is not None
    assert after.id == "8"


@pytest.mark.parametrize(
    "name",
    [
        "999999999999999999.json",
        "999999999999999.json",
        ".999999999999999999.number",
        ".999999999999999.number",
        ".0.number",
    ],
)
def test_a_number_that_nobody_drew_does_not_end_the_sequence(
    ledger: LocalDatabase, folder: Path, name: str
) -> None:
    """Whatever number somebody gave a file there, the points that are promised are listed, in their order."""
    folder.mkdir(parents=True)
    (folder / name).write_text("{}")
    for number in (1, 2):
        point = change(ledger, folder)
        assert point is not None
        assert (point.id, points.find(ledger, folder)) == (str(number), point)


@pytest.mark.parametrize("damage", ["removed", "emptied", "flipped", "linked"])
def test_a_point_whose_file_is_not_what_it_was_is_refused(
    ledger: LocalDatabase, folder: Path, workspace: Path, damage: str
) -> None:
    """Undo goes back to nothing but the very copy that was made."""
    point = change(ledger, folder)
    assert point is not None
    copy = folder / point.mark
    content = bytearray(copy.read_bytes())
    copy.unlink()
    if damage == "emptied":
        copy.write_bytes(b"")
    elif damage == "flipped":
        content[-1] ^= 1
        copy.write_bytes(content)
    elif damage == "linked":
        (workspace / "other.sqlite").write_bytes(content)
        copy.symlink_to(workspace / "other.sqlite")
    with pytest.raises(Refused, match="is gone" if damage == "removed" else "was changed or is damaged"):
        undo_to(ledger, folder, point)
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(4,)]


def test_undo_is_undone(ledger: LocalDatabase, folder: Path) -> None:
    """The ledger before an undo is a point itself, with the rows of that very moment."""
    point = change(ledger, folder, "DELETE FROM t WHERE id = 1")
    assert point is not None
    with recording(ledger, folder, f"undo to {point.id}", keep=10) as recorder:
        undo_to(ledger, folder, point)
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(3,)]
    assert recorder.point is not None
    assert (recorder.point.cause, recorder.point.tables) == ("undo to 1", {"t": 2})
    undo_to(ledger, folder, recorder.point)
    assert ask(ledger.path, "SELECT count(*) FROM t") == [(2,)]


def test_a_point_and_its_counts_are_of_one_moment(ledger: LocalDatabase, folder: Path) -> None:
    """While others write, each point's counts are those of its copy, and no acknowledged row is missed."""
    run_at_once(ledger.path.parent, ("insert", "ledger.sqlite"), ("update", "ledger.sqlite"))
    with closing(LocalDatabase(ledger.path, root=ledger.path.parent)) as database:
        found = points.history(database, folder)
    assert len(found) == 15
    for point in found:
        with opened(folder / point.mark) as copy:
            assert copy.execute("SELECT count(*) FROM t").fetchone() == (point.tables["t"],)
            # The value before the change of which this is the point.
            before = int(point.cause) - 1
            assert copy.execute("SELECT x FROM t WHERE id = 1").fetchone() == (
                "ledger.sqlite" if before < 0 else before,
            )


def test_files_of_others_in_the_folder_stay(ledger: LocalDatabase, folder: Path) -> None:
    """What others put between the points, under whatever name, is never removed; what a killed task left is."""
    point = change(ledger, folder)
    assert point is not None
    names = (
        "7.sqlite",
        "20261128.sqlite",
        f"{point.id}.sqlite.notes",
        "5.sqlite-notes.txt",
        ".x.0123456789abcdef.part",
    )
    for name in names:
        (folder / name).write_bytes(b"keep")
    files.next_number(folder, above=29).close()
    (folder / "30.sqlite").write_bytes(b"left by a killed task")
    points.prune(ledger, folder, 0)
    points.forget(folder, point)
    left = {path.name for path in folder.iterdir()}
    assert left >= set(names)
    assert not left & {"30.sqlite", f"{point.id}.sqlite"}
