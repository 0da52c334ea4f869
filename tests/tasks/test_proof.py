"""What is said of a copy is no more than was proven of it, and nobody reads it who may not read the ledger."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.support.in_process import QuickWorkspace


@pytest.fixture
def small(quick: QuickWorkspace) -> QuickWorkspace:
    """A workspace with a ledger of one table."""
    quick.migration("0001_first.sql", "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('abc');")
    quick.ok("db.apply")
    return quick


def backup_of(workspace: QuickWorkspace, *flags: str) -> Path:
    return Path(workspace.inv("db.export", "--json", *flags, code=0).json["path"])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_was_never_compared_is_nowhere_called_verified(small: QuickWorkspace) -> None:
    """An export with --no-verify is whole and unchanged; only a comparison with its ledger verifies it."""
    path = backup_of(small, "--no-verify")
    shown = small.ok("db.verify", str(path)).out
    assert "equal to the digest in its manifest; never compared with its ledger; loaded (" in shown
    assert small.ok("db.verify", str(path), "--json").json["verified"] is False
    assert small.ok("db.verify", str(path), "--live", "--json").json["verified"] is True
    assert small.ok("db.backups").out.splitlines()[2].split()[-1] == "no"
    assert "not verified: " in small.ok("db.info").out
    proven = backup_of(small)
    shown = small.ok("db.verify", str(path), str(proven)).out
    assert "All 2 backups are sound; not all were ever compared with their ledger; loaded (" in shown
    assert "All 2 backups are sound; verified (" in small.ok("db.verify", str(proven), str(proven)).out


def test_a_backup_that_was_changed_since_is_not_called_verified(small: QuickWorkspace) -> None:
    """Of the same size: the list says when it was verified, and the glance has read it."""
    path = backup_of(small)
    assert ", verified: " in small.ok("db.info").out
    path.write_text(path.read_text().replace("abc", "abd"))
    assert small.ok("db.backups").out.splitlines()[2].split()[-2:] == ["when", "written"]
    assert ", changed since it was written: " in small.ok("db.info").out
    assert small.ok("db.info", "--json").json["backup"]["unchanged"] is False


@pytest.mark.parametrize(("ledger", "there", "then"), [(0o600, 0o644, 0o600), (0o644, 0o640, 0o640)])
def test_a_file_that_is_replaced_is_no_less_private_than_the_ledger(
    small: QuickWorkspace, ledger: int, there: int, then: int
) -> None:
    """It keeps its mode where that is as tight; where it is not, the tighter one holds, and that is said."""
    small.ledger.chmod(ledger)
    path = small.root / "a.sql"
    path.touch()
    path.chmod(there)
    told = small.ok("db.export", "--output", "a.sql").err
    assert mode(path) == then
    assert (f"a.sql had the mode {there:04o} and has {then:04o} now" in told) is (then != there)


def test_a_ledger_that_is_made_of_a_backup_is_for_its_owner_alone(small: QuickWorkspace) -> None:
    """However many may read the ledger beside which it is made: the backup was for its owner, too."""
    small.ledger.chmod(0o644)
    small.ok("db.restore", str(backup_of(small)), "--into", "new.sqlite")
    assert mode(small.root / "new.sqlite") == 0o600


@pytest.mark.parametrize("command", ["db.verify", "db.restore"])
def test_a_damaged_file_is_called_by_its_own_name(small: QuickWorkspace, command: str) -> None:
    """And not by that of the scratch file in which the damage was met."""
    small.sql("INSERT INTO t SELECT hex(zeroblob(2000)) FROM t, json_each('[1,2,3,4,5,6,7,8,9]')")
    content = bytearray(small.ledger.read_bytes())
    root = small.sql("SELECT rootpage FROM sqlite_schema WHERE name = 't'")[0][0]
    content[4096 * (root - 1) : 4096 * root] = b"\7" * 4096
    (small.root / "damaged.sqlite").write_bytes(content)
    flags = ["--confirm"] if command == "db.restore" else []
    error = small.refused(command, "damaged.sqlite", *flags)
    assert error.startswith(f"{small.root / 'damaged.sqlite'} is ")
    assert "scratch" not in error
