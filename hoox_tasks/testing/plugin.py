"""The pytest plugin: its options, its marker, and what it adds to reports. The fixtures are next door.

Every test run of an environment loads this module, most without using it: it imports almost nothing.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from hoox_tasks.testing.fixtures import (
    hoox_d1,
    hoox_db,
    hoox_db_diff,
    hoox_db_factory,
    hoox_db_path,
    hoox_db_url,
    hoox_empty_db,
    hoox_fixtures_dir,
    hoox_migrations_dir,
    hoox_queries,
    hoox_scale,
    hoox_scenario,
    hoox_seed,
    hoox_start,
    hoox_template,
)
from hoox_tasks.testing.options import (
    DEFAULT_SCENARIO,
    LEDGERS,
    are_used,
    cache_folder,
    chosen,
    default_recipe,
    scenario_option,
    seed_option,
    templates,
)

__all__ = [
    "hoox_d1",
    "hoox_db",
    "hoox_db_diff",
    "hoox_db_factory",
    "hoox_db_path",
    "hoox_db_url",
    "hoox_empty_db",
    "hoox_fixtures_dir",
    "hoox_migrations_dir",
    "hoox_queries",
    "hoox_scale",
    "hoox_scenario",
    "hoox_seed",
    "hoox_start",
    "hoox_template",
]

_LEDGER_FIXTURES = frozenset({"hoox_db_factory", "hoox_template"})
_MIGRATION_TESTS = "hoox_tasks.testing.migration_tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command line options and the ini options."""
    group = parser.getgroup("hoox", "seeded trade ledgers")
    group.addoption("--hoox-scenario", metavar="NAME", help="scenario of tests that choose none themselves")
    group.addoption("--hoox-seed", metavar="N", help="seed of tests that choose none themselves")
    group.addoption("--hoox-keep", action="store_true", help="keep the ledgers of failed tests as files")
    group.addoption(
        "--hoox-test-migrations", action="store_true", help="add tests of the project's own migrations"
    )
    parser.addini("hoox_scenario", f"scenario of tests that choose none themselves ({DEFAULT_SCENARIO})")
    parser.addini("hoox_seed", "seed of tests that choose none themselves (the scenario's own)")
    parser.addini("hoox_migrations_dir", "migrations folder, from rootdir (what the wrangler config says)")
    parser.addini("hoox_fixtures_dir", "folder of the project's own scenarios, from rootdir (fixtures)")


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker, and refuse a seed that is no number before anything is run."""
    config.addinivalue_line(
        "markers",
        "hoox(scenario=None, *, seed=None, scale=None, start=None): which rows the test's ledgers have",
    )
    seed_option(config)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse options that name something which is not there; only where there are any."""
    config = session.config
    given = [config.getini(f"hoox_{name}") for name in ("scenario", "migrations_dir", "fixtures_dir")]
    if not _is_worker(config) and (any(given) or config.getoption("hoox_scenario")):
        _check_defaults(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Tell scenario and seed, and whether the template of them is the one of the last run."""
    seed = seed_option(config)
    line = f"hoox: scenario {scenario_option(config)}, seed {'of the scenario' if seed is None else seed}"
    if not are_used(config):
        return line
    from hoox_tasks.errors import HooxError

    try:
        recipe = default_recipe(config)
        known = templates(config)
        if known.knows(recipe):
            line += f", template {known.get(recipe).origin}"
    except HooxError:
        pass  # It may not concern any test; the tests that it does concern tell.
    return line


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the migration tests where they are switched on, and refuse markers that cannot be right."""
    if config.getoption("hoox_test_migrations") or config.pluginmanager.has_plugin(_MIGRATION_TESTS):
        from hoox_tasks.testing import migration_tests

        items.extend(migration_tests.collect(session))
    used = [item for item in items if not _LEDGER_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))]
    if not used:
        return
    if not _is_worker(config):
        # A worker that raised would only be a crashed worker; there each such test fails by itself.
        for item in used:
            chosen(item)
        _check_defaults(config)
    # Imports belong to collection: the time that they take is no test's. sqlite-utils looks for plugins of
    # its own with its first database.
    import sqlite_utils

    import hoox_tasks.testing  # noqa: F401

    sqlite_utils.Database(memory=True).close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failed test which rows it had, and keep its ledgers where that was asked for."""
    report = yield
    factory = item.stash.get(LEDGERS, None)
    if factory is not None and factory.ledgers and report.failed and report.when != "teardown":
        from hoox_tasks.testing.ledgers import describe

        folder = cache_folder(item.config, "hoox-kept") if item.config.getoption("hoox_keep") else None
        report.sections.append(("hoox ledgers", describe(factory.ledgers, folder, item.nodeid)))
    return report


def _check_defaults(config: pytest.Config) -> None:
    from hoox_tasks.errors import HooxError

    try:
        default_recipe(config).parts()
    except HooxError as error:
        raise pytest.UsageError(str(error)) from None


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
