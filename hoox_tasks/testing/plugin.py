"""The pytest plugin: its options, its marker, and what it adds to reports. The fixtures are next door.

Every test run of an environment loads this module, most without using it: it imports almost nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from typing import Any

import pytest

from hoox_tasks.errors import HooxError
from hoox_tasks.testing.fixtures import (
    hoox_anonymize,
    hoox_d1,
    hoox_db,
    hoox_db_diff,
    hoox_db_factory,
    hoox_db_path,
    hoox_db_url,
    hoox_empty_db,
    hoox_fixtures_dir,
    hoox_ledgers,
    hoox_migrations_dir,
    hoox_queries,
    hoox_rows,
    hoox_scale,
    hoox_scenario,
    hoox_seed,
    hoox_start,
    hoox_template,
)
from hoox_tasks.testing.options import (
    DEFAULT_SCENARIO,
    chosen,
    recipe_of,
    seed_option,
    used_templates,
)
from hoox_tasks.testing.session import describe_failure, prepare

__all__ = [
    "hoox_anonymize",
    "hoox_d1",
    "hoox_db",
    "hoox_db_diff",
    "hoox_db_factory",
    "hoox_db_path",
    "hoox_db_url",
    "hoox_empty_db",
    "hoox_fixtures_dir",
    "hoox_ledgers",
    "hoox_migrations_dir",
    "hoox_queries",
    "hoox_rows",
    "hoox_scale",
    "hoox_scenario",
    "hoox_seed",
    "hoox_start",
    "hoox_template",
]

_LEDGER_FIXTURES = frozenset({"hoox_db_factory", "hoox_ledgers"})
_MIGRATION_TESTS = "hoox_tasks.testing.migration_tests"
_MIGRATIONS_ID = "migrations::"
_SHOWN = 8
"""Templates that a report names."""

_ASKED: pytest.StashKey[frozenset[str]] = pytest.StashKey()
_TOLD: pytest.StashKey[dict[str, str]] = pytest.StashKey()


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
        "hoox(scenario=None, *, seed=None, scale=None, start=None, now=None): which rows the test's ledgers"
        " have",
    )
    seed_option(config)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse options that name something which is not there; only where there are any."""
    config = session.config
    given = [config.getini(f"hoox_{name}") for name in ("scenario", "migrations_dir", "fixtures_dir")]
    if not _is_worker(config) and (any(given) or config.getoption("hoox_scenario")):
        _check_defaults(config)


# -- collection -----------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Take the ids of migration tests out of what is asked for: no file has them."""
    config = session.config
    asked = [argument for argument in config.args if argument.startswith(_MIGRATIONS_ID)]
    if asked and _tests_migrations(config):
        config.stash[_ASKED] = frozenset(argument.removeprefix(_MIGRATIONS_ID) for argument in asked)
        config.args = [argument for argument in config.args if argument not in asked]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the migration tests where they are switched on, and refuse markers that cannot be right."""
    asked = config.stash.get(_ASKED, frozenset())
    if asked or (_tests_migrations(config) and _is_whole_suite(config)):
        # By its name, as pytest imports it: it has to be the first to do so, to rewrite its assertions.
        found = list(import_module(_MIGRATION_TESTS).collect(session))
        if unknown := asked - {item.name for item in found}:
            raise pytest.UsageError(f"not found: {_MIGRATIONS_ID}{min(unknown)}")
        items.extend(item for item in found if not asked or item.name in asked)
    used = [item for item in items if not _LEDGER_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))]
    if not used:
        return
    if not _is_worker(config):
        # A worker that raised would only be a crashed worker; there each such test fails by itself.
        for item in used:
            chosen(item)
        _check_defaults(config)
    prepare(used)


def _tests_migrations(config: pytest.Config) -> bool:
    return bool(config.getoption("hoox_test_migrations")) or config.pluginmanager.has_plugin(_MIGRATION_TESTS)


def _is_whole_suite(config: pytest.Config) -> bool:
    """Whether all of the project's tests are asked for, by folders that hold them."""
    root = config.rootpath
    folders = [config.invocation_params.dir / argument for argument in config.args if "::" not in argument]
    given = [folder.resolve() for folder in folders if folder.is_dir()]
    if any(root.is_relative_to(folder) for folder in given):
        return True
    testpaths = [path for pattern in config.getini("testpaths") for path in root.glob(pattern)]
    wanted = testpaths or [path for path in (root / "tests", root / "test") if path.is_dir()]
    return bool(wanted) and all(any(path.is_relative_to(folder) for folder in given) for path in wanted)


def _check_defaults(config: pytest.Config) -> None:
    try:
        recipe_of(config).parts()
    except HooxError as error:
        raise pytest.UsageError(str(error)) from None


# -- reports --------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failed test which rows it had, and keep its ledgers where that was asked for."""
    report = yield
    if report.failed and report.when != "teardown" and (text := describe_failure(item)):
        report.sections.append(("hoox ledgers", text))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Collect what became of the templates; a worker hands it to its controller."""
    config = session.config
    known = used_templates(config)
    if known is None:
        return
    told = dict(known.used)
    if known.problem:
        told[""] = known.problem
    if _is_worker(config):
        config.workeroutput["hoox"] = told  # type: ignore[attr-defined]  # xdist's
    else:
        config.stash[_TOLD] = told


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker hands over; a template that one of them built was built."""
    told = node.config.stash.setdefault(_TOLD, {})
    for words, origin in getattr(node, "workeroutput", {}).get("hoox", {}).items():
        if told.get(words, "reused") == "reused":
            told[words] = origin


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which ledgers the tests had, and which of them had to be made."""
    told = config.stash.get(_TOLD, {}).copy()
    if not told or config.get_verbosity() < 0:
        return
    problem = told.pop("", "")
    for words in list(told)[:_SHOWN]:
        terminalreporter.write_line(f"hoox: {words}, template {told[words]}")
    if len(told) > _SHOWN:
        built = sum(origin != "reused" for origin in told.values())
        terminalreporter.write_line(f"hoox: {len(told)} templates in all, {built} of them built")
    if problem:
        terminalreporter.write_line(f"hoox: {problem}", yellow=True)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
