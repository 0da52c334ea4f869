"""What may go of a folder's backups: only what this program wrote, and never what was promised."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks import backups, files
from hoox_tasks.backups import exporting, rotation
from hoox_tasks.backups.rotation import Backup
from hoox_tasks.database.local.database import LocalDatabase
from tests.support.processes import run_at_once
from tests.support.sqlite_files import execute

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
"""Half an hour before the clocks of much of Europe go from two to three."""
SetClock = Callable[[datetime], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set the clock that backups are dated by."""

    def set_to(moment: datetime) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return moment

        for module in (exporting, rotation, files):
            monkeypatch.setattr(module, "datetime", Clock)

    return set_to


def make(folder: Path, name: str) -> LocalDatabase:
    execute(folder / name, f"CREATE TABLE t (x); INSERT INTO t VALUES ('{name}')")
    return LocalDatabase(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def save(database: LocalDatabase, folder: Path, *, verify: bool = True) -> Path:
    path = backups.default_path(folder)
    written = backups.export(database, path, reserve=True, verify=verify, migrations_table="d1_migrations")
    assert written.path is not None
    return written.path


def rotate(folder: Path, **how: object) -> set[Path]:
    gone = backups.surplus(backups.find(folder), **how)  # type: ignore[arg-type]
    backups.remove(gone)
    return {backup.path for backup in gone}


def backup(
    place: int, age: float, *, verified: bool = True, identity: str = "a", sequence: int | None = None
) -> Backup:
    manifest = backups.Manifest(
        tool="t",
        source="label",
        created_at=(NOW - timedelta(days=age)).isoformat(),
        bytes=1,
        sha256="",
        schema_version="",
        schema="",
        whole=True,
        verified=verified,
        identity=identity,
        sequence=place if sequence is None else sequence,
    )
    return Backup(Path(f"{place}.sql"), manifest.taken, 1, manifest)


@given(
    st.lists(st.tuples(st.floats(-2, 60), st.booleans(), st.sampled_from(["a", "b", ""])), max_size=12),
    st.one_of(st.none(), st.integers(1, 5)),
    st.one_of(st.none(), st.integers(1, 50)),
    st.sampled_from([None, "a"]),
)
def test_what_stays_of_each_ledger(
    made: list[tuple[float, bool, str]], keep: int | None, days: int | None, identity: str | None
) -> None:
    """Of each ledger stay the newest, whatever their age says, and the last verified one; strangers all stay."""
    found = [
        backup(-place, age, verified=verified, identity=ledger)
        for place, (age, verified, ledger) in enumerate(made)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "digest", lambda path: "")
        gone = backups.surplus(found, keep=keep, days=days, now=NOW, identity=identity)
    left = [one for one in found if one not in gone]
    assert all(one.identity and identity in (None, one.identity) for one in gone)
    for ledger in "ab":
        of_ledger = [one for one in found if one.identity == ledger]
        proven = [one for one in of_ledger if one.verified]
        assert proven[:1] == [one for one in left if one in proven][:1]
        for place, one in enumerate(of_ledger):
            old = days is not None and NOW - one.taken > timedelta(days=days)
            if one in gone:
                assert old or (keep is not None and place >= keep)


def test_each_of_two_ledgers_in_a_folder_keeps_its_own(tmp_path: Path, folder: Path) -> None:
    """What is kept of one ledger says nothing of another's backups beside them."""
    with closing(make(tmp_path, "a.sqlite")) as first, closing(make(tmp_path, "b.sqlite")) as second:
        of_first = [save(first, folder) for _ in range(2)]
        of_second = [save(second, folder) for _ in range(3)]
        assert rotate(folder, keep=1, identity=second.identity) == set(of_second[:2])
        assert {one.path for one in backups.find(folder)} == {*of_first, of_second[2]}
        assert rotate(folder, keep=1) == {of_first[0]}


def test_what_others_wrote_is_never_removed(tmp_path: Path, folder: Path) -> None:
    """Hand-written SQL, migrations, dumps, links, changed backups and old formats outlive every rotation."""
    with closing(make(tmp_path, "a.sqlite")) as database:
        ours = [save(database, folder) for _ in range(8)]
        (folder / "report.sql").write_text("SELECT 1;\n")
        (folder / "0001_init.sql").write_text("CREATE TABLE t (x);\n")
        ours[0].write_bytes(ours[0].read_bytes() + b"-- by hand\n")
        proof = backups.manifest_path(ours[1])
        proof.write_text(
            proof.read_text()
            .replace('"format": 2', '"format": 1')
            .replace('"identity"', '"x"')
            .replace('"sequence"', '"y"')
        )
        backups.manifest_path(ours[2]).write_text("{")
        ours[3].rename(tmp_path / "elsewhere.sql")
        ours[3].symlink_to(tmp_path / "elsewhere.sql")
        backups.manifest_path(ours[4]).unlink()
        foreign = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert rotate(folder, keep=1) == set(ours[5:7])
        gone = {name for path in ours[5:7] for name in (path.name, backups.manifest_path(path).name)}
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            name: content for name, content in foreign.items() if name not in gone
        }


