"""Backup, verify, restore, undo and check, as a user types them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.sqlite_files import contents
from tests.support.workspace import Workspace


def trades(workspace: Workspace) -> int:
    with closing(sqlite3.connect(workspace.ledger)) as connection:
        count: int = connection.execute("SELECT count(*) FROM trades").fetchone()[0]
        return count


def export(workspace: Workspace, *flags: str) -> Path:
    return Path(workspace.ok("db.export", "--json", *flags).json["path"])


def test_a_backup_is_verified_listed_and_restored(seeded: Workspace) -> None:
    """The operator's round: export, look, verify, lose everything, restore, and all is as it was."""
    before = contents(seeded.ledger)
    path = export(seeded)
    (listed,) = seeded.ok("db.backups", "--json").json
    assert (listed["path"], listed["verified"]) == (str(path), True)
    assert path.name in seeded.ok("db.backups").out
    assert "is sound" in seeded.ok("db.verify", str(path)).out
    seeded.ok("db.verify", str(path), "--live")
    seeded.ok("db.verify", str(path), "--exact")
    lost = trades(seeded)
    seeded.ok("db.query", "DELETE FROM trades", "--write")
    for flag in ("--live", "--exact"):
        refused = seeded.inv("db.verify", str(path), flag)
        assert refused.code == 1
        assert f"trades has {lost:,} rows in the file, 0 in" in refused.err
    receipt = seeded.ok("db.restore", str(path), "--confirm")
    assert contents(seeded.ledger) == before
    assert "Take it back with `inv db.undo --to" in receipt.out


def test_undo_goes_back_and_forth(seeded: Workspace) -> None:
    """After a reset undo brings everything back, and undo of that leaves the ledger reset again."""
    before = trades(seeded)
    seeded.ok("db.reset", "--confirm", "--no-backup")
    assert trades(seeded) == 0
    told = seeded.ok("db.undo", "--confirm")
    assert f"trades: {before:,} then, 0 now" in told.err
    assert trades(seeded) == before
    seeded.ok("db.undo", "--confirm")
    assert trades(seeded) == 0
    causes = [point["cause"] for point in seeded.ok("db.history", "--json").json["points"]]
    assert [cause.split(" to ")[0] for cause in causes] == ["undo", "undo", "db.reset"]


@pytest.mark.parametrize("task", [("db.undo",), ("db.restore", "x.sql")])
def test_nobody_is_asked_in_a_pipe(seeded: Workspace, task: tuple[str, ...]) -> None:
    """Without --confirm and without a terminal, undo and restore refuse and change nothing."""
    path = export(seeded)
    path.rename(seeded.root / "x.sql")
    seeded.ok("db.query", "DELETE FROM balances", "--write")
    before = contents(seeded.ledger)
    refused = seeded.inv(*task)
    assert refused.code == 2
    assert "--confirm" in refused.err
    assert contents(seeded.ledger) == before


def test_a_damaged_backup_is_refused(seeded: Workspace) -> None:
    """A changed backup is neither verified nor restored, and the ledger is not touched."""
    path = export(seeded, "--gzip")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = contents(seeded.ledger)
    for task in (("db.verify", str(path)), ("db.restore", str(path), "--confirm")):
        refused = seeded.inv(*task)
        assert refused.code == 2
        assert "was changed since it was written" in refused.err
    assert contents(seeded.ledger) == before
    assert seeded.ok("db.history", "--json").json["points"] == []


def test_backups_are_rotated(seeded: Workspace) -> None:
    """--keep leaves the newest backups, and the last verified one whatever its age."""
    verified = export(seeded)
    for _ in range(2):
        last = export(seeded, "--no-verify", "--keep", "1")
    left = sorted(Path(one["path"]) for one in seeded.ok("db.backups", "--json").json)
    assert left == sorted([verified, last])
    assert seeded.inv("db.backups", "--prune").code == 2


