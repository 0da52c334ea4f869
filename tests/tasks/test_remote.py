"""The runbook with --remote as a user types it, on the local D1 API."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hoox_tasks.server import create_app
from tests.support.d1_api import DATABASE, listening
from tests.support.workspace import INV, Workspace

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TOKEN = "right-and-very-secret-token"
LOOK = "only-for-looking-token"
ACCOUNT = "0123456789abcdef0123456789abcdef"


class Served:
    """The local D1 API on a port, which counts what it is asked, and can be told to answer otherwise."""

    hosts: set[str]
    token: str | None

    def __init__(self, app: Any) -> None:
        self._app = app
        self.hosts, self.token = app.hosts, app.token
        self.asked: list[str] = []
        self.page = b""
        self.base_url = ""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked.append(environ["PATH_INFO"].rpartition("/")[2])
        if self.page:
            start_response("200 OK", [("Content-Type", "text/html")])
            return [self.page]
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def env(self, **more: str) -> dict[str, str]:
        """The variables that lead a command here."""
        return {
            "CLOUDFLARE_API_BASE_URL": self.base_url,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
        } | more


@pytest.fixture
def configured(workspace: Workspace) -> Workspace:
    """A workspace whose wrangler config names the database."""
    binding = {"binding": "DB", "database_name": "ledger", "database_id": DATABASE}
    config = {"name": "worker", "d1_databases": [binding]}
    (workspace.root / "wrangler.jsonc").write_text(json.dumps(config))
    return workspace


@contextmanager
def serving(path: Path) -> Iterator[Served]:
    with closing(
        create_app(path, name="ledger", database_id=DATABASE, token=TOKEN, read_only_token=LOOK)
    ) as app:
        served = Served(app)
        with listening(served) as served.base_url:  # type: ignore[arg-type]
            yield served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An API over an empty ledger."""
    with serving(tmp_path / "empty.sqlite") as served:
        yield served


@pytest.fixture
def filled(tmp_path: Path, applied: Path) -> Iterator[Served]:
    """An API over a ledger as `inv db.apply` leaves it."""
    path = tmp_path / "remote.sqlite"
    path.write_bytes(applied.read_bytes())
    with serving(path) as served:
        yield served


def test_the_runbook(workspace: Workspace, configured: Workspace, tmp_path: Path) -> None:
    """From an empty database to a reset one, by `inv db.serve` and the commands of the runbook alone."""
    local = Workspace(tmp_path / "local", tmp_path / "home")
    local.ok("db.apply")
    remote = tmp_path / "served.sqlite"
    remote.touch()
    server = workspace.start("db.serve", "--port", "0", "--token", TOKEN, "--path", str(remote))
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline().decode() for _ in range(4)]
        (base_url,) = re.findall(r"CLOUDFLARE_API_BASE_URL=(\S+)", "".join(lines))
        env = {
            "CLOUDFLARE_API_BASE_URL": base_url,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
        }
        (found,) = re.findall(r"\(([0-9a-f-]{36})\)", lines[0])
        config = json.loads((workspace.root / "wrangler.jsonc").read_text())
        config["d1_databases"][0]["database_id"] = found
        (workspace.root / "wrangler.jsonc").write_text(json.dumps(config))

        def remote_ok(*arguments: str) -> Any:
            run = workspace.ok(*arguments, "--remote", env=env)
            host = base_url.split("/")[2]
            assert run.err.startswith(
                f"CLOUDFLARE_API_BASE_URL sends this, and the API token, to {host}.\n"
                f"On D1 database ledger ({found}) of account {ACCOUNT}:\n"
            )
            return run

        assert workspace.inv("db.migrate.status", "--check", "--remote", env=env).code == 1
        assert "Applied 0001_live_ledger.sql" in remote_ok("db.migrate").out
        assert "Nothing to do" in remote_ok("db.migrate").out
        assert remote_ok("db.migrate.status", "--json").json["up_to_date"] is True
        assert remote_ok("db.apply", "--json").json["seeded"] == {"system_logs": 2}
        assert "Nothing to do" in remote_ok("db.apply").out
        assert remote_ok("db.query", "SELECT count(*) AS n FROM trades", "--json").json == [{"n": 0}]
        # Made-up rows need a word more.
        refused = workspace.inv("db.seed", "--remote", env=env, code=2)
        assert "--confirm" in refused.err
        seeded = remote_ok("db.seed", "--confirm", "--json").json["tables"]
        listed = {table["name"]: table["rows"] for table in remote_ok("db.list", "--json").json["tables"]}
        assert listed == {**seeded, "system_logs": seeded["system_logs"] + 2}
        assert remote_ok("db.schema").out == local.ok("db.schema").out
        for format in ("table", "csv", "json", "tsv", "ndjson", "markdown"):
            # No REALs: D1's wire does not tell 1.0 from 1.
            query = "SELECT id, timestamp, symbol, status, order_id FROM trades ORDER BY id LIMIT 20"
            shown = remote_ok("db.query", query, "--format", format).out
            assert shown == local.ok("db.query", query, "--format", format).out
        update = "UPDATE trades SET fee = 0 WHERE price > ?"
        written = remote_ok("db.query", update, "--param", "0", "--write").err
        assert re.search(r"[1-9][0-9,]* changed, D1 read [0-9,]+ and wrote [1-9]", written)
        exported = remote_ok("db.export", "--json").json
        assert exported["tables"]["trades"] == seeded["trades"]
        before = remote_ok("db.list", "--json").json["tables"]
        reset = remote_ok("db.reset", "--confirm").out
        (backup,) = re.findall(r"to (backups/\S+\.sql)", reset)
        assert (workspace.root / backup).exists()
        empty = {table["name"]: table["rows"] for table in remote_ok("db.list", "--json").json["tables"]}
        assert set(empty.values()) == {0}
        assert remote_ok("db.migrate.status", "--json").json["up_to_date"] is True
        # The way back is what the receipt says, word for word; and that is a change as well.
        (way_back,) = re.findall(r"Take it back with `inv (.+)`\.", reset)
        undone = workspace.ok(*shlex.split(way_back), "--confirm", env=env).out
        assert remote_ok("db.list", "--json").json["tables"] == before
        (forth,) = re.findall(r"Take it back with `inv (.+)`\.", undone)
        workspace.ok(*shlex.split(forth), "--confirm", env=env)
        assert {table["rows"] for table in remote_ok("db.list", "--json").json["tables"]} == {0}
        restored = remote_ok("db.restore", backup, "--confirm").out
        assert re.search(r"Take it back with `inv db\.undo --to \S+ --remote`", restored)
        assert remote_ok("db.list", "--json").json["tables"] == before
        assert "is sound" in remote_ok("db.verify", backup).out
        assert "is sound" in remote_ok("db.verify", backup, "--exact").out
        assert [one["cause"].split(" to ")[0] for one in remote_ok("db.history", "--json").json["points"]][
            :4
        ] == ["db.restore", "undo", "undo", "db.reset"]
    finally:
        server.terminate()
        server.communicate(timeout=20)


