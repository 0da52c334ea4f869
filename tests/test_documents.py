"""The documents say what happens: their commands run, the outputs are theirs, their Python passes."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from invoke.exceptions import Exit

from tests.support import ROOT, npm, workflow_steps
from tests.support.documents import (
    DOCUMENTS,
    README,
    SECONDS,
    blocks,
    masked,
    prose,
    runnable,
    session,
    tried,
)

MKDOCS = ROOT / "docs/mkdocs.yml"
TEXTS = {document: document.read_text("utf-8") for document in DOCUMENTS}


@pytest.mark.parametrize(
    "document", [document for document, text in TEXTS.items() if runnable(text)], ids=lambda path: path.name
)
def test_every_command_prints_what_stands_below_it(document: Path) -> None:
    """Every command of a document, run in its order, prints what the document says, but for times and sizes."""
    with session() as workspace:
        for block in runnable(TEXTS[document]):
            for command, expected in block.commands:
                output = workspace.run(command, remote=block.directive == "remote")
                assert masked(output) == masked(expected), command


def test_a_changed_output_is_noticed() -> None:
    """What is left out of the comparison is no more than times, sizes and spaces."""
    assert masked("5 rows in 2 ms") == masked("5 rows in 31 ms")
    assert masked("5 rows in 2 ms") != masked("6 rows in 2 ms")
    assert masked("Wiped a (3 ms)") != masked("Wiped b (3 ms)")


def test_the_tests_that_are_shown_pass(tmp_path: Path) -> None:
    """Every test that a document shows passes in a folder with nothing but its document's Python."""
    for document, text in TEXTS.items():
        shown = [block.text for block in blocks(text) if block.language == "python" and tried(block)]
        tests = [python for python in shown if "def test_" in python]
        if not tests:
            continue
        folder = tmp_path / document.stem
        folder.mkdir()
        for number, python in enumerate(tests):
            (folder / f"test_shown_{number}.py").write_text(python)
        (folder / "conftest.py").write_text("".join(python for python in shown if python not in tests))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-W", "error", str(folder)],
            cwd=folder,
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["quickstart", "tests"])
def test_the_two_lines_are_where_ci_takes_them_from(name: str) -> None:
    """The quick start and the line that runs the tests are one line each, behind their marks, and CI runs them."""
    assert re.search(rf"<!-- {name} -->\n```sh\n[^\n]+\n```\n", TEXTS[README])
    assert f"$(readme_line {name})" in (ROOT / ".ci/run").read_text("utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_block_is_left_untried(document: Path) -> None:
    """Every fenced block of a document, in whatever language, is tried or says why it is not."""
    text = TEXTS[document]
    found = blocks(text)
    assert [
        block.text for block in found if not tried(block) and not block.directive.startswith("not run: ")
    ] == []
    # A fence that is indented, quoted or without a language would be no block to us, though it is to GitHub.
    assert not re.search(r"^[ \t>]*(?:```|~~~)", prose(text), re.M)


def called(document: Any) -> Iterator[dict[str, Any]]:
    """Give every job and every step of a workflow that uses something of ours."""
    for item in (
        document.values() if isinstance(document, dict) else document if isinstance(document, list) else []
    ):
        yield from called(item)
    if isinstance(document, dict) and str(document.get("uses", "")).startswith("OWNER/REPOSITORY/"):
        yield document


def test_the_workflows_shown_call_what_is_there() -> None:
    """The documents' YAML gives the workflow and the action inputs and secrets that they have, and all they need."""
    calls = [
        call
        for text in TEXTS.values()
        for block in blocks(text)
        if block.language == "yaml" and tried(block)
        for call in called(yaml.safe_load(block.text))
    ]
    files = [ROOT / call["uses"].removeprefix("OWNER/REPOSITORY/").removesuffix("@COMMIT") for call in calls]
    files = [file / "action.yml" if file.is_dir() else file for file in files]
    assert files == [workflow_steps.WORKFLOW, workflow_steps.ACTION, workflow_steps.CHECK]
    for file, call in zip(files, calls, strict=True):
        declared = workflow_steps.load(file)
        interface = declared[True]["workflow_call"] if "jobs" in declared else declared
        given, inputs = call["with"].keys(), interface["inputs"]
        assert given <= inputs.keys()
        assert given >= {name for name, entry in inputs.items() if entry.get("required")}
        assert call.get("secrets", {}).keys() <= interface.get("secrets", {}).keys()


def test_every_input_is_in_the_documents() -> None:
    """The table of inputs has every input of the workflow with its default; the action has the same ones."""
    inputs = workflow_steps.inputs_of(workflow_steps.WORKFLOW)
    text = TEXTS[ROOT / "docs/releases.md"]
    table = text[text.index("| input | default") :].split("\n\n", 1)[0]
    rows = {
        name: default
        for names, defaults in re.findall(r"^\| (`.*?`) \| (.*?) ?\|", table, re.M)
        for name, default in zip(names.split(", "), defaults.split(", "), strict=True)
    }
    for name, default in inputs.items():
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert rows[f"`{name}`"].strip("`") == ("(required)" if name == "database" else shown), name
    own = {"deployment", "rehearsal-deployment", "runner", "timeout-minutes"}
    action = workflow_steps.inputs_of(workflow_steps.ACTION).keys()
    assert inputs.keys() - action == own
    assert {name.strip("`") for name in rows} == inputs.keys() | action - {
        "api-token",
        "account-id",
        "github-token",
    }


def test_the_repository_has_one_address() -> None:
    """Documents and workflows name the repository as pyproject.toml does, which `inv address` keeps so."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    address = project["project"]["urls"]["Repository"]
    own = address.removeprefix("https://github.com/")
    texts = {**TEXTS, **{path: path.read_text("utf-8") for path in (ROOT / ".github").rglob("*.yml")}}
    assert yaml.load(MKDOCS.read_text("utf-8"), yaml.BaseLoader)["repo_url"] == address
    named = {
        match
        for text in texts.values()
        for match in re.findall(r"(\S+?)/(?:\.github/(?:actions|workflows)/)[\w.]+@", text)
    }
    named |= {
        match
        for text in texts.values()
        for match in re.findall(r"git\+https://github\.com/([\w-]+/[\w-]+)", text)
    }
    assert named == {own}


MERMAID = {"private": True, "dependencies": {"mermaid": "11.12.0", "jsdom": "26.1.0"}}


def test_the_diagrams_are_diagrams() -> None:
    """Mermaid itself, which GitHub draws with, can read every diagram of the documents, and no broken one."""
    packages = npm.install(MERMAID)
    shown = [block.text for text in TEXTS.values() for block in blocks(text) if block.language == "mermaid"]
    done = subprocess.run(
        ["node", ROOT / "tests/support/mermaid.mjs", packages],
        input=json.dumps([*shown, "flowchart TD\n a[open --> b"]),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    *types, broken = done.stdout.splitlines()
    assert types == ["flowchart-v2", "er"]
    assert "error" in broken


def test_the_pages_of_the_site_link_to_what_is_there(tmp_path: Path) -> None:
    """A page of the site leads to pages, the rest is in the repository, and a link to nothing is no page."""
    as_page = runpy.run_path(str(ROOT / "tasks.py"))["as_page"]
    pages = {path.name: as_page(path) for path in DOCUMENTS if path == README or path.parent == ROOT / "docs"}
    assert "](operators.md#make-a-ledger)" in pages["README.md"]
    assert "](https://github.com/OWNER/REPOSITORY/blob/main/CONTRIBUTING.md)" in pages["README.md"]
    assert "](https://github.com/OWNER/REPOSITORY/blob/main/fixtures/" in pages["market.md"]
    assert "](market/demo.svg)" in pages["market.md"]
    assert len(yaml.load(MKDOCS.read_text("utf-8"), yaml.BaseLoader)["nav"]) == len(pages)
    page = tmp_path / "page.md"
    page.write_text("[a](https://example.com) [b](#place) ![c](nothing.svg)\n")
    with pytest.raises(Exit, match=r"nothing\.svg, which is not there"):
        as_page(page)


def test_every_task_is_in_the_readme() -> None:
    """There is no task that the README does not name."""
    from hoox_tasks.tasks import ns

    written = "".join(TEXTS.values())
    for task in ns.task_names:
        short = task.replace("db.migrate.apply", "db.migrate")
        assert short in written or short.replace(".", " ") in written, short
