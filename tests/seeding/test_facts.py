"""What a quant looks at first, measured from the five tables alone as they are read back from SQLite.

Each figure is a published fact about markets, or what a leveraged retail desk looks like; its source stands
with its test. Over 20 seeds of `demo` the median has to hold, because one month of one seed is a small
sample; `busy` is a year, and has to hold by itself.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from math import log, sqrt
from statistics import fmean, median, pstdev

import pytest

from hoox_tasks.seeding import generate, load_scenario
from tests.support import ROOT

FOLDERS = [ROOT / "fixtures"]
SEEDS = range(20)

BUSY = 0.5
"""How much of `busy` is looked at: half of its alerts, over the whole year."""


@dataclass(frozen=True)
class Facts:
    """The figures of one ledger. Shares are parts of one, slippage is in basis points, times in seconds."""

    variation: float
    hours: float
    weekend: float
    kurtosis: float
    absolute: tuple[float, float]
    returns: float
    together: float
    month: float
    turnover: float
    executed: float
    written: tuple[float, float, float]
    filled: tuple[float, float, float]
    slippage: float
    worse: float
    maker: float
    largest_gap: int


def read_back(
    name: str, seed: int | None = None, scale: float = 1, days: int | None = None
) -> sqlite3.Connection:
    """A scenario's rows in a migrated ledger; `days` makes it shorter."""
    scenario = load_scenario(name, FOLDERS)
    if days is not None:
        scenario = dataclasses.replace(scenario, days=Decimal(days))
    db = sqlite3.connect(":memory:")
    for file in sorted((ROOT / "migrations").glob("*.sql")):
        db.executescript(file.read_text())
    for batch in generate(scenario, seed=seed, scale=scale):
        names, marks = ", ".join(batch.columns), ", ".join("?" * len(batch.columns))
        db.executemany(f"INSERT INTO {batch.table} ({names}) VALUES ({marks})", batch.rows)
    return db


