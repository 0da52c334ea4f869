"""Programs that tests run in processes of their own: `subprocess.run([*program("hold_lock"), path])`."""

from __future__ import annotations

import sys
from pathlib import Path


def program(name: str) -> list[str]:
    """The command that runs one of the programs of this folder; its arguments follow."""
    return [sys.executable, str(Path(__file__).with_name(f"{name}.py"))]
