"""The README says what happens: its commands run, its outputs are theirs, its Python passes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme import README, SECONDS, blocks, masked, runnable, session

TEXT = README.read_text("utf-8")


def test_every_command_prints_what_stands_below_it() -> None:
    """Every command of the README, run in its order, prints what the README says, but for times and sizes."""
    with session() as workspace:
        for block in runnable(TEXT):
            for command, expected in block.commands:
                output = workspace.run(command, remote=block.directive == "remote")
                assert masked(output) == masked(expected), command


def test_a_changed_output_is_noticed() -> None:
    """What is left out of the comparison is no more than times, sizes and spaces."""
    assert masked("5 rows in 2 ms") == masked("5 rows in 31 ms")
    assert masked("5 rows in 2 ms") != masked("6 rows in 2 ms")
    assert masked("Wiped a (3 ms)") != masked("Wiped b (3 ms)")


def test_the_tests_of_the_readme_pass(tmp_path: Path) -> None:
    """Every test that the README shows passes in a folder with nothing but it."""
    shown = [block.text for block in blocks(TEXT) if block.language == "python" and "def test_" in block.text]
    assert shown
    for number, text in enumerate(shown):
        (tmp_path / f"test_shown_{number}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", str(tmp_path)],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["quickstart", "tests"])
def test_the_two_lines_are_where_ci_takes_them_from(name: str) -> None:
    """The quick start and the line that runs the tests are one line each, behind their marks."""
    assert re.search(rf"<!-- {name} -->\n```sh\n[^\n]+\n```\n", TEXT)


def test_every_task_is_in_the_readme() -> None:
    """There is no task that the README does not name."""
    from hoox_tasks.tasks import ns

    for task in ns.task_names:
        short = task.replace("db.migrate.apply", "db.migrate")
        assert short in TEXT or short.replace(".", " ") in TEXT, short
