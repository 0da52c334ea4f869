"""What the plugin's options and its marker mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from datetime import datetime

    from hoox_tasks.config.settings import Settings
    from hoox_tasks.testing.ledgers import LedgerFactory
    from hoox_tasks.testing.templates import Recipe, Templates


DEFAULT_SCENARIO = "quiet"


LEDGERS: pytest.StashKey[LedgerFactory] = pytest.StashKey()
"""Where an item keeps the ledgers of its test, for what is said when it fails."""

_WORKSPACE: pytest.StashKey[Settings] = pytest.StashKey()
_TEMPLATES: pytest.StashKey[Templates] = pytest.StashKey()
_USED = "hoox/used"


def scenario_option(config: pytest.Config) -> str:
    """The scenario that the command line or the ini file names, or the default."""
    return str(config.getoption("hoox_scenario") or config.getini("hoox_scenario") or DEFAULT_SCENARIO)


def seed_option(config: pytest.Config) -> int | None:
    """The seed that the command line or the ini file gives; None where they leave it to the scenario.

    Raises `pytest.UsageError` where it is no whole number.
    """
    for name, value in (
        ("--hoox-seed", config.getoption("hoox_seed")),
        ("hoox_seed", config.getini("hoox_seed")),
    ):
        if value is not None and value != "":
            text = str(value).strip()
            if not (text.isascii() and text.isdigit()):
                raise pytest.UsageError(f"{name} is {value!r}. Give a whole number, 0 or more.")
            return int(text)
    return None


def workspace(config: pytest.Config) -> Settings:
    """The settings of the workspace that rootdir is, as the tasks find them.

    Raises `pytest.UsageError` where a folder is missing that the ini file names, and `Refused` where the
    wrangler config is wrong.
    """
    if _WORKSPACE not in config.stash:
        from hoox_tasks.config.settings import Target, load_settings

        configured = {}
        for name, setting in (("hoox_migrations_dir", "migrations"), ("hoox_fixtures_dir", "fixtures")):
            if value := config.getini(name):
                folder = config.rootpath / str(value)
                if not folder.is_dir():
                    raise pytest.UsageError(f"{name} is {value}, but there is no folder {folder}.")
                configured[setting] = str(folder)
        # Tests have ledgers of their own: which database the workspace means does not matter here.
        target = Target(path="ledger.sqlite")
        config.stash[_WORKSPACE] = load_settings(target, configured, cwd=config.rootpath)
    return config.stash[_WORKSPACE]


def default_recipe(config: pytest.Config) -> Recipe:
    """What a test gets that chooses nothing, in a suite that overrides nothing. Raises as `workspace`."""
    from hoox_tasks.testing.templates import Recipe

    settings = workspace(config)
    return Recipe(
        migrations_dir=settings.migrations_dir,
        migrations_pattern=settings.migrations_pattern,
        migrations_table=settings.migrations_table,
        fixtures_dirs=settings.fixtures_dirs,
        scenario=scenario_option(config),
        seed=seed_option(config),
    )


def templates(config: pytest.Config) -> Templates:
    """The templates in pytest's cache folder; in a temporary one where there is no cache."""
    if _TEMPLATES not in config.stash:
        from hoox_tasks.testing.templates import Templates

        config.stash[_TEMPLATES] = Templates(cache_folder(config, "hoox"))
        if (cache := _cache(config)) is not None and not are_used(config):
            cache.set(_USED, True)
    return config.stash[_TEMPLATES]


def are_used(config: pytest.Config) -> bool:
    """Tell whether an earlier run used the plugin."""
    cache = _cache(config)
    return cache is not None and bool(cache.get(_USED, False))


def cache_folder(config: pytest.Config, name: str) -> Path:
    """Give a folder of pytest's cache; where nothing can be kept, a temporary one."""
    try:
        if (cache := _cache(config)) is not None:
            return cache.mkdir(name)
    except OSError:
        pass
    import tempfile

    return Path(tempfile.mkdtemp(prefix=f"{name}-"))


def _cache(config: pytest.Config) -> pytest.Cache | None:
    return getattr(config, "cache", None)  # It is not there at all without its plugin.


def chosen(item: pytest.Item) -> dict[str, Any]:
    """What the `hoox` markers of a test choose; the nearest wins, argument by argument.

    Raises `pytest.UsageError` where a marker has arguments that it does not take.
    """
    choices: dict[str, Any] = {}
    for marker in item.iter_markers("hoox"):
        try:
            choice = _hoox(*marker.args, **marker.kwargs)
        except (TypeError, ValueError) as error:
            problem = str(error).replace("_hoox()", "it")
            raise pytest.UsageError(
                f"The hoox marker of {item.nodeid} is wrong: {problem}."
                " It takes hoox(scenario=None, *, seed=None, scale=None, start=None)."
            ) from None
        choices = {**{name: value for name, value in choice.items() if value is not None}, **choices}
    return choices


def _hoox(
    scenario: str | None = None,
    *,
    seed: int | None = None,
    scale: float | None = None,
    start: datetime | None = None,
) -> dict[str, Any]:
    """Be the marker's signature: calling it with a marker's arguments tells whether they are right."""
    from datetime import datetime

    if not isinstance(scenario, str | None):
        raise TypeError(f"scenario is {scenario!r}, which is no text")
    if not isinstance(seed, int | None) or isinstance(seed, bool) or (seed or 0) < 0:
        raise ValueError(f"seed is {seed!r}, which is no whole number from 0 on")
    if not isinstance(scale, int | float | None) or isinstance(scale, bool) or not (scale or 1) > 0:
        raise ValueError(f"scale is {scale!r}, which is no number above 0")
    if not isinstance(start, datetime | None):
        raise TypeError(f"start is {start!r}, which is no datetime")
    return {"scenario": scenario, "seed": seed, "scale": scale, "start": start}
