"""What is only needed by a few tasks, and only installed where somebody asks for it."""

from __future__ import annotations

from importlib.util import find_spec

from hoox_tasks.errors import Refused


def require(task: str, extra: str, *modules: str) -> None:
    """Go on only with all modules of an extra installed; raises `Refused` with the line that does it."""
    for module in modules:
        if find_spec(module) is None:
            raise Refused(
                f"`{task}` needs {module}, which is not installed.",
                f"Install it with `pip install 'hoox-tasks[{extra}]'`.",
            )
