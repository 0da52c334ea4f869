"""What people and programs read: results in several formats, progress, and the question before a change.

Results go to standard output and everything else to standard error, so that a pipe stays clean.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from hoox_tasks.console import gate
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks.console import pulse

if TYPE_CHECKING:
    from hoox_tasks.values import Progress

ALL_FLAGS = frozenset({"--path", "--database", "--env", "--remote", "--preview"})
"""The flags that choose a ledger, which most tasks take."""
FEWER_FLAGS = {
    "db.backups": frozenset({"--env"}),
    "db.scenarios": frozenset({"--env"}),
    "db.migrate.new": frozenset({"--database", "--env"}),
    "db.serve": frozenset({"--path", "--database", "--env"}),
    "db.pull": ALL_FLAGS - {"--remote"},
}
"""The tasks that take fewer."""

_program = "inv"


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


def addressed(text: str, flags: Sequence[str]) -> str:
    """Let the commands in a text mean the ledger that these flags chose, as far as the tasks take them.

    `flags` are words of a command line, each flag with its value as `--path=x` or on its own.
    """

    def complete(match: re.Match[str]) -> str:
        words = match[1].split()
        if {"--remote", "--path"} & set(words):  # It says itself which ledger it means.
            return match[0]
        known = FEWER_FLAGS.get(match[2], ALL_FLAGS)
        more = []
        for flag in flags:
            name, _, value = flag.partition("=")
            if name in known and name not in words and shlex.quote(value) not in words:
                more.append(flag if not value or value.startswith("-") else f"{name} {shlex.quote(value)}")
        return f"`{' '.join([match[1], *more])}`"

    return re.sub(r"`(inv (?:--dry )?(db(?:\.[a-z]+)+)\b[^`]*)`", complete, text) if flags else text


def note(text: str) -> None:
    """Tell people something beside the result, on standard error.

    Where that is closed or full nobody can be told, and the work goes on.
    """
    with suppress(OSError):  # What cannot be written is told at the end of the task.
        sys.stdout.flush()
    gate.tell(f"{worded(text)}\n")


def duration(seconds: float) -> str:
    """Say a time in the unit that suits it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def age(seconds: float) -> str:
    """Say how long ago something was, in whole ones of the largest unit that fits."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


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
    counted = ""

    def report(what: str, done: int, total: int | None) -> None:
        nonlocal bar, counted
        if bar is None or what != counted:
            if bar is not None:
                bar.close()
            unit = f" {gate.printable(what)}"
            bar = tqdm(desc=title, total=total, unit=unit, unit_scale=True, leave=False, delay=1)
            counted = what
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()


def somebody_is_there() -> bool:
    """Whether a person can be asked: there is a terminal to read the question from, and it is not CI."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def confirm(name: str, question: str, *, confirmed: bool) -> None:
    """Go on only if `confirmed`, or if somebody at a terminal types `name`; raises `Refused` otherwise."""
    if confirmed:
        return
    if not sys.stdin.isatty() or os.environ.get("CI"):
        raise Refused(f"{question} Nobody is here to confirm that.", "Give --confirm if it is meant.")
    note(question)
    gate.tell(f"Type {name} to go on: ")
    with pulse.waiting():
        typed = sys.stdin.readline().strip()
    if typed != name:
        raise Refused("That was not the name, so nothing was changed.", "Run it again, or give --confirm.")
