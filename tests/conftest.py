"""Fixtures for all tests: the real parts that a test cannot make for itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import npm
from tests.engine.engine import Engine, EngineDatabase, running_engine


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