@pytest.mark.parametrize("back", [timedelta(days=1), timedelta(hours=1), timedelta(days=400)])
def test_a_clock_that_was_set_back_changes_no_order(
    tmp_path: Path, folder: Path, set_clock: SetClock, back: timedelta
) -> None:
    """The backup that was just made is the newest, whatever the clock said when the others were."""
    with closing(make(tmp_path, "a.sqlite")) as database:
        set_clock(NOW)
        ahead = [save(database, folder) for _ in range(2)]
        set_clock(NOW - back)
        later = [save(database, folder) for _ in range(2)]
        assert [one.path for one in backups.find(folder)] == [*reversed(later), *reversed(ahead)]
        assert rotate(folder, keep=1, identity=database.identity) == {*ahead, later[0]}
        newest = save(database, folder)
        assert newest not in rotate(folder, keep=1, spare=[newest])
        assert [one.path for one in backups.find(folder)] == [newest]


def test_machines_with_other_clocks_share_a_folder(tmp_path: Path, folder: Path, set_clock: SetClock) -> None:
    """Two machines that take turns, one a day ahead, never remove what either has just made."""
    with closing(make(tmp_path, "a.sqlite")) as database:
        for turn in range(6):
            set_clock(NOW + timedelta(days=turn % 2, minutes=turn))
            made = save(database, folder)
            rotate(folder, keep=2, identity=database.identity, spare=[made])
            assert backups.find(folder)[0].path == made
            assert len(backups.find(folder)) == min(2, turn + 1)


def test_the_last_verified_one_is_the_last_that_is_whole(tmp_path: Path, folder: Path) -> None:
    """A verified backup that was damaged since does not stand for the whole one before it."""
    with closing(make(tmp_path, "a.sqlite")) as database:
        whole, damaged = save(database, folder), save(database, folder)
        unverified = [save(database, folder, verify=False) for _ in range(3)]
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        assert rotate(folder, keep=1) == {damaged, *unverified[:2]}
        assert {one.path for one in backups.find(folder)} == {whole, unverified[2]}


def test_what_was_just_made_stays_by_whatever_name(tmp_path: Path, folder: Path) -> None:
    """What is to be spared is spared through a symbolic link to its folder as well."""
    linked = tmp_path / "link"
    with closing(make(tmp_path, "a.sqlite")) as database:
        made = [save(database, folder, verify=False) for _ in range(3)]
        linked.symlink_to(folder, target_is_directory=True)
        assert rotate(linked, keep=1, spare=[made[0]]) == {linked / made[1].name}
        through = save(database, linked)
        assert backups.find(folder)[0].path == folder / through.name
        assert {one.path.name for one in backups.find(folder) if one.verified} == {through.name}


def test_a_backup_that_was_replaced_meanwhile_stays(tmp_path: Path, folder: Path) -> None:
    """Between the choice and the removal somebody may have written a new file of that name."""
    with closing(make(tmp_path, "a.sqlite")) as database:
        first, second = folder / "first.sql", folder / "second.sql"
        backups.export(database, first, migrations_table="d1_migrations")
        backups.export(database, second, migrations_table="d1_migrations")
        gone = backups.surplus(backups.find(folder), keep=1)
        assert [one.path for one in gone] == [first]
        backups.export(database, first, compressed=True, migrations_table="d1_migrations")
        backups.remove(gone)
    assert first.exists()
    assert backups.manifest_path(first).exists()


def test_parallel_exports_of_two_ledgers_are_all_whole(tmp_path: Path, folder: Path) -> None:
    """Of 60 pairs of exports at once, by processes of one id, each has its file, with its own ledger in it."""
    for name in ("a.sqlite", "b.sqlite"):
        make(tmp_path, name).close()
    printed = run_at_once(tmp_path, *[("export", "a.sqlite"), ("export", "b.sqlite")] * 2)
    made = dict(line.split() for line in "".join(printed).splitlines())
    assert len(made) == 120
    found = backups.find(folder)
    assert {str(one.path) for one in found} == set(made)
    for one in found:
        assert one.verified
        assert one.manifest is not None
        assert one.manifest.sha256 == files.digest(one.path)
        assert one.identity.endswith(made[str(one.path)])
        assert f"'{made[str(one.path)]}'" in one.path.read_text()
    assert len(list(folder.iterdir())) == 2 * 120 + 1
    assert (folder / ".gitignore").read_text() == "*\n"


def test_a_copied_folder_stays_in_order(tmp_path: Path, folder: Path, set_clock: SetClock) -> None:
    """Backups that were brought together from two folders are in the order in which they were made."""
    with closing(make(tmp_path, "a.sqlite")) as database:
        made = []
        for place in range(4):
            set_clock(NOW + timedelta(minutes=place))
            made.append(save(database, (folder, tmp_path / "other")[place % 2]).name)
    for path in (tmp_path / "other").iterdir():
        shutil.copy(path, folder)
    os.utime(folder / made[0])
    assert [one.path.name for one in backups.find(folder)] == made[::-1]
