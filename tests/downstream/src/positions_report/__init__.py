"""What a project does with the ledger: it sums fees, lists open positions, and prunes old logs."""

from __future__ import annotations

import sqlite3
from typing import Any


def fees(connection: sqlite3.Connection) -> dict[str, float]:
    """Sum up the fees of filled trades, by symbol."""
    query = "SELECT symbol, sum(fee) FROM trades WHERE status = 'EXECUTED' GROUP BY symbol"
    return dict(connection.execute(query).fetchall())


def open_positions(url: str) -> list[dict[str, Any]]:
    """List the open positions of the ledger at an SQLAlchemy URL."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            positions = sqlalchemy.Table("positions", sqlalchemy.MetaData(), autoload_with=connection)
            found = connection.execute(sqlalchemy.select(positions).where(positions.c.status == "OPEN"))
            return [dict(row) for row in found.mappings()]
    finally:
        engine.dispose()


def prune_logs(connection: sqlite3.Connection, before: int) -> None:
    """Delete log lines from before a moment, in Unix seconds."""
    with connection:
        connection.execute("DELETE FROM system_logs WHERE timestamp < ?", [before])
