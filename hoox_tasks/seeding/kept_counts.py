"""How many rows the scenarios make that come along: counted once for each version of their files.

To count them all takes a second, to list them should take none. `inv docs` writes `counts.json` beside the
files; a count is used only for the very bytes of the file that it was made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from hoox_tasks.lazy import lazy_imports
from hoox_tasks.seeding.rows import GENERATOR_VERSION, TABLES
from hoox_tasks.seeding.scenario import find_scenarios, load_scenario

with lazy_imports():
    from hoox_tasks.seeding import generator

NAME = "counts.json"


def counts_of(name: str, folders: Sequence[Path]) -> dict[str, int]:
    """How many rows a scenario makes, by table, as `counts` says; raises `Refused` for no scenario."""
    file = find_scenarios(folders).get(name)
    kept = _read(file.with_name(NAME)).get(_digest(file)) if file else None
    if isinstance(kept, list) and len(kept) == len(TABLES) and all(isinstance(rows, int) for rows in kept):
        return dict(zip(TABLES, kept, strict=True))
    return generator.counts(load_scenario(name, folders))


def write(folder: Path) -> str:
    """Count all scenarios of a folder; returns what `counts.json` has to say of them."""
    found = {
        _digest(file): list(generator.counts(load_scenario(name, [folder])).values())
        for name, file in find_scenarios([folder]).items()
    }
    return json.dumps(found, indent=2) + "\n"


def _digest(file: Path) -> str:
    return hashlib.sha256(GENERATOR_VERSION.encode() + b"\0" + file.read_bytes()).hexdigest()


def _read(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
