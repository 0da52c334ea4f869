"""What people and programs read: results in several formats, progress, and the question before a change.

Results go to standard output and everything else to standard error, so that a pipe stays clean.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hoox_tasks.errors import Refused
from hoox_tasks.values import Progress

_program = "inv"


def printable(text: str, *, lines: bool = False) -> str:
    """Write out what would steer a terminal instead of being shown on it: ESC becomes \\x1b.

    With `lines`, line ends stay.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\u3000" or (lines and char == "\n") else _escaped(char)
        for char in text
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def speak_as(program: str) -> None:
    """Word commands for this program from now on: `inv`, or `hoox`, which has spaces for its dots."""
    global _program
    _program = program


def worded(text: str) -> str:
    """Word the commands in a text for the program that runs: `inv db.list`, or `hoox db list`."""
    if _program == "inv":
        return text
    return re.sub(
        r"\binv((?: --[a-z-]+)*)(?: (\.\.\.)| (db(?:\.[a-z]+)+))",
        lambda match: f"{_program}{match[1]} {match[2] or match[3].replace('.', ' ')}",
        text,
    )


def logged(text: str) -> str:
    """Let no text be a command to GitHub's runner, which reads what a job prints: `::` becomes \\x3a:.

    The runner obeys a line that begins with `::`, and `##[` anywhere
    (https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs).
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return text
    # A lone carriage return begins a line as well.
    return re.sub(r"(^|[\r\n])(\s*):(?=:)", r"\1\2\\x3a", text.replace("##[", r"#\x23["))


def tell_github(command: str) -> None:
    """Give a command to GitHub's runner, on standard error."""
    with suppress(OSError):
        sys.stderr.write(f"{command}\n")
        sys.stderr.flush()


def note(text: str) -> None:
    """Tell people something beside the result, on standard error.

    Where that is closed or full nobody can be told, and the work goes on.
    """
    with suppress(OSError):  # What cannot be written is told at the end of the task.
        sys.stdout.flush()
    with suppress(OSError):
        sys.stderr.write(f"{logged(printable(worded(text), lines=True))}\n")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """Say a time in the unit that suits it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def count(number: int, thing: str, things: str = "") -> str:
    """Say how many there are of a thing: `1 row`, `2,000 rows`, `2 balances`."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show progress on standard error once something takes longer than a second, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from tqdm import tqdm

    bar: tqdm[Any] | None = None

    def report(what: str, done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None or bar.unit != f" {what}":
            if bar is not None:
                bar.close()
            bar = tqdm(desc=title, total=total, unit=f" {what}", unit_scale=True, leave=False, delay=1)
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()


def confirm(name: str, question: str, *, confirmed: bool) -> None:
    """Go on only if `confirmed`, or if somebody at a terminal types `name`; raises `Refused` otherwise."""
    if confirmed:
        return
    if not sys.stdin.isatty() or os.environ.get("CI"):
        raise Refused(f"{question} Nobody is here to confirm that.", "Give --confirm if it is meant.")
    note(question)
    with suppress(OSError):
        sys.stderr.write(f"Type {name} to go on: ")
        sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise Refused("That was not the name, so nothing was changed.", "Run it again, or give --confirm.")
