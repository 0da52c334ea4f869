"""Fixtures for all tests: the real parts that a test cannot make for itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.server import Api, create_app
from tests.support import npm
from tests.support.d1_api import DATABASE
from tests.support.engine import Engine, EngineDatabase, running_engine
from tests.support.remote import Counting, connect


@pytest.fixture(scope="session")
def npm_packages() -> Path:
    """The folder with `node_modules` of the pinned wrangler, miniflare and workerd."""
    return npm.install()


@pytest.fixture(scope="session")
def wrangler(npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> npm.Wrangler:
    """The real wrangler: `wrangler("d1", "list", cwd=tmp_path, env={...})`."""
    return npm.Wrangler(npm_packages, tmp_path_factory.mktemp("wrangler-logs"))


@pytest.fixture(scope="session")
def newer_wrangler(tmp_path_factory: pytest.TempPathFactory) -> npm.Wrangler:
    """The wrangler of today, on a Node of its own."""
    return npm.Wrangler(npm.install(npm.NEWER), tmp_path_factory.mktemp("wrangler-logs"))


@pytest.fixture(scope="session")
def engine(npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real D1 engine behind Cloudflare's REST paths; one process per test process."""
    with running_engine(npm_packages, tmp_path_factory.mktemp("engine") / "stderr.txt") as running:
        yield running


@pytest.fixture
def engine_database(engine: Engine) -> Iterator[EngineDatabase]:
    """An empty database of the real engine for one test alone."""
    with engine.database() as database:
        yield database


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Api]:
    """A local D1 API over a new ledger, with D1's own splitter and a token that only reads."""
    with closing(
        create_app(
            tmp_path / "l.sqlite",
            name="ledger",
            database_id=DATABASE,
            token="right",
            read_only_token="look",
            strict_splitter=True,
        )
    ) as app:
        yield app


@pytest.fixture
def wire(app: Api) -> Counting:
    """The way to `app`, which counts the requests."""
    return Counting(app)


@pytest.fixture
def remote(wire: Counting) -> Iterator[RemoteDatabase]:
    """The ledger behind `app`."""
    with closing(connect(wire)) as database:
        yield database


@pytest.fixture(autouse=True)
def _errors_of_sqlite_functions_stay_silent() -> Iterator[None]:
    """Datasette, once a test has imported it, has SQLite print every error of a function."""
    yield
    sqlite3.enable_callback_tracebacks(False)
