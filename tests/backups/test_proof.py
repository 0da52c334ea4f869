"""What is said of a backup is what was looked at, and looking leaves no trace."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks import backups, records
from hoox_tasks.backups import exporting, verification
from hoox_tasks.config.settings import bundled
from hoox_tasks.database import dump
from hoox_tasks.database.load import load
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import Migrations
from tests.support.processes import full_disk
from tests.support.programs import program
from tests.support.sqlite_files import ask, execute, opened

SECONDS = 60
MIGRATIONS = Migrations.read(bundled("migrations"))


def export(database: LocalDatabase, path: Path, **how: object) -> backups.Export:
    return backups.export(database, path, migrations_table="d1_migrations", **how)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LocalDatabase]:
    """A migrated ledger with a trade."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True, root=tmp_path)) as database:
        MIGRATIONS.apply(database)
        execute(
            database.path,
            "INSERT INTO trades (id, timestamp, exchange, symbol, action, status)"
            " VALUES ('t', 1, 'bybit', 'BTCUSDT', 'LONG', 'EXECUTED')",
        )
        yield database


def in_wal_mode(path: Path, how: str) -> None:
    """Make a database in WAL mode: closed, left by somebody who was killed, or that without its index."""
    subprocess.run([*program("write_and_die"), str(path)], check=True, timeout=SECONDS)
    if how == "closed":
        with opened(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute("SELECT * FROM t").fetchall()
    elif how == "log alone":
        path.with_name(f"{path.name}-shm").unlink()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may look into, as pytest's own may not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("how", ["closed", "killed", "log alone", "rollback"])
@pytest.mark.parametrize("may_write", [True, False])
def test_a_database_is_read_without_a_trace(open_folder: Path, how: str, may_write: bool) -> None:
    """A SQLite file is loaded with all its rows, in a folder that is read-only too, and no file is made there."""
    if not may_write and os.getuid() != 0:
        pytest.skip("only root can become a user who may not write")
    folder, scratch = open_folder / "backups", open_folder / "scratch"
    folder.mkdir()
    scratch.mkdir()
    path = folder / "x.sqlite"
    if how == "rollback":
        execute(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    else:
        in_wal_mode(path, how)
    before = {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["x.sqlite", *{"killed": ["x.sqlite-shm", "x.sqlite-wal"]}.get(how, [])] + (
        ["x.sqlite-wal"] if how == "log alone" else []
    )
    if may_write:
        load(path, scratch / "scratch.sqlite")
        assert ask(scratch / "scratch.sqlite", "SELECT count(*) FROM t") == [(1,)]
    else:
        scratch.chmod(0o777)
        done = subprocess.run(
            [*program("load_untouched"), path, scratch], capture_output=True, text=True, timeout=SECONDS
        )
        assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    assert sorted(file.name for file in folder.iterdir()) == names
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name in before} == before


def test_a_database_that_is_written_to_is_read_whole(tmp_path: Path) -> None:
    """A database that others have open is read as of one moment, and they go on."""
    path = tmp_path / "x.sqlite"
    with opened(path) as other:
        other.execute("PRAGMA journal_mode = WAL").fetchall()
        other.execute("CREATE TABLE t (x)")
        other.execute("INSERT INTO t VALUES (1)")
        load(path, tmp_path / "a.sqlite")
        other.execute("INSERT INTO t VALUES (2)")
        load(path, tmp_path / "b.sqlite")
    assert ask(tmp_path / "a.sqlite", "SELECT x FROM t") == [(1,)]
    assert ask(tmp_path / "b.sqlite", "SELECT x FROM t") == [(1,), (2,)]


def test_a_database_that_is_opened_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody began to write to while it was read is not taken for one moment."""
    path = tmp_path / "x.sqlite"
    in_wal_mode(path, "closed")
    others: list[sqlite3.Connection] = []

    @contextmanager
    def opened_by_others(resource: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with closing(resource):
            yield resource
            if not others:
                others.append(sqlite3.connect(path, isolation_level=None))
                others[0].execute("INSERT INTO t VALUES (2)")

    monkeypatch.setattr("hoox_tasks.database.untouched.closing", opened_by_others)
    try:
        with pytest.raises(Refused, match="was opened by somebody while it was read"):
            load(path, tmp_path / "scratch.sqlite")
    finally:
        for other in others:
            other.close()


def test_an_output_is_replaced_whole(ledger: LocalDatabase, tmp_path: Path) -> None:
    """A named file is replaced with its manifest; where that fails both stay, and speak of each other."""
    path = tmp_path / "out.sql"
    export(ledger, path)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("out*")}
    execute(ledger.path, "DELETE FROM trades")
    with full_disk(1000), pytest.raises(Refused, match="could not be written"):
        export(ledger, path)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("out*")} == before
    assert verification.check_file(path) is not None
    export(ledger, path)
    manifest = verification.check_file(path)
    assert manifest is not None
    assert manifest.tables["trades"].rows == 0
    assert sorted(file.name for file in tmp_path.glob("*out*")) == ["out.sql", "out.sql.json"]


def test_a_manifest_that_cannot_be_written_leaves_no_file(
    ledger: LocalDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export is there with its manifest, or not at all."""
    monkeypatch.setattr(records, "encode", lambda fields: b"x" * 1_000_000)
    folder = tmp_path / "backups"
    with full_disk(500_000), pytest.raises(Refused, match="could not be written"):
        export(ledger, backups.default_path(folder), reserve=True)
    assert [file.name for file in folder.iterdir()] == [".gitignore"]


def test_a_name_that_leaves_no_room_for_its_manifest_is_refused(
    ledger: LocalDatabase, tmp_path: Path
) -> None:
    """A name is refused before anything is read, where that of its manifest would be too long."""
    with pytest.raises(Refused, match="is too long"):
        export(ledger, tmp_path / f"{'x' * 250}.sql")
    assert not list(tmp_path.glob("x*"))


def test_a_backup_is_of_the_moment_that_is_held(ledger: LocalDatabase, tmp_path: Path) -> None:
    """While a moment is held, its backup has what was there before the change, and none of the change."""
    with ledger.holding() as moment:
        written = export(ledger, tmp_path / "held.sql", moment=moment)
        ledger.query("DELETE FROM trades", write=True)
        assert written.tables["trades"] == moment.tables["trades"] == 1
    assert ask(ledger.path, "SELECT count(*) FROM trades") == [(0,)]


def test_rows_that_refer_to_nothing_are_counted(ledger: LocalDatabase, tmp_path: Path) -> None:
    """Dangling rows are counted by export and check, beside a table whose key cannot be followed."""
    execute(
        ledger.path,
        "CREATE TABLE fills (id, trade REFERENCES trades (id)); INSERT INTO fills VALUES (1, 'no'), (2, 't');"
        "CREATE TABLE odd (x REFERENCES trades (status)); INSERT INTO odd VALUES (1);",
    )
    written = export(ledger, tmp_path / "b.sql")
    assert (written.verified, written.dangling) == (True, 1)
    with backups.checked(tmp_path / "b.sql", MIGRATIONS) as backup:
        assert backup.scratch.violations == 1
        assert backup.reservations == ["Rows in it refer to others that are not there: 1."]


def test_a_backup_says_which_ledger_it_is_of(ledger: LocalDatabase, tmp_path: Path) -> None:
    """What another ledger's backup is restored into is told whose it was, also one of the same name; that of a moved workspace is its own."""
    export(ledger, tmp_path / "b.sql")
    with backups.checked(tmp_path / "b.sql", MIGRATIONS) as backup:
        assert backup.other_source(ledger) == ""
        with closing(LocalDatabase(tmp_path / "other.sqlite", create=True, root=tmp_path)) as other:
            assert backup.other_source(other) == ledger.label
        twin = tmp_path / "twin"
        twin.mkdir()
        with closing(LocalDatabase(twin / "ledger.sqlite", create=True, root=twin)) as same:
            assert backup.other_source(same) == ledger.label
            ledger.path.rename(tmp_path / "gone.sqlite")
            assert backup.other_source(same) == ""


def test_what_is_not_of_one_moment_says_so(ledger: LocalDatabase, tmp_path: Path) -> None:
    """A backup that was read while somebody wrote is not verified, and whoever uses it is told."""
    path = tmp_path / "b.sql"
    export(ledger, path)
    proof = backups.manifest_path(path)
    proof.write_text(json.dumps(json.loads(proof.read_text()) | {"one_moment": False}))
    (listed,) = backups.find(tmp_path)
    assert not listed.verified
    with backups.checked(path, MIGRATIONS) as backup:
        assert backup.reservations == [
            f"It is not of one moment: {ledger.label} was written to while it was read."
        ]


def test_an_unverified_digest_is_not_a_proof_of_content(ledger: LocalDatabase, tmp_path: Path) -> None:
    """A backup that was never loaded is not called verified, and is compared by its digest alone."""
    export(ledger, tmp_path / "b.sql", verify=False)
    (listed,) = backups.find(tmp_path)
    assert not listed.verified
    assert listed.manifest is not None
    assert replace(listed.manifest, verified=True).tables["trades"].fingerprint == ""
    content = bytearray((tmp_path / "b.sql").read_bytes())
    content[10] ^= 1
    (tmp_path / "b.sql").write_bytes(content)
    with pytest.raises(HooxError, match="was changed since it was written"):
        verification.check_file(tmp_path / "b.sql")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_large_export_is_loaded_while_it_is_written(
    ledger: LocalDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    """The process that loads it begins before its end is there, and reads the file itself to that end."""
    with ledger.transaction():
        ledger.connection.executemany(
            "INSERT INTO system_logs (id, timestamp, level, service, message) VALUES (?, 1, 'INFO', 'x', ?)",
            [(f"log-{number}", f"line one\nline {number}") for number in range(20_000)],
        )
    begun_at: list[int] = []
    begin = verification._Process.__init__

    def seen(process: verification._Process, source: Path, *rest: Any) -> None:
        begun_at.append(source.stat().st_size)
        begin(process, source, *rest)

    monkeypatch.setattr(verification._Process, "__init__", seen)
    monkeypatch.setattr(verification, "_WORTH_A_PROCESS", 0)
    monkeypatch.setattr(exporting, "_AHEAD", 1)
    written = backups.export(
        ledger, tmp_path / "b.sql", compressed=compressed, migrations_table="d1_migrations"
    )
    assert written.verified
    (size,) = begun_at
    assert size < (tmp_path / "b.sql").stat().st_size
    with backups.checked(tmp_path / "b.sql", MIGRATIONS) as backup:
        assert backup.scratch.counts["system_logs"] == 20_000


def test_an_export_that_does_not_load_is_told_while_it_is_written(
    ledger: LocalDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file has something else than the ledger, the export fails, and leaves nothing."""
    write = dump.write_tables

    def spoiled(snapshot: Any, chosen: Any, output: dump.Write, **more: Any) -> dict[str, int]:
        output(b"INSERT INTO nowhere VALUES(1);\n")
        return write(snapshot, chosen, output, **more)

    monkeypatch.setattr(dump, "write_tables", spoiled)
    monkeypatch.setattr(verification, "_WORTH_A_PROCESS", 0)
    monkeypatch.setattr(exporting, "_AHEAD", 1)
    with pytest.raises(Refused, match="no such table: nowhere"):
        backups.export(ledger, tmp_path / "b.sql", migrations_table="d1_migrations")
    assert not list(tmp_path.glob("*b.sql*"))


@pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="needs /proc to look into another process"
)
def test_the_process_that_loads_a_dump_knows_no_secret_and_trusts_no_folder(
    ledger: LocalDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It imports nothing from the current folder, and has none of the variables that open a remote ledger."""
    export(ledger, tmp_path / "b.sql")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("json", "sqlite3", "hoox_tasks", "gzip", "sitecustomize"):
        (folder / f"{name}.py").write_text(f"open('imported-{name}', 'w').close()")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for name in ("CLOUDFLARE_API_TOKEN", "CF_API_TOKEN", "HOOX_X", "PYTHONPATH", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, f"{folder}-secret")
    seen: list[bytes] = []
    start = subprocess.Popen

    def looked(*command: Any, **how: Any) -> Any:
        process = start(*command, **how)
        # It waits for its input now; later it may have ended, and has no environment any more.
        seen.append(Path(f"/proc/{process.pid}/environ").read_bytes())
        return process

    monkeypatch.setattr(subprocess, "Popen", looked)
    monkeypatch.setattr(verification, "_WORTH_A_PROCESS", 0)
    with verification.loaded(tmp_path / "b.sql") as copy:
        assert copy.tables["trades"].rows == 1
    (environment,) = seen
    assert b"PATH=" in environment
    assert b"-secret" not in environment
    assert sorted(path.name for path in folder.iterdir() if not path.name.endswith(".py")) == []


@pytest.mark.parametrize(
    "definition",
    ["CREATE VIEW evil AS SELECT 1; DROP TABLE trades", "CREATE VIEW evil AS SELECT 1; DELETE FROM trades;"],
)
def test_a_definition_that_is_more_than_that_is_refused(
    ledger: LocalDatabase, tmp_path: Path, definition: str
) -> None:
    """Where somebody hid a statement behind an object's definition, nothing calls the file sound or restores it."""
    export(ledger, tmp_path / "b.sql")
    text = (tmp_path / "b.sql").read_text()
    row = f"INSERT INTO sqlite_schema VALUES('view', 'evil', 'evil', 0, '{definition}');"
    evil = f"PRAGMA writable_schema=ON;\n{row}\nPRAGMA writable_schema=OFF;\nCOMMIT;\n"
    (tmp_path / "evil.sql").write_text(text.replace("COMMIT;\n", evil))
    with (
        pytest.raises(Refused, match="The definition of the view evil is not one CREATE statement"),
        backups.checked(tmp_path / "evil.sql", MIGRATIONS),
    ):
        pass
