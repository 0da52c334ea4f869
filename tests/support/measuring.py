"""Whole commands measured in turns, and what was found written down for the page of documents.

Processor time is that of a command and of all the processes that it started, in user and system mode: of
several runs the least, so that what else a machine does decides little.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.programs import program

FOUND = "HOOX_BENCHMARK_FOUND"
"""The variable that names the file to which what was found is added, a line of JSON each."""
_ROUNDS = int(os.environ.get("HOOX_BENCHMARK_ROUNDS", "3"))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took: seconds of processors, seconds of the clock, bytes of its largest process."""

    processor: float
    wall: float
    memory: int


def run(command: str, folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run a command for the shell; it has to succeed."""
    done = subprocess.run(
        [*program("cost_of"), command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Cost(**json.loads(done.stdout))


def in_turns(ours: str, peer: str, folder: Path, environment: Mapping[str, str]) -> tuple[Cost, Cost]:
    """Run two commands in turns; returns the least that each took, and the most memory."""
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for _ in range(_ROUNDS):
        for found, command in zip(costs, (peer, ours), strict=True):
            found.append(run(command, folder, environment))
    theirs, own = (
        Cost(min(c.processor for c in found), min(c.wall for c in found), max(c.memory for c in found))
        for found in costs
    )
    return own, theirs


def note(work: str, peer: str, ours: Cost, theirs: Cost, bar: float, *, clock: bool = False) -> float:
    """Write down what was found, where that is asked for; returns the ratio of processor times, or by the clock.

    By the clock means that two processes, or the disk, are the point.
    """
    ratio = ours.wall / theirs.wall if clock else ours.processor / theirs.processor
    print(
        f"\n{work}: {ours.processor:.2f} s of processor, {ours.wall:.2f} s by the clock, {ours.memory / 1e6:.0f} MB;"
        f" {peer}: {theirs.processor:.2f} s, {theirs.wall:.2f} s; ratio {ratio:.2f}, at most {bar}"
    )
    if FOUND in os.environ:
        line = {"work": work, "peer": peer, "ours": asdict(ours), "theirs": asdict(theirs)}
        with Path(os.environ[FOUND]).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps({**line, 'ratio': ratio, 'bar': bar, 'clock': clock})}\n")
    return ratio
