"""A file that a user keeps is there whole, or not at all, under a name that nobody else has."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hoox_tasks import files
from hoox_tasks.errors import Refused
from tests.support.processes import full_disk, killed_after, run_at_once
from tests.support.programs import program

SECONDS = 60


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(value: int) -> Iterator[None]:
    former = os.umask(value)
    try:
        yield
    finally:
        os.umask(former)


# -------------------------------------------------------------------------------------- written whole


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
    with (
        full_disk(100_000),
        pytest.raises(Refused, match="could not be written") as refusal,
        files.written_whole(path) as file,
    ):
        file.write(b"x" * 1_000_000)
    assert refusal.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_reads_a_new_file(tmp_path: Path) -> None:
    """A file is private from its first byte on, whatever the umask, and more is let read only if asked."""
    with umask(0):
        with files.draft(tmp_path / "out.sql") as draft:
            assert mode(draft.path) == 0o600
            draft.replace()
        with files.written_whole(tmp_path / "page.html", mode=0o644):
            pass
    assert (mode(tmp_path / "out.sql"), mode(tmp_path / "page.html")) == (0o600, 0o644)


@pytest.mark.parametrize("kept", [0o640, 0o600, 0o604])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, kept: int) -> None:
    """Whoever could read the former file can read the new one, and nobody else."""
    path = tmp_path / "out.sql"
    path.write_bytes(b"former")
    path.chmod(kept)
    with files.written_whole(path) as file:
        file.write(b"new")
    assert (mode(path), path.read_bytes()) == (kept, b"new")


def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    """What a link leads to is replaced, and the link stays."""
    (tmp_path / "there").mkdir()
    path = tmp_path / "out.sql"
    path.symlink_to("there/real.sql")
    with files.written_whole(path) as file:
        file.write(b"new")
    assert path.is_symlink()
    assert (tmp_path / "there" / "real.sql").read_bytes() == b"new"
    assert len(list(tmp_path.rglob("*"))) == 3


def test_a_long_name_is_no_hindrance(tmp_path: Path) -> None:
    """A name as long as the file system allows is written, of whatever characters."""
    for name in ("x" * 255, "ü" * 127):
        with files.written_whole(tmp_path / name) as file:
            file.write(b"whole")
        assert (tmp_path / name).read_bytes() == b"whole"


# ------------------------------------------------------------------------------------------- names


def test_names_of_backups(tmp_path: Path) -> None:
    """A backup is named after its moment in UTC."""
    name = files.backup_name(datetime(2026, 5, 19, 17, 40, tzinfo=UTC), suffix=".sql.gz")
    assert name == "db-backup-2026-05-19-174000.sql.gz"


def reserved(path: Path, content: bytes = b"") -> Path:
    with files.draft(path) as draft:
        draft.output.write(content)
        return draft.reserve(companion=".json")


def test_a_reserved_name_replaces_nothing(tmp_path: Path) -> None:
    """A name that is taken, or whose companion's is, even by a broken link, is not given again."""
    wanted = tmp_path / "a.sql.gz"
    assert reserved(wanted, b"1") == wanted
    (tmp_path / "a-2.sql.gz").symlink_to("nowhere")
    (tmp_path / "a-3.sql.gz.json").write_text("{}")
    assert reserved(wanted, b"4").name == "a-4.sql.gz"
    assert wanted.read_bytes() == b"1"
    assert (tmp_path / "a-4.sql.gz").read_bytes() == b"4"
    assert mode(tmp_path / "a-4.sql.gz") == 0o600
    assert len(list(tmp_path.iterdir())) == 4


def test_a_name_that_is_taken_in_the_last_moment_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody else wrote after the name was found to be free stays, with hard links and without."""
    wanted = tmp_path / "a.sql"
    wanted.write_bytes(b"theirs")
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert reserved(wanted, b"mine").name == "a-2.sql"

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert reserved(wanted, b"mine").name == "a-3.sql"
    assert wanted.read_bytes() == b"theirs"


def test_a_name_is_reserved_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without hard links names are reserved all the same."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    wanted = tmp_path / "a.sql"
    assert [reserved(wanted, b"x").name for _ in range(3)] == ["a.sql", "a-2.sql", "a-3.sql"]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"x"] * 3


def test_a_link_whose_answer_was_lost_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a network's file system says that the name is taken by this very file, the file has one name."""
    link = Path.hardlink_to

    def repeated(self: Path, target: Path) -> None:
        link(self, target)
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", repeated)
    assert reserved(tmp_path / "a.sql", b"x").name == "a.sql"
    assert [path.name for path in tmp_path.iterdir()] == ["a.sql"]


def test_many_reserve_one_name_at_once(tmp_path: Path) -> None:
    """Processes with one id that write the same name at once get a file each, with what they wrote."""
    printed = run_at_once(tmp_path, *(("reserve", str(mine)) for mine in range(4)))
    lines = "".join(printed).splitlines()
    assert len(lines) == 100
    assert {line.split()[0]: line.split()[1] for line in lines} == {
        str(path): path.read_text() for path in tmp_path.iterdir()
    }


