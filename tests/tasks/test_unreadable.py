"""Folders and files that may not be looked into are told, and never taken for empty ones."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.in_process import QuickWorkspace
from tests.support.strangers import hand_over, unreadable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")

COMMANDS = {
    "history": ["db.history"],
    "undo": ["db.undo", "--confirm"],
    "info": ["db.info"],
    "backups": ["db.backups"],
    "prune": ["db.backups", "--prune", "--keep", "1"],
}
PLACES = {
    "snapshots": ["history", "undo", "info"],
    "backups": ["backups", "prune", "info"],
}


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuickWorkspace]:
    """A workspace that nobody owns, with two points, two backups and a scenario, where nobody can come to it."""
    folder = Path(tempfile.mkdtemp(prefix="hoox-owned-"))
    folder.chmod(0o755)
    workspace = QuickWorkspace(folder / "work", folder / "home")
    (workspace.root / "fixtures").mkdir()
    (workspace.root / "fixtures/mine.toml").write_text("")
    workspace.migration("0001_first.sql", "CREATE TABLE t (a);")
    workspace.ok("db.apply")
    for number in (1, 2):
        workspace.ok("db.query", f"INSERT INTO t VALUES ({number})", "--write")
        workspace.ok("db.export")
    for command in COMMANDS.values():
        workspace.inv(*command)  # Whatever is imported late is imported now.
    hand_over(folder)
    yield workspace
    shutil.rmtree(folder)


def place_of(workspace: QuickWorkspace, name: str) -> Path:
    return workspace.root / (".hoox/snapshots" if name == "snapshots" else name)


@pytest.mark.parametrize(("place", "command"), [(place, name) for place in PLACES for name in PLACES[place]])
def test_a_folder_that_may_not_be_looked_into_is_told(
    owned: QuickWorkspace, place: str, command: str
) -> None:
    """It is not called empty: the folder is named, and nothing is shown or changed."""
    folder = place_of(owned, place)
    with unreadable(folder):
        error = owned.refused(*COMMANDS[command])
    assert f"The folder {folder} cannot be looked into: Permission denied." in error


@pytest.mark.parametrize(
    ("pattern", "command"),
    [(".hoox/snapshots/*.json", name) for name in PLACES["snapshots"]]
    + [("backups/*.json", name) for name in PLACES["backups"]],
)
def test_a_file_that_may_not_be_read_is_told(owned: QuickWorkspace, pattern: str, command: str) -> None:
    """A point or a manifest that another user owns is not left out, nor taken for damaged."""
    file = sorted(owned.root.glob(pattern))[-1]
    with unreadable(file):
        error = owned.refused(*COMMANDS[command])
    assert f"{file} cannot be used: Permission denied." in error


def test_a_ledger_is_exported_beside_a_backup_that_may_not_be_read(owned: QuickWorkspace) -> None:
    """Somebody else's backup keeps nobody from making one."""
    first = min(owned.root.glob("backups/*.json"))
    with unreadable(first):
        owned.ok("db.export")
