"""The fixtures of the pytest plugin, and what its options and its marker mean to them.

Nothing heavy is imported before a test asks for a ledger. A suite overrides any of the small fixtures
(`hoox_scenario`, `hoox_seed`, ...) by defining one of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from hoox_tasks.testing.options import LEDGERS, chosen, scenario_option, seed_option, templates, workspace

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from datetime import datetime

    from sqlite_utils import Database

    from hoox_tasks.testing.difference import LedgerDifference
    from hoox_tasks.testing.ledgers import LedgerFactory
    from hoox_tasks.testing.local_d1 import LocalD1
    from hoox_tasks.testing.queries import QueryRecorder
    from hoox_tasks.testing.templates import Recipe


_T = TypeVar("_T")


# -- options and marker ---------------------------------------------------------------------------


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
    from hoox_tasks.testing.ledgers import LedgerFactory

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
    from hoox_tasks.testing.local_d1 import running_d1

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

        from hoox_tasks.testing.difference import compare

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
    from hoox_tasks.testing.queries import QueryRecorder

    def connection() -> sqlite3.Connection:
        database: Database = request.getfixturevalue("hoox_db")
        return database.conn

    return QueryRecorder(connection)


# -- inside ---------------------------------------------------------------------------------------


def _recipe(config: pytest.Config, migrations_dir: Path, fixtures_dir: Path, **choices: Any) -> Recipe:
    """Put a recipe together; a migrations folder other than the workspace's has wrangler's defaults."""
    from hoox_tasks.config.settings import DEFAULT_MIGRATIONS_TABLE
    from hoox_tasks.testing.templates import Recipe

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
