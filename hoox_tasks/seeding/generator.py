"""From a scenario to rows that look like trading and add up.

The hours of all prices are walked through step by step. In each step, what rests on the exchange is looked
at first (stops, targets, liquidations, limit orders), then funding and transfers are booked, then alerts are
dealt with: an order may follow, a fill changes the account, and everything leaves its rows. Balances are
written at even intervals.

What holds for the rows (amounts in the quote currency, times in Unix seconds):

- A trade's signal exists and is earlier. Stops, targets and liquidations belong to the signal that last
  added to the position. `timestamp` of a trade is its fill, `created_at` its row: one to some seconds later,
  with no snapshot between them. Rows of trades are in the order of their fills.
- `fee` is quantity x price x the exchange's rate, rounded half up to 8 decimals; whether the maker's or
  the taker's rate is told by `liquidity` in `raw_response`. What was not filled has no price and no fee.
- Open positions are what the fills net to. `entry_price` is the volume-weighted price of what is open,
  `unrealized_pnl` is (mark - entry) x size for a LONG and its negative for a SHORT, rounded as above.
  A closed position has size 0 and keeps its last entry, its last price and its liquidation price.
- Margin is isolated. `liquidation_price` is entry x (1 - 1/leverage + maintenance) for a LONG, entry x
  (1 + 1/leverage - maintenance) for a SHORT, on the market's tick on the side of the entry.
- `balances.total` is the wallet: the first equity + realised PnL - fees + funding + deposits - withdrawals.
  `used` is the margin of open positions (cost / leverage), `free` = total - used and never below zero,
  `margin_balance` = used + unrealised PnL, and `equity` = total + unrealised PnL = free + margin_balance. A
  snapshot has everything before it in it, and nothing has its second.
- Funding and transfers are lines of `system_logs` whose `details` have an `event` and the exact `amount`
  (see `worker_logs`).
- The marks of a market are one path (`prices.walk`), and everything reads it. Market orders are filled near
  it, limit orders, stops and targets where it has been, and a liquidation at the liquidation price, which
  its last step has passed.

The first equity is the scenario's, times the scale where that is above 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from random import Random

from hoox_tasks.errors import Refused
from hoox_tasks.seeding.arrivals import Arrivals
from hoox_tasks.seeding.chance import key_of
from hoox_tasks.seeding.desk import Desk
from hoox_tasks.seeding.prices import walk
from hoox_tasks.seeding.rows import TABLES, Batch, Row
from hoox_tasks.seeding.scenario import Scenario

BATCH = 500
"""Signals at which all tables are handed over: enough to be fast, and few enough to stay in a processor's
cache."""

SAMPLE = 4_000
"""Signals up to which rows are counted by making them."""

AHEAD = 24
"""Hours of prices that are known before they come: limit orders and the desk's edge look into them."""


def generate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    start: datetime | None = None,
    scale: float = 1,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Batch]:
    """Make the rows of a scenario, in batches of some thousand, with memory that does not grow.

    `seed` and `start` (UTC where it has no zone) default to the scenario's own; `scale=10` makes ten
    times the rows in the same length of time, for a desk with ten times the capital and strategies. The
    same scenario, seed, start, scale and `GENERATOR_VERSION` make the same rows everywhere; another release
    of Faker may change words, but no id, time, price or amount. `columns` names the columns that a ledger
    has, by table, and leaves out all others; None means all. Batches of the five tables take turns, signals
    before their trades.

    Raises `Refused` when `scale` or `start` is not possible.
    """
    first = _seconds(scenario.start if start is None else start)
    signals, snapshots = _size(scenario, scale)
    chosen = _choice(columns)
    if not signals:
        return iter(())
    drawn = scenario.seed if seed is None else seed
    return _batches(Desk(scenario, drawn, first, signals, snapshots, scale), drawn, chosen)


def counts(scenario: Scenario, scale: float = 1) -> dict[str, int]:
    """How many rows a scenario makes, by table.

    Exact up to 4,000 signals (with the scenario's own seed). Beyond that signals and balances are exact,
    and the other tables are estimated from a shorter ledger of the same kind, mostly within 5 percent.
    """
    signals, snapshots = _size(scenario, scale)
    sample = min(1.0, SAMPLE / signals) if signals else 1.0
    shorter = scenario
    if sample < 1:
        # As busy as the whole, and shorter: a smaller desk would trade in another way.
        days = max(Decimal("0.001"), round(scenario.days * Decimal(sample), 3))
        sample = float(days / scenario.days)
        shorter = dataclasses.replace(scenario, days=days)
    rows = dict.fromkeys(TABLES, 0)
    for batch in generate(shorter, scale=scale):
        rows[batch.table] += len(batch.rows)
    if sample < 1:
        rows = {table: round(count / sample) for table, count in rows.items()}
        rows["trade_signals"] = signals
        rows["balances"] = (snapshots + 1) * len(scenario.exchanges)
    return rows


