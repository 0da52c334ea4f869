"""What operators are told of backups and recovery points, as they type the commands."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.support.workspace import Workspace


def test_equal_is_said_of_what_was_compared_cell_by_cell(seeded: Workspace) -> None:
    """Verify says equal of a manifest and of an exact comparison, and of checksums what they are."""
    path = seeded.ok("db.export", "--json").json["path"]
    live = seeded.ok("db.verify", path, "--live")
    assert "equal to its manifest; same rows and checksums as .hoox/local.sqlite; verified" in live.out
    exact = seeded.ok("db.verify", path, "--exact")
    assert "equal to its manifest and .hoox/local.sqlite; verified" in exact.out


def test_a_restore_from_another_ledger_asks_by_its_name(seeded: Workspace) -> None:
    """The question and the receipt of a restore name the ledger whose backup it is."""
    path = seeded.ok("db.export", "--json").json["path"]
    seeded.ok("db.apply", "--path", "other.sqlite")
    asked = seeded.terminal("db.restore", path, "--path", "other.sqlite", typed="no\n")
    assert "a backup of .hoox/local.sqlite" in " ".join(asked.out.split())
    done = seeded.ok("db.restore", path, "--path", "other.sqlite", "--confirm")
    assert "a backup of .hoox/local.sqlite, into other.sqlite" in done.out
    assert "a backup of" not in seeded.ok("db.restore", path, "--confirm").out


def test_rotation_of_one_ledger_leaves_hand_written_sql(seeded: Workspace) -> None:
    """With --keep an export beside other SQL removes nothing but its own ledger's older backups."""
    folder = seeded.root / "sql"
    folder.mkdir()
    (folder / "report.sql").write_text("SELECT 1;\n")
    for name in ("a.sql", "b.sql"):
        seeded.ok("db.export", "--output", f"sql/{name}", "--keep", "1")
    assert sorted(path.name for path in folder.iterdir()) == ["b.sql", "b.sql.json", "report.sql"]


def test_what_is_made_for_us_is_private_and_out_of_gits_sight(workspace: Workspace) -> None:
    """A restore into a new ledger gives it to nobody who may not read the old one; git sees no backup."""
    workspace.ok("db.apply")
    assert (workspace.root / ".hoox" / ".gitignore").read_text() == "*\n"
    workspace.ledger.chmod(0o600)
    path = workspace.ok("db.export", "--json").json["path"]
    workspace.ok("db.restore", path, "--into", "copy.sqlite", "--confirm")
    workspace.ok("db.query", "DELETE FROM balances", "--write")
    made = [workspace.root / "copy.sqlite", Path(path), Path(f"{path}.json")]
    made += (workspace.root / ".hoox" / "snapshots").glob("1.*")
    assert len(made) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in made} == {0o600}
    assert (workspace.root / "backups" / ".gitignore").read_text() == "*\n"
