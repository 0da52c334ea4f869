"""Which SQLite is here, which one is needed, and how to come by it."""

from __future__ import annotations

import sqlite3
from typing import Final

from hoox_tasks.errors import Refused

MINIMUM: Final = (3, 38)
"""The oldest SQLite that all tasks run on: it brought `unixepoch` and `format`, and JSON to all builds."""

SOURCES: Final = "the Pythons of uv and conda bring one, and python.org's for Windows and macOS"
"""Where a Python has its SQLite with it; on Linux most use the distribution's."""


def refuse_old(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise `Refused` where this Python's SQLite is too old for the tasks."""
    if version[:2] < MINIMUM:
        raise Refused(
            f"This Python's SQLite is {'.'.join(map(str, version))}, and hoox_tasks needs"
            f" {'.'.join(map(str, MINIMUM))} or newer.",
            f"Use a Python with a newer one: {SOURCES}.",
        )
