"""A pager for what is longer than the screen: on a terminal only, as in psql and git."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TextIO, cast

from hoox_tasks.console import pulse, terminal

_LESS = "FRX"
"""Options of less where $LESS has none, as git gives them: end on a short text, leave it on the screen."""


@contextmanager
def paged(output: TextIO, *, wanted: bool = True) -> Iterator[TextIO]:
    """Give what a block writes its result to: `output`, and a pager once that is longer than the screen.

    The pager is $PAGER, or `less`; there is none where $PAGER is empty or the terminal is dumb. A reader who
    leaves it early ends the block, without an error.
    """
    command = _command() if wanted and output.isatty() and sys.stdin.isatty() else []
    if not command:
        yield output
        return
    pages = _Pages(output, command)
    with ExitStack() as stack:
        pages.before_start = lambda: stack.enter_context(pulse.waiting())
        try:
            yield cast("TextIO", pages)
        except _Left:
            pass
        finally:
            pages.end()


def _command() -> list[str]:
    chosen = os.environ.get("PAGER")
    if chosen is not None:
        with suppress(ValueError):
            words = shlex.split(chosen)
            return words if words and shutil.which(words[0]) else []
        return []
    return ["less"] if os.environ.get("TERM", "dumb") != "dumb" and shutil.which("less") else []


class _Left(Exception):
    """The reader left the pager before the end."""


class _Pages(io.TextIOBase):
    """Holds back what fits on the screen; what is longer goes to the pager as it comes."""

    def __init__(self, output: TextIO, command: list[str]) -> None:
        self._output = output
        self._command = command
        self._held: list[str] = []
        self._columns, self._left = shutil.get_terminal_size()
        self._pager: subprocess.Popen[str] | None = None
        self.before_start: Callable[[], None] = lambda: None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the terminal."""
        return self._output.encoding

    def isatty(self) -> bool:
        """What is written is shown on one in the end."""
        return True

    def write(self, text: str) -> int:
        """Write text; raises `_Left` where nobody reads any more."""
        if self._pager is None:
            self._held.append(text)
            self._left -= sum(1 + len(line) // (self._columns + 1) for line in text.splitlines())
            # The last line of the screen is that of the note and the next prompt.
            if self._left > 1:
                return len(text)
            self._pager = self._start()
            if self._pager is None:
                self._left = sys.maxsize
                return len(text)
            text, self._held = "".join(self._held), []
        assert self._pager.stdin
        try:
            self._pager.stdin.write(text)
            self._pager.stdin.flush()
        except OSError:
            raise _Left from None
        return len(text)

    def end(self) -> None:
        """Show what was held back, or wait until the reader has left the pager."""
        if self._pager is None:
            self._output.write("".join(self._held))
            return
        assert self._pager.stdin
        with suppress(OSError):
            self._pager.stdin.close()
        while True:
            with suppress(KeyboardInterrupt):  # It belongs to the pager now.
                self._pager.wait()
                return

    def _start(self) -> subprocess.Popen[str] | None:
        self.before_start()
        self._output.flush()
        try:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                text=True,
                encoding=self._output.encoding,
                errors="backslashreplace",
                env={"LESS": _LESS, **os.environ},
            )
        except OSError as error:
            terminal.note(f"The pager {self._command[0]} cannot be started: {error.strerror}.")
            return None
