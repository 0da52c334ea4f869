"""Fixtures for the commands as a user types them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with nothing but its `tasks.py`."""
    return Workspace(tmp_path / "work", tmp_path / "home")


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
