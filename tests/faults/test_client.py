"""The D1 client between faults: no row lost, nothing done twice, every failure a clear error."""

from __future__ import annotations

import io
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from hoox_tasks.d1 import D1Client
from hoox_tasks.database import dump
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import HooxError, RemoteError
from hoox_tasks.server import Api, create_app
from tests.support.d1_api import ACCOUNT, BASE, DATABASE, listening
from tests.support.proxy import Fault, Faults, FaultyTransport, faulty_proxy

RUNS = int(os.environ.get("HOOX_FAULT_RUNS", "150"))
"""How many seeds each test tries."""

SEEDS = [pytest.param(range(start, RUNS, 10), id=f"from {start}") for start in range(min(10, RUNS))]
TOKEN = "right-and-secret"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def app(path: Path) -> Iterator[Api]:
    with closing(create_app(path, database_id=DATABASE, token=TOKEN)) as app:
        with plain(app) as client:
            client.raw("CREATE TABLE t (run, a)", write=True)
            client.raw("CREATE TABLE big AS SELECT value AS n FROM json_each(?)", ["[1,2,3,4,5]"], write=True)
        yield app


def plain(app: Api) -> D1Client:
    transport = httpx.WSGITransport(app)
    return D1Client(
        ACCOUNT, TOKEN, database_id=DATABASE, base_url=BASE, transport=transport, sleep=lambda _: None
    )


def faulty(app: Api, faults: Faults) -> D1Client:
    transport = FaultyTransport(httpx.WSGITransport(app), faults)
    return D1Client(
        ACCOUNT, TOKEN, database_id=DATABASE, base_url=BASE, transport=transport, sleep=lambda _: None
    )


def rows_of(path: Path, seed: int) -> list[int]:
    with closing(sqlite3.connect(path)) as ledger:
        return [a for (a,) in ledger.execute("SELECT a FROM t WHERE run = ? ORDER BY rowid", [seed])]


def error_of(attempt: Callable[[], object]) -> RemoteError | None:
    """How an attempt failed, or None; a failure is two sentences, without the token or a cause behind it."""
    try:
        attempt()
    except HooxError as failure:
        error = failure if isinstance(failure, RemoteError) else RemoteError(failure.problem, failure.remedy)
    else:
        return None
    assert error.problem.endswith(".")
    assert error.remedy.endswith((".", "?"))
    assert TOKEN not in repr(vars(error))
    assert error.__context__ is None
    return error


def happened(path: Path, seed: int, error: RemoteError | None, whole: list[int]) -> None:
    """A write is there where it succeeded, not there where it surely failed, and never in part."""
    allowed = [whole] if error is None else [[], whole] if error.ambiguous else [[]]
    assert rows_of(path, seed) in allowed


@pytest.mark.parametrize("seeds", SEEDS)
def test_a_read_is_right_or_an_error(app: Api, seeds: range) -> None:
    """Whatever happens on the way, a query gives exactly the rows, or fails with a clear error."""
    errors = []
    for seed in seeds:
        with faulty(app, Faults(seed, rate=0.5)) as client:
            found: list[object] = []
            error = error_of(lambda: found.extend(client.raw("SELECT n FROM big").rows))  # noqa: B023
        assert error or found == [(1,), (2,), (3,), (4,), (5,)]
        errors.append(error)
    assert not any(error.ambiguous for error in errors if error)
    assert errors.count(None) > len(seeds) // 2


@pytest.mark.parametrize("seeds", SEEDS)
def test_a_write_happens_once_or_is_ambiguous(app: Api, path: Path, seeds: range) -> None:
    """A write that succeeded happened once; one that failed for sure did not; else it is called ambiguous."""
    for seed in seeds:
        sql = f"INSERT INTO t VALUES ({seed}, 1); INSERT INTO t VALUES ({seed}, 2)"
        with faulty(app, Faults(seed, rate=0.5)) as client:
            error = error_of(lambda: client.raw_script(sql, write=True))  # noqa: B023
        happened(path, seed, error, [1, 2])


