"""A job's steps taken out of the YAML and run here, in order, as a runner on GitHub would.

Steps that are actions (`uses:`) are not run; `actions/upload-artifact` is read for what it would keep.
Expressions are what these files need: contexts, texts, `||`, `==` and `always()`.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT

WORKFLOW = ROOT / ".github/workflows/migrate.yml"
ACTION = ROOT / ".github/actions/migrate/action.yml"
SECONDS = 120


@dataclass
class Job:
    """What came of a job: its exit code (of the step that failed), output, summary, and kept files."""

    exit_code: int = 0
    output: str = ""
    summary: str = ""
    artifact: str = ""
    kept: dict[str, Path] = field(default_factory=dict)


def load(path: Path) -> dict[Any, Any]:
    document = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def steps_of(path: Path) -> list[dict[str, Any]]:
    document = load(path)
    runs = document["jobs"]["migrate"] if "jobs" in document else document["runs"]
    steps = runs["steps"]
    assert isinstance(steps, list)
    return steps


def inputs_of(path: Path) -> dict[str, Any]:
    """The declared inputs with their defaults."""
    document = load(path)
    # YAML 1.1 reads the key `on` as true.
    declared = document[True]["workflow_call"]["inputs"] if "jobs" in document else document["inputs"]
    return {name: entry.get("default", "") for name, entry in declared.items()}


def expand(text: Any, contexts: Mapping[str, Mapping[str, Any]]) -> str:
    """Put values in the place of `${{ ... }}`."""

    def value(expression: str) -> str:
        if " == " in expression:
            left, right = expression.split(" == ")
            return str(value(left) == value(right)).lower()
        for part in expression.split("||"):
            word = part.strip()
            if word.startswith("'"):
                found: Any = word.strip("'")
            elif re.fullmatch(r"[a-z]+\.[\w-]+", word):
                context, name = word.split(".", 1)
                found = contexts[context].get(name, "")
            else:
                raise AssertionError(f"An expression that this runner does not know: {word}")
            if found not in ("", None, False):
                return str(found).lower() if found is True else str(found)
        return "false" if found is False else ""

    if isinstance(text, bool):
        return str(text).lower()
    return re.sub(r"\$\{\{(.*?)\}\}", lambda match: value(match.group(1)), str(text))


def run(
    path: Path,
    workspace: Path,
    temporary: Path,
    *,
    inputs: Mapping[str, Any],
    secrets: Mapping[str, str],
    environment: Mapping[str, str],
    event: str = "release",
) -> Job:
    """Run a file's steps in a workspace; `environment` is the runner's own, `event` what started the job."""
    github = {"run_id": 42, "run_attempt": 1, "event_name": event}
    given = {name: expand(default, {"github": github}) for name, default in inputs_of(path).items()}
    given |= {name: expand(value, {}) for name, value in inputs.items()}
    if path == ACTION:
        given |= {
            "api-token": secrets["CLOUDFLARE_API_TOKEN"],
            "account-id": secrets["CLOUDFLARE_ACCOUNT_ID"],
        }
    contexts: dict[str, Mapping[str, Any]] = {
        "inputs": given,
        "secrets": secrets,
        "vars": {},
        "github": github,
        "strategy": {"job-index": "0"},
        "runner": {"temp": str(temporary)},
    }
    job = Job()
    for number, step in enumerate(steps_of(path)):
        if job.exit_code and "always()" not in str(step.get("if", "")):
            continue
        if "upload-artifact" in step.get("uses", ""):
            job.artifact = expand(step["with"]["name"], contexts)
            folder = Path(expand(step["with"]["path"], contexts))
            job.kept = {file.name: file for file in folder.rglob("*") if file.is_file()}
        if "run" not in step:
            continue
        assert step["shell"] == "bash"
        script, summary = temporary / f"step-{number}.sh", temporary / f"summary-{number}.md"
        script.write_text(expand(step["run"], contexts))
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=workspace / expand(step.get("working-directory", "."), contexts),
            env={
                **environment,
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(workspace),
                "GITHUB_STEP_SUMMARY": str(summary),
                "RUNNER_TEMP": str(temporary),
                **{name: expand(text, contexts) for name, text in step.get("env", {}).items()},
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        job.output += done.stdout
        job.summary += summary.read_text("utf-8") if summary.exists() else ""
        job.exit_code = job.exit_code or done.returncode
    return job


def runner_environment(tools: Path, **more: str) -> dict[str, str]:
    """The environment of a runner's shell; `tools` come first on its path."""
    return {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "HOME": str(tools), "LANG": "C.UTF-8", **more}
