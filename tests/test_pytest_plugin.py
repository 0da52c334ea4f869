"""The pytest plugin, run on small suites as a user would write them, alone and under xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

QUIET = ("-p", "no:faker", "-p", "no:hypothesispytest", "-p", "no:benchmark")
"""Other plugins, which take longer to start than the suites do to run."""

SUITE = '''
import os, sqlite3, subprocess, sys
from datetime import datetime, UTC
import httpx, pytest, sqlite_utils
from hoox_tasks.testing import LedgerDifference

def trades(db):
    return db.execute("SELECT * FROM trades ORDER BY id").fetchall()

@pytest.mark.parametrize("order", [1, 2])
def test_db_is_each_tests_own(hoox_db, order):
    assert isinstance(hoox_db, sqlite_utils.Database)
    assert type(hoox_db.conn) is sqlite3.Connection
    assert hoox_db["trades"].count > 0
    assert hoox_db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    hoox_db["trades"].drop()
    hoox_db["trade_signals"].delete_where()
    hoox_db.conn.commit()

def test_open_transactions_do_no_harm(hoox_db):
    hoox_db.conn.execute("BEGIN")
    hoox_db.conn.execute("DELETE FROM trades")
    hoox_db.conn.execute("SELECT * FROM trade_signals")

def test_empty_db_has_tables_and_no_rows(hoox_empty_db, hoox_db):
    assert hoox_empty_db["trades"].count == 0
    assert hoox_empty_db.schema == hoox_db.schema
    assert hoox_db["trades"].count > 0

@pytest.mark.parametrize("order", [1, 2])
def test_path_is_a_file_of_ones_own(hoox_db_path, hoox_db, order):
    count = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM trades').fetchone()[0])"
    done = subprocess.run([sys.executable, "-c", count, str(hoox_db_path)], capture_output=True, text=True)
    assert int(done.stdout) == hoox_db["trades"].count
    with sqlite3.connect(hoox_db_path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        connection.execute("DROP TABLE trades")
    connection.close()

def test_url_is_of_the_path(hoox_db_url, hoox_db_path):
    assert hoox_db_url == f"sqlite:///{hoox_db_path}"

def test_factory_makes_ledgers_to_order(hoox_db_factory, tmp_path):
    one, same, other = hoox_db_factory(), hoox_db_factory(), hoox_db_factory(seed=99)
    assert trades(one) == trades(same) != trades(other)
    triple = hoox_db_factory(scale=3)
    assert triple["trade_signals"].count == 3 * one["trade_signals"].count
    later = hoox_db_factory(start=datetime(2030, 1, 1, tzinfo=UTC))
    assert later.execute("SELECT min(timestamp) FROM trades").fetchone()[0] >= 1893456000
    assert hoox_db_factory(scenario="edge")["trades"].count != one["trades"].count
    old = hoox_db_factory(migrate_to="0001", path=tmp_path / "a" / "old.sqlite")
    assert "fee" in one["trades"].columns_dict and "fee" not in old["trades"].columns_dict
    assert old["trades"].count == one["trades"].count
    assert (tmp_path / "a" / "old.sqlite").is_file()

def test_d1_answers_over_http_and_in_process(hoox_d1, hoox_db):
    count = {"sql": "SELECT count(*) AS n FROM trades"}
    expected = [{"n": hoox_db["trades"].count}]
    assert hoox_d1.client.post("query", json=count).json()["result"][0]["results"] == expected
    assert hoox_d1.env["CLOUDFLARE_API_BASE_URL"] == hoox_d1.url
    assert hoox_d1.env["CLOUDFLARE_API_TOKEN"] == hoox_d1.token
    assert hoox_d1.env["CLOUDFLARE_ACCOUNT_ID"] == hoox_d1.account_id
    path = f"{hoox_d1.url}/accounts/{hoox_d1.account_id}/d1/database/{hoox_d1.database_id}/query"
    assert httpx.post(path, json=count).status_code in (400, 401, 403)
    headers = {"Authorization": f"Bearer {hoox_d1.token}"}
    with httpx.Client(transport=httpx.WSGITransport(hoox_d1.app), headers=headers) as client:
        assert client.post(path, json=count).json()["result"][0]["results"] == expected

def test_d1_is_over_the_tests_path(hoox_d1, hoox_db_path, hoox_db_diff):
    done = hoox_d1.client.post("query", json={"sql": "DELETE FROM trades"})
    assert done.json()["success"], done.text
    assert list(hoox_db_diff(hoox_db_path)) == ["trades"]

def test_template_cannot_be_written(hoox_template, hoox_db):
    assert trades(hoox_template) == trades(hoox_db)
    with pytest.raises(sqlite3.OperationalError):
        hoox_template.execute("DELETE FROM trades")

def test_diff_tells_rows(hoox_db, hoox_db_diff):
    assert hoox_db_diff() == {}
    ids = [row["id"] for row in hoox_db.query("SELECT id FROM trades ORDER BY id LIMIT 2")]
    hoox_db["trades"].delete(ids[0])
    hoox_db["trades"].update(ids[1], {"fee": 12.5})
    hoox_db["system_logs"].insert({"id": "x", "level": "INFO", "service": "s", "message": "m"}, pk="id")
    hoox_db.conn.row_factory = sqlite3.Row
    diff: LedgerDifference = hoox_db_diff()
    assert str(diff) == "system_logs +1 ~0 -0, trades +0 ~1 -1"
    assert [row["id"] for row in diff["trades"].removed] == [ids[0]]
    (before, after), = diff["trades"].changed
    assert before["id"] == after["id"] == ids[1] and after["fee"] == 12.5 != before["fee"]
    assert diff["system_logs"].added[0]["message"] == "m"
    assert not diff["positions"]

def test_diff_tells_tables_apart_that_come_and_go(hoox_db, hoox_db_diff):
    removed = hoox_db["balances"].count
    hoox_db["balances"].drop()
    hoox_db.execute("CREATE TABLE notes (text)")
    hoox_db.execute("INSERT INTO notes VALUES (NULL), (NULL)")
    assert str(hoox_db_diff()) == f"balances +0 ~0 -{removed}, notes +2 ~0 -0"

def test_queries_are_counted(hoox_db, hoox_queries, hoox_db_factory):
    with hoox_queries() as outer, hoox_queries(1) as inner:
        hoox_db.execute("SELECT 1 WHERE ? = 'x'", ["x"]).fetchall()
    assert inner.statements == outer.statements == ["SELECT 1 WHERE 'x' = 'x'"]
    with hoox_queries(at_most=2) as queries, hoox_db.conn:
        hoox_db.conn.execute("DELETE FROM trades")
    assert queries.count == 1
    other = hoox_db_factory()
    with hoox_queries(1, database=other):
        hoox_db.execute("SELECT 1").fetchall()
        other.execute("SELECT 2").fetchall()

@pytest.mark.xfail(raises=pytest.fail.Exception, strict=True)
def test_too_many_queries_fail(hoox_db, hoox_queries):
    with hoox_queries(1):
        hoox_db.execute("SELECT 1").fetchall()
        hoox_db.execute("SELECT 2").fetchall()

@pytest.mark.hoox(scenario="edge", seed=3)
class TestMarkers:
    def test_of_the_class(self, hoox_db, hoox_db_factory):
        assert trades(hoox_db) == trades(hoox_db_factory(scenario="edge", seed=3))

    @pytest.mark.hoox(seed=4, scale=2)
    def test_nearest_wins_argument_by_argument(self, hoox_db, hoox_db_factory):
        assert trades(hoox_db) == trades(hoox_db_factory(scenario="edge", seed=4, scale=2))
        assert trades(hoox_db) != trades(hoox_db_factory(scenario="edge", seed=3, scale=2))
'''


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a suite of its own, in which warnings are errors."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nfilterwarnings = error")
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_inprocess(*QUIET, *arguments)


def in_rows(suite: pytest.Pytester, assertion: str) -> None:
    """Make a suite of one test, about `rows` (of quiet under seed 7) and `own` (what it is given)."""
    suite.makepyfile(
        test_rows=f"""
        def test_rows(hoox_db, hoox_db_factory):
            read = lambda db: db.execute("SELECT * FROM trades").fetchall()
            own, rows = read(hoox_db), read(hoox_db_factory(scenario="quiet", seed=7))
            assert {assertion}
        """
    )


@pytest.mark.parametrize("workers", ["0", "4"])
def test_every_fixture(suite: pytest.Pytester, workers: str) -> None:
    """Every fixture and marker does what it promises, in one process and under four xdist workers."""
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess(*QUIET, "-n", workers)
    result.assert_outcomes(passed=SUITE.count("def test_") - 1 + 2, xfailed=1)


# -- loading --------------------------------------------------------------------------------------


def test_it_is_found_by_its_entry_point() -> None:
    """Installing the package is all that it takes."""
    (found,) = entry_points(group="pytest11", name="hoox")
    assert found.value == "hoox_tasks.pytest_plugin"


def test_loading_is_cheap(suite: pytest.Pytester) -> None:
    """A run that does not use the plugin pays less than 5 ms for it, and imports nothing for it."""
    suite.makepyfile(
        conftest="""
        import sys, time
        import pytest
        began = time.perf_counter()
        import hoox_tasks.pytest_plugin
        took = time.perf_counter() - began

        def pytest_unconfigure():
            heavy = {"faker", "httpx", "sqlite_utils", "invoke", "sqlite3", "werkzeug", "filelock", "tomllib"}
            print("imported", sorted(heavy & set(sys.modules)), "took", took * 1000)
        """,
        test_nothing="def test_nothing(): pass",
    )
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPYCACHEPREFIX": str(suite.path / "bytecode"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = []
    for _ in range(4):
        command = [sys.executable, "-m", "pytest", "-p", "hoox_tasks.pytest_plugin", "-s"]
        early = [sys.executable, "-X", "importtime", *command[1:]]
        del early
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        line = next(line for line in done.stdout.splitlines() if line.startswith("imported"))
        assert line.startswith("imported []")
        times.append(float(line.split()[-1]))
    assert min(times) < 5
