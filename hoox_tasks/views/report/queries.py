"""The questions that a report asks of a ledger.

Each reads its table through a view of it: `at` is the time in seconds, also where a worker wrote
milliseconds, and a text in a column of amounts counts as missing. SQLite would take '64,000.5' for 64.
"""

from __future__ import annotations

from hoox_tasks.console.times import MILLISECONDS
from hoox_tasks.database.interface import Statement

_TOP = 12
"""Symbols with a bar of their own; the others are added up."""
_LISTED = 30
"""Open positions listed one by one, the largest."""
END = 253_402_300_800
"""The end of the year 9999: what lies beyond is no time."""
AMOUNTS: dict[str, tuple[str, ...]] = {
    "trades": ("price", "quantity", "fee", "realized_pnl"),
    "positions": (
        "size", "entry_price", "mark_price", "liquidation_price", "leverage", "unrealized_pnl"
    ),
    "balances": ("equity", "total"),
}  # fmt: skip
"""The columns of each table that are added up."""


def _number(column: str) -> str:
    return f"CASE WHEN typeof({column}) IN ('integer', 'real') THEN {column} END"


def _numbers(table: str) -> str:
    return ", ".join(f"{_number(column)} AS {column}" for column in AMOUNTS[table])


_AT = (
    f"CASE WHEN typeof(timestamp) NOT IN ('integer', 'real') THEN NULL WHEN timestamp >= {MILLISECONDS}"
    " THEN timestamp / 1000 ELSE timestamp END AS at"
)
_TRADES = f"(SELECT exchange, symbol, status, {_numbers('trades')}, {_AT} FROM trades)"
_BALANCES = f"(SELECT exchange, asset, rowid AS place, {_numbers('balances')}, {_AT} FROM balances)"
_POSITIONS = f"(SELECT exchange, symbol, side, status, {_numbers('positions')} FROM positions)"
_LOGS = f"(SELECT level, service, {_AT} FROM system_logs)"
_START = "CAST(at / ? AS INTEGER) * ?"
_TIMED = "at >= ? AND at < ?"
_FILLED = f"status = 'EXECUTED' AND {_TIMED}"
_IF_FILLED = "FILTER (WHERE status = 'EXECUTED')"
_WORTH = "size * COALESCE(mark_price, entry_price)"
_OPEN = "status = 'OPEN' AND size > 0"
_AMISS = "level IN ('ERROR', 'WARN')"
POSITIONS = (
    "SELECT exchange, symbol, side, size, entry_price, mark_price, liquidation_price, leverage,"
    f" unrealized_pnl, {_WORTH} AS value FROM {_POSITIONS} WHERE {_OPEN}"
    f" ORDER BY value DESC, exchange, symbol LIMIT {_LISTED}"
)
EXPOSURES = (
    f"SELECT symbol, side, count(*), total({_WORTH}) AS value, total(unrealized_pnl) FROM {_POSITIONS}"
    f" WHERE {_OPEN} GROUP BY symbol, side ORDER BY value DESC, symbol, side"
)
_UNTIMED = " + ".join(
    f"(SELECT count(*) FROM {table} WHERE at IS NULL OR at < 0 OR at >= {END})"
    for table in (_TRADES, _BALANCES, _LOGS)
)
UNTIMED = f"SELECT {_UNTIMED}"


def texts_query(table: str) -> Statement:
    """Ask for each column of amounts of a table how many of its cells hold a text."""
    counts = (f"count(*) FILTER (WHERE typeof({column}) IN ('text', 'blob'))" for column in AMOUNTS[table])
    return Statement(f"SELECT {', '.join(counts)} FROM {table}")


def span_query(begin: int, end: int) -> Statement:
    """Ask for the first and last time of trades and balances, of balances alone, of errors in the logs."""
    sources = (
        f"SELECT at FROM {_TRADES} WHERE {_TIMED} UNION ALL SELECT at FROM {_BALANCES} WHERE {_TIMED}",
        f"SELECT at FROM {_BALANCES} WHERE {_TIMED}",
        f"SELECT at FROM {_LOGS} WHERE {_TIMED} AND {_AMISS}",
    )
    ends = ", ".join(f"(SELECT min(at) AS first, max(at) AS last FROM ({source}))" for source in sources)
    return Statement(f"SELECT * FROM {ends}", (begin, end) * 4)


# The worth of all exchanges together changes by what one of them reports against its last report.
_WORTHS = f"""WITH reports AS (
  SELECT asset, at, COALESCE(equity, total, 0) - LAG(COALESCE(equity, total, 0), 1, 0)
    OVER (PARTITION BY exchange, asset ORDER BY at, place) AS change
  FROM {_BALANCES} WHERE at >= 0 AND at < ?
), changes AS (
  SELECT asset, at, SUM(change) AS change FROM reports GROUP BY asset, at
), worths AS (
  SELECT asset, at, SUM(change) OVER (PARTITION BY asset ORDER BY at) AS worth FROM changes
)"""


