"""The figures of a report, summed up by the engine so that a ledger of any size gives a small answer.

Times are Unix seconds. Amounts are in the quote currency of their symbol, or in the asset of a balance;
they are added up as they are, and `Figures.unit` says whether that is one currency. Fees are not part of
realised profit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from hoox_tasks.database.interface import Database, Statement
from hoox_tasks.errors import Refused
from hoox_tasks.values import Row, Value
from hoox_tasks.views.report.queries import (
    AMOUNTS,
    END,
    EXPOSURES,
    POSITIONS,
    UNTIMED,
    closes_query,
    depths_query,
    errors_query,
    exchanges_query,
    log_periods_query,
    others_query,
    periods_query,
    span_query,
    symbols_query,
    texts_query,
    totals_query,
    units_query,
)

DAY = 86_400
_STEPS = (300, 900, 3_600, 4 * 3_600, DAY, 7 * DAY, 28 * DAY, 364 * DAY)
"""Widths of a bucket in seconds. Midnight in UTC is a bound of all up to a day."""
_POINTS = 400
"""The most points of a curve: a page is about 900 pixels wide."""
_BARS = 60
"""The most bars of less than a day."""
_REQUIRED = {
    "trades": {"timestamp", "exchange", "symbol", "status", "price", "quantity", "fee", "realized_pnl"},
    "positions": {"exchange", "symbol", "side", "size", "entry_price", "mark_price", "status"},
    "balances": {"exchange", "asset", "total", "equity", "timestamp"},
    "system_logs": {"timestamp", "level", "service"},
}


@dataclass(frozen=True, slots=True)
class Point:
    """An account's worth at the end of a bucket, and the deepest drawdown in it, as a part of the peak."""

    start: int
    equity: float
    drawdown: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What all exchanges together hold in one asset: one point for each bucket of `step` seconds.

    `first` and `last` are the first and last worth, `drawdown` the deepest fall below a peak as a part of
    it (0 or negative). An exchange counts with its latest snapshot, from its first one on.
    """

    asset: str
    step: int
    first: float
    last: float
    drawdown: float
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """The executed trades of a bucket: realised profit, and fees by exchange."""

    start: int
    trades: int
    realized: float
    fees: dict[str, float]


@dataclass(frozen=True, slots=True)
class Symbol:
    """The executed trades of a symbol; `name` is empty for all that are not among the largest."""

    name: str
    trades: int
    realized: float
    fees: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """The orders of an exchange: `volume` is price times quantity of its executed trades."""

    name: str
    trades: int
    failed: int
    volume: float
    fees: float
    realized: float


@dataclass(frozen=True, slots=True)
class Position:
    """An open position; `value` is its size at the mark price (else the entry price)."""

    exchange: str
    symbol: str
    side: str
    size: float
    entry_price: float | None
    mark_price: float | None
    liquidation_price: float | None
    leverage: float | None
    unrealized: float | None
    value: float | None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is open in a symbol on one side, added up over exchanges."""

    symbol: str
    side: str
    positions: int
    value: float
    unrealized: float


@dataclass(frozen=True, slots=True)
class Errors:
    """The log lines of a service: how many errors and warnings."""

    service: str
    errors: int
    warnings: int


@dataclass(frozen=True, slots=True)
class LogPeriod:
    """The log lines of a bucket."""

    start: int
    errors: int
    warnings: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The executed trades, added up; `wins` and `losses` are those that closed with a profit or loss."""

    trades: int
    failed: int
    realized: float
    fees: float
    volume: float
    wins: int
    losses: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a report shows, of one moment of the ledger.

    `since` and `until` are what was asked for (None: from the first to the last row), `first` and `last` the
    times of the first and last trade or balance in it. `step` is the width of a bar in seconds, `log_step`
    that of the logs. `unit` is the one currency of all amounts, or empty where there are several or it cannot
    be told. `untimed` counts rows left out for want of a time. `texts` counts the cells of each column of
    amounts, as `table.column`, that hold a text: they are in no sum.
    """

    label: str
    since: int | None
    until: int | None
    first: int | None
    last: int | None
    unit: str
    step: int
    log_step: int
    totals: Totals
    curves: tuple[Curve, ...]
    periods: tuple[Period, ...]
    symbols: tuple[Symbol, ...]
    exchanges: tuple[Exchange, ...]
    positions: tuple[Position, ...]
    exposures: tuple[Exposure, ...]
    errors: tuple[Errors, ...]
    log_periods: tuple[LogPeriod, ...]
    untimed: int
    texts: dict[str, int]