def test_restoring_beside_leaves_the_ledger_alone(seeded: Workspace) -> None:
    """--into makes another ledger; one that is there already is not overwritten."""
    path = export(seeded)
    seeded.ok("db.query", "DELETE FROM trades", "--write")
    before = contents(seeded.ledger)
    seeded.ok("db.restore", str(path), "--into", "yesterday.sqlite")
    assert contents(seeded.ledger) == before
    assert seeded.ok("db.verify", str(path), "--live", "--path", "yesterday.sqlite")
    assert seeded.inv("db.restore", str(path), "--into", "yesterday.sqlite").code == 2


def test_check_finds_what_was_done_by_hand(seeded: Workspace) -> None:
    """`db.check` is silent about a ledger as its migrations make it, and names what is not."""
    assert seeded.ok("db.check", "--json").json["agrees"] is True
    seeded.ok("db.query", "DROP INDEX idx_trades_symbol", "--write")
    found = seeded.inv("db.check")
    assert found.code == 1
    assert "index idx_trades_symbol is missing" in found.out


def test_a_rehearsal_leaves_the_ledger_as_it_is(seeded: Workspace) -> None:
    """`db.migrate --rehearse --check` shows what migrations do, and does nothing."""
    seeded.ok("db.migrate.new", "fills")
    (migration,) = (seeded.root / "migrations").glob("*_fills.sql")
    migration.write_text("CREATE TABLE fills AS SELECT id FROM trades;\n")
    before = contents(seeded.ledger)
    told = seeded.ok("db.migrate", "--rehearse", "--check")
    assert "the copy is sound" in told.out
    assert contents(seeded.ledger) == before
    assert seeded.inv("db.migrate", "--rehearse").code == 2
    seeded.ok("db.migrate", "--rehearse", "--confirm")
    assert seeded.ok("db.check", "--json").json["version"] == migration.name


def causes(workspace: Workspace) -> list[str]:
    return [point["cause"] for point in workspace.ok("db.history", "--json").json["points"]]


def test_a_change_that_fails_pushes_out_no_point(seeded: Workspace) -> None:
    """At the limit of recovery points, only a change that went well lets go of the oldest."""
    limit = {"INVOKE_HOOX_KEEP_SNAPSHOTS": "2"}
    seeded.ok("db.query", "DELETE FROM balances", "--write", env=limit)
    seeded.ok("db.reset", "--confirm", "--no-backup", env=limit)
    assert causes(seeded) == ["db.reset", "db.query --write"]
    before = {point["id"] for point in seeded.ok("db.history", "--json").json["points"]}
    assert seeded.inv("db.query", "INSERT INTO nowhere VALUES (1)", "--write", env=limit).code != 0
    assert before <= {point["id"] for point in seeded.ok("db.history", "--json").json["points"]}
    seeded.ok("db.query", "DELETE FROM system_logs", "--write", env=limit)
    assert len(causes(seeded)) == 2
    seeded.ok(
        "db.undo", "--to", seeded.ok("db.history", "--json").json["points"][-1]["id"], "--confirm", env=limit
    )


def test_points_can_be_switched_off(seeded: Workspace) -> None:
    """With hoox.keep_snapshots: 0 a change takes no recovery point, and names no way back."""
    before = causes(seeded)
    done = seeded.ok("db.query", "DELETE FROM balances", "--write", env={"INVOKE_HOOX_KEEP_SNAPSHOTS": "0"})
    assert "Take it back" not in done.out + done.err
    assert causes(seeded) == before


def test_a_ledger_that_was_just_made_names_no_way_back(workspace: Workspace) -> None:
    """The first `db.apply` has nothing to go back to; one that migrates a ledger with rows has."""
    assert "Take it back" not in workspace.ok("db.apply").out
    workspace.ok("db.migrate.new", "fills")
    (migration,) = (workspace.root / "migrations").glob("*_fills.sql")
    migration.write_text("CREATE TABLE fills (id);\n")
    assert "Take it back with `inv db.undo --to" in workspace.ok("db.apply").out


