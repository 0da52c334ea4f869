"""Commands in this process: as a user types them, without the start of a program for each.

What is about programs themselves (terminals, signals, pipes, several at once) needs `Workspace`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks.program import HooxProgram
from hoox_tasks.tasks import ns
from tests.support.workspace import Run, Workspace


class _Stream(io.TextIOWrapper):
    """A stream in memory, which can say that it is a terminal."""

    is_terminal = False

    def isatty(self) -> bool:
        return self.is_terminal


class QuickWorkspace(Workspace):
    """A workspace whose commands run in this process; misuse exits with 2, as with `hoox`.

    With `at_terminal` somebody seems to sit there, who types what is given as `stdin`.
    """

    at_terminal = False

    def inv(
        self,
        *arguments: str | bytes,
        stdin: str | bytes | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        code: int | None = None,
        **how: Any,
    ) -> Run:
        """Run a command to its end; with `code`, fail if it ends with another."""
        raw = stdin.encode() if isinstance(stdin, str) else stdin or b""
        out, err, given = (_Stream(io.BytesIO(content), "utf-8", newline="") for content in (b"", b"", raw))
        err.is_terminal = given.is_terminal = self.at_terminal
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr("sys.stdin", given)
            patch.chdir(cwd or self.root)
            environment = self.environment(env)
            for name in set(os.environ) - set(environment):
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            program = HooxProgram(version="1", namespace=ns, name="inv", binary="inv", binary_names=["inv"])
            number = 0
            try:
                program.run(["inv", *(os.fsdecode(argument) for argument in arguments)])
            except SystemExit as ended:
                number = int(ended.code or 0)
            shown = []
            for stream in (out, err):
                stream.flush()
                assert isinstance(stream.buffer, io.BytesIO)
                shown.append(stream.buffer.getvalue().decode())
        run = Run(number, *shown)
        if code is not None:
            assert run.code == code, run
        return run
