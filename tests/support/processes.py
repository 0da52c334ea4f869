"""Programs that run at the same time, or are killed in the middle; a disk that is full."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import program

SECONDS = 120


def run_at_once(folder: Path, *works: tuple[str, str]) -> list[str]:
    """Run works of the program `at_once` at the same time, each with its name; gives what each printed."""
    running = [
        subprocess.Popen(
            [*program("at_once"), work, str(folder), mine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for work, mine in works
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(len(running)) as pool:
        ended = list(pool.map(lambda process: process.communicate("\n", timeout=SECONDS), running))
    for process, (_, complaint) in zip(running, ended, strict=True):
        assert process.returncode == 0, complaint
    return [printed for printed, _ in ended]


@contextmanager
def killed_after(command: Sequence[str]) -> Iterator[None]:
    """Run a program for a block, from when it has said that it is ready, and kill it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.kill()


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let no file become larger than so many bytes."""
    usual, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, handler)
