"""The fixtures of the pytest plugin.

Nothing heavy is imported before a test asks for a ledger. A suite overrides any of the small fixtures
(`hoox_scenario`, `hoox_seed`, ...) by defining one of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hoox_tasks.lazy import lazy_imports
from hoox_tasks.testing.options import (
    checked,
    chosen,
    recipe_of,
    scenario_option,
    seed_option,
    templates,
    workspace,
)

with lazy_imports():
    from hoox_tasks.testing import difference as comparing
    from hoox_tasks.testing import ledgers, local_d1, queries, rows

if TYPE_CHECKING:
    import sqlite3

    from sqlite_utils import Database

    from hoox_tasks.testing.difference import Contents, LedgerDifference
    from hoox_tasks.testing.ledgers import Ledger, LedgerFactory
    from hoox_tasks.testing.local_d1 import LocalD1
    from hoox_tasks.testing.queries import QueryRecorder, Watch
    from hoox_tasks.testing.recipe import Recipe
    from hoox_tasks.testing.rows import RowFactory
    from hoox_tasks.testing.templates import Template

LEDGERS: pytest.StashKey[LedgerFactory] = pytest.StashKey()
"""Where an item keeps the ledgers of its test, for what is said when it fails."""

_CHANCES = 8
"""How many ledgers a seed that is drawn anew for every test chooses among."""

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
def hoox_start() -> datetime | str | None:
    """The first moment of the rows, for tests whose marker does not say; None for the scenario's own."""
    return None


@pytest.fixture(scope="session")
def hoox_migrations_dir(pytestconfig: pytest.Config) -> Path:
    """The folder of the migrations that ledgers are made with."""
    return ledgers.refusing(lambda: workspace(pytestconfig)).migrations_dir


@pytest.fixture(scope="session")
def hoox_fixtures_dir(pytestconfig: pytest.Config) -> Path:
    """The folder of the project's own scenarios; those that come with the plugin are there as well."""
    return ledgers.refusing(lambda: workspace(pytestconfig)).fixtures_dirs[0]


@pytest.fixture(scope="session")
def hoox_anonymize() -> Callable[[Database], object] | None:
    """What is done to a ledger made from a backup, before any test sees it."""
    return None


# -- ledgers --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def hoox_ledgers(
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    hoox_scenario: str,
    hoox_seed: int | None,
    hoox_scale: float,
    hoox_start: datetime | str | None,
    hoox_migrations_dir: Path,
    hoox_fixtures_dir: Path,
    hoox_anonymize: Callable[[Database], object] | None,
) -> Iterator[LedgerFactory]:
    """Make ledgers for fixtures of any scope, and for properties: `with hoox_ledgers.open() as db: ...`."""
    folders = (hoox_migrations_dir, hoox_fixtures_dir, hoox_anonymize)
    knobs = _knobs(hoox_scenario, hoox_seed, hoox_scale, hoox_start)
    factory = ledgers.LedgerFactory(
        templates(pytestconfig),
        _recipe(pytestconfig, *folders, **knobs),
        lambda: tmp_path_factory.mktemp("hoox"),
    )
    yield factory
    factory.close()


@pytest.fixture
def hoox_db_factory(
    request: pytest.FixtureRequest,
    hoox_scenario: str,
    hoox_seed: int | None,
    hoox_scale: float,
    hoox_start: datetime | str | None,
    hoox_migrations_dir: Path,
    hoox_fixtures_dir: Path,
    hoox_anonymize: Callable[[Database], object] | None,
) -> Iterator[LedgerFactory]:
    """Make any number of ledgers for one test: `hoox_db_factory(scenario=, seed=, scale=, start=, ...)`."""
    node = request.node
    if hoox_seed is None and "faker_seed" in request.fixturenames:
        hoox_seed = _faker_seed(request)
    choices = _knobs(hoox_scenario, hoox_seed, hoox_scale, hoox_start)
    choices |= ledgers.refusing(lambda: chosen(node))
    factory = ledgers.LedgerFactory(
        templates(request.config),
        _recipe(request.config, hoox_migrations_dir, hoox_fixtures_dir, hoox_anonymize, **choices),
        lambda: request.getfixturevalue("tmp_path"),
    )
    node.stash[LEDGERS] = factory
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
def hoox_db_path(hoox_db_factory: LedgerFactory) -> Path:
    """A migrated and seeded ledger as a file, for code that opens it itself; this test's own."""
    return hoox_db_factory.file()


@pytest.fixture
def hoox_db_url(hoox_db_path: Path) -> str:
    """The URL of `hoox_db_path` as SQLAlchemy wants it."""
    if any(character in str(hoox_db_path) for character in "?#%"):
        return f"sqlite:///{hoox_db_path.as_uri().replace('file://', 'file:', 1)}?uri=true"
    return f"sqlite:///{hoox_db_path.as_posix()}"


@pytest.fixture
def hoox_d1(hoox_db_factory: LedgerFactory, hoox_db_path: Path) -> Iterator[LocalD1]:
    """A local D1 API over `hoox_db_path`, with url, token, ids, env, app and client."""
    with local_d1.running_d1(hoox_db_path, hoox_db_factory.find(hoox_db_path).watch) as d1:
        yield d1


