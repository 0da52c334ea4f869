"""The report on a seeded ledger, by every way to one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import positions_report
import pytest
import sqlite_utils

from hoox_tasks.testing.difference import LedgerDifference
from hoox_tasks.testing.local_d1 import LocalD1


def test_fees_are_those_of_the_exchange(hoox_db: sqlite_utils.Database) -> None:
    """The sum is that of the rates, within rounding."""
    expected = 0.0
    for row in hoox_db.query("SELECT * FROM trades WHERE price IS NOT NULL AND status = 'EXECUTED'"):
        maker = '"liquidity": "maker"' in row["raw_response"]
        expected += row["quantity"] * row["price"] * (0.0002 if maker else 0.00055)
    assert positions_report.fees(hoox_db.conn) == {"SOLUSDT": pytest.approx(expected, abs=1e-5)}


def test_an_empty_ledger_has_no_fees(hoox_empty_db: sqlite_utils.Database) -> None:
    """Nothing was traded, nothing was paid."""
    assert positions_report.fees(hoox_empty_db.conn) == {}


@pytest.mark.hoox(scenario="liquidation", seed=3)
def test_a_scenario_of_the_plugin(hoox_db: sqlite_utils.Database) -> None:
    """Scenarios that come with the plugin are there beside the project's own."""
    assert set(positions_report.fees(hoox_db.conn)) > {"BTCUSDT"}


def test_open_positions_by_sqlalchemy(hoox_db_url: str, hoox_db: sqlite_utils.Database) -> None:
    """An ORM that opens the file by itself sees the same rows."""
    found = positions_report.open_positions(hoox_db_url)
    assert found == list(hoox_db.query("SELECT * FROM positions WHERE status = 'OPEN'"))


def test_a_file_for_plain_sqlite3(hoox_db_path: Path, hoox_db: sqlite_utils.Database) -> None:
    """A connection of one's own to the file is as good as the one in memory."""
    connection = sqlite3.connect(hoox_db_path)
    assert positions_report.fees(connection) == positions_report.fees(hoox_db.conn)
    connection.close()


def test_pruning_touches_nothing_else(hoox_db, hoox_db_diff) -> None:  # type: ignore[no-untyped-def]
    """Only old log lines go."""
    (middle,) = hoox_db.execute("SELECT avg(timestamp) FROM system_logs").fetchone()
    old = list(hoox_db.query("SELECT * FROM system_logs WHERE timestamp < ? ORDER BY rowid", [middle]))
    positions_report.prune_logs(hoox_db.conn, middle)
    diff: LedgerDifference = hoox_db_diff()
    assert list(diff) == ["system_logs"]
    assert diff["system_logs"].removed == old


def test_the_report_is_one_query(hoox_db, hoox_queries) -> None:  # type: ignore[no-untyped-def]
    """However many symbols there are."""
    with hoox_queries(1):
        positions_report.fees(hoox_db.conn)


def test_the_same_ledger_behind_d1(hoox_d1: LocalD1, hoox_db: sqlite_utils.Database) -> None:
    """Asked over HTTP, in another process's way and in this one, the ledger answers the same."""
    asked = {"sql": "SELECT count(*) AS n FROM trades WHERE exchange = ?", "params": ["bybit"]}
    expected = hoox_db["trades"].count_where("exchange = 'bybit'")
    answer = hoox_d1.client.post("query", json=asked).json()
    assert answer["result"][0]["results"] == [{"n": expected}]
    headers = {"Authorization": f"Bearer {hoox_d1.token}"}
    path = f"{hoox_d1.url}/accounts/{hoox_d1.account_id}/d1/database/{hoox_d1.database_id}/query"
    with httpx.Client(transport=httpx.WSGITransport(hoox_d1.app), headers=headers) as client:
        assert client.post(path, json=asked).json()["result"][0]["results"] == [{"n": expected}]


def test_a_reader_of_the_old_schema(hoox_db_factory) -> None:  # type: ignore[no-untyped-def]
    """On a ledger from before fees were recorded, the report says so with SQLite's own error."""
    old = hoox_db_factory(migrate_to="0001")
    with pytest.raises(sqlite3.OperationalError, match="fee"):
        positions_report.fees(old.conn)
