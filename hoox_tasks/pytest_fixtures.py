"""The fixtures of the pytest plugin, and what its options and its marker mean to them.

Nothing heavy is imported before a test asks for a ledger. A suite overrides any of the small fixtures
(`hoox_scenario`, `hoox_seed`, ...) by defining one of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from datetime import datetime

    from sqlite_utils import Database

    from hoox_tasks.config import Settings
    from hoox_tasks.templates import Recipe, Templates
    from hoox_tasks.testing import LedgerDifference, LedgerFactory, LocalD1, QueryRecorder

DEFAULT_SCENARIO = "quiet"

_T = TypeVar("_T")

LEDGERS = pytest.StashKey["LedgerFactory"]()
"""Where an item keeps the ledgers of its test, for what is said when it fails."""

_WORKSPACE = pytest.StashKey["Settings"]()
_TEMPLATES = pytest.StashKey["Templates"]()
_USED = "hoox/used"


# -- options and marker ---------------------------------------------------------------------------


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
        from hoox_tasks.config import Target, load_settings

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
    from hoox_tasks.templates import Recipe

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
        from hoox_tasks.templates import Templates

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


# -- knobs, to be overridden by name --------------------------------------------------------------


@pytest.fixture(scope="session")
def hoox_scenario(pytestconfig: pytest.Config) -> str:
    """The scenario of tests whose marker names none."""
    return scenario_option(pytestconfig)


@pytest.fixture(scope="session")
def hoox_seed(pytestconfig: pytest.Config) -> int | None:
    """The seed of tests whose marker gives none; None leaves it to `faker_seed`, then to the scenario."""
    return seed_option(pytestconfig)


@pytest.fixture(scope="session")
def hoox_scale() -> float:
    """How many times the scenario's rows, for tests whose marker does not say."""
    return 1


@pytest.fixture(scope="session")
def hoox_start() -> datetime | None:
    """The first moment of the rows, for tests whose marker does not say; None for the scenario's own."""
    return None


@pytest.fixture(scope="session")
def hoox_migrations_dir(pytestconfig: pytest.Config) -> Path:
    """The folder of the migrations that ledgers are made with."""
    return _refusing(lambda: workspace(pytestconfig)).migrations_dir


@pytest.fixture(scope="session")
def hoox_fixtures_dir(pytestconfig: pytest.Config) -> Path:
    """The folder of the project's own scenarios; those that come with the plugin are there as well."""
    return _refusing(lambda: workspace(pytestconfig)).fixtures_dirs[0]


# -- ledgers --------------------------------------------------------------------------------------


@pytest.fixture
def hoox_db_factory(
    request: pytest.FixtureRequest,
    hoox_scenario: str,
    hoox_seed: int | None,
    hoox_scale: float,
    hoox_start: datetime | None,
    hoox_migrations_dir: Path,
    hoox_fixtures_dir: Path,
) -> Iterator[LedgerFactory]:
    """Make any number of ledgers: `hoox_db_factory(scenario=, seed=, scale=, start=, migrate_to=, path=)`."""
    from hoox_tasks.testing import LedgerFactory

    choices = _refusing(lambda: chosen(request.node))
    seed = choices.get("seed", hoox_seed)
    if seed is None and "faker_seed" in request.fixturenames:
        seed = _faker_seed(request.getfixturevalue("faker_seed"))
    factory = LedgerFactory(
        templates(request.config),
        _recipe(
            request.config,
            hoox_migrations_dir,
            hoox_fixtures_dir,
            scenario=choices.get("scenario", hoox_scenario),
            seed=seed,
            scale=choices.get("scale", hoox_scale),
            start=choices.get("start", hoox_start),
        ),
    )
    request.node.stash[LEDGERS] = factory
    yield factory
    factory.close()


@pytest.fixture
def hoox_db(hoox_db_factory: LedgerFactory) -> Database:
    """A migrated and seeded ledger in memory, this test's own, as a `sqlite_utils.Database`."""
    return hoox_db_factory()


@pytest.fixture
def hoox_empty_db(hoox_db_factory: LedgerFactory) -> Database:
    """A migrated ledger in memory without any rows, this test's own."""
    return hoox_db_factory(scenario=None)


@pytest.fixture
def hoox_db_path(hoox_db_factory: LedgerFactory, tmp_path: Path) -> Path:
    """A migrated and seeded ledger as a file, for code that opens it itself; this test's own."""
    return hoox_db_factory.file(tmp_path / "ledger.sqlite")


