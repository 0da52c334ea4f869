"""Every task on a ledger, migrations and files whose every name and text means harm to whoever reads of them."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks import ns
from hoox_tasks.config.settings import bundled
from hoox_tasks.program import HooxProgram
from hoox_tasks.server import create_app
from tests.support.d1_api import ACCOUNT, DATABASE, listening

HARM = (
    "x\x1b]52;c;QUJD\x07\x9b2J\u202e\n::add-mask::y\n \u3000::set-output name=a::b\n##[add-mask]z ##vso[task]"
)
"""Steers a terminal (its clipboard, its screen, the direction of text), GitHub's runner and Azure's."""
NAME = '"' + HARM + '"'
TASKS = sorted(
    aliases[0] if aliases else name for name, aliases in ns.task_names.items() if name.startswith("db.")
)
ARGUMENTS: dict[str, list[list[str]]] = {
    "db.apply": [["--no-seed"], ["--scenario", HARM]],
    "db.migrate": [["--rehearse", "--check"], ["--to", HARM], ["--allow-data-loss=" + HARM]],
    "db.migrate.status": [["--check"]],
    "db.migrate.new": [[HARM]],
    "db.migrate.mark": [["0004"], [HARM], [HARM, "--forget"]],
    "db.query": [
        [f"SELECT * FROM {NAME}"],
        [f"SELECT * FROM {NAME}", "--format", "markdown"],
        [f"SELECT * FROM {NAME}", "--format", "ndjson"],
        [f"SELECT {NAME} FROM nowhere"],
        [f"DELETE FROM {NAME}"],
        [f"INSERT INTO {NAME} VALUES (1, 1)", "--write"],
        [HARM],
        [f"@{HARM}"],
        ["SELECT 1", "--format", HARM],
        ["SELECT 1", "--timeout", HARM],
    ],
    "db.list": [["--all"], ["--database", HARM], ["--env", HARM], ["--path", HARM]],
    "db.reset": [["--confirm"]],
    "db.export": [["--table", HARM], ["--table", "nowhere" + HARM], ["--output", HARM]],
    "db.verify": [[f"backups/{HARM}.sql"], [f"backups/{HARM}.sql", "--live"], ["damaged.sql"], ["dump.sql"]],
    "db.restore": [
        [f"backups/{HARM}.sql", "--confirm"],
        ["damaged.sql", "--confirm"],
        ["dump.sql", "--confirm"],
        [f"backups/{HARM}.sql", "--tables", HARM, "--confirm"],
        [f"backups/{HARM}.sql", "--into", HARM.replace("/", "_")],
    ],
    "db.backups": [["--prune", "--keep", "1"], ["--prune", "--keep", HARM]],
    "db.release": [["--smoke", f"SELECT * FROM {NAME}"], ["--smoke", HARM]],
    "db.undo": [["--confirm"], ["--to", HARM, "--confirm"]],
    "db.serve": [["--port", "0"], ["--port", "0", "--token", HARM]],
    "db.browse": [["--port", "0"]],
    "db.report": [["--output", HARM], ["--since", HARM]],
    "db.seed": [["--scenario", HARM]],
}
"""What else a task is given than its required arguments; a task that is not here is run with those alone."""
TYPED = f".tables\n.schema\n.schema {NAME}\nSELECT * FROM {NAME};\n.{HARM}\n"


def run(arguments: list[str]) -> None:
    """Run `hoox` in this process."""
    HooxProgram(namespace=ns, name="hoox", binary="hoox", binary_names=["hoox"]).run(
        ["hoox", *arguments], exit=False
    )


def make(folder: Path) -> None:
    """Make a workspace of harm in a folder: a ledger, a pending migration, backups, a recovery point."""
    shutil.copytree(bundled("migrations"), folder / "migrations")
    (folder / "migrations" / f"0003_{HARM}.sql").write_text(
        f"-- {HARM.splitlines()[0]}\nCREATE TABLE {NAME} ({NAME} TEXT, b INTEGER CHECK (b > 0));\n"
        f"INSERT INTO {NAME} VALUES ('{HARM}', 1);\nCREATE INDEX \"i{HARM}\" ON {NAME} (b);\n"
        f'CREATE VIEW "v{HARM}" AS SELECT {NAME} FROM {NAME};\n'
        f"INSERT INTO system_logs (timestamp, level, service, message) VALUES (1, 'ERROR', 'a', '{HARM}');\n"
    )
    (folder / "fixtures").mkdir()
    (folder / "fixtures" / f"{HARM}.toml").write_text("description = 'x\\u001b'\n[[")
    run(["db", "apply", "--no-seed"])
    run(["db", "export", "--output", f"backups/{HARM}.sql"])
    run(["db", "query", f"DELETE FROM {NAME}", "--write"])
    (folder / "damaged.sql").write_text(f"CREATE TABLE t (a);\nINSERT INTO {NAME} VALUES (1);\n")
    (folder / "dump.sql").write_text(f"CREATE TABLE {NAME} (a REFERENCES {NAME} (b));\n")
    (folder / "migrations" / f"0004_{HARM}.sql").write_text(f'ALTER TABLE {NAME} ADD COLUMN {NAME[:-1]}c";\n')
    (folder / "wrangler.toml").write_text("name = 'w'\n")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace of harm, not to be changed."""
    folder = tmp_path_factory.mktemp("harm")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(folder))
            make(folder)
        with closing(sqlite3.connect(folder / ".hoox" / "local.sqlite")) as connection:
            assert (HARM,) in connection.execute("SELECT name FROM sqlite_schema").fetchall()
        yield folder
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def served(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A remote ledger of harm: the variables that lead to it."""
    path = tmp_path_factory.mktemp("served") / "l.sqlite"
    with (
        closing(sqlite3.connect(template / ".hoox" / "local.sqlite")) as source,
        closing(sqlite3.connect(path)) as target,
    ):
        source.backup(target)
    with closing(create_app(path, name=HARM, database_id=DATABASE)) as app, listening(app) as base:
        yield {
            "CLOUDFLARE_API_BASE_URL": base,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": "any",
            "INVOKE_HOOX_DATABASE_ID": DATABASE,
        }


def harmless(text: str) -> None:
    """Assert that nothing in a text would be obeyed, but our own annotation."""
    assert [char for char in text if not (char.isprintable() or char in "\n\t\u3000")] == []
    lines = [line for line in text.split("\n") if not line.startswith("::error")]
    assert [line for line in lines if line.strip().startswith("::")] == []
    assert not re.search(r"##(\[|vso\[)", text)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_that_a_task_says_steers_a_terminal_or_a_job(
    template: Path,
    served: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    task: str,
) -> None:
    """Whatever stands in names, rows, files, errors and arguments, a task writes it out; so do its summaries."""
    folder = tmp_path / "work"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    harm = {
        "HOME": str(tmp_path),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    for name, value in {**served, **harm}.items():
        monkeypatch.setenv(name, value)
    # What serves until Ctrl-C is given that as soon as it begins.
    monkeypatch.setattr("werkzeug.serving.BaseWSGIServer.serve_forever", _interrupt)
    monkeypatch.setattr("uvicorn.Server.run", _interrupt)
    flags = {flag for argument in ns[task].get_arguments() for flag in argument.names}
    required = [HARM for argument in ns[task].get_arguments() if argument.positional]
    words = task.split(".")
    runs = [[*words, *arguments] for arguments in [required, *ARGUMENTS.get(task, [])]]
    runs += [["--dry", *words, *required], ["--debug", *words, *required]]
    runs += [[*runs[1 if len(runs) > 3 else 0], "--json"]] * ("json" in flags)
    runs += [[*runs[1 if len(runs) > 3 else 0], "--remote"]] * ("remote" in flags)
    for arguments in runs:
        (tmp_path / "typed").write_text(TYPED)
        with (tmp_path / "typed").open() as typing:
            monkeypatch.setattr("sys.stdin", typing)
            run(arguments)
        harmless("".join(capfd.readouterr()))
        if (folder / "summary.md").exists():
            harmless((folder / "summary.md").read_text())


@pytest.mark.parametrize("task", ["db.migrate", "db.release", "db.apply", "db.check"])
def test_nothing_in_a_migration_that_fails_steers_a_terminal_or_a_job(
    template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    task: str,
) -> None:
    """The excerpt of a migration that fails, with its error and its file's name, is written out."""
    folder = tmp_path / "work"
    shutil.copytree(template, folder)
    (folder / "migrations" / f"0004_{HARM}.sql").write_text(f"CREATE TABLE m (a);\nSELECT {NAME} FROM m;\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    run(task.split("."))
    said = "".join(capfd.readouterr())
    assert "0004_x\\x1b" in said
    harmless(said)
    if task == "db.release":
        harmless((folder / "summary.md").read_text())


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
