"""Fixtures for the commands as a user types them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.in_process import QuickWorkspace
from tests.support.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with nothing but its `tasks.py`."""
    return Workspace(tmp_path / "work", tmp_path / "home")


@pytest.fixture
def quick(tmp_path: Path) -> QuickWorkspace:
    """A workspace with nothing but its `tasks.py`, whose commands run in this process."""
    return QuickWorkspace(tmp_path / "work", tmp_path / "home")


@pytest.fixture
def quick_seeded(quick: QuickWorkspace, applied: Path) -> QuickWorkspace:
    """The same, with a ledger as `inv db.apply` leaves it."""
    quick.ledger.parent.mkdir()
    shutil.copy(applied, quick.ledger)
    return quick


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that `inv db.apply` has made, not to be changed."""
    folder = tmp_path_factory.mktemp("applied")
    made = Workspace(folder / "work", folder / "home")
    made.ok("db.apply")
    return made.ledger


@pytest.fixture
def seeded(workspace: Workspace, applied: Path) -> Workspace:
    """A workspace whose ledger is as `inv db.apply` leaves it."""
    workspace.ledger.parent.mkdir()
    shutil.copy(applied, workspace.ledger)
    return workspace