def test_numbers_that_may_have_been_rounded(configured: Workspace, filled: Served) -> None:
    """An integer beyond 2^53 stands with a mark in a table, and a note below says what to select."""
    query = "SELECT 9007199254740993 AS big, 9007199254740991 AS good"
    run = configured.ok("db.query", query, "--remote", env=filled.env())
    assert run.out.splitlines()[-1].split() == ["≈9007199254740992", "9007199254740991"]
    assert "1 number beyond 2^53 may have been rounded" in run.err
    assert "1 row, D1 read 1 and wrote 0 in " in run.err
    run = configured.ok("db.query", "SELECT CAST(9007199254740993 AS TEXT)", "--remote", env=filled.env())
    assert "9007199254740993" in run.out
    assert "≈" not in run.out + run.err


FAILURES: dict[str, tuple[dict[str, str], int, str]] = {
    "no token": (
        {"CLOUDFLARE_API_TOKEN": ""},
        2,
        "There is no Cloudflare API token. Set",
    ),
    "a wrong token": (
        {"CLOUDFLARE_API_TOKEN": "wrong-and-very-secret-token"},
        1,
        "Cloudflare does not accept the API token",
    ),
    "no account": ({"CLOUDFLARE_ACCOUNT_ID": ""}, 2, "There is no Cloudflare account id."),
    "a broken account": ({"CLOUDFLARE_ACCOUNT_ID": "a/b"}, 2, "The account id 'a/b' cannot be right"),
    "no encryption": ({"CLOUDFLARE_API_BASE_URL": "http://192.0.2.1/v4"}, 2, "unencrypted"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_way_that_is_not_configured(configured: Workspace, filled: Served, case: str) -> None:
    """What is missing or wrong in the configuration is told in two sentences, without a token."""
    env, code, words = FAILURES[case]
    run = configured.inv("db.list", "--remote", env=filled.env(**env), code=code)
    assert words in run.err
    assert run.out == ""
    assert "secret" not in run.err
    if code == 2:
        assert filled.asked == []


def test_a_token_that_may_only_look(configured: Workspace, filled: Served) -> None:
    """With D1 Read, looking works; what would write names the permission that it needs."""
    env = filled.env(CLOUDFLARE_API_TOKEN=LOOK)
    for look in (("db.migrate.status",), ("db.list",), ("db.query", "SELECT 1"), ("db.schema",)):
        configured.ok(*look, "--remote", env=env)
    run = configured.inv("db.query", "DELETE FROM trades", "--write", "--remote", env=env)
    assert run.code != 0
    assert "D1 Edit" in run.err
    assert LOOK not in run.err


def test_an_unknown_database(workspace: Workspace, filled: Served) -> None:
    """A name that the account does not have is answered with the names that are near."""
    run = workspace.inv("db.list", "--remote", "--database", "legder", env=filled.env(), code=1)
    assert "has no D1 database called legder. Did you mean ledger?" in run.err


def test_an_unknown_id(workspace: Workspace, filled: Served) -> None:
    """An id that the account does not have is told with what to compare it with."""
    env = filled.env(INVOKE_HOOX_DATABASE_ID=DATABASE.replace("a", "b"))
    run = workspace.inv("db.list", "--remote", env=env, code=1)
    assert "wrangler d1 list" in run.err


def test_an_api_that_cannot_be_reached(configured: Workspace, filled: Served) -> None:
    """Where nothing listens, the host and the variable that names it are told."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    env = filled.env(CLOUDFLARE_API_BASE_URL=f"http://127.0.0.1:{port}/client/v4")
    run = configured.inv("db.list", "--remote", env=env, code=1)
    assert f"No connection to 127.0.0.1:{port}" in run.err
    assert "CLOUDFLARE_API_BASE_URL" in run.err


def test_a_portal_answers(configured: Workspace, filled: Served) -> None:
    """A web page in the API's place is named as that, and its HTML is not shown."""
    filled.page = b"<!doctype html><title>Log in</title>"
    run = configured.inv("db.list", "--remote", env=filled.env(), code=1)
    assert "A web page answered instead of D1's API (HTTP 200)" in run.err
    assert "<" not in run.err


@pytest.mark.parametrize("command", [("db.list",), ("db.query", "SELECT * FROM nowhere"), ("db.migrate",)])
def test_debug_never_shows_the_token(configured: Workspace, served: Served, command: tuple[str, ...]) -> None:
    """With `inv --debug`, whatever is logged holds no token, whether the command succeeds or fails."""
    for token in (TOKEN, "wrong-and-very-secret-token"):
        run = subprocess.run(
            [*INV, "--debug", *command, "--remote"],
            cwd=configured.root,
            env=configured.environment(served.env(CLOUDFLARE_API_TOKEN=token)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "invoke" in run.stderr
        assert token not in run.stdout + run.stderr


@pytest.mark.parametrize(
    "command",
    [("db.reset",), ("db.reset", "--no-backup"), ("db.seed",)],
)
def test_nobody_is_there_to_confirm(
    configured: Workspace, filled: Served, served: Served, command: tuple[str, ...]
) -> None:
    """Without a terminal and without --confirm, a ledger is neither wiped nor given made-up rows."""
    to = served if command[0] == "db.seed" else filled
    if command[0] == "db.seed":
        configured.ok("db.migrate", "--remote", env=to.env())
    to.asked.clear()
    said = configured.refused(*command, "--remote", env=to.env())
    assert "Give --confirm if it is meant." in said
    assert to.asked == (["raw"] if command[0] == "db.seed" else [])


def test_made_up_rows_are_not_put_beside_real_ones(configured: Workspace, filled: Served) -> None:
    """A remote ledger that holds trades is not seeded, confirmed or not."""
    for command in (("db.seed",), ("db.apply", "--scenario", "quiet")):
        said = configured.inv(*command, "--confirm", "--remote", env=filled.env(), code=2).err
        assert "holds trades already" in said


def test_dry_runs_change_nothing(configured: Workspace, served: Served, tmp_path: Path) -> None:
    """With --dry every remote task only tells what it would do."""
    for command in (
        ("db.apply",),
        ("db.migrate",),
        ("db.reset", "--confirm"),
        ("db.query", "CREATE TABLE t (a)", "--write"),
        ("db.export",),
    ):
        configured.ok("--dry", *command, "--remote", env=served.env())
    assert configured.sql("SELECT name FROM sqlite_schema", path=tmp_path / "empty.sqlite") == []
    assert not (configured.root / "backups").exists()


def test_an_export_that_fails_leaves_nothing(configured: Workspace, filled: Served) -> None:
    """An export that D1 does not finish leaves no file, not even a part of one."""
    original = filled._app

    def failing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].endswith(".sql"):
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error/>"]
        answer: Iterable[bytes] = original(environ, start_response)
        return answer

    filled._app = failing
    before = configured.files()
    run = configured.inv("db.export", "--remote", env=filled.env(), code=1)
    assert "The download of the file was answered with an error (HTTP 403)" in run.err
    assert configured.files() == before


def test_a_short_made_up_token_leaves_messages_alone(configured: Workspace, filled: Served) -> None:
    """A token of one letter, as one makes up for the local API, is not cut out of every word."""
    run = configured.inv("db.list", "--remote", env=filled.env(CLOUDFLARE_API_TOKEN="e"), code=1)
    assert "Cloudflare does not accept the API token" in run.err
