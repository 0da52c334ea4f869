"""What an export may take the place of, and that it and its manifest come and go together."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks import backups, records
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.files import Draft
from hoox_tasks.records import Damaged


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    return path


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
def test_no_export_takes_the_place_of_a_database(ledger: Path, tmp_path: Path, end: str) -> None:
    """Neither of a ledger, whichever it is and whatever it is called, nor of what SQLite keeps beside one."""
    with pytest.raises(Refused, match="belongs to a SQLite database"):
        backups.check_target(Path(f"{ledger}{end}"), tmp_path / "snapshots")
    link = tmp_path / "link.sql"
    link.symlink_to(ledger)
    with pytest.raises(Refused, match="belongs to a SQLite database"):
        backups.check_target(link, tmp_path / "snapshots")
    backups.check_target(tmp_path / "new.sql", tmp_path / "snapshots")


def test_no_export_goes_among_the_recovery_points(tmp_path: Path) -> None:
    """Also by a way around, and where nothing is there yet."""
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    (tmp_path / "way").symlink_to(snapshots)
    for path in (snapshots / "1.sqlite", tmp_path / "way" / "new.sql"):
        with pytest.raises(Refused, match="lies among the recovery points"):
            backups.check_target(path, snapshots)


def test_no_manifest_takes_the_place_of_somebody_elses_file(tmp_path: Path) -> None:
    """A JSON file that happens to have the manifest's name stays."""
    (tmp_path / "n.sql.json").write_text('{"mine": true}')
    with pytest.raises(Refused, match="is no manifest of ours"):
        backups.check_target(tmp_path / "n.sql", tmp_path / "snapshots")


@pytest.mark.parametrize("when", ["reserve", "finish"])
def test_an_interrupted_export_leaves_both_files_or_none(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Ctrl-C between the file and its manifest leaves neither."""
    original = getattr(Draft, when)

    def interrupted(draft: Draft, **how: str) -> Path:
        signal.raise_signal(signal.SIGINT)
        path: Path = original(draft, **how)
        return path

    monkeypatch.setattr(Draft, when, interrupted)
    folder = tmp_path / "backups"
    folder.mkdir()
    with closing(LocalDatabase(ledger)) as database, pytest.raises(KeyboardInterrupt):
        backups.export(database, folder / "b.sql", reserve=True, migrations_table="d1_migrations")
    assert list(folder.iterdir()) == []


def test_a_pipe_is_no_record(tmp_path: Path) -> None:
    """What nobody writes to is not waited for."""
    os.mkfifo(tmp_path / "1.json")
    with pytest.raises(Damaged, match="no regular file"):
        records.read(tmp_path / "1.json")


def test_a_pipe_is_no_database(tmp_path: Path) -> None:
    """An output that is a pipe is not read, which would wait without end."""
    os.mkfifo(tmp_path / "out.sql")
    backups.check_target(tmp_path / "out.sql", tmp_path / "snapshots")
