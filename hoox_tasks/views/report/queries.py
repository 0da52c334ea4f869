"""The questions that a report asks of a ledger."""

from __future__ import annotations

from hoox_tasks.database.interface import Statement

_TOP = 12
"""Symbols with a bar of their own; the others are added up."""
_LISTED = 30
"""Open positions listed one by one, the largest."""
LAST_SECOND = 253_402_300_799
"""The end of the year 9999: what lies beyond is no time."""
_START = "CAST(timestamp / ? AS INTEGER) * ?"
_TIMED = f"timestamp BETWEEN ? AND {LAST_SECOND}"
_FILLED = f"status = 'EXECUTED' AND {_TIMED}"
_IF_FILLED = "FILTER (WHERE status = 'EXECUTED')"
_WORTH = "size * COALESCE(mark_price, entry_price)"
_OPEN = "status = 'OPEN' AND size > 0"
POSITIONS = (
    "SELECT exchange, symbol, side, size, entry_price, mark_price, liquidation_price, leverage,"
    f" unrealized_pnl, {_WORTH} AS value FROM positions WHERE {_OPEN}"
    f" ORDER BY value DESC, exchange, symbol LIMIT {_LISTED}"
)
EXPOSURES = (
    f"SELECT symbol, side, count(*), total({_WORTH}) AS value, total(unrealized_pnl) FROM positions"
    f" WHERE {_OPEN} GROUP BY symbol, side ORDER BY value DESC, symbol, side"
)
_COUNTS = " + ".join(
    f"(SELECT count(*) FROM {table} WHERE timestamp IS NULL OR typeof(timestamp) = 'text'"
    f" OR timestamp NOT BETWEEN 0 AND {LAST_SECOND})"
    for table in ("trades", "balances", "system_logs")
)
UNTIMED = f"SELECT {_COUNTS}"


def span_query(begin: int) -> Statement:
    parts = [
        f"SELECT {low}(at) FROM (SELECT {low}(timestamp) AS at FROM trades WHERE {_TIMED} UNION ALL"
        f" SELECT {low}(timestamp) FROM balances WHERE {_TIMED} UNION ALL"
        f" SELECT {low}(timestamp) FROM system_logs WHERE {_TIMED})"
        for low in ("min", "max")
    ] + [f"SELECT {low}(timestamp) FROM balances WHERE {_TIMED}" for low in ("min", "max")]
    return Statement(f"SELECT {', '.join(f'({part})' for part in parts)}", [begin] * 8)


# The worth of all exchanges together changes by what one of them reports against its last report.
_WORTHS = f"""WITH reports AS (
  SELECT asset, timestamp, COALESCE(equity, total, 0) - LAG(COALESCE(equity, total, 0), 1, 0)
    OVER (PARTITION BY exchange, asset ORDER BY timestamp, rowid) AS change
  FROM balances WHERE timestamp BETWEEN 0 AND {LAST_SECOND}
), changes AS (
  SELECT asset, timestamp, SUM(change) AS change FROM reports GROUP BY asset, timestamp
), worths AS (
  SELECT asset, timestamp, SUM(change) OVER (PARTITION BY asset ORDER BY timestamp) AS worth FROM changes
)"""


def closes_query(begin: int, step: int) -> Statement:
    # Beside max(), SQLite gives the other columns of the row that has it.
    return Statement(
        f"{_WORTHS} SELECT asset, {_START}, worth, max(timestamp) FROM worths WHERE timestamp >= ?"
        f" GROUP BY asset, {_START} ORDER BY asset, timestamp",
        (step, step, begin, step, step),
    )


def depths_query(begin: int, step: int) -> Statement:
    return Statement(
        f"{_WORTHS}, peaks AS (SELECT asset, timestamp, worth,"
        " MAX(worth) OVER (PARTITION BY asset ORDER BY timestamp) AS peak,"
        " FIRST_VALUE(worth) OVER (PARTITION BY asset ORDER BY timestamp) AS first"
        " FROM worths WHERE timestamp >= ?)"
        f" SELECT asset, {_START}, MIN(CASE WHEN peak > 0 THEN worth / peak - 1 ELSE 0 END), first"
        f" FROM peaks GROUP BY asset, {_START} ORDER BY asset, timestamp",
        (begin, step, step, step, step),
    )


