"""The tasks on other versions of SQLite: the oldest that is supported, and one newer than D1's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import sqlite_library
from tests.support.workspace import Workspace

OLDER, NEWER = sqlite_library.SOURCES
MAKE = """
import sqlite3
with sqlite3.connect(".hoox/local.sqlite") as ledger:
    ledger.execute("CREATE VIEW sides AS SELECT group_concat(side, ',' ORDER BY price) AS s FROM trades")
    print(sqlite3.sqlite_version)
"""


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """Both libraries are made before anything is timed."""
    for version in (OLDER, NEWER):
        sqlite_library.environment(version)


@pytest.mark.parametrize("version", [OLDER, NEWER])
def test_the_way_of_a_ledger(workspace: Workspace, version: str) -> None:
    """A ledger is made, checked, backed up, taken back and restored."""
    env = sqlite_library.environment(version)
    workspace.ok("db.apply", "--scenario", "quiet", env=env)
    workspace.ok("db.export", "--output", "a.sql", env=env)
    workspace.ok("db.restore", "a.sql", "--confirm", env=env)
    assert workspace.ok("db.list", "--json", env=env).json["tables"]


def test_a_schema_of_a_newer_version_is_not_damage(workspace: Workspace) -> None:
    """What this SQLite cannot read is named, with the version that it needs; no ledger or backup is damaged."""
    newer, older = (sqlite_library.environment(version) for version in (NEWER, OLDER))
    workspace.ok("db.apply", "--no-seed", env=newer)
    done = subprocess.run(
        [sys.executable, "-c", MAKE],
        cwd=workspace.root,
        env=workspace.environment(newer),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == NEWER
    workspace.ok("db.export", "--output", "a.sql", env=newer)
    said = workspace.refused("db.list", env=older)
    assert "The view sides of " in said
    assert f"cannot be read by this Python's SQLite {OLDER}" in said
    assert "came with SQLite 3.44" in said
    for task in ("db.verify", "db.restore"):
        said = workspace.refused(task, "a.sql", *["--confirm"] * (task == "db.restore"), env=older)
        assert "damaged" not in said
    assert "came with SQLite 3.44" in workspace.refused("db.verify", "a.sql", env=older)
