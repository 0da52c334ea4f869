"""The `hoox` section of Invoke's configuration, with its paths as the files that name them mean them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invoke.config import Config

from hoox_tasks.config.settings import PATHS

_LEVELS = ("modifications", "overrides", "runtime", "env", "project", "user", "system", "collection")
"""Where Invoke has its configuration from; the first that has a value wins
(https://docs.pyinvoke.org/en/stable/concepts/configuration.html#config-hierarchy).
"""


def resolve_paths(config: Config, values: dict[str, Any]) -> dict[str, Any]:
    """Let a relative path of a configuration file count from the folder of that file.

    `values` is the `hoox` section. What no file names (a variable, the code of a collection) stays relative.
    """
    resolved = dict(values)
    for name in PATHS:
        file = _file_with(config, name)
        if file and isinstance(values.get(name), str) and not values[name].startswith("~"):
            resolved[name] = str(file.parent / values[name])
    return resolved


def _file_with(config: Config, name: str) -> Path | None:
    """Find the configuration file that a setting's value comes from; None where it is from none."""
    for level in _LEVELS:
        section = getattr(config, f"_{level}", {}).get("hoox") or {}
        if section.get(name) is not None:
            file = getattr(config, f"_{level}_path", None)
            return Path(file).absolute() if file else None
    return None
