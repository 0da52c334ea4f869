"""A process that keeps writing to a ledger while it is changed, and knows what was acknowledged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import program

SECONDS = 60


class Writer:
    """A process that keeps writing; `acknowledged` are the numbers of its rows that were committed."""

    def __init__(self, path: Path, rate: int, insert: str) -> None:
        self.acknowledged: set[int] = set()
        self._process = subprocess.Popen(
            [*program("keep_writing"), str(path), str(rate), insert],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for_row(self) -> None:
        """Wait until one more row was acknowledged."""
        assert self._process.stdout is not None
        self.acknowledged.add(int(self._process.stdout.readline()))

    def stop(self) -> None:
        """Let it end, and take the rest of its numbers."""
        rest, _ = self._process.communicate("\n", timeout=SECONDS)
        self.acknowledged |= {int(line) for line in rest.splitlines()}


@contextmanager
def writing(path: Path, insert: str, *, rate: int = 100) -> Iterator[Writer]:
    """Have a process run `insert`, whose parameter is a number, on a ledger for a block."""
    writer = Writer(path, rate, insert)
    try:
        yield writer
    finally:
        writer.stop()
