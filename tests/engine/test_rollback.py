"""Rollback on the real engine: what is derived here leads to the schema before there, or nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.d1.client import D1Client
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import ChangedMeanwhile, Refused
from hoox_tasks.migrations import consent, rollback
from hoox_tasks.migrations.drift import compare_schemas
from tests.support.engine import EngineDatabase
from tests.support.losses import files

BASE = (
    "CREATE TABLE trades (id TEXT PRIMARY KEY, price REAL); INSERT INTO trades VALUES ('t1', 0.1);"
    "CREATE VIEW v AS SELECT * FROM trades;"
)
ADDED = (
    "CREATE TABLE desks (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, rate REAL, x);"
    "INSERT INTO desks VALUES (1, 'Main', 0.1, X'00ff'), (2, NULL, 1e300, 5);"
    "ALTER TABLE trades ADD COLUMN desk INTEGER REFERENCES desks (id);"
    "ALTER TABLE trades ADD COLUMN live DEFAULT TRUE; CREATE INDEX by_desk ON trades (desk);"
    "DROP VIEW v; CREATE VIEW v AS SELECT id, desk FROM trades; CREATE VIRTUAL TABLE f USING fts5(x);"
)


@pytest.fixture
def ledger(engine_database: EngineDatabase) -> Iterator[RemoteDatabase]:
    """An empty ledger on the real engine."""
    client = D1Client(
        engine_database.account, "any", database_id=engine_database.uuid, base_url=engine_database.base_url
    )
    with closing(RemoteDatabase(client, "ledger")) as database:
        yield database


def test_the_way_of_a_rollback(ledger: RemoteDatabase) -> None:
    """What was written since is refused by name; what the migration made goes, and the schema is the earlier one."""
    both = files(BASE, ADDED)
    both.apply(ledger, to="1")
    before = ledger.schema()
    both.apply(ledger)
    ledger.batch([Statement("UPDATE desks SET name = 'MAIN' WHERE id = 1")])
    planned = rollback.plan(both, both.status(ledger), down=Path("/nowhere"))
    with pytest.raises(Refused, match="desks: 1 row gone"):
        rollback.run(ledger, both, planned)
    ledger.batch([Statement("UPDATE desks SET name = 'Main'"), Statement("UPDATE trades SET live = 2")])
    with pytest.raises(Refused, match=r"trades\.live: 1 row dropped; desks: 1 row gone"):
        rollback.run(ledger, both, planned)
    ledger.batch([Statement("CREATE TABLE other (x)")])
    with pytest.raises(ChangedMeanwhile, match="changed the schema"):
        rollback.run(ledger, both, planned)
    ledger.batch(
        [Statement("DROP TABLE other"), Statement("INSERT INTO trades (id, price) VALUES ('t2', 7)")]
    )
    allowed = consent(data_loss="trades,desks")
    planned = rollback.plan(both, both.status(ledger), down=Path("/nowhere"), consent=allowed)
    done, status = rollback.run(ledger, both, planned)
    assert [str(effect) for effect in done.effects or ()] == [
        "trades.live: 1 row dropped",
        "desks: 1 row gone",
    ]
    assert (status.version, compare_schemas(before, ledger.schema(), both.own_tables)) == (
        "0001_step.sql",
        [],
    )
    assert list(ledger.query("SELECT * FROM trades ORDER BY id")) == [("t1", 0.1), ("t2", 7)]
    both.apply(ledger)