@pytest.fixture
def hoox_template(hoox_db_factory: LedgerFactory) -> Iterator[Database]:
    """A seeded ledger that nobody can write to, made from what the test's other ledgers are made of."""
    with closing(hoox_db_factory.template().connect()) as connection:
        connection.execute("PRAGMA query_only = ON")
        yield ledgers.sqlite_utils_database(connection)


@pytest.fixture
def hoox_rows(hoox_db: Database, hoox_db_factory: LedgerFactory) -> RowFactory:
    """Insert one more row like those of `hoox_db`: `hoox_rows.trade(symbol="BTCUSDT")`."""
    return rows.RowFactory(hoox_db, hoox_db_factory.recipe.seed or 0)


# -- assertions -----------------------------------------------------------------------------------


@pytest.fixture
def hoox_db_diff(request: pytest.FixtureRequest) -> Callable[..., LedgerDifference]:
    """Compare a ledger with what it was made as: `hoox_db_diff()["trades"].added`.

    Without an argument it is about the test's only ledger; otherwise give the database or the path.
    """

    def difference(ledger: Database | Path | None = None) -> LedgerDifference:
        __tracebackhide__ = True
        found = _ledger(request, ledger, "hoox_db_diff(...)")
        with found.opened() as now:
            return comparing.compare(_before(found.template), comparing.Contents(now))

    return difference


@pytest.fixture
def hoox_queries(request: pytest.FixtureRequest) -> QueryRecorder:
    """Record the SQL of a block: `with hoox_queries(2): ...` fails unless two statements ran in it.

    It is about the test's only ledger, or about the one given as `database=`.
    """
    queries.enable()
    others: dict[int, Watch] = {}

    def find(wanted: Any) -> tuple[Watch, sqlite3.Connection | None]:
        __tracebackhide__ = True
        connection = getattr(wanted, "conn", wanted)
        ours = any(each.is_(wanted) for each in _ledgers(request))
        if hasattr(connection, "set_trace_callback") and not ours:
            return others.setdefault(id(connection), queries.Watch(seen=True)), connection
        found = _ledger(request, wanted, "hoox_queries(database=...)")
        if found.path is not None or found.database is None:
            return found.watch, None
        return found.watch, found.database.conn

    return queries.QueryRecorder(find)


# -- inside ---------------------------------------------------------------------------------------


def _ledgers(request: pytest.FixtureRequest) -> list[Ledger]:
    """The ledgers that a test uses: its own, and those of the run where it asks for them."""
    factories: list[LedgerFactory] = []
    if (own := request.node.stash.get(LEDGERS, None)) is not None:
        factories.append(own)
    if "hoox_ledgers" in request.fixturenames:
        factories.append(request.getfixturevalue("hoox_ledgers"))
    return [ledger for factory in factories for ledger in factory.ledgers]


def _ledger(request: pytest.FixtureRequest, wanted: object, how: str) -> Ledger:
    """The ledger that is meant; the test fails, and asks which, where that cannot be told."""
    __tracebackhide__ = True
    known = _ledgers(request)
    found = [ledger for ledger in known if wanted is None or ledger.is_(wanted)]
    if len(found) == 1:
        return found[0]
    count = f"{len(known)} ledgers" if len(known) != 1 else "1 ledger"
    what = "which of them is meant" if found else "a ledger of this test's"
    pytest.fail(f"The test has {count}. Say {what}: {how}.")


@lru_cache(maxsize=2)
def _before(template: Template) -> Contents:
    """The rows of a template, read once for all tests that compare theirs with it."""
    return comparing.Contents(template.connect())


def _knobs(scenario: object, seed: object, scale: object, start: object) -> dict[str, Any]:
    __tracebackhide__ = True
    try:
        return checked({"scenario": scenario, "seed": seed, "scale": scale, "start": start})
    except ValueError as error:
        raise pytest.fail.Exception(f"A fixture is wrong: hoox_{error}.", pytrace=False) from None


def _recipe(
    config: pytest.Config,
    migrations_dir: Path,
    fixtures_dir: Path,
    anonymize: Callable[[Database], object] | None,
    **choices: Any,
) -> Recipe:
    known = config.stash.setdefault(_RECIPES, {})
    key = (migrations_dir, fixtures_dir, anonymize, *choices.items())
    if key not in known:
        recipe = ledgers.refusing(lambda: recipe_of(config, migrations_dir, fixtures_dir, anonymize))
        known[key] = replace(recipe, **choices)
    return known[key]


_RECIPES: pytest.StashKey[dict[Any, Recipe]] = pytest.StashKey()


def _faker_seed(request: pytest.FixtureRequest) -> int | None:
    value = request.getfixturevalue("faker_seed")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        pytest.fail(
            f"faker_seed is {value!r}, and a ledger needs a whole number from 0 on."
            " Define a fixture hoox_seed beside it.",
            pytrace=False,
        )
    if value is not None and request.config.pluginmanager.has_plugin("randomly"):
        # pytest-randomly draws another seed for every test, and a ledger for each would be made once only.
        return value % _CHANCES
    return value