@pytest.fixture
def hoox_db_url(hoox_db_path: Path) -> str:
    """The URL of `hoox_db_path` as SQLAlchemy wants it."""
    return f"sqlite:///{hoox_db_path.as_posix()}"


@pytest.fixture
def hoox_d1(hoox_db_path: Path) -> Iterator[LocalD1]:
    """A running local D1 API over `hoox_db_path`, with url, token, ids, env, app and client."""
    from hoox_tasks.testing import running_d1

    with running_d1(hoox_db_path) as d1:
        yield d1


@pytest.fixture(scope="session")
def hoox_template(
    pytestconfig: pytest.Config,
    hoox_scenario: str,
    hoox_seed: int | None,
    hoox_scale: float,
    hoox_start: datetime | None,
    hoox_migrations_dir: Path,
    hoox_fixtures_dir: Path,
) -> Iterator[Database]:
    """One seeded ledger for the whole run, which nobody can write to."""
    import sqlite_utils

    recipe = _recipe(
        pytestconfig,
        hoox_migrations_dir,
        hoox_fixtures_dir,
        scenario=hoox_scenario,
        seed=hoox_seed,
        scale=hoox_scale,
        start=hoox_start,
    )
    connection = _refusing(lambda: templates(pytestconfig).get(recipe)).connect()
    database = sqlite_utils.Database(connection)
    connection.execute("PRAGMA query_only = ON")
    yield database
    connection.close()


# -- assertions -----------------------------------------------------------------------------------


@pytest.fixture
def hoox_db_diff(request: pytest.FixtureRequest) -> Callable[..., LedgerDifference]:
    """Tell which rows the test added, changed and removed: `hoox_db_diff()["trades"].added`.

    Without an argument it is about the test's only ledger; otherwise give the database or the path.
    """

    def difference(ledger: Database | Path | None = None) -> LedgerDifference:
        __tracebackhide__ = True
        from contextlib import closing

        from hoox_tasks.testing import compare

        factory: LedgerFactory = request.getfixturevalue("hoox_db_factory")
        found = [each for each in factory.ledgers if ledger is None or ledger in (each.database, each.path)]
        if len(found) != 1:
            what = "which of them is meant" if found else "a ledger of this test's"
            pytest.fail(f"The test has {len(factory.ledgers)} ledgers. Give hoox_db_diff() {what}.")
        with closing(found[0].template.connect()) as before, found[0].opened() as now:
            return compare(before, now)

    return difference


@pytest.fixture
def hoox_queries(request: pytest.FixtureRequest) -> QueryRecorder:
    """Record the SQL of a block: `with hoox_queries(2): ...` fails unless two statements ran in it.

    It is about `hoox_db`, or about the connection given as `database=`.
    """
    from hoox_tasks.testing import QueryRecorder

    def connection() -> sqlite3.Connection:
        database: Database = request.getfixturevalue("hoox_db")
        return database.conn

    return QueryRecorder(connection)


# -- inside ---------------------------------------------------------------------------------------


def _recipe(config: pytest.Config, migrations_dir: Path, fixtures_dir: Path, **choices: Any) -> Recipe:
    """Put a recipe together; a migrations folder other than the workspace's has wrangler's defaults."""
    from hoox_tasks.templates import Recipe
    from hoox_tasks.wrangler import DEFAULT_MIGRATIONS_TABLE

    folder = config.rootpath / migrations_dir
    settings = _refusing(lambda: workspace(config))
    own = folder == settings.migrations_dir
    return Recipe(
        migrations_dir=folder,
        migrations_pattern=settings.migrations_pattern if own else "*.sql",
        migrations_table=settings.migrations_table if own else DEFAULT_MIGRATIONS_TABLE,
        fixtures_dirs=tuple(dict.fromkeys((config.rootpath / fixtures_dir, settings.fixtures_dirs[-1]))),
        **choices,
    )


def _faker_seed(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    pytest.fail(
        f"faker_seed is {value!r}, and a ledger needs a whole number from 0 on."
        " Define a fixture hoox_seed beside it.",
        pytrace=False,
    )


def _refusing(get: Callable[[], _T]) -> _T:
    """Call `get`; what cannot be right in the configuration fails the test with a sentence only."""
    from hoox_tasks.errors import HooxError

    try:
        return get()
    except (HooxError, pytest.UsageError) as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
