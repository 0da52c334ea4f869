"""Strangers and surroundings: other tools' folders, odd settings, read-only places, and failures as JSON."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from hoox_tasks.config.settings import Target, load_settings
from hoox_tasks.d1.client import D1Client
from hoox_tasks.d1.connection import _SURROUNDINGS
from hoox_tasks.database import dump
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import Migrations
from hoox_tasks.tasks import db
from tests.support.workspace import Workspace

WORKER = {"name": "w", "d1_databases": [{"binding": "DB", "database_name": "ledger", "database_id": "x"}]}


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("CREATE TABLE t (a);")
    return folder


def migrations_of(root: Path, **configured: str) -> Migrations:
    return Migrations.of(load_settings(Target(), configured, cwd=root, environ={}))


@pytest.mark.parametrize(
    ("names", "tool"),
    [
        (["migrations/env.py", "migrations/versions/3f_users.py"], "Alembic's"),
        (["migrations/V1__users.sql", "migrations/V10__more.sql"], "Flyway's"),
        (["migrations/__init__.py", "migrations/0001_initial.py"], "Django's"),
    ],
)
def test_another_tools_migrations_are_not_taken_for_ours(tmp_path: Path, names: list[str], tool: str) -> None:
    """The folder is named with the setting to use; whoever names it there means it."""
    make(tmp_path, *names)
    with pytest.raises(Refused, match=rf"migrations looks like {tool}.*hoox\.migrations\.$"):
        migrations_of(tmp_path)
    migrations_of(tmp_path, migrations="migrations")
    assert [
        file.name for file in migrations_of(make(tmp_path, "own/0001_a.sql"), migrations="own").files
    ] == ["0001_a.sql"]


def test_a_foreign_folder_leaves_no_ledger_behind(workspace: Workspace) -> None:
    """`inv db.apply` beside Flask-Migrate's folder makes nothing."""
    make(workspace.root, "migrations/env.py", "migrations/versions/3f_users.py")
    before = workspace.files()
    assert "Alembic's (Flask-Migrate)" in workspace.refused("db.apply")
    assert workspace.files() == before


def test_a_folder_of_migrations_that_is_not_there_yet_leaves_nothing(workspace: Workspace) -> None:
    """wrangler's `migrations_dir` before its folder: a sentence with the command that makes it, and no file."""
    worker = {**WORKER, "d1_databases": [{**WORKER["d1_databases"][0], "migrations_dir": "migrations"}]}  # type: ignore[dict-item]
    (workspace.root / "wrangler.jsonc").write_text(json.dumps(worker))
    before = workspace.files()
    assert "Make it with `inv db.migrate.new`" in workspace.refused("db.apply")
    assert workspace.files() == before
    workspace.ok("db.migrate.new", "customers")
    assert "0001_customers.sql" in workspace.ok("db.apply", "--no-seed").out


def test_databases_in_environments_only_are_named(tmp_path: Path) -> None:
    """Without --env there is no database to choose; a path needs none."""
    worker = {"name": "w", "env": {"production": {"d1_databases": WORKER["d1_databases"]}, "test": {}}}
    (tmp_path / "wrangler.jsonc").write_text(json.dumps(worker))
    for remote in (False, True):
        with pytest.raises(
            Refused, match=r"in environments only: production\. Choose one with --env or hoox\.env"
        ):
            load_settings(Target(remote=remote), {}, cwd=tmp_path, environ={})
    assert load_settings(Target(env="production"), {}, cwd=tmp_path, environ={}).name == "ledger"
    assert load_settings(Target(path="l.sqlite"), {}, cwd=tmp_path, environ={}).name == "l.sqlite"


def test_labels_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With wrangler it is the database's name, not the path of its file."""
    (tmp_path / "wrangler.jsonc").write_text(json.dumps(WORKER))
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Target(), {}, cwd=tmp_path, environ={})
    with closing(LocalDatabase(settings.path, name=settings.name, create=True)) as database:
        assert database.label == "ledger (local)"
        assert database.address == str(settings.path)
    with closing(LocalDatabase(tmp_path / "l.sqlite", create=True)) as database:
        assert database.label == "l.sqlite"


