"""The one gate for text from outside that people read: nothing in it steers a terminal or a job's log.

Names, texts, DDL, file names and messages of engines and servers may come from whoever wrote a backup, a
migration or a row. All that is written for people goes through here; tests/test_house.py sees to it.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TextIO

_COMMAND = r"(?m)^([ \t\u3000]*):(?=:)"
_OLD_COMMAND = r"(?i)##(?=\[|vso\[)"
"""What a runner takes out of a log and obeys: `::add-mask::x` at the start of a line, `##[add-mask]x` and
Azure's `##vso[...]` anywhere in it
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands)."""

_MARKUP = r"(?i)[\\`*\[\]<>&~|]|:(?=//)|(?<=www)\."


def printable(text: str, *, lines: bool = False) -> str:
    """Write out what would steer a terminal instead of being shown on it: ESC becomes \\x1b.

    With `lines`, the ends of lines stay, and tabs.
    """
    if text.isprintable() or (lines and text.replace("\n", "").isprintable()):
        return text
    text = text.replace("\r\n", "\n") if lines else text
    stays = "\n\t\u3000" if lines else "\u3000"
    return "".join(char if char.isprintable() or char in stays else _escaped(char) for char in text)


def disarmed(text: str) -> str:
    """Write out what the runner of a job would obey, where this runs in a job: `::` becomes `\\x3a:`."""
    if not in_job():
        return text
    return re.sub(_OLD_COMMAND, r"#\\x23", re.sub(_COMMAND, r"\1\\x3a", text))


def in_job() -> bool:
    """Whether a runner reads all output for its commands: GitHub's, those that are like it, or Azure's."""
    return os.environ.get("GITHUB_ACTIONS") == "true" or bool(os.environ.get("TF_BUILD"))


def shown(text: str) -> str:
    """Give a text of several lines as it may be shown to people."""
    return disarmed(printable(text, lines=True))


def unmarked(text: str) -> str:
    """Write a text so that Markdown shows it as it is: no markup, no HTML, and no link that nobody wrote."""
    return re.sub(_MARKUP, r"\\\g<0>", text)


class Gated:
    """An output that disarms what is written to it; what would steer a terminal was written out before."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.encoding: str = output.encoding

    def write(self, text: str) -> int:
        """Write a text of whole lines."""
        return self._output.write(disarmed(text))

    def isatty(self) -> bool:
        """Whether the output is a terminal."""
        return self._output.isatty()


def write(text: str) -> None:
    """Write a text for people to standard output, as it stands but for what is written out."""
    sys.stdout.write(shown(text))


def tell(text: str) -> None:
    """Write a text for people to standard error; where that is closed or full nobody can be told."""
    with suppress(OSError):
        sys.stderr.write(shown(text))
        sys.stderr.flush()


def command(text: str) -> None:
    """Write a command of ours, of one line, that the runner of a job is to obey."""
    with suppress(OSError):
        sys.stderr.write(re.sub(_OLD_COMMAND, r"#\\x23", printable(text)) + "\n")
        sys.stderr.flush()


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # A byte of a text that is not UTF-8.
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
