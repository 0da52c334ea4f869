"""Pictures of what a scenario is like, drawn from its rows: what `inv market` writes for docs/market.md."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist, fmean, pstdev
from typing import Any

from hoox_tasks.seeding.generator import generate
from hoox_tasks.seeding.rows import TABLES
from hoox_tasks.seeding.scenario import Scenario

_BLUE, _RED, _GREY = "#2563a8", "#c2452d", "#9aa3ad"


def draw_market(scenario: Scenario, path: Path, scale: float = 1) -> None:
    """Write one SVG about a scenario: prices, volatility, equity, alerts by the hour, gaps, and returns.

    Everything is measured from the rows. Needs matplotlib.
    """
    import matplotlib

    matplotlib.use("svg")
    # The same rows make the same file: ids come from what is drawn, and texts stay texts.
    matplotlib.rcParams.update({"svg.hashsalt": "hoox", "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    rows = _rows(scenario, scale)
    figure, axes = plt.subplots(3, 2, figsize=(11, 10.5), constrained_layout=True)
    figure.suptitle(f"{scenario.name}: {scenario.description}", fontsize=12)
    prices = _hourly(rows)
    symbol = scenario.markets[0].symbol
    returns = _returns(prices[symbol])
    _draw_prices(axes[0][0], prices)
    _draw_volatility(axes[0][1], prices[symbol], symbol)
    _draw_equity(axes[1][0], rows)
    _draw_hours(axes[1][1], rows)
    _draw_returns(axes[2][0], returns, symbol)
    _draw_memory(axes[2][1], returns, symbol)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text("utf-8").splitlines()) + "\n", "utf-8")


def _rows(scenario: Scenario, scale: float) -> dict[str, list[dict[str, Any]]]:
    wanted = {
        "trade_signals": ("timestamp", "processed_at", "symbol", "raw_data"),
        "trades": ("timestamp", "symbol", "price", "quantity", "status"),
        "balances": ("timestamp", "exchange", "equity"),
    }
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for batch in generate(scenario, scale=scale, columns=wanted):
        rows[batch.table] += [dict(zip(batch.columns, row, strict=True)) for row in batch.rows]
    return rows


def _hourly(rows: dict[str, list[dict[str, Any]]]) -> dict[str, dict[int, float]]:
    """The last price of each hour that fills and alerts tell, by symbol and number of the hour."""
    told = [
        (row["timestamp"], row["symbol"], row["price"])
        for row in rows["trades"]
        if row["status"] == "EXECUTED" and row["quantity"]
    ]
    for row in rows["trade_signals"]:
        if row["raw_data"].startswith("{") and row["processed_at"] - row["timestamp"] < 60:
            told.append((row["processed_at"], row["symbol"], json.loads(row["raw_data"])["price"]))
    prices: dict[str, dict[int, float]] = defaultdict(dict)
    for moment, symbol, price in sorted(told):
        prices[symbol][moment // 3_600] = price
    return prices


def _returns(prices: dict[int, float]) -> list[float]:
    hours = range(min(prices), max(prices) + 1)
    filled, last = [], prices[hours[0]]
    for hour in hours:
        last = prices.get(hour, last)
        filled.append(last)
    return [100 * (after / before - 1) for before, after in pairwise(filled)]


def _moments(hours: Sequence[int]) -> list[datetime]:
    return [datetime.fromtimestamp(hour * 3_600, UTC) for hour in hours]


def _thin(values: list[Any], most: int = 1_200) -> list[Any]:
    return values[:: max(1, len(values) // most)]


def _draw_prices(axis: Any, prices: dict[str, dict[int, float]]) -> None:
    for symbol, told in prices.items():
        hours = _thin(list(told))
        first = told[hours[0]]
        axis.plot(_moments(hours), [100 * told[hour] / first for hour in hours], lw=0.8, label=symbol)
    axis.set_title("Prices, the first is 100", fontsize=9)
    axis.legend(fontsize=7, frameon=False)
    axis.tick_params(axis="x", rotation=25)


def _draw_volatility(axis: Any, prices: dict[int, float], symbol: str) -> None:
    returns = _returns(prices)
    begin = min(prices)
    window = 24
    places = _thin(list(range(window, len(returns))))
    spread = [pstdev(returns[place - window : place]) * window**0.5 for place in places]
    axis.plot(_moments([begin + place for place in places]), spread, color=_RED, lw=0.8)
    axis.set_title(f"{symbol}: volatility of the last 24 hours, % a day", fontsize=9)
    axis.set_ylim(bottom=0)
    axis.tick_params(axis="x", rotation=25)


def _draw_equity(axis: Any, rows: dict[str, list[dict[str, Any]]]) -> None:
    equity: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows["balances"]:
        equity[row["exchange"]].append((row["timestamp"], row["equity"]))
    for exchange, values in equity.items():
        shown = _thin(values)
        axis.plot(
            [datetime.fromtimestamp(moment, UTC) for moment, _ in shown],
            [value / 1_000 for _, value in shown],
            lw=0.9,
            label=exchange,
        )
    axis.set_title("Equity, thousand USDT (steps are transfers)", fontsize=9)
    axis.legend(fontsize=7, frameon=False)
    axis.tick_params(axis="x", rotation=25)


def _draw_hours(axis: Any, rows: dict[str, list[dict[str, Any]]]) -> None:
    counts: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}
    days: dict[bool, set[int]] = {False: set(), True: set()}
    for row in rows["trade_signals"]:
        moment = row["timestamp"]
        weekend = (moment // 86_400 + 3) % 7 >= 5
        counts[weekend][moment // 3_600 % 24] += 1
        days[weekend].add(moment // 86_400)
    for weekend, shift, colour, name in ((False, -0.2, _BLUE, "weekday"), (True, 0.2, _GREY, "weekend")):
        heights = [counts[weekend][hour] / max(1, len(days[weekend])) for hour in range(24)]
        axis.bar([hour + shift for hour in range(24)], heights, width=0.4, color=colour, label=name)
    axis.set_title("Alerts in each hour of the day (UTC)", fontsize=9)
    axis.legend(fontsize=7, frameon=False)


def _draw_returns(axis: Any, returns: list[float], symbol: str) -> None:
    deviation = pstdev(returns)
    axis.hist(
        returns,
        bins=[deviation * (place / 4) for place in range(-32, 33)],
        density=True,
        color=_BLUE,
        alpha=0.6,
    )
    points = [deviation * place / 10 for place in range(-60, 61)]
    normal = NormalDist(fmean(returns), deviation)
    axis.plot(points, [normal.pdf(point) for point in points], color=_RED, lw=1, label="normal")
    axis.set_yscale("log")
    axis.set_ylim(1e-4 / deviation, 2 / deviation)
    axis.set_title(f"{symbol}: hourly returns in %, against a normal distribution", fontsize=9)
    axis.legend(fontsize=7, frameon=False)


def _draw_memory(axis: Any, returns: list[float], symbol: str) -> None:
    lags = range(1, 37)
    for values, colour, name in (
        ([abs(value) for value in returns], _RED, "absolute returns"),
        (returns, _BLUE, "returns"),
    ):
        mean = fmean(values)
        apart = [value - mean for value in values]
        whole = sum(value * value for value in apart)
        found = [sum(a * b for a, b in zip(apart, apart[lag:], strict=False)) / whole for lag in lags]
        axis.plot(lags, found, color=colour, lw=1, marker=".", ms=3, label=name)
    band = 2 / len(returns) ** 0.5
    axis.axhspan(-band, band, color=_GREY, alpha=0.25, lw=0)
    axis.set_title(f"{symbol}: autocorrelation over hours (grey: what chance alone is)", fontsize=9)
    axis.legend(fontsize=7, frameon=False)
