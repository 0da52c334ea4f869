"""What is measured."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlite_utils import Database

from hoox_tasks.testing import LedgerDifference, LocalD1

QUERY = "SELECT * FROM positions LIMIT 1"


def test_ours(hoox_db: Database, number: int) -> None:
    """A ledger of the plugin."""
    hoox_db.execute(QUERY).fetchall()


def test_bare(bare: sqlite3.Connection, number: int) -> None:
    """A fixture of three lines."""
    bare.execute(QUERY).fetchall()


def test_d1(hoox_d1: LocalD1, number: int) -> None:
    """A local D1 API, asked over its port."""
    hoox_d1.client.post("query", json={"sql": "SELECT 1"})


def test_difference(hoox_db: Database, hoox_db_diff: Callable[..., LedgerDifference], number: int) -> None:
    """A difference of one row."""
    hoox_db.conn.execute("UPDATE trades SET fee = 1 WHERE rowid = 3")
    assert list(hoox_db_diff()) == ["trades"]
