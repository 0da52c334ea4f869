"""The reference of all tasks: a Markdown document written from their docstrings and flags."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from invoke.parser.argument import Argument
from invoke.tasks import Task


def write_task_reference(tasks: Mapping[str, Task[Any]], shared: Collection[str]) -> str:
    """Write what each task does, its flags and what it prints with --json, in Markdown.

    `tasks` are given by what people type, `shared` names the flags that most of them have.
    """
    taken = {name: task.get_arguments() for name, task in tasks.items()}
    arguments = {argument.name: argument for each in taken.values() for argument in each}
    lines = [
        "# All tasks",
        "",
        "Written by `inv docs` from the tasks; change those instead. `inv --help TASK` says the same, but for"
        " the fields of `--json`. Under `hoox` a task's dots are spaces: `hoox db list`.",
        "",
        "Most tasks take these flags as well:",
        "",
        *_table([arguments[flag] for flag in shared]),
    ]
    for name, task in tasks.items():
        text = inspect.cleandoc(task.__doc__ or "").split("\n\n")
        own = [argument for argument in taken[name] if argument.name not in shared]
        names = {argument.name for argument in taken[name]}
        places = "".join(f" {str(argument.name).upper()}" for argument in taken[name] if argument.positional)
        lines += ["", f"## {name}", "", f"`inv {name}{places}`", ""]
        lines += ["\n\n".join(paragraph.replace("\n", " ") for paragraph in text)]
        if own:
            lines += ["", *_table(own)]
        if "json" in names:
            contract = " ".join(getattr(task.body, "contract", "").split())
            lines += ["", f"`--json`: {contract}" if contract else "`--json`: one document."]
        missing = [f"`--{flag}`" for flag in shared if flag not in names]
        if missing:
            lines += ["", f"It does not take {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _flag(argument: Argument) -> str:
    if argument.takes_value:
        return f"{argument.name}={str(argument.name).upper()}"
    return f"[no-]{argument.name}" if argument.default is True else str(argument.name)


def _table(arguments: Iterable[Argument]) -> list[str]:
    rows = [
        f"| `--{_flag(argument)}` | {(argument.help or '').replace('|', '&#124;')} |"
        for argument in arguments
    ]
    return ["| flag | |", "| --- | --- |", *rows]
