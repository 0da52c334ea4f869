"""Measures the CPU of each phase of each test; prints the least of each, in milliseconds, at the end."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Generator, Iterator

import pytest

from hoox_tasks.testing import LedgerFactory

TIMES: dict[str, list[float]] = defaultdict(list)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test many times."""
    metafunc.parametrize("number", range(40))


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Run the tests in turns."""
    items.sort(key=lambda item: str(item.callspec.params["number"]).zfill(3))


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    """Which run it is."""
    return int(request.param)


@pytest.fixture(scope="session")
def data(hoox_ledgers: LedgerFactory) -> bytes:
    """The bytes that every ledger is made of."""
    return hoox_ledgers.template().data


@pytest.fixture
def bare(data: bytes) -> Iterator[sqlite3.Connection]:
    """The peer: what anybody would write."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    yield connection
    connection.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Function) -> Generator[None, object, object]:
    """Measure all of a test."""
    began = time.process_time()
    result = yield
    TIMES[item.originalname].append(time.process_time() - began)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Function) -> Generator[None]:
    """Measure the fixtures."""
    began = time.process_time()
    yield
    TIMES[f"{item.originalname} fixtures"].append(time.process_time() - began)


def pytest_sessionfinish() -> None:
    """Print the least of all, and the very first time that fixtures were set up."""
    least = {name: min(times) * 1000 for name, times in TIMES.items()}
    print("COSTS", json.dumps({**least, "first fixture": TIMES["test_ours fixtures"][0] * 1000}))