def _seconds(start: datetime) -> int:
    moment = start if start.tzinfo else start.replace(tzinfo=UTC)
    if not 1970 <= moment.year < 2090:
        raise Refused(f"A ledger cannot start at {start}.", "Give a time from 1970 to 2089.")
    return max(0, int(moment.timestamp()))


def _size(scenario: Scenario, scale: float) -> tuple[int, int]:
    """How many signals, and how many snapshots beside the one at the start."""
    if not 0 < scale <= 1_000_000:
        raise Refused(f"A scenario cannot be scaled by {scale}.", "Give a number above 0, at most 1000000.")
    per_day = float(scenario.days) * scale
    if not scenario.signals.per_day:
        return 0, 0
    signals = round(per_day * float(scenario.signals.per_day))
    # Ten seconds at least between snapshots leave the fills seconds of their own.
    most = max(1, int(scenario.days * 86_400) // 10)
    return max(1, signals), max(1, min(most, round(per_day * float(scenario.account.snapshots_per_day))))


def _choice(columns: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[int, ...]]:
    """For each table that is wanted, the places of the columns that are."""
    if columns is None:
        return {table: tuple(range(len(names))) for table, names in TABLES.items()}
    return {
        table: places
        for table, names in TABLES.items()
        if (places := tuple(i for i, name in enumerate(names) if name in columns.get(table, ())))
    }


def _batches(desk: Desk, seed: int, chosen: Mapping[str, tuple[int, ...]]) -> Iterator[Batch]:
    """Play it all, and hand the rows over whenever there are enough of them."""
    waiting = {
        "trade_signals": desk.signal_rows,
        "trades": desk.trade_rows,
        "positions": desk.position_rows,
        "balances": desk.balance_rows,
        "system_logs": desk.log_rows,
    }
    for _ in _played(desk, seed):
        for table, rows in waiting.items():
            if rows and table in chosen:
                names, places = TABLES[table], chosen[table]
                yield Batch(table, tuple(names[place] for place in places), _narrowed(rows, places, names))
            rows.clear()


def _played(desk: Desk, seed: int) -> Iterator[None]:
    """Play all hours, step by step; pauses whenever a batch is full, and at the end."""
    scenario, first, finish = desk.scenario, desk.first, desk.finish
    burst = scenario.signals.burst
    arrivals = Arrivals(-(-desk.signals // burst), first, finish, Random(key_of(desk.key, "arrivals")))
    hours = walk(scenario, seed, first, desk.step)
    lows, highs, resting, signal_rows = desk.lows, desk.highs, desk.resting, desk.signal_rows
    signal, bursts, markets = desk.signal, range(burst), range(len(lows))
    ahead = desk.ahead
    ahead.extend(islice(hours, AHEAD + 1))
    before = 0.0
    while ahead:
        hour = ahead.popleft()
        ahead.extend(islice(hours, 1))
        desk.enter(hour)
        moments = [*hour.moments, ahead[0].moments[0] if ahead else finish]
        alerts = arrivals.over(moments, hour.move, before)
        before = hour.move
        for place, ticks in enumerate(hour.ticks):
            begin = moments[place]
            while desk.due <= begin:
                desk.snapshot()
            came = desk.ticks
            desk.ticks, desk.begin, desk.end, desk.place = ticks, begin, moments[place + 1], place
            if desk.clock <= begin:
                desk.clock = begin + 1
            for price, low, high, market in zip(ticks, lows, highs, markets, strict=True):
                if not low < price < high:
                    desk.reached(market, came[market])
            if desk.stepped in resting:
                desk.settle(resting.pop(desk.stepped))
            if begin >= desk.funds_at:
                desk.fund()
            while desk.transfers and begin - first >= desk.transfers[0].at * desk.length:
                desk.transfer(desk.transfers.pop(0))
            for moment in alerts[place]:
                for _ in bursts:
                    signal(moment)
            if len(signal_rows) >= BATCH:
                yield
            desk.stepped += 1
    desk.leave_resting()
    desk.finished()
    yield


def _narrowed(rows: list[Row], places: tuple[int, ...], names: tuple[str, ...]) -> list[Row]:
    """A copy of the rows with only some of their cells."""
    if len(places) == len(names):
        return rows[:]
    if len(places) == 1:
        return [(row[places[0]],) for row in rows]
    return list(map(itemgetter(*places), rows))