def closes_query(begin: int, end: int, step: int) -> Statement:
    # Beside max(), SQLite gives the other columns of the row that has it.
    return Statement(
        f"{_WORTHS} SELECT asset, {_START}, worth, max(at) FROM worths WHERE at >= ?"
        f" GROUP BY asset, {_START} ORDER BY asset, at",
        (end, step, step, begin, step, step),
    )


def depths_query(begin: int, end: int, step: int) -> Statement:
    return Statement(
        f"{_WORTHS}, peaks AS (SELECT asset, at, worth,"
        " MAX(worth) OVER (PARTITION BY asset ORDER BY at) AS peak,"
        " FIRST_VALUE(worth) OVER (PARTITION BY asset ORDER BY at) AS first"
        " FROM worths WHERE at >= ?)"
        f" SELECT asset, {_START}, MIN(CASE WHEN peak > 0 THEN worth / peak - 1 ELSE 0 END), first"
        f" FROM peaks GROUP BY asset, {_START} ORDER BY asset, at",
        (end, begin, step, step, step, step),
    )


def totals_query(begin: int, end: int) -> Statement:
    return Statement(
        f"SELECT COUNT(*) {_IF_FILLED}, COUNT(*) FILTER (WHERE status = 'FAILED'),"
        f" TOTAL(realized_pnl) {_IF_FILLED}, TOTAL(fee) {_IF_FILLED}, TOTAL(price * quantity) {_IF_FILLED},"
        " COUNT(*) FILTER (WHERE status = 'EXECUTED' AND realized_pnl > 0),"
        " COUNT(*) FILTER (WHERE status = 'EXECUTED' AND realized_pnl < 0)"
        f" FROM {_TRADES} WHERE {_TIMED}",
        (begin, end),
    )


def periods_query(begin: int, end: int, step: int) -> Statement:
    return Statement(
        f"SELECT {_START} AS start, exchange, COUNT(*), TOTAL(realized_pnl), TOTAL(fee) FROM {_TRADES}"
        f" WHERE {_FILLED} GROUP BY start, exchange ORDER BY start, exchange",
        (step, step, begin, end),
    )


_RANKED = (
    "WITH symbols AS (SELECT symbol, COUNT(*) AS trades, TOTAL(realized_pnl) AS realized, TOTAL(fee) AS fees"
    f" FROM {_TRADES} WHERE {_FILLED} GROUP BY symbol), ranked AS (SELECT *,"
    " ROW_NUMBER() OVER (ORDER BY abs(realized) DESC, symbol) AS place FROM symbols)"
)


def symbols_query(begin: int, end: int) -> Statement:
    query = f"{_RANKED} SELECT symbol, trades, realized, fees FROM ranked WHERE place <= {_TOP}"
    return Statement(f"{query} ORDER BY realized DESC, symbol", (begin, end))


def others_query(begin: int, end: int) -> Statement:
    query = f"SELECT SUM(trades), TOTAL(realized), TOTAL(fees) FROM ranked WHERE place > {_TOP}"
    return Statement(f"{_RANKED} {query}", (begin, end))


def exchanges_query(begin: int, end: int) -> Statement:
    return Statement(
        f"SELECT exchange, COUNT(*) {_IF_FILLED}, COUNT(*) FILTER (WHERE status = 'FAILED'),"
        f" TOTAL(price * quantity) {_IF_FILLED}, TOTAL(fee) {_IF_FILLED}, TOTAL(realized_pnl) {_IF_FILLED}"
        f" FROM {_TRADES} WHERE {_TIMED} GROUP BY exchange ORDER BY exchange",
        (begin, end),
    )


def errors_query(begin: int, end: int) -> Statement:
    return Statement(
        "SELECT service, COUNT(*) FILTER (WHERE level = 'ERROR') AS errors,"
        f" COUNT(*) FILTER (WHERE level = 'WARN') FROM {_LOGS}"
        f" WHERE {_AMISS} AND {_TIMED} GROUP BY service ORDER BY errors DESC, service",
        (begin, end),
    )


def log_periods_query(begin: int, end: int, step: int) -> Statement:
    return Statement(
        f"SELECT {_START} AS start, COUNT(*) FILTER (WHERE level = 'ERROR'),"
        f" COUNT(*) FILTER (WHERE level = 'WARN') FROM {_LOGS}"
        f" WHERE {_AMISS} AND {_TIMED} GROUP BY start ORDER BY start",
        (step, step, begin, end),
    )


def units_query(begin: int, end: int) -> Statement:
    """Ask for each asset of the balances, and how many executed trades' symbols do not end in it."""
    return Statement(
        f"SELECT asset, (SELECT COUNT(*) FROM (SELECT DISTINCT symbol FROM {_TRADES}"
        f" WHERE {_FILLED}) WHERE substr(symbol, -length(asset)) <> asset)"
        " FROM (SELECT DISTINCT asset FROM balances)",
        (begin, end),
    )
