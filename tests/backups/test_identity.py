"""Whose a backup and a recovery point are, where several workspaces use one folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hoox_tasks import backups
from hoox_tasks.config.settings import workspace_of
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Migrations
from hoox_tasks.recovery import points
from hoox_tasks.recovery.recording import recording
from tests.support.sqlite_files import execute


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[list[LocalDatabase]]:
    """Two workspaces, whose ledgers have one name."""
    with ExitStack() as stack:
        found = []
        for name in ("one", "two"):
            path = tmp_path / name / ".hoox" / "local.sqlite"
            path.parent.mkdir(parents=True)
            execute(path, "CREATE TABLE t (x INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
            found.append(stack.enter_context(closing(LocalDatabase(path, root=workspace_of(path)))))
        yield found


def export(database: LocalDatabase, path: Path) -> Path:
    written = backups.export(database, path, reserve=True, migrations_table="d1_migrations").path
    assert written is not None
    return written


def test_two_workspaces_that_share_a_folder_have_backups_of_their_own(
    ledgers: list[LocalDatabase], tmp_path: Path
) -> None:
    """Rotation of one takes none of the other's, and a restore says whose it is."""
    shared = tmp_path / "shared"
    first, second = ledgers
    mine = [export(first, shared / "b.sql") for _ in range(3)]
    theirs = [export(second, shared / "b.sql") for _ in range(3)]
    own = first.identity_in(shared)
    gone = backups.surplus(backups.find(shared), identity=own, keep=1)
    assert {backup.path for backup in gone} == set(mine[:2])
    with backups.checked(theirs[0], Migrations((), "d1_migrations", True)) as backup:
        assert backup.other_source(first)
        assert not backup.other_source(second)


def test_two_workspaces_that_share_a_folder_have_points_of_their_own(
    ledgers: list[LocalDatabase], tmp_path: Path
) -> None:
    """The history of one has no point of the other."""
    shared = tmp_path / "shared"
    for database in ledgers:
        with recording(database, shared, "test", keep=10):
            database.query("DELETE FROM t", write=True)
    for database in ledgers:
        (point,) = points.history(database, shared)
        assert point.ledger == database.address


def test_a_ledger_is_known_from_everywhere(tmp_path: Path) -> None:
    """A ledger has one identity, whichever workspace it is used from."""
    for marker in ("tasks.py", "wrangler.toml"):
        root = tmp_path / marker
        (root / "data").mkdir(parents=True)
        (root / marker).touch()
        assert workspace_of(root / "data" / "l.sqlite") == root
    assert workspace_of(tmp_path / "w" / ".hoox" / "local.sqlite") == tmp_path / "w"


def test_a_copy_by_hand_stays(ledgers: list[LocalDatabase], tmp_path: Path) -> None:
    """What somebody copied, with its manifest, is not taken for one backup more."""
    folder = tmp_path / "one" / "backups"
    made = [export(ledgers[0], folder / "b.sql") for _ in range(3)]
    copy = folder / "before-the-move.sql"
    shutil.copy(made[0], copy)
    shutil.copy(backups.manifest_path(made[0]), backups.manifest_path(copy))
    gone = backups.surplus(backups.find(folder), identity=ledgers[0].identity, keep=1)
    assert [backup.path for backup in gone] == [made[1]]
