"""What the plugin's options, its marker and its knobs may say, and what they mean."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict

import pytest

from hoox_tasks.lazy import lazy_imports
from hoox_tasks.testing.recipe import Recipe

with lazy_imports():
    from hoox_tasks.config import settings
    from hoox_tasks.testing import templates as keeping

DEFAULT_SCENARIO = "quiet"

_WORKSPACE: pytest.StashKey[settings.Settings] = pytest.StashKey()
_TEMPLATES: pytest.StashKey[keeping.Templates] = pytest.StashKey()


class Choices(TypedDict, total=False):
    """What may be chosen of a ledger; what is left out is as for the test's other ledgers.

    `scenario` is None for a ledger without rows, `seed` and `start` are None for the scenario's own. `start`
    may be a text in ISO 8601. `now` moves all rows in time, so that the newest is of the moment at which the
    run began. `migrate_to` names the last migration to apply, as in "0001". `backup` is a file to make the
    ledger from, in place of a scenario.
    """

    scenario: str | None
    seed: int | None
    scale: float
    start: datetime | str | None
    now: bool
    migrate_to: str | None
    backup: str | Path | None


def checked(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Check choices, and bring them into one form.

    Raises `ValueError` with what is wrong about which.
    """
    known = Choices.__annotations__
    for name in choices:
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, 1)
            raise ValueError(f"there is no {name}{f', but there is {near[0]}' if near else ''}")
    return {name: _CHECKS[name](name, value) for name, value in choices.items()}


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, which is no text")
    return value


def _seed(name: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is {value!r}, which is no whole number from 0 on")
    return int(value)


def _scale(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{name} is {value!r}, which is no number above 0")
    return float(value)


def _start(name: str, value: object) -> datetime | None:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    if value is not None and not isinstance(value, datetime):
        raise ValueError(f"{name} is {value!r}, which is no datetime, nor a date in ISO 8601")
    return value


def _now(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, which is neither True nor False")
    return value


def _backup(name: str, value: object) -> Path | None:
    if value is not None and not isinstance(value, str | Path):
        raise ValueError(f"{name} is {value!r}, which is no path")
    return None if value is None else Path(value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "scenario": _text,
    "seed": _seed,
    "scale": _scale,
    "start": _start,
    "now": _now,
    "migrate_to": _text,
    "backup": _backup,
}


# -- the marker -----------------------------------------------------------------------------------


def chosen(item: pytest.Item) -> dict[str, Any]:
    """What the `hoox` markers of a test choose; the nearest wins, argument by argument.

    Raises `pytest.UsageError` where a marker has arguments that it does not take.
    """
    choices: dict[str, Any] = {}
    for marker in item.iter_markers("hoox"):
        try:
            choice = checked(_hoox(*marker.args, **marker.kwargs))
        except (TypeError, ValueError) as error:
            problem = str(error).replace("_hoox()", "it")
            raise pytest.UsageError(
                f"The hoox marker of {item.nodeid} is wrong: {problem}."
                " It takes hoox(scenario=None, *, seed=None, scale=None, start=None, now=None)."
            ) from None
        choices = {**choice, **choices}
    return choices


def _hoox(
    scenario: str | None = None,
    *,
    seed: int | None = None,
    scale: float | None = None,
    start: datetime | str | None = None,
    now: bool | None = None,
) -> dict[str, Any]:
    """Be the marker's signature: calling it with a marker's arguments tells whether they are right."""
    given = {"scenario": scenario, "seed": seed, "scale": scale, "start": start, "now": now}
    return {name: value for name, value in given.items() if value is not None}


# -- the command line and the ini file ------------------------------------------------------------


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


def workspace(config: pytest.Config) -> settings.Settings:
    """The settings of the workspace that rootdir is, as the tasks find them.

    A folder `migrations/` without any migration, as other tools have one, is passed over for ours. Raises
    `pytest.UsageError` where a folder is missing that the ini file names, and `Refused` where the wrangler
    config is wrong.
    """
    if _WORKSPACE not in config.stash:
        configured = {}
        for name, setting in (("hoox_migrations_dir", "migrations"), ("hoox_fixtures_dir", "fixtures")):
            if value := config.getini(name):
                folder = config.rootpath / str(value)
                if not folder.is_dir():
                    raise pytest.UsageError(f"{name} is {value}, but there is no folder {folder}.")
                configured[setting] = str(folder)
        # Tests have ledgers of their own: which database the workspace means does not matter here.
        target = settings.Target(path="ledger.sqlite")
        found = settings.load_settings(target, configured, cwd=config.rootpath)
        folder = found.migrations_dir
        if (
            "migrations" not in configured
            and folder == found.root.resolve() / "migrations"
            and folder.is_dir()
            and not any(folder.glob(found.migrations_pattern))
        ):
            found = found._replace(migrations_dir=settings.bundled("migrations"), migrations_pattern="*.sql")
        config.stash[_WORKSPACE] = found
    return config.stash[_WORKSPACE]


def recipe_of(
    config: pytest.Config,
    migrations_dir: Path | None = None,
    fixtures_dir: Path | None = None,
    anonymize: Callable[..., object] | None = None,
) -> Recipe:
    """What a test gets that chooses nothing. Raises as `workspace` does.

    A migrations folder other than the workspace's has wrangler's defaults.
    """
    found = workspace(config)
    folder = found.migrations_dir if migrations_dir is None else config.rootpath / migrations_dir
    own = folder == found.migrations_dir
    fixtures = found.fixtures_dirs[0] if fixtures_dir is None else config.rootpath / fixtures_dir
    return Recipe(
        migrations_dir=folder,
        migrations_pattern=found.migrations_pattern if own else "*.sql",
        migrations_table=found.migrations_table if own else settings.DEFAULT_MIGRATIONS_TABLE,
        fixtures_dirs=tuple(dict.fromkeys((fixtures, found.fixtures_dirs[-1]))),
        scenario=scenario_option(config),
        seed=seed_option(config),
        anonymize=anonymize,
        named=not own or bool(config.getini("hoox_migrations_dir")),
    )


# -- where things are kept ------------------------------------------------------------------------


def templates(config: pytest.Config) -> keeping.Templates:
    """The templates in pytest's cache folder; only in memory where there is no cache."""
    if _TEMPLATES not in config.stash:
        folder = None
        if (cache := _cache(config)) is not None:
            # Where it cannot be made, the templates say so when they want to keep one.
            folder = Path(str(cache._cachedir)) / "d" / "hoox"
            with contextlib.suppress(OSError):
                folder = cache.mkdir("hoox")
        config.stash[_TEMPLATES] = keeping.Templates(folder)
    return config.stash[_TEMPLATES]


def used_templates(config: pytest.Config) -> keeping.Templates | None:
    """The templates, where this run asked for any."""
    return config.stash.get(_TEMPLATES, None)


def kept_folder(config: pytest.Config) -> Path:
    """Where ledgers of failed tests are left: in pytest's cache, or else in a temporary folder."""
    try:
        if (cache := _cache(config)) is not None:
            return cache.mkdir("hoox-kept")
    except OSError:
        pass
    import tempfile

    return Path(tempfile.mkdtemp(prefix="hoox-kept-"))


def _cache(config: pytest.Config) -> pytest.Cache | None:
    return getattr(config, "cache", None)  # It is not there at all without its plugin.