def test_numbers_are_given_once(tmp_path: Path) -> None:
    """Processes with one id that draw numbers of one folder at once never get the same, and leave few files."""
    printed = [
        list(map(int, text.split()))
        for text in run_at_once(tmp_path, *(("number", str(mine)) for mine in range(4)))
    ]
    assert all(numbers == sorted(numbers) for numbers in printed)
    every = [number for numbers in printed for number in numbers]
    assert len(set(every)) == len(every) == 200
    assert files.next_number(tmp_path).value > max(every)
    assert len(list(tmp_path.iterdir())) < 40


def test_a_number_is_in_use_until_it_is_closed(tmp_path: Path) -> None:
    """Whether the one who drew a number is still at work is known, here and in other processes."""
    number = files.next_number(tmp_path, above=7)
    assert number.value == 8
    assert (files.number_in_use(tmp_path, 8), run_at_once(tmp_path, ("ask", "8"))) == (True, ["True\n"])
    number.close()
    assert (files.number_in_use(tmp_path, 8), run_at_once(tmp_path, ("ask", "8"))) == (False, ["False\n"])
    assert files.number_in_use(tmp_path, 3) is False


def test_a_number_that_is_taken_in_the_last_moment_is_not_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever saw no numbers, while another drew the first, draws the second."""
    last = files._last_number
    stale = iter([0])
    files.next_number(tmp_path).close()
    monkeypatch.setattr(files, "_last_number", lambda folder: next(stale, last(folder)))
    assert files.next_number(tmp_path).value == 2


def test_a_number_whose_file_is_gone_is_not_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who was stopped while others drew many numbers draws one behind theirs."""
    last = files._last_number
    stopped = iter([0])  # What was seen before the others came.
    for _ in range(40):
        files.next_number(tmp_path).close()
    assert not (tmp_path / ".1.number").exists()
    monkeypatch.setattr(files, "_last_number", lambda folder: next(stopped, last(folder)))
    assert files.next_number(tmp_path).value == 41


# ---------------------------------------------------------------------------------- what is in use


def test_what_a_killed_task_left_is_removed(tmp_path: Path) -> None:
    """A killed task's half file and scratch folder go with the next task, however young they are."""
    with killed_after([*program("at_rest"), "write", str(tmp_path)]):
        before = sorted(path.name for path in tmp_path.iterdir())
        with files.scratch_folder(tmp_path), files.written_whole(tmp_path / "out.sql") as file:
            file.write(b"mine")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "out.sql"])
    with files.scratch_folder(tmp_path), files.written_whole(tmp_path / "out.sql") as file:
        file.write(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out.sql"]


@pytest.mark.parametrize("offset", [86_400 * 2, -86_400 * 2, 0])
def test_what_is_in_use_stays_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """A scratch folder and a half file of a running task are left alone, by clocks ahead and behind as well."""
    now = time.time()
    with files.scratch_folder(tmp_path) as scratch, files.draft(tmp_path / "out.sql") as draft:
        (scratch / "scratch.sqlite").write_bytes(b"x")
        for path in (scratch, scratch / "scratch.sqlite", draft.path):
            os.utime(path, (0, 0))
        monkeypatch.setattr(time, "time", lambda: now + offset)
        with files.scratch_folder(tmp_path), files.written_whole(tmp_path / "out.sql"):
            pass
        assert (scratch / "scratch.sqlite").read_bytes() == b"x"
        assert draft.path.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out.sql"]


def test_scratch_folders_made_at_once_all_live(tmp_path: Path) -> None:
    """However many tasks begin at once, none takes the folder of another for abandoned."""
    run_at_once(tmp_path, *(("scratch", str(mine)) for mine in range(4)))
    assert list(tmp_path.iterdir()) == []


def test_other_peoples_files_stay(tmp_path: Path) -> None:
    """What only looks like a half file or a scratch folder of ours is never removed."""
    kept = [
        tmp_path / ".notes.0123456789abcdef.part",
        tmp_path / ".out.sql.backup.part",
        tmp_path / ".hoox-scratch-file",
        tmp_path / "real" / "file",
    ]
    (tmp_path / "real").mkdir()
    for path in kept:
        path.write_bytes(b"mine")
    (tmp_path / ".hoox-scratch-link").symlink_to("real", target_is_directory=True)
    with files.scratch_folder(tmp_path), files.written_whole(tmp_path / "out.sql"):
        pass
    assert all(path.read_bytes() == b"mine" for path in kept)
    assert [path.name for path in (tmp_path / ".hoox-scratch-link").iterdir()] == ["file"]


def test_a_folder_of_ours_is_not_seen_by_git(tmp_path: Path) -> None:
    """A folder that is made for our files has a .gitignore; one that was there is left as it is."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    subprocess.run(["git", "init", "-q", tmp_path], check=True, timeout=SECONDS)
    files.make_ignored_folder(tmp_path / ".hoox" / "snapshots")
    (tmp_path / "sql").mkdir()
    files.make_ignored_folder(tmp_path / "sql")
    (tmp_path / ".hoox" / "snapshots" / "1.sqlite").write_text("")
    (tmp_path / "sql" / "report.sql").write_text("")
    command = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
    assert seen == "?? sql/report.sql\n"
    assert (tmp_path / ".hoox" / ".gitignore").exists()
    assert not (tmp_path / "sql" / ".gitignore").exists()
