"""A job's steps taken out of the YAML and run here, in order, as a runner on GitHub would.

Scripts run as they are, with files for outputs and summary, conditions, the status of the job, and signals
to the step's shell alone where somebody cancels. Actions of others are played: `checkout` does nothing,
`setup-python` gives a Python that installs the tool under test, `upload-artifact` keeps what it is given,
and fails as GitHub does where the run has an artifact of that name.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT
from tests.support.expressions import Expressions

WORKFLOW = ROOT / ".github/workflows/migrate.yml"
ACTION = ROOT / ".github/actions/migrate/action.yml"
INSTALL = ROOT / ".github/actions/install/action.yml"
CHECK = ROOT / ".github/workflows/check.yml"
SECONDS = 120
TO_SIGTERM, TO_SIGKILL = 7.5, 2.5
"""Seconds that a runner waits after each signal of a cancelled job
(https://github.com/actions/runner/blob/main/src/Runner.Sdk/ProcessInvoker.cs)."""


@dataclass
class Run:
    """A run of a workflow: its event, and the artifacts that its jobs have made by now."""

    event: str = "release"
    payload: Mapping[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)


@dataclass
class Job:
    """What came of a job: its exit code (of the step that failed), output, summary, outputs and steps."""

    status: str = "success"
    exit_code: int = 0
    output: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    job: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


Meanwhile = Mapping[str, Callable[[subprocess.Popen[str]], bool]]
"""What happens while a step (by its id or name) runs; true where the job is cancelled then."""


def load(path: Path) -> dict[Any, Any]:
    document = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def job_of(path: Path) -> dict[str, Any]:
    (job,) = load(path)["jobs"].values()
    assert isinstance(job, dict)
    return job


def steps_of(path: Path) -> list[dict[str, Any]]:
    document = load(path)
    steps = (job_of(path) if "jobs" in document else document["runs"])["steps"]
    assert isinstance(steps, list)
    return steps


def inputs_of(path: Path) -> dict[str, Any]:
    """The declared inputs with their defaults."""
    document = load(path)
    # YAML 1.1 reads the key `on` as true.
    declared = document[True]["workflow_call"]["inputs"] if "jobs" in document else document["inputs"]
    return {name: entry.get("default", "") for name, entry in declared.items()}


class Runner:
    """A machine that runs jobs; `tools` is a folder of programs, first on the path of every step."""

    def __init__(self, workspace: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.workspace = workspace
        self.temporary = folder / "runner"
        self.tools = folder / "tools"
        self._kept = folder / "artifacts"
        self._environment = environment
        for made in (self.temporary, self.tools, self._kept):
            made.mkdir()
        # The one thing that is not as on GitHub: nothing is installed, the tool under test is there already.
        python = self.tools / "python"
        hoox = Path(sys.executable).parent / "hoox"
        python.write_text(
            '#!/bin/sh\necho "python $*"\nif [ "$2" = -m ] && [ "$3" = venv ]; then\n  mkdir -p "$4/bin"\n'
            f'  cp "$0" "$4/bin/python"\n  ln -s "{hoox}" "$4/bin/hoox"\nfi\n'
        )
        python.chmod(0o755)

    def run(
        self,
        path: Path,
        run: Run,
        *,
        inputs: Mapping[str, Any],
        secrets: Mapping[str, str],
        meanwhile: Meanwhile | None = None,
    ) -> Job:
        """Run the job of a workflow, or the action in a job of its own."""
        github = {
            "run_id": 42,
            "run_attempt": 1,
            "event_name": run.event,
            "event": {"repository": {"private": True}, **run.payload},
            "repository": "owner/repository",
            "token": "ghs_of_the_job",
        }
        given = {name: Expressions({"github": github}).expand(value) if isinstance(value, str) else value
                 for name, value in inputs_of(path).items()}  # fmt: skip
        given |= inputs
        contexts = {
            "github": github,
            "inputs": given,
            "secrets": secrets,
            "runner": {"temp": str(self.temporary)},
        }
        job = Job()
        started = time.monotonic()
        if path != ACTION:
            declared = job_of(path)
            expressions = Expressions(contexts)
            environment = declared["environment"]
            job.job = {"environment": expressions.expand(environment)}
            if "concurrency" in declared:
                job.job["concurrency"] = expressions.expand(declared["concurrency"]["group"])
            steps = self._steps(path, contexts, job, run, meanwhile or {})
            contexts["steps"] = steps
            job.outputs = {
                name: Expressions(contexts).expand(value)
                for name, value in declared.get("outputs", {}).items()
            }
        else:
            given |= {"api-token": secrets["CLOUDFLARE_API_TOKEN"]}
            given |= {"account-id": secrets["CLOUDFLARE_ACCOUNT_ID"]}
            job.outputs = self._action(ACTION, contexts, given, job, run, meanwhile or {})
        job.seconds = time.monotonic() - started
        return job

    def _action(
        self,
        path: Path,
        outer: Mapping[str, Any],
        given: Mapping[str, Any],
        job: Job,
        run: Run,
        meanwhile: Meanwhile,
    ) -> dict[str, str]:
        """Run the steps of an action of ours; returns its outputs."""
        defaults = {name: Expressions(outer).expand(value) for name, value in inputs_of(path).items()}
        texts = {name: Expressions({}).expand(value) for name, value in given.items()}
        github = {**outer["github"], "action_path": str(path.parent)}
        contexts = {"github": github, "inputs": {**defaults, **texts}, "runner": outer["runner"]}
        steps = self._steps(path, contexts, job, run, meanwhile)
        expressions = Expressions({**contexts, "steps": steps})
        declared = load(path).get("outputs", {})
        return {name: expressions.expand(entry["value"]) for name, entry in declared.items()}

    def _steps(
        self, path: Path, contexts: Mapping[str, Any], job: Job, run: Run, meanwhile: Meanwhile
    ) -> dict[str, Any]:
        done: dict[str, Any] = {}
        for number, step in enumerate(steps_of(path)):
            name = step.get("id") or step.get("name", "")
            expressions = Expressions({**contexts, "steps": done}, job.status)
            outcome, outputs = "skipped", {}
            if expressions.holds(step.get("if", "success()")):
                before = job.status
                outputs = self._step(f"{path.stem}-{number}", step, expressions, job, run, meanwhile)
                outcome = "success" if job.status == before else job.status
            done[name] = {"outcome": outcome, "outputs": outputs}
            job.outcomes[name] = outcome
        return done

    def _step(
        self,
        key: str,
        step: dict[str, Any],
        expressions: Expressions,
        job: Job,
        run: Run,
        meanwhile: Meanwhile,
    ) -> dict[str, str]:
        given = {name: expressions.expand(value) for name, value in step.get("with", {}).items()}
        uses = step.get("uses", "").split("@")[0]
        if uses == "actions/upload-artifact":
            self._upload(given, job, run)
        elif uses == "actions/setup-python":
            assert given["update-environment"] == "false", "the caller's Python stays what it is"
            return {"python-path": str(self.tools / "python")}
        elif uses.startswith("$/"):
            # This very repository at the commit that runs, whoever calls it.
            path = ROOT / uses.removeprefix("$/") / "action.yml"
            return self._action(path, expressions.contexts, given, job, run, meanwhile)
        elif uses:
            assert uses == "actions/checkout", f"This runner does not know {uses}"
        else:
            return self.script(key, step, expressions, job, meanwhile)
        return {}

    def _upload(self, given: Mapping[str, str], job: Job, run: Run) -> None:
        path, name = Path(given["path"]), given["name"]
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        found = [file for file in files if not file.name.startswith(".")]  # As is its default.
        if name in run.artifacts or re.search(r'[":<>|*?\r\n\\/]', name):
            job.status, job.output = "failure", f"{job.output}Failed to CreateArtifact {name}: 409 or 400\n"
            job.exit_code = 1
        elif found:
            folder = self._kept / name
            folder.mkdir()
            run.artifacts[name] = {file.name: Path(shutil.copy(file, folder)) for file in found}
        else:
            assert given["if-no-files-found"] == "ignore", f"There is nothing to keep in {path}"

    def script(
        self, key: str, step: dict[str, Any], expressions: Expressions, job: Job, meanwhile: Meanwhile
    ) -> dict[str, str]:
        """Run the script of a step; returns its outputs."""
        assert step["shell"] == "bash"
        script, summary, outputs = (self.temporary / f"{key}.{end}" for end in ("sh", "md", "out"))
        for file in (summary, outputs):
            file.unlink(missing_ok=True)
        script.write_text(expressions.expand(step["run"]))
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace / expressions.expand(step.get("working-directory", ".")),
            env={
                "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.tools),
                "LANG": "C.UTF-8",
                **self._environment,
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(self.workspace),
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_OUTPUT": str(outputs),
                "RUNNER_TEMP": str(self.temporary),
                **{name: expressions.expand(text) for name, text in step.get("env", {}).items()},
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            act = meanwhile.get(step.get("id") or step.get("name", ""))
            cancelled = bool(act and act(process))
            output, _ = process.communicate(timeout=SECONDS)
        job.output += output
        job.summary += summary.read_text("utf-8") if summary.exists() else ""
        if cancelled:
            job.status = "cancelled"
        elif process.returncode:
            job.status = "failure" if job.status == "success" else job.status
        job.exit_code = job.exit_code or process.returncode
        return _outputs(outputs.read_text("utf-8") if outputs.exists() else "")


def _outputs(text: str) -> dict[str, str]:
    """What a step wrote to `$GITHUB_OUTPUT`: `name=value`, or `name<<END`, lines, and END."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if match := re.fullmatch(r"([\w-]+)<<(.+)", line):
            value = []
            for inner in lines:
                if inner == match[2]:
                    break
                value.append(inner)
            found[match[1]] = "\n".join(value)
        elif line:
            name, _, found[name] = line.partition("=")
    return found


def cancel(process: subprocess.Popen[str]) -> float:
    """End a step as a runner does whose job is cancelled, by signals to the shell; returns the seconds."""
    started = time.monotonic()
    for number, seconds in ((signal.SIGINT, TO_SIGTERM), (signal.SIGTERM, TO_SIGKILL)):
        process.send_signal(number)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if process.poll() is not None:
                return time.monotonic() - started
            time.sleep(0.02)
    process.kill()
    return time.monotonic() - started


def commands(output: str) -> list[str]:
    """The commands that a runner finds in what a job prints."""
    return re.findall(r"(?m)^\s*::[a-zA-Z].*|##\[.*", output)
