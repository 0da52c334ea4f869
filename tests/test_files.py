"""A file that a user keeps is there whole, or not at all."""

from __future__ import annotations

import gzip
import os
import resource
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hoox_tasks import files
from hoox_tasks.errors import Refused


def test_a_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    """The file appears under its name only when its block has ended, with folders made on the way."""
    path = tmp_path / "new" / "folder" / "out.sql"
    with files.written_whole(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert [found.name for found in path.parent.iterdir()] == ["out.sql"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    """Where the block raises, a former file stays as it was, and nothing is left beside it."""
    path = tmp_path / "out.sql"
    path.write_bytes(b"former")
    with pytest.raises(error), files.written_whole(path) as file:  # noqa: PT012
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"former"
    assert [found.name for found in tmp_path.iterdir()] == ["out.sql"]


def test_compressed_files_of_equal_content_are_equal(tmp_path: Path) -> None:
    """A compressed file has no time and no name in it."""
    for name in ("a.gz", "b.gz"):
        with files.written_whole(tmp_path / name, compressed=True) as file:
            file.write(b"content" * 1000)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"content" * 1000


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A path that is a folder is refused with exit code 2."""
    with pytest.raises(Refused, match="is a folder") as refusal, files.written_whole(tmp_path):
        pass
    assert refusal.value.exit_code == 2


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    """A path that cannot be written is refused with the system's reason."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(Refused, match="cannot be written"),
        files.written_whole(tmp_path / "file" / "out.sql"),
    ):
        pass


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    """Where there is no room, the user is told with exit code 2, and nothing is left."""
    path = tmp_path / "out.sql"
    usual, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, usual[1]))
    try:
        with (
            pytest.raises(Refused, match="could not be written") as refusal,
            files.written_whole(path) as file,
        ):
            file.write(b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, handler)
    assert refusal.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_no_hindrance(tmp_path: Path) -> None:
    """A leftover of a killed process that had the same number is written over."""
    path = tmp_path / "out.sql"
    (tmp_path / f".out.sql.{os.getpid()}.part").write_bytes(b"longer than what follows")
    with files.written_whole(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_names_of_backups(tmp_path: Path) -> None:
    """A backup is named after its moment in UTC; of two in one second, the second gets a number."""
    name = files.backup_name(datetime(2026, 5, 19, 17, 40, tzinfo=UTC), suffix=".sql.gz")
    assert name == "db-backup-2026-05-19-174000.sql.gz"
    path = tmp_path / name
    assert files.free_path(path) == path
    path.write_text("")
    assert files.free_path(path).name == "db-backup-2026-05-19-174000-2.sql.gz"