def test_a_ledger_beside_lands_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--into copy.sqlite` is a file of the current folder, and `~` the home."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with closing(LocalDatabase(tmp_path / "there" / "l.sqlite", create=True)) as database:
        for name in ("copy.sqlite", "~/copy.sqlite"):
            database.beside(name).close()
    assert (tmp_path / "here" / "copy.sqlite").exists()
    assert (tmp_path / "home" / "copy.sqlite").exists()


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[LocalDatabase]:
    """A ledger of 2,500 texts of which the last one but two is not UTF-8."""
    with closing(LocalDatabase(tmp_path / "l.sqlite", create=True)) as database:
        connection = database.connection
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"text {n}") for n in range(2500)))
        connection.execute("UPDATE t SET a = CAST(X'61FF' AS TEXT) WHERE id = 2497")
        yield database


@pytest.mark.parametrize("bad", [0, 1500, 2497])
def test_a_text_that_is_not_utf8_is_read_with_all_others(odd: LocalDatabase, bad: int) -> None:
    """Wherever it stands, every row comes once and in order, and its bytes are known."""
    odd.connection.execute("UPDATE t SET a = CAST(X'61FF' AS TEXT) WHERE id = ?", (bad,))
    expected = [(n, "a\udcff" if n in {bad, 2497} else f"text {n}") for n in range(2500)]
    assert list(odd.query("SELECT id, a FROM t ORDER BY id")) == expected
    changed = odd.query("UPDATE t SET id = id RETURNING id, a", write=True)
    assert sorted(changed) == expected


def test_a_text_that_is_not_utf8_is_shown_escaped_and_written_exactly(workspace: Workspace) -> None:
    """A table shows its bytes, CSV and an export have them."""
    workspace.ok("db.apply", "--no-seed")
    workspace.sql(
        "INSERT INTO system_logs (id, timestamp, level, service, message) VALUES ('x', 1, 'INFO', 's', CAST(X'61FF' AS TEXT))"
    )
    sql = "SELECT message FROM system_logs WHERE id = 'x'"
    assert workspace.ok("db.query", sql).out.splitlines()[2] == r"a\xff"
    with workspace.start("db.query", sql, "--format", "csv") as process:
        assert process.communicate(timeout=60)[0] == b"message\na\xff\n"


def test_a_ledger_in_a_folder_that_can_only_be_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in WAL mode, of which nobody has left a log: queried, listed and dumped, with nothing made beside it."""
    path = tmp_path / "l.sqlite"
    with closing(LocalDatabase(path, create=True)) as database:
        database.connection.execute("CREATE TABLE t (a)")
        database.connection.execute("INSERT INTO t VALUES (5)")
    assert path.read_bytes()[18:20] == b"\2\2"
    _make_read_only(tmp_path, monkeypatch)
    with closing(LocalDatabase(path)) as database:
        assert list(database.query("SELECT a FROM t")) == [(5,)]
        assert ("t", 1) in [(table.name, table.rows) for table in database.list_tables()]
        written: list[bytes] = []
        assert dump.dump(database, written.append) == {"t": 1}
        with pytest.raises(Refused, match="can only be read"):
            database.query("DELETE FROM t", write=True)
    assert [file.name for file in tmp_path.iterdir()] == ["l.sqlite"]
    tmp_path.chmod(0o755)


def test_a_log_in_a_folder_that_can_only_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the log would be missing, so the ledger is not read without it."""
    path = tmp_path / "l.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        log = Path(f"{path}-wal").read_bytes()
    Path(f"{path}-wal").write_bytes(log)
    _make_read_only(tmp_path, monkeypatch)
    with pytest.raises(Refused, match=r"has a write-ahead log beside it.*Copy both files"):
        LocalDatabase(path)
    tmp_path.chmod(0o755)


def _make_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):  # As root, who may write everywhere but on a read-only mount.
        monkeypatch.setattr("os.access", lambda *_: False)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NO_PROXY", "[::1]"),
        ("ALL_PROXY", "socks://127.0.0.1:1"),
        ("HTTPS_PROXY", "foo://x:y"),
        ("SSL_CERT_FILE", "/nowhere.pem"),
    ],
)
def test_wrong_variables_of_the_network_are_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy or a certificate that cannot be used is a sentence with its variable."""
    for name in _SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(
        Refused, match=rf"cannot be set up: .*Correct or unset what does not fit: {variable}\."
    ):
        D1Client("0" * 32, "a" * 40, base_url="https://api.test.invalid")


def test_a_port_that_is_none_is_refused(workspace: Workspace) -> None:
    """Neither `abc` nor 99999 can be one; the exit code is 2 and there is no traceback."""
    (port,) = (flag for flag in db.tasks["serve"].get_arguments() if flag.name == "port")
    with pytest.raises(Exit, match="--port abc is not a whole number") as caught:
        port.set_value("abc")
    assert caught.value.code == 2
    assert "There is no port 99999." in workspace.refused("db.serve", "--port", "99999")
    assert "--port abc is not a whole number." in workspace.refused("db.browse", "--port", "abc")


def test_a_broken_configuration_is_a_sentence(workspace: Workspace) -> None:
    """Invoke cannot read it, and says so without a traceback, with its place."""
    (workspace.root / "invoke.yaml").write_text("hoox: [\n")
    run = workspace.inv("db.list")
    assert run.code != 0
    assert "invoke.yaml does not parse, line 2: expected the node content" in run.err


FAILING = [
    (["db.query", "SELECT * FROM nowhere"], 2, "The SQL failed: no such table: nowhere"),
    (
        ["db.query", "INSERT INTO trades SELECT * FROM trades", "--write"],
        1,
        "The SQL failed: UNIQUE constraint",
    ),
    (["db.verify", "nowhere.sql"], 2, "nowhere.sql"),
    (["db.reset"], 2, "This wipes every row"),
    (["db.list", "--env", "nowhere"], 2, "environment nowhere"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), FAILING, ids=[case[0][0] for case in FAILING])
def test_a_failure_is_a_json_document_too(
    seeded: Workspace, arguments: list[str], code: int, says: str
) -> None:
    """With --json standard output holds one document: what is wrong, what to do, and the exit code."""
    run = seeded.inv(*arguments, "--json", code=code)
    assert says in run.json["error"]
    assert run.json["remedy"]
    assert run.json["exit"] == code
    assert run.json["changed"] is False


def test_a_write_in_json_tells_what_it_changed(seeded: Workspace) -> None:
    """Its rows, how many were changed, the recovery point, and nothing billed for a local ledger."""
    run = seeded.ok(
        "db.query", "UPDATE trades SET fee = 0 WHERE rowid <= 2 RETURNING fee", "--write", "--json"
    )
    assert run.json["results"] == [[{"fee": 0.0}, {"fee": 0.0}]]
    assert run.json["changes"] == 2
    assert run.json["rows_read"] is run.json["rows_written"] is None
    assert run.json["recovery_point"] in {
        point["id"] for point in seeded.ok("db.history", "--json").json["points"]
    }


def test_all_counts_of_a_ledger_agree(workspace: Workspace) -> None:
    """What is seeded is what is listed, exported, verified and restored."""
    seeded = sum(workspace.ok("db.apply", "--scenario", "quiet", "--json").json["seeded"].values())
    listed = sum(table["rows"] for table in workspace.ok("db.list", "--json").json["tables"])
    exported = workspace.ok("db.export", "--output", "b.sql").out
    verified = workspace.ok("db.verify", "b.sql", "--json").json["rows"]
    restored = workspace.ok("db.restore", "b.sql", "--confirm", "--json").json["rows"]
    assert {listed, verified, restored} == {seeded}
    assert exported.startswith(f"Exported {seeded:,} rows of ")
    assert workspace.ok("db.history").out.split()[-1] == f"{seeded:,}"


@pytest.mark.parametrize("program", ["invoke", "hoox_tasks"])
def test_in_a_bare_container_the_first_commands_run(workspace: Workspace, program: str) -> None:
    """Without a home, a language or any other variable, and with a home that nobody writes to, as in README."""
    query = "SELECT created_at, symbol, action, price, quantity FROM trades ORDER BY created_at DESC LIMIT 5"
    commands = [["db.apply"], ["db.query", query]] if program == "invoke" else [["db", "apply"]]
    workspace.home.chmod(0o500)
    for home in ("/nonexistent", str(workspace.home)) if program == "invoke" else ("/nonexistent",):
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", program, *command],
                cwd=workspace.root,
                env={"PATH": os.defpath, "HOME": home},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert list(workspace.home.iterdir()) == []
