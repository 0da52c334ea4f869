"""Get the template of the scenario `quiet` once a line arrives.

`argv` is the folder of the templates, a file to which each build adds a line, and the folder that holds
`migrations` and `fixtures`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hoox_tasks.testing import building, templates
from hoox_tasks.testing.recipe import Recipe

folder, counter, root = map(Path, sys.argv[1:])
build = building.build


def counted(recipe: Recipe, path: Path) -> bytes:
    """Build it, and count that."""
    with counter.open("a") as file:
        file.write("built\n")
    return build(recipe, path)


building.build = counted
recipe = Recipe(root / "migrations", "*.sql", "d1_migrations", (root / "fixtures",), "quiet")
print("ready", flush=True)
sys.stdin.readline()
assert templates.Templates(folder).get(recipe).data
print("done")
