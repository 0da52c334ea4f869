"""`inv` inside of this process: what a user types, without the time that it takes to start."""

from __future__ import annotations

import pytest
from invoke.program import Program

from hoox_tasks import ns
from tests.support.workspace import Run


class Inside:
    """Runs `inv` in the current folder; what it prints is captured."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> Run:
        self._capfd.readouterr()
        code = 0
        try:
            Program(namespace=ns, name="inv", binary="inv").run(["inv", *words])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self._capfd.readouterr()
        assert "Traceback" not in err, err
        return Run(code, out, err)

    def ok(self, *words: str) -> Run:
        """Run `inv`, which must succeed."""
        run = self(*words)
        assert run.code == 0, run
        return run

    def refused(self, *words: str) -> str:
        """Run `inv`, which must refuse and print no result; returns what it says."""
        run = self(*words)
        assert (run.code, run.out) == (2, ""), run
        return run.err
