"""What the processes get that a task starts beside itself, of the same Python."""

from __future__ import annotations

import os

_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT")


def environment() -> dict[str, str]:
    """Give the variables that such a process needs: none that holds a token, or changes what Python does."""
    return {name: value for name, value in os.environ.items() if name in _INHERITED}