@pytest.mark.parametrize("seeds", SEEDS)
def test_an_import_happens_once_or_is_ambiguous(app: Api, path: Path, seeds: range) -> None:
    """An import through all its steps is whole, and is never called a success or a failure wrongly."""
    for seed in seeds:
        script = f"INSERT INTO t VALUES ({seed}, 1);\nINSERT INTO t VALUES ({seed}, 2);".encode()
        with faulty(app, Faults(seed, rate=0.25)) as client:
            error = error_of(lambda: client.import_file(script))  # noqa: B023
        happened(path, seed, error, [1, 2])


@pytest.mark.parametrize("seeds", SEEDS)
def test_an_export_is_whole_or_an_error(app: Api, seeds: range) -> None:
    """What was exported and downloaded is what it is without faults, or an error is raised."""
    with plain(app) as client:
        whole = io.BytesIO()
        client.download(client.export().signed_url, whole)
    errors = []
    for seed in seeds:
        faults, target = Faults(seed, rate=0.25), io.BytesIO()
        with faulty(app, faults) as client:
            error = error_of(lambda: client.download(client.export().signed_url, target))  # noqa: B023
        # A download of unknown length that is cut looks whole; D1's store gives the length.
        assert error or Fault.TRUNCATED in faults.drawn or target.getvalue() == whole.getvalue()
        errors.append(error)
    assert not any(error.ambiguous for error in errors if error)
    assert None in errors


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("online", [False, True])
def test_a_dump_is_whole_or_an_error(app: Api, seeds: range, online: bool) -> None:
    """A ledger read as one moment is read whole, by either way, or a clear error is raised."""
    with closing(RemoteDatabase(plain(app), "ledger")) as database:
        whole: list[bytes] = []
        dump.dump(database, whole.append)
    errors = []
    for seed in seeds:
        found: list[bytes] = []
        with closing(RemoteDatabase(faulty(app, Faults(seed, rate=0.2)), "ledger")) as database:
            error = error_of(lambda: dump.dump(database, found.append, online=online))  # noqa: B023
        assert error or b"".join(found) == b"".join(whole)
        errors.append(error)
    assert None in errors


@pytest.mark.parametrize("seeds", SEEDS)
def test_time_travel_lands_where_it_says(app: Api, path: Path, seeds: range) -> None:
    """A restore that is reported took place; one that failed for sure did not."""
    with plain(app) as steady:
        bookmark = steady.bookmark()
        for seed in seeds:
            steady.raw(f"INSERT INTO t VALUES ({seed}, 1)", write=True)
            with faulty(app, Faults(seed, rate=0.4)) as client:
                error = error_of(lambda: client.restore(bookmark))
            allowed = [[]] if error is None else [[], [1]] if error.ambiguous else [[1]]
            assert rows_of(path, seed) in allowed


def test_a_real_connection_fails_in_the_same_ways(app: Api, path: Path) -> None:
    """Over real sockets, reads and writes keep the same promises."""
    outcomes = set()
    with listening(app) as upstream:
        for seed in range(40):
            with (
                faulty_proxy(upstream, Faults(seed, rate=0.5)) as base_url,
                D1Client(
                    ACCOUNT, TOKEN, database_id=DATABASE, base_url=base_url, sleep=lambda _: None
                ) as client,
            ):
                insert = f"INSERT INTO t VALUES ({seed}, 1)"
                error = error_of(lambda: client.raw(insert, write=True))  # noqa: B023
                happened(path, seed, error, [1])
                outcomes.add(
                    "written" if error is None else "ambiguous" if error.ambiguous else "not written"
                )
                found: list[object] = []
                error = error_of(lambda: found.extend(client.raw("SELECT n FROM big").rows))  # noqa: B023
                assert error or len(found) == 5
                outcomes.add("not read" if error else "read")
    assert {"written", "ambiguous", "read"} <= outcomes


def test_the_same_seed_gives_the_same_faults() -> None:
    """A run can be repeated by its seed."""
    seed = random.randrange(10**6)
    one, two = Faults(seed), Faults(seed)
    assert [one.draw() for _ in range(100)] == [two.draw() for _ in range(100)]
    assert {fault for seed in range(50) for fault in _drawn(seed)} == set(Fault)


def _drawn(seed: int) -> list[Fault]:
    faults = Faults(seed, rate=0.5)
    return [faults.draw() for _ in range(20)]
