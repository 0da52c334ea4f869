"""Runs Invoke with its arguments, then prints which of our modules have been executed, a line for each."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

from invoke.main import program


def executed() -> list[str]:
    """The modules of the package that were executed; one that waits for its first use is of another type.

    The file of a package that holds nothing but its docstring executes nothing.
    """
    found = [
        (name, Path(str(module.__file__)))
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] == "hoox_tasks" and type(module) is ModuleType
    ]
    return [name for name, file in found if len(ast.parse(file.read_text()).body) > 1]


if __name__ == "__main__":
    program.run(["inv", *sys.argv[1:]], exit=False)
    sys.stdout.flush()
    sys.stderr.write("".join(f"{name}\n" for name in executed()))
