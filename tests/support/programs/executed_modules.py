"""Runs Invoke with its arguments, then prints which of our modules have been executed, a line for each."""

from __future__ import annotations

import sys
from types import ModuleType

from invoke.main import program


def executed() -> list[str]:
    """The modules of the package that were executed; one that waits for its first use is of another type."""
    found = sorted(sys.modules.items())
    return [
        name for name, module in found if name.split(".")[0] == "hoox_tasks" and type(module) is ModuleType
    ]


if __name__ == "__main__":
    program.run(["inv", *sys.argv[1:]], exit=False)
    sys.stdout.flush()
    sys.stderr.write("".join(f"{name}\n" for name in executed()))