def read_figures(database: Database, *, since: int | None = None, until: int | None = None) -> Figures:
    """Ask a ledger for the figures of a report, with `since` and `until` (Unix seconds) of that time alone.

    `until` itself does not belong to it. Open positions are those of now. Raises `Refused` where the ledger
    lacks a column that is needed.
    """
    _check_columns(database)
    begin, end = max(since or 0, 0), END if until is None else min(until, END)
    (span,) = database.batch([span_query(begin, end)], write=False)
    first, last, curve_first, curve_last, log_first, log_last = map(_optional_int, next(iter(span)))
    step = _bar(first, last)
    log_step = max(step, _bar(log_first, log_last))
    curve_step = _step(curve_first, curve_last, _STEPS, _POINTS)
    asked = {
        "totals": totals_query(begin, end),
        "closes": closes_query(begin, end, curve_step),
        "depths": depths_query(begin, end, curve_step),
        "periods": periods_query(begin, end, step),
        "symbols": symbols_query(begin, end),
        "others": others_query(begin, end),
        "exchanges": exchanges_query(begin, end),
        "positions": Statement(POSITIONS),
        "exposures": Statement(EXPOSURES),
        "errors": errors_query(begin, end),
        "log periods": log_periods_query(begin, end, log_step),
        "units": units_query(begin, end),
        "untimed": Statement(UNTIMED),
        **{f"texts of {table}": texts_query(table) for table in AMOUNTS},
    }
    answers = database.batch(asked.values(), write=False)
    rows = {name: list(answer) for name, answer in zip(asked, answers, strict=True)}
    symbols = [Symbol(_text(name), _int(n), _real(pnl), _real(fee)) for name, n, pnl, fee in rows["symbols"]]
    others = [Symbol("", _int(n), _real(pnl), _real(fee)) for n, pnl, fee in rows["others"] if n]
    return Figures(
        label=database.label,
        since=since,
        until=until,
        first=first,
        last=last,
        unit=_unit(rows["units"]),
        step=step,
        log_step=log_step,
        totals=_read_totals(rows["totals"][0]),
        curves=_curves(rows["closes"], rows["depths"], curve_step),
        periods=_read_periods(rows["periods"]),
        symbols=(*symbols, *others),
        exchanges=tuple(
            Exchange(_text(name), _int(n), _int(failed), _real(volume), _real(fees), _real(pnl))
            for name, n, failed, volume, fees, pnl in rows["exchanges"]
        ),
        positions=tuple(
            Position(_text(exchange), _text(symbol), _text(side), _real(size), *map(_optional_real, numbers))
            for exchange, symbol, side, size, *numbers in rows["positions"]
        ),
        exposures=tuple(
            Exposure(_text(symbol), _text(side), _int(n), _real(value), _real(unrealized))
            for symbol, side, n, value, unrealized in rows["exposures"]
        ),
        errors=tuple(Errors(_text(name), _int(e), _int(w)) for name, e, w in rows["errors"]),
        log_periods=tuple(LogPeriod(_int(at), _int(e), _int(w)) for at, e, w in rows["log periods"]),
        untimed=_int(rows["untimed"][0][0]),
        texts={
            f"{table}.{column}": _int(cells)
            for table, columns in AMOUNTS.items()
            for column, cells in zip(columns, rows[f"texts of {table}"][0], strict=True)
            if cells
        },
    )


def _check_columns(database: Database) -> None:
    tables = list(_REQUIRED)
    query = " UNION ALL ".join(
        f"SELECT '{table}', name FROM pragma_table_info('{table}')" for table in tables
    )
    found = {(_text(table), _text(name)) for table, name in database.query(query)}
    for table in tables:
        missing = sorted(name for name in _REQUIRED[table] if (table, name) not in found)
        if missing:
            raise Refused(
                f"{database.label} has no column {table}.{missing[0]}, which the report needs.",
                "Apply its migrations first: `inv db.migrate`.",
            )


# ------------------------------------------------------------------------------------------------ SQL


def _bar(first: int | None, last: int | None) -> int:
    """Give the width of a bar: hours or less for some days, days and more for a longer time."""
    short = _step(first, last, [step for step in _STEPS if step < DAY], _BARS)
    fits = ((last or 0) - (first or 0)) // short < _BARS
    return short if fits else _step(first, last, [step for step in _STEPS if step >= DAY], _POINTS)


def _step(first: int | None, last: int | None, steps: Sequence[int], most: int) -> int:
    """Give the narrowest bucket that cuts the span into few enough points."""
    length = (last or 0) - (first or 0)
    return next((step for step in steps if length // step < most), steps[-1])


# ----------------------------------------------------------------------------------------- the answers


def _unit(rows: list[Row]) -> str:
    return _text(rows[0][0]) if len(rows) == 1 and not rows[0][1] else ""


def _read_totals(row: Row) -> Totals:
    trades, failed, realized, fees, volume, wins, losses = row
    return Totals(
        _int(trades), _int(failed), _real(realized), _real(fees), _real(volume), _int(wins), _int(losses)
    )


def _curves(closes: list[Row], depths: list[Row], step: int) -> tuple[Curve, ...]:
    points: defaultdict[str, list[Point]] = defaultdict(list)
    firsts: dict[str, float] = {}
    for (asset, start, worth, _), (_, _, depth, first) in zip(closes, depths, strict=True):
        firsts.setdefault(_text(asset), _real(first))
        points[_text(asset)].append(Point(_int(start), _real(worth), _real(depth)))
    return tuple(
        Curve(
            asset,
            step,
            firsts[asset],
            found[-1].equity,
            min(point.drawdown for point in found),
            tuple(found),
        )
        for asset, found in points.items()
    )


def _read_periods(rows: list[Row]) -> tuple[Period, ...]:
    found: dict[int, Period] = {}
    for start, exchange, trades, realized, fees in rows:
        so_far = found.get(_int(start)) or Period(_int(start), 0, 0.0, {})
        found[_int(start)] = Period(
            so_far.start,
            so_far.trades + _int(trades),
            so_far.realized + _real(realized),
            {**so_far.fees, _text(exchange): _real(fees)},
        )
    return tuple(found.values())


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _int(value: Value) -> int:
    return int(_real(value))


def _optional_int(value: Value) -> int | None:
    return None if value is None else _int(value)


def _real(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _optional_real(value: Value) -> float | None:
    return None if value is None else _real(value)
