"""What `inv --list` and `inv --help` say."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.tasks import Task

from hoox_tasks import ns
from tests.support.workspace import Workspace


def tasks(collection: Collection, prefix: str = "") -> Iterator[tuple[str, Task[Any]]]:
    for name, task in collection.tasks.items():
        yield f"{prefix}{name}", task
    for name, below in collection.collections.items():
        yield from tasks(below, f"{prefix}{name}.")


TASKS = dict(tasks(ns))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_and_every_flag_has_a_sentence(name: str) -> None:
    """The first line of a task's help is a sentence, and so is each flag's."""
    task = TASKS[name]
    first = (task.__doc__ or "").split("\n", 1)[0]
    assert first[:1].isupper(), first
    assert first.endswith("."), first
    for argument in task.get_arguments():
        assert argument.help, argument.name
        assert argument.help[0].isupper(), argument.help
        assert argument.help.endswith("."), argument.help


@pytest.mark.parametrize("name", TASKS)
def test_help_fits_a_terminal(name: str) -> None:
    """Invoke prints a docstring as it stands, two columns in: below its first, no line passes 80."""
    lines = inspect.cleandoc(TASKS[name].__doc__ or "").splitlines()
    assert max(map(len, lines[1:]), default=0) <= 78, lines


def test_the_list_fits_a_terminal_and_is_complete(workspace: Workspace) -> None:
    """All tasks are listed, one sentence each, in 80 columns."""
    shown = workspace.ok("--list").out
    assert max(map(len, shown.splitlines())) <= 80
    words = shown.split()
    for name, task in TASKS.items():
        assert name in words
        sentence = (task.__doc__ or "").split("\n", 1)[0]
        assert "".join(sentence.split()) in "".join(words)


def test_the_help_of_a_task_reads_well(workspace: Workspace) -> None:
    """Usage, what it does and every flag stand in 80 columns."""
    shown = workspace.ok("--help", "db.query").out
    assert max(map(len, shown.splitlines())) <= 80
    for flag in ("--sql", "--format", "--param", "--write", "--path", "--database", "--env", "--json"):
        assert f"  {flag}" in shown