def test_a_part_does_not_take_the_place_of_the_whole(seeded: Workspace) -> None:
    """A backup of some tables, or of definitions, is only restored as what it is."""
    before = contents(seeded.ledger)
    part, empty = export(seeded, "--table", "trades"), export(seeded, "--no-data")
    assert "holds a part of a ledger only: trades" in seeded.refused("db.restore", str(part), "--confirm")
    assert "definitions without rows" in seeded.refused("db.restore", str(empty), "--confirm")
    for file in (part, empty):
        told = seeded.refused("db.restore", str(file), "--tables", "balances", "--confirm")
        assert "does not hold the rows of balances" in told
    assert contents(seeded.ledger) == before
    seeded.ok("db.query", "DELETE FROM trades", "--write")
    seeded.ok("db.restore", str(part), "--tables", "trades", "--confirm")
    assert contents(seeded.ledger) == before
    states = {Path(one["path"]): one["verified"] for one in seeded.ok("db.backups", "--json").json}
    assert states == {part: False, empty: False}
    assert "in part" in seeded.ok("db.backups").out


@pytest.mark.parametrize("flag", ["--into", "--tables", "--path", "--database", "--env"])
def test_an_empty_value_is_not_a_missing_one(seeded: Workspace, flag: str) -> None:
    """An unset variable of a shell behind a flag is refused: it would mean more than was meant."""
    path = export(seeded)
    before = contents(seeded.ledger)
    assert f"{flag} was given nothing" in seeded.refused("db.restore", str(path), f"{flag}=", "--confirm")
    assert contents(seeded.ledger) == before


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0", None])
def test_a_damaged_recovery_point_is_not_gone_back_to(seeded: Workspace, damage: bytes | None) -> None:
    """A recovery point whose file was emptied, cut, changed or removed is refused, and the ledger stays."""
    seeded.ok("db.query", "DELETE FROM balances", "--write")
    (file,) = (seeded.root / ".hoox" / "snapshots").glob("*.sqlite")
    before = contents(seeded.ledger)
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    told = seeded.refused("db.undo", "--confirm")
    assert f"{file}" in told
    assert ("is gone" if damage is None else "was changed or is damaged") in told
    assert contents(seeded.ledger) == before


def test_names_of_backups_are_whole_on_a_terminal(seeded: Workspace) -> None:
    """What is typed to name a backup is not cut, however narrow the terminal."""
    path = export(seeded)
    assert path.name in seeded.terminal("db.backups", columns=60).out


def test_rows_that_refer_to_others_are_restored_with_them(seeded: Workspace) -> None:
    """Restoring some tables is refused where rows of others would refer to nothing then."""
    seeded.ok(
        "db.query", "CREATE TABLE fills (id, trade TEXT REFERENCES trades (id) ON DELETE CASCADE)", "--write"
    )
    path = export(seeded)
    seeded.ok(
        "db.query",
        "INSERT INTO trades (id, timestamp, exchange, symbol, action, status)"
        " VALUES ('new', 1, 'bybit', 'BTCUSDT', 'LONG', 'EXECUTED');"
        " INSERT INTO fills VALUES (1, 'new')",
        "--write",
    )
    before = contents(seeded.ledger)
    told = seeded.refused("db.restore", str(path), "--tables", "trades", "--confirm")
    assert "rows would refer to others that are not there" in told
    assert contents(seeded.ledger) == before
    seeded.ok("db.restore", str(path), "--tables", "trades,fills", "--confirm")


def test_a_device_is_not_replaced(seeded: Workspace) -> None:
    """An export to something else than a file is refused, and what is there stays."""
    pipe = seeded.root / "pipe"
    os.mkfifo(pipe)
    assert "is no file but a device or a pipe" in seeded.refused("db.export", "--output", "pipe")
    assert pipe.is_fifo()


def test_the_ledger_cannot_be_its_own_export(seeded: Workspace) -> None:
    """`db.export --output` of the ledger's own file is refused, and the ledger is as it was."""
    before = seeded.files()
    assert "SQLite database" in seeded.refused("db.export", "--output", ".hoox/local.sqlite")
    assert seeded.files() == before