def totals_query(begin: int) -> Statement:
    return Statement(
        f"SELECT COUNT(*) {_IF_FILLED}, COUNT(*) FILTER (WHERE status = 'FAILED'),"
        f" TOTAL(realized_pnl) {_IF_FILLED}, TOTAL(fee) {_IF_FILLED}, TOTAL(price * quantity) {_IF_FILLED},"
        " COUNT(*) FILTER (WHERE status = 'EXECUTED' AND realized_pnl > 0),"
        " COUNT(*) FILTER (WHERE status = 'EXECUTED' AND realized_pnl < 0)"
        f" FROM trades WHERE {_TIMED}",
        (begin,),
    )


def periods_query(begin: int, step: int) -> Statement:
    return Statement(
        f"SELECT {_START} AS start, exchange, COUNT(*), TOTAL(realized_pnl), TOTAL(fee) FROM trades"
        f" WHERE {_FILLED} GROUP BY start, exchange ORDER BY start, exchange",
        (step, step, begin),
    )


_RANKED = (
    "WITH symbols AS (SELECT symbol, COUNT(*) AS trades, TOTAL(realized_pnl) AS realized, TOTAL(fee) AS fees"
    f" FROM trades WHERE {_FILLED} GROUP BY symbol), ranked AS (SELECT *,"
    " ROW_NUMBER() OVER (ORDER BY abs(realized) DESC, symbol) AS place FROM symbols)"
)


def symbols_query(begin: int) -> Statement:
    query = f"{_RANKED} SELECT symbol, trades, realized, fees FROM ranked WHERE place <= {_TOP}"
    return Statement(f"{query} ORDER BY realized DESC, symbol", (begin,))


def others_query(begin: int) -> Statement:
    query = f"SELECT SUM(trades), TOTAL(realized), TOTAL(fees) FROM ranked WHERE place > {_TOP}"
    return Statement(f"{_RANKED} {query}", (begin,))


def exchanges_query(begin: int) -> Statement:
    return Statement(
        f"SELECT exchange, COUNT(*) {_IF_FILLED}, COUNT(*) FILTER (WHERE status = 'FAILED'),"
        f" TOTAL(price * quantity) {_IF_FILLED}, TOTAL(fee) {_IF_FILLED}, TOTAL(realized_pnl) {_IF_FILLED}"
        f" FROM trades WHERE {_TIMED} GROUP BY exchange ORDER BY exchange",
        (begin,),
    )


def errors_query(begin: int) -> Statement:
    return Statement(
        "SELECT service, COUNT(*) FILTER (WHERE level = 'ERROR') AS errors,"
        " COUNT(*) FILTER (WHERE level = 'WARN') FROM system_logs"
        f" WHERE level IN ('ERROR', 'WARN') AND {_TIMED} GROUP BY service ORDER BY errors DESC, service",
        (begin,),
    )


def log_periods_query(begin: int, step: int) -> Statement:
    return Statement(
        f"SELECT {_START} AS start, COUNT(*) FILTER (WHERE level = 'ERROR'),"
        " COUNT(*) FILTER (WHERE level = 'WARN') FROM system_logs"
        f" WHERE level IN ('ERROR', 'WARN') AND {_TIMED} GROUP BY start ORDER BY start",
        (step, step, begin),
    )


def units_query(begin: int) -> Statement:
    """Ask for each asset of the balances, and how many executed trades' symbols do not end in it."""
    return Statement(
        "SELECT asset, (SELECT COUNT(*) FROM (SELECT DISTINCT symbol FROM trades"
        f" WHERE {_FILLED}) WHERE substr(symbol, -length(asset)) <> asset)"
        " FROM (SELECT DISTINCT asset FROM balances)",
        (begin,),
    )
