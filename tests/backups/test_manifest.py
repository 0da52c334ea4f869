"""The manifest of a backup, which others may have written."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks import backups
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from tests.support.sqlite_files import execute

Fields = dict[str, Any]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A verified backup."""
    execute(tmp_path / "l.sqlite", "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    with closing(LocalDatabase(tmp_path / "l.sqlite")) as database:
        backups.export(database, tmp_path / "b.sql", migrations_table="d1_migrations")
    return tmp_path / "b.sql"


def rewrite(backup: Path, change: Callable[[Fields], object]) -> None:
    path = backups.manifest_path(backup)
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_a_manifest_of_the_former_format_is_read(backup: Path) -> None:
    """What older versions wrote is understood, but says of no ledger that it is its own."""

    def to_former(fields: Fields) -> None:
        fields["format"] = 1
        del fields["identity"], fields["sequence"]

    new = backups.read_manifest(backup)
    rewrite(backup, to_former)
    old = backups.read_manifest(backup)
    assert new is not None
    assert old is not None
    assert (old.identity, new.identity) == ("", f"file:{backup.parent}/l.sqlite")
    assert (old.tables, old.sha256, old.verified) == (new.tables, new.sha256, True)
    (listed,) = backups.find(backup.parent)
    assert listed.verified
    assert listed.order[0] == pytest.approx(new.sequence, abs=1000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("created_at", "x"),
        ("created_at", 5),
        ("created_at", "2026-05-19T17:40:00"),
        ("created_at", "0001-01-01T00:00:00+14:00"),
        ("created_at", None),
        ("bytes", -1),
        ("bytes", "12"),
        ("bytes", True),
        ("bytes", 1e300),
        ("sha256", "../../x"),
        ("sequence", 2**70),
        ("sequence", "9"),
        ("identity", ["a"]),
        ("verified", "yes"),
        ("one_moment", 0),
        ("tables", []),
        ("tables", {"t": 1}),
        ("tables", {"t": {"rows": -1, "fingerprint": ""}}),
        ("tables", {"t": {"rows": 1}}),
        ("source", None),
        ("format", 3),
        ("format", True),
        ("bookmark", 7),
    ],
)
def test_a_manifest_that_makes_no_sense_is_a_sentence(backup: Path, field: str, value: object) -> None:
    """A damaged manifest is refused where the backup is used, and only noted where backups are listed."""
    rewrite(backup, lambda fields: fields.update({field: value}))
    with pytest.raises(Refused, match=r"The manifest .*b\.sql\.json cannot be understood: .*\w\.$"):
        backups.read_manifest(backup)
    (listed,) = backups.find(backup.parent)
    assert (listed.manifest, listed.verified, listed.identity) == (None, False, "")
    assert str(backups.manifest_path(backup)) in listed.problem
    assert backups.surplus([listed], keep=1, days=1) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b'{"format": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "cut", "null", "list", "binary", "NaN", "deep lists", "deep objects", "long"],
)
def test_a_manifest_that_is_none_is_a_sentence(backup: Path, content: bytes) -> None:
    """Whatever lies in the place of a manifest, the backup is listed, and not called verified."""
    backups.manifest_path(backup).write_bytes(content)
    with pytest.raises(Refused, match="cannot be understood"):
        backups.read_manifest(backup)
    (listed,) = backups.find(backup.parent)
    assert listed.problem
    assert not listed.verified


def test_a_huge_manifest_is_not_read(backup: Path) -> None:
    """A file that is much longer than any manifest is not taken into memory."""
    with backups.manifest_path(backup).open("ab") as file:
        file.write(b" " * 32 * 1024 * 1024)
    with pytest.raises(Refused, match="it has more than 33,554,432 bytes"):
        backups.read_manifest(backup)


def test_a_folder_in_the_place_of_a_manifest_is_a_sentence(backup: Path) -> None:
    """A manifest that cannot be read is damaged as well."""
    backups.manifest_path(backup).unlink()
    backups.manifest_path(backup).mkdir()
    with pytest.raises(Refused, match="cannot be read"):
        backups.read_manifest(backup)
    assert backups.find(backup.parent)[0].problem


def test_a_link_to_a_backup_has_its_manifest(backup: Path, tmp_path: Path) -> None:
    """A backup that is named by a symbolic link elsewhere is held against its manifest all the same."""
    link = tmp_path / "links" / "latest.sql"
    link.parent.mkdir()
    link.symlink_to(backup)
    assert backups.read_manifest(link) == backups.read_manifest(backup) is not None


def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    """The path of a ledger may hold bytes that are not UTF-8, and its manifest is written and read."""
    name = b"l\xff.sqlite".decode("utf-8", "surrogateescape")
    execute(tmp_path / name, "CREATE TABLE t (x)")
    with closing(LocalDatabase(tmp_path / name)) as database:
        backups.export(database, tmp_path / "b.sql", migrations_table="d1_migrations")
        found = backups.read_manifest(tmp_path / "b.sql")
        assert found is not None
        assert found.identity == database.identity


def test_a_backup_and_its_manifest_are_private(backup: Path) -> None:
    """Nobody but its owner can read a backup or what its manifest says."""
    for path in (backup, backups.manifest_path(backup)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