def hourly(db: sqlite3.Connection, symbol: str) -> dict[int, float]:
    """The last price of each hour that fills and alerts of a market tell, by the hour's number."""
    prices = [
        (moment, float(price))
        for moment, price in db.execute(
            "SELECT timestamp, price FROM trades WHERE symbol = ? AND status = 'EXECUTED' AND quantity > 0"
            " UNION ALL SELECT processed_at, raw_data ->> 'price' FROM trade_signals"
            " WHERE symbol = ? AND json_valid(raw_data) AND processed_at - timestamp < 60 ORDER BY 1",
            (symbol, symbol),
        )
    ]
    return {moment // 3_600: price for moment, price in prices}


def returns(prices: dict[int, float], begin: int, end: int) -> list[float]:
    """Logarithmic returns of the hours from one to another; an hour without a price keeps the last."""
    found, last = [], prices[max(hour for hour in prices if hour <= begin)]
    for hour in range(begin + 1, end + 1):
        price = prices.get(hour, last)
        found.append(log(price / last))
        last = price
    return found


def autocorrelation(values: Sequence[float], lag: int) -> float:
    mean = fmean(values)
    apart = [value - mean for value in values]
    products = [a * b for a, b in zip(apart, apart[lag:], strict=False)]
    return fmean(products) / fmean([value * value for value in apart])


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    a, b = fmean(one), fmean(other)
    return fmean([(x - a) * (y - b) for x, y in zip(one, other, strict=True)]) / pstdev(one) / pstdev(other)


def excess_kurtosis(values: Sequence[float]) -> float:
    mean = fmean(values)
    squares = [(value - mean) ** 2 for value in values]
    return fmean([square * square for square in squares]) / fmean(squares) ** 2 - 3


def spread_of(values: Sequence[float]) -> tuple[float, float, float]:
    """The smallest, the median and the mean."""
    return min(values), median(values), fmean(values)


def measure(db: sqlite3.Connection) -> Facts:
    """Measure a ledger. Only its five tables are known."""
    alerts = sorted(row[0] for row in db.execute("SELECT timestamp FROM trade_signals"))
    gaps = [float(after - before) for before, after in pairwise(alerts)]
    by_hour = Counter(moment // 3_600 % 24 for moment in alerts)
    days = Counter(moment // 86_400 for moment in alerts)
    full = sorted(days)[1:-1]
    weekday = {day: datetime.fromtimestamp(day * 86_400, UTC).weekday() for day in full}
    weekend = fmean([days[day] for day in full if weekday[day] >= 5])
    week = fmean([days[day] for day in full if weekday[day] < 5])

    bitcoin, ether = hourly(db, "BTCUSDT"), hourly(db, "ETHUSDT")
    begin, end = max(min(bitcoin), min(ether)), min(max(bitcoin), max(ether))
    one, other = returns(bitcoin, begin, end), returns(ether, begin, end)
    absolute = [abs(value) for value in one]

    equity: dict[str, list[float]] = defaultdict(list)
    for exchange, value in db.execute("SELECT exchange, equity FROM balances ORDER BY timestamp"):
        equity[exchange].append(value)
    moved = 0.0
    for (details,) in db.execute(
        "SELECT details FROM system_logs WHERE details ->> 'event' IN ('deposit', 'withdrawal')"
    ):
        moved += json.loads(details)["amount"]
    first = sum(values[0] for values in equity.values())
    last = sum(values[-1] for values in equity.values()) - moved
    months = (alerts[-1] - alerts[0]) / 86_400 / 30
    mean_equity = fmean([sum(values) for values in zip(*equity.values(), strict=True)])
    traded, executed, maker = db.execute(
        "SELECT sum(quantity * price), avg(status = 'EXECUTED'),"
        " avg(raw_response ->> 'liquidity' = 'maker') FROM trades"
    ).fetchone()
    written = [row[0] for row in db.execute("SELECT created_at - timestamp FROM trades")]
    filled = db.execute(
        "SELECT t.timestamp - s.timestamp, t.price, t.action, s.raw_data ->> 'price', t.raw_response ->> 'type',"
        " t.timestamp - s.processed_at FROM trades t JOIN trade_signals s USING (signal_id)"
        " WHERE status = 'EXECUTED' AND quantity > 0 AND json_valid(s.raw_data)"
        " AND t.raw_response ->> 'type' IN ('Market', 'Limit') AND s.timestamp > s.processed_at - 60"
    ).fetchall()
    slips = [
        (price / mark - 1) * 1e4 * (1 if action in ("LONG", "CLOSE_SHORT") else -1)
        for _, price, action, mark, kind, took in filled
        # Later than that it was a limit order first.
        if kind == "Market" and took < 40
    ]
    return Facts(
        variation=pstdev(gaps) / fmean(gaps),
        hours=max(by_hour.values()) / min(by_hour.values()),
        weekend=weekend / week,
        kurtosis=excess_kurtosis(one),
        absolute=(autocorrelation(absolute, 1), autocorrelation(absolute, 10)),
        returns=autocorrelation(one, 1),
        together=correlation(one, other),
        month=(last / first) ** (1 / months) - 1,
        turnover=traded / mean_equity / months,
        executed=executed,
        written=spread_of(written),
        filled=spread_of([row[0] for row in filled]),
        slippage=fmean(slips),
        worse=fmean([float(slip > 0) for slip in slips]),
        maker=maker,
        largest_gap=int(max(gaps)),
    )


@pytest.fixture(scope="module")
def demos() -> list[Facts]:
    """The facts of `demo` for 20 seeds."""

    def each() -> Iterator[Facts]:
        for seed in SEEDS:
            with closing(read_back("demo", seed)) as db:
                yield measure(db)

    return list(each())


@pytest.fixture(scope="module")
def busy() -> Facts:
    """The facts of `busy`: a year."""
    with closing(read_back("busy", scale=BUSY)) as db:
        return measure(db)


def test_alerts_come_in_clusters(demos: list[Facts], busy: Facts) -> None:
    """Gaps between alerts vary as those of self-exciting arrivals do: more than at random, not wildly.

    At random it is 1. Hawkes, Biometrika 58 (1971) 83-90; Bacry et al., Market Microstructure and
    Liquidity 1 (2015), on how far trades are from arriving at random.
    """
    assert all(0.9 <= facts.variation <= 2.1 for facts in demos)
    assert 0.9 <= median(facts.variation for facts in demos) <= 2
    assert 0.9 <= busy.variation <= 2


def test_nights_and_weekends_are_slower(demos: list[Facts], busy: Facts) -> None:
    """The busiest hour has at least half as many alerts again as the quietest, and weekends have fewer.

    Hansen, Kim and Kimbrough, Journal of Financial Econometrics 22 (2024) 224-251.
    """
    for facts in (*demos, busy):
        assert facts.hours >= 1.5
        assert facts.weekend < 0.95
    assert busy.hours < 6


def test_tails_are_fat(demos: list[Facts], busy: Facts) -> None:
    """The excess kurtosis of hourly returns is far above the normal distribution's zero.

    Cont, Quantitative Finance 1 (2001) 223-236, fact 2.
    """
    assert busy.kurtosis > 2
    assert median(facts.kurtosis for facts in demos) > 2


def test_volatility_comes_in_clusters(demos: list[Facts], busy: Facts) -> None:
    """Absolute returns are autocorrelated at one hour, and still are at ten.

    Cont 2001, facts 6 and 8. One month has 720 hours, whose autocorrelation is uncertain by 0.04.
    """
    assert busy.absolute[0] > 0.1
    assert busy.absolute[1] > 0.03
    assert median(facts.absolute[0] for facts in demos) > 0.1
    assert median(facts.absolute[1] for facts in demos) > 0.03


def test_returns_have_no_memory(demos: list[Facts], busy: Facts) -> None:
    """Returns themselves are not autocorrelated: within 0.05 of nothing.

    Cont 2001, fact 1. For one month, chance alone is 0.04, and fat tails make it more.
    """
    assert abs(busy.returns) < 0.05
    assert abs(median(facts.returns for facts in demos)) < 0.05
    assert all(abs(facts.returns) < 0.05 + 4 / sqrt(720) for facts in demos)


def test_markets_move_together(demos: list[Facts], busy: Facts) -> None:
    """BTC's and ETH's hourly returns correlate at 0.4 to 0.95.

    Borri, Journal of Empirical Finance 50 (2019) 1-19. Prices that are some minutes old take from it, as
    Epps found (Journal of the American Statistical Association 74 (1979) 291-298).
    """
    assert 0.4 <= busy.together <= 0.95
    assert 0.4 <= median(facts.together for facts in demos) <= 0.95


def test_accounts_live(demos: list[Facts], busy: Facts) -> None:
    """The median month is between -5% and +8%, some months lose and some win, and none ruins anybody.

    Deposits and withdrawals do not count. Most retail traders lose (Barber and Odean, Journal of Finance 55
    (2000) 773-806); a desk that is still there has an edge that about pays for its costs.
    """
    months = [facts.month for facts in demos]
    assert -0.05 <= median(months) <= 0.08
    assert sum(month < 0 for month in months) >= 3
    assert sum(month > 0 for month in months) >= 3
    assert min(months) > -0.25
    assert -0.05 <= busy.month <= 0.08


def test_turnover_is_a_leveraged_retail_desks(demos: list[Facts], busy: Facts) -> None:
    """In a month, 10 to 150 times the equity is traded."""
    assert all(10 <= facts.turnover <= 150 for facts in (*demos, busy))


def test_latencies_are_skewed(demos: list[Facts], busy: Facts) -> None:
    """Fills take time, rows are written after them, and a few of both take much longer than most.

    Latencies have long tails (Dean and Barroso, "The Tail at Scale", Communications of the ACM 56 (2013)).
    """
    for facts in (*demos, busy):
        for smallest, middle, mean in (facts.written, facts.filled):
            assert smallest >= 1
            assert mean > 1.3 * middle


def test_market_orders_cost_a_few_basis_points(demos: list[Facts], busy: Facts) -> None:
    """Fills of market orders are worse than the price of their alert, on average and mostly, not always.

    Half the spread and the impact of the size: Toth et al., Physical Review X 1 (2011) 021006.
    """
    for facts in (*demos, busy):
        assert 0.5 <= facts.slippage <= 6
        assert 0.55 <= facts.worse <= 0.97
        assert 0.1 <= facts.maker <= 0.7


def test_a_bigger_desk_is_not_a_ruined_one() -> None:
    """At twenty times the scale as much is executed, and the account fares as at scale 1."""
    with closing(read_back("demo", days=8)) as db, closing(read_back("demo", scale=20, days=8)) as larger:
        one, twenty = measure(db), measure(larger)
        names = "SELECT count(DISTINCT raw_data ->> 'strategy') FROM trade_signals WHERE json_valid(raw_data)"
        assert larger.execute(names).fetchone()[0] > 3 * db.execute(names).fetchone()[0]
        equity = "SELECT sum(equity) FROM balances WHERE timestamp = (SELECT min(timestamp) FROM balances)"
        assert larger.execute(equity).fetchone()[0] == 20 * db.execute(equity).fetchone()[0]
    assert twenty.executed == pytest.approx(one.executed, abs=0.03)
    assert -0.25 < twenty.month < 0.35
    assert 10 <= twenty.turnover <= 150


def test_strategies_differ() -> None:
    """Each strategy closes positions with a profit and with a loss, and not all of them earn."""
    with closing(read_back("demo")) as db:
        profits = db.execute(
            "SELECT s.raw_data ->> 'strategy', sum(t.realized_pnl - t.fee), avg(t.realized_pnl > 0), count(*)"
            " FROM trades t JOIN trade_signals s USING (signal_id)"
            " WHERE t.realized_pnl IS NOT NULL AND json_valid(s.raw_data) GROUP BY 1 HAVING count(*) >= 15"
        ).fetchall()
    assert len(profits) >= 10
    assert all(0.15 < wins < 0.95 for _, _, wins, _ in profits)
    assert {profit > 0 for _, profit, _, _ in profits} == {True, False}


def test_few_alerts_are_late_twice_there_or_overtaken() -> None:
    """Some alerts come late, come twice or after a newer one; each is dropped, and a warning says why."""
    with closing(read_back("demo")) as db:
        total = db.execute("SELECT count(*) FROM trade_signals").fetchone()[0]
        for words in ("% s old and was dropped", "% came before, %", "% came after a newer one %"):
            count = db.execute(
                "SELECT count(*) FROM system_logs WHERE level = 'WARN' AND message LIKE ?", (words,)
            ).fetchone()[0]
            assert 0 < count < 0.04 * total
        late = "SELECT count(*) FROM trade_signals WHERE processed_at - timestamp > 300"
        assert 0 < db.execute(late).fetchone()[0] < 0.04 * total
        twice = "SELECT count(*) - count(DISTINCT raw_data) FROM trade_signals"
        assert 0 < db.execute(twice).fetchone()[0] < 0.05 * total


def test_refusals_carry_the_exchanges_own_codes() -> None:
    """Failed orders say which exchange refused them, with a code of that exchange."""
    with closing(read_back("busy", days=20)) as db:
        failed = db.execute(
            "SELECT exchange, error_message FROM trades WHERE status = 'FAILED' AND error_message NOT LIKE 'cancel%'"
        ).fetchall()
    assert {exchange for exchange, _ in failed} == {"bybit", "binance", "mexc"}
    signs = {"bybit": 1, "binance": -1, "mexc": 1}
    for exchange, message in failed:
        name, code = message.split(":")[0].split(" ")
        assert name == exchange
        assert int(code) * signs[exchange] > 0


def test_funding_comes_every_eight_hours_and_transfers_once() -> None:
    """Funding is logged right after midnight, 8 and 16 o'clock UTC; a transfer between exchanges is two lines."""
    with closing(read_back("demo")) as db:
        events = [
            (moment, json.loads(details))
            for moment, details in db.execute(
                "SELECT timestamp, details FROM system_logs WHERE details ->> 'event' IS NOT NULL"
            )
        ]
    funding = [(moment, event) for moment, event in events if event["event"] == "funding"]
    assert len(funding) > 100
    assert all(moment % 28_800 < 600 for moment, _ in funding)
    paid = [event["amount"] for _, event in funding]
    assert min(paid) < 0 < max(paid)
    transfers = [event for _, event in events if event["event"] != "funding"]
    assert [(event["event"], event["exchange"]) for event in transfers] == [
        ("withdrawal", "bybit"),
        ("deposit", "binance"),
    ]
    assert sum(event["amount"] for event in transfers) == 0
