"""From a scenario to rows that look like trading and add up.

One signal after another is played through: its market's price moves, positions that the move wipes out
are liquidated, an order may follow, a fill changes the account, and everything leaves its rows. Balances
are written at even intervals.

What holds for the rows (amounts in the quote currency, times in Unix seconds):

- A trade's signal exists and is earlier. A liquidation belongs to the signal that last added to the
  position. `created_at` of a trade is one second after its fill.
- `fee` is quantity x price x the exchange's rate, rounded half up to 8 decimals; whether the maker's or
  the taker's rate is told by `liquidity` in `raw_response`. What was not filled has no price and no fee.
- Open positions are what the fills net to. `entry_price` is the volume-weighted price of what is open,
  `unrealized_pnl` is (mark - entry) x size for a LONG and its negative for a SHORT, rounded as above.
  A closed position has size 0 and keeps its last entry, its last price and its liquidation price.
- Margin is isolated. `liquidation_price` is entry x (1 - 1/leverage + maintenance) for a LONG, entry x
  (1 + 1/leverage - maintenance) for a SHORT, on the market's tick on the side of the entry.
- `balances.total` is the wallet: the first equity + realised PnL - fees. `used` is the margin of open
  positions (cost / leverage), `free` = total - used, `margin_balance` = used + unrealised PnL, and
  `equity` = total + unrealised PnL = free + margin_balance. A snapshot has all fills before it in it,
  and none has its second.
- A market's price moves with each signal for it, and everything reads that one path. A liquidation is
  filled at the liquidation price, which the move has passed.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import islice, product
from math import sqrt
from operator import itemgetter
from random import Random

from hoox_tasks.errors import Refused
from hoox_tasks.seeding import worker_logs
from hoox_tasks.seeding.account import LONG, SHORT, UNITS, Account, Position, rounded
from hoox_tasks.seeding.alerts import EMAIL, LATE, MINUTES, OLD, OVERTAKEN, REFUSED, Template
from hoox_tasks.seeding.arrivals import GUARD, Arrivals
from hoox_tasks.seeding.chance import DRAWS, NORMAL, key_of
from hoox_tasks.seeding.execution import (
    HOOKS,
    MAILS,
    PATIENCE,
    REACH,
    SENDING,
    WRITING,
    Slippage,
    bridge,
    no_margin,
    refusals,
)
from hoox_tasks.seeding.order_ids import order_ids
from hoox_tasks.seeding.pools import CHATTER, draw_pools
from hoox_tasks.seeding.prices import CALM, Hour, step_of, walk
from hoox_tasks.seeding.row_ids import RowIds
from hoox_tasks.seeding.rows import TABLES, Batch, Cell
from hoox_tasks.seeding.scenario import Scenario, Transfer
from hoox_tasks.seeding.strategies import NEVER, STYLES, Planner, Slot, strategies_of
from hoox_tasks.seeding.worker_logs import GATEWAY, TRADER

BATCH = 500
"""Rows of the fullest table at which all tables are handed over: enough to be fast, little to hold."""

SAMPLE = 4_000
"""Signals up to which rows are counted by making them."""

AHEAD = 24
"""Hours of prices that are known before they come: limit orders and the desk's edge look into them."""

_FUNDING = 28_800
_NEVER_DUE = 2**62

_SIDES = {LONG: "LONG", SHORT: "SHORT"}
_ACTIONS = {
    (True, LONG): "LONG",
    (True, SHORT): "SHORT",
    (False, LONG): "CLOSE_LONG",
    (False, SHORT): "CLOSE_SHORT",
}
_ASKED = {
    (True, LONG): ("LONG", "BUY"),
    (True, SHORT): ("SHORT", "SELL"),
    (False, LONG): ("CLOSE_LONG", "CLOSE_LONG"),
    (False, SHORT): ("CLOSE_SHORT", "CLOSE_SHORT"),
}
"""What a trade does, and the words for it in a signal, by whether it opens a position and on which side."""

_MAKER = ', "type": "Limit", "liquidity": "maker"}'
_TAKER = ', "type": "Market", "liquidity": "taker"}'
_STOP = (', "type": "StopLoss", "liquidity": "taker"}', "WARN", "was stopped out")
_TARGET = (', "type": "TakeProfit", "liquidity": "maker"}', "INFO", "reached its target")
_LIQUIDATION = (', "type": "Market", "liquidation": true, "liquidity": "taker"}', "ERROR", "was liquidated")
"""The end of an exchange's answer; for fills without a signal, the level and words of their log line too."""

_WORDS = {(True, LONG): "buy", (True, SHORT): "sell", (False, LONG): "sell", (False, SHORT): "buy"}
_HELD = {LONG: "long", SHORT: "short"}
"""The same as TradingView says it: what an order does, and what is held after it."""

_Row = tuple[Cell, ...]
_Order = tuple[Slot, int, bool, int, int, int, float, str, str, int]
"""A limit order that rests until a step that is known: its slot, how many positions it has held, whether it opens, side, lots, limit in ticks
(0 where its patience ends there), fate, signal, end of its ids, and when it was sent."""


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
    times the rows in the same length of time. The same scenario, seed, start, scale and
    `GENERATOR_VERSION` make the same rows everywhere; another release of Faker may change words, but no
    id, time, price or amount. `columns` names the columns that a ledger has, by table, and leaves out
    all others; None means all. Batches of the five tables take turns, signals before their trades.

    Raises `Refused` when `scale` or `start` is not possible.
    """
    first = _seconds(scenario.start if start is None else start)
    signals, snapshots = _size(scenario, scale)
    chosen = _choice(columns)
    if not signals:
        return iter(())
    play = _Play(scenario, scenario.seed if seed is None else seed, first, signals, snapshots, scale)
    return play.batches(chosen)


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


class _Clock(dict[int, str]):
    """How an alert writes an hour, by the hour's number; the last ones are remembered."""

    _day, _date = -1, ""

    def __missing__(self, hour: int) -> str:
        if len(self) > 64:
            self.clear()
        day, hour_of_day = divmod(hour, 24)
        if day != self._day:
            self._day = day
            self._date = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%dT")
        text = self[hour] = f"{self._date}{hour_of_day:02d}:"
        return text


class _Play:
    """One run of a scenario: its market, its desk, and the rows that they have left behind."""

    __slots__ = (
        "accounts", "ahead", "arrivals", "asset", "balance_kind", "balance_rows", "begin", "bigger",
        "by_market", "capital", "chatter", "clock", "clocks", "draw", "due", "end", "event_kind",
        "events", "extra_kinds", "failed", "finish", "first", "forced", "forced_kind",
        "forced_log_kind", "fund_draw", "funding", "funds_at", "highs", "hour", "hours", "ids",
        "length", "leverage", "log_kind", "log_rows", "lows", "maker", "mask", "messages", "number",
        "partial", "patience", "pending", "place", "planner", "pools", "position_kind",
        "position_rows", "refusals", "rejected", "resting", "scenario", "signal_kind",
        "signal_rows", "signals", "slippage", "reaches", "slot_count", "spread_out", "slots", "snapshots", "source_count",
        "sources", "step", "stepped", "style_count", "taken", "taken_at", "templates", "tested",
        "ticks", "trade_kind", "trade_rows", "transfers", "unfilled", "usual", "variance",
    )  # fmt: skip

    def __init__(
        self, scenario: Scenario, seed: int, first: int, signals: int, snapshots: int, scale: float
    ) -> None:
        self.scenario = scenario
        self.first = first
        self.length = int(scenario.days * 86_400)
        self.finish = first + self.length
        self.leverage = scenario.account.leverage
        self.asset = scenario.account.asset

        key = key_of(scenario.name, seed)
        self.draw = Random(key_of(key, "signals")).random
        self.pools = draw_pools(key, scenario.logs.messages)
        ids = self.ids = RowIds(key)
        self.mask = ids.mask
        self.signal_kind, self.trade_kind, self.position_kind, self.log_kind = map(ids.kind, range(4))
        self.balance_kind, self.forced_kind, self.forced_log_kind, self.event_kind = map(
            ids.kind, range(4, 8)
        )
        self.extra_kinds = [ids.kind(8 + line) for line in range(int(scenario.logs.per_signal) + 1)]

        self.bigger = max(1.0, scale)
        self.capital = Fraction(self.bigger)
        self.accounts = [
            Account(
                exchange,
                scenario,
                order_ids(exchange.order_id, Random(key_of(key, "orders", exchange.name))),
                int(Fraction(scenario.account.equity) * UNITS * self.capital),
            )
            for exchange in scenario.exchanges
        ]
        self.slots = [
            Slot(number, account, market)
            for number, (account, market) in enumerate(product(self.accounts, range(len(scenario.markets))))
        ]
        self.by_market = [
            [slot for slot in self.slots if slot.market == market] for market in range(len(scenario.markets))
        ]
        # The nearest prices, from below and from above, at which something happens in a market: looked at
        # in every step, where looking at all slots would take long.
        self.lows = [0] * len(scenario.markets)
        self.highs = [NEVER] * len(scenario.markets)
        self.templates: list[Template] = []
        for slot in self.slots:
            for name in scenario.desk.styles:
                found = strategies_of(name, slot.number, self.bigger)
                places = list(range(len(self.templates), len(self.templates) + len(found)))
                symbol = scenario.markets[slot.market].symbol
                self.templates += [Template(each, symbol, slot.account.name) for each in found]
                slot.strategies.append((STYLES[name], places))

        self.slot_count, self.style_count = len(self.slots), len(scenario.desk.styles)
        self.source_count = len(scenario.signals.sources)
        self.messages = bool(scenario.logs.messages)
        groups = -(-signals // scenario.signals.burst)
        self.step = step_of(groups, self.length)
        self.patience = max(1, PATIENCE // self.step)
        self.hours = walk(scenario, seed, first, self.step)
        self.ahead: deque[Hour] = deque()
        self.arrivals = Arrivals(groups, first, self.finish, Random(key_of(key, "arrivals")))
        self.planner = Planner(scenario, signals * 3_600 / self.length / max(1, len(self.slots)))
        terms = scenario.account
        self.slippage = Slippage(
            [float(market.spread) for market in scenario.markets],
            [float(market.volatility) for market in scenario.markets],
            min(0.003, 0.3 * (1 / terms.leverage - float(terms.maintenance))),
        )
        self.ticks = tuple(int(market.price / market.tick) for market in scenario.markets)
        self.usual = [float(ticks) for ticks in self.ticks]
        self.reaches = [
            REACH * CALM * float(market.volatility) * sqrt(self.step / 86_400) for market in scenario.markets
        ]
        self.variance = self.spread_out = 1.0
        self.signals = signals
        self.number = self.forced = self.events = 0
        self.stepped = 0
        self.resting: dict[int, list[_Order]] = {}
        self.clocks = _Clock()
        self.begin = self.end = self.clock = first

        self.snapshots = snapshots
        self.taken = 0
        self.taken_at = self.due = first
        self.transfers = sorted(scenario.transfers, key=lambda transfer: transfer.at)
        self.funding = scenario.account.funding * UNITS
        self.funds_at = first - first % _FUNDING + _FUNDING
        self.fund_draw = Random(key_of(key, "funding")).random

        # One draw decides what becomes of an order: these are the upper ends of the parts.
        orders = scenario.orders
        self.failed = float(orders.failed)
        self.tested = self.failed + float(orders.test)
        self.pending = self.tested + float(orders.pending)
        self.unfilled = self.pending + float(orders.unfilled)
        self.partial = float(orders.partial)
        self.maker = float(orders.maker)
        self.rejected = float(scenario.signals.rejected)
        self.chatter = float(scenario.logs.per_signal)
        self.sources = [(source, source == EMAIL) for source in scenario.signals.sources]
        self.refusals = {
            (account.name, opens): orders.errors or refusals(account.name, opens)
            for account in self.accounts
            for opens in (True, False)
        }

        self.signal_rows: list[_Row] = []
        self.trade_rows: list[_Row] = []
        self.position_rows: list[_Row] = []
        self.balance_rows: list[_Row] = []
        self.log_rows: list[_Row] = []

    def batches(self, chosen: Mapping[str, tuple[int, ...]]) -> Iterator[Batch]:
        """Play it all, and hand the rows over whenever there are enough of them."""
        waiting = {
            "trade_signals": self.signal_rows,
            "trades": self.trade_rows,
            "positions": self.position_rows,
            "balances": self.balance_rows,
            "system_logs": self.log_rows,
        }
        for _ in self._played():
            for table, rows in waiting.items():
                if rows and table in chosen:
                    names, places = TABLES[table], chosen[table]
                    yield Batch(
                        table, tuple(names[place] for place in places), _narrowed(rows, places, names)
                    )
                rows.clear()

    def _played(self) -> Iterator[None]:
        """Play all hours, step by step; pauses whenever a batch is full, and at the end."""
        hours, ahead, arrivals = self.hours, self.ahead, self.arrivals
        lows, highs, resting, signal_rows, log_rows = (
            self.lows, self.highs, self.resting, self.signal_rows, self.log_rows,
        )  # fmt: skip
        burst, signal = range(self.scenario.signals.burst), self._signal
        markets = range(len(lows))
        ahead.extend(islice(hours, AHEAD + 1))
        before = 0.0
        while ahead:
            hour = ahead.popleft()
            ahead.extend(islice(hours, 1))
            self.hour = hour
            self.variance = hour.variance
            self.spread_out = sqrt(hour.variance)
            moments = [*hour.moments, ahead[0].moments[0] if ahead else self.finish]
            alerts = arrivals.over(moments, hour.move, before)
            before = hour.move
            for place, ticks in enumerate(hour.ticks):
                begin, end = moments[place], moments[place + 1]
                while self.due <= begin:
                    self._snapshot()
                came = self.ticks
                self.ticks, self.begin, self.end, self.place = ticks, begin, end, place
                if self.clock <= begin:
                    self.clock = begin + 1
                for price, low, high, market in zip(ticks, lows, highs, markets, strict=True):
                    if not low < price < high:
                        self._reached(market, came[market])
                if self.stepped in resting:
                    self._settle(resting.pop(self.stepped))
                if begin >= self.funds_at:
                    self._fund()
                if self.transfers and begin - self.first >= self.transfers[0].at * self.length:
                    self._transfer(self.transfers.pop(0))
                for moment in alerts[place]:
                    for _ in burst:
                        signal(moment)
                if len(signal_rows) >= BATCH or len(log_rows) >= 2 * BATCH:
                    yield
                self.stepped += 1
            ticks = self.ticks
            self.usual = [
                usual + 0.12 * (price - usual) for usual, price in zip(self.usual, ticks, strict=True)
            ]
        self._leave()
        yield

    def _signal(self, now: int) -> None:
        """Deal with one alert: write it down, and send the order that it asks for, if any."""
        draw = self.draw
        number = self.number
        if number == self.signals:
            # The last burst is a smaller one.
            return
        self.number = number + 1
        tail = f"{number ^ self.mask:012x}"
        ends = f"{self.signal_kind}{tail}"
        head = f"{now:08x}"
        signal_id = head + ends
        # One draw decides several things by its digits, of which it has many more than are needed.
        place = draw() * self.slot_count
        which = int(place)
        slot = self.slots[which]
        if slot.waiting:
            # A strategy whose order rests seldom speaks again before it is filled.
            slot = self.slots[int(draw() * self.slot_count)]
        source, mailed = self.sources[int((place - which) * self.source_count)]
        chance = draw()
        rejected = chance < self.rejected
        if rejected:
            chance /= self.rejected
            if chance < 0.35 and slot.last is not None:
                self._repeat(slot, slot.last, signal_id, now, head, tail)
                return
        account, market, contract = slot.account, slot.market, slot.contract
        ticks = self.ticks[market]
        # Within a step the price wobbles a little, so that no two alerts see quite the same.
        ticks += int(ticks * self.reaches[market] * self.spread_out * (draw() - 0.5))
        position = account.positions[market]
        if position is None:
            if not slot.waiting or not slot.lots:
                place = draw() * self.style_count
                which = int(place)
                style, slot.places = slot.strategies[which]
                self.planner.open(slot, style, ticks * contract.value, now, self.variance, place - which)
                slot.side = self.planner.side(
                    slot, style, ticks, self.ahead, self.usual[market], draw(), draw()
                )
            side, opens = slot.side, True
        else:
            side = position.side
            opens = slot.entries > 0 and not slot.reached and now < slot.deadline and draw() < 0.85
        varied = draw()
        left = True
        if opens:
            lots = int(slot.lots * (0.7 + 0.6 * varied)) or 1
        else:
            lots = position.lots if position is not None else 0
            if 1 < slot.exits < lots:
                lots //= slot.exits
            else:
                left = False
        quantity, quantity_text = contract.quantities[lots]
        place = draw() * len(slot.places)
        which = int(place)
        template = self.templates[slot.places[which]]
        place -= which
        asked = _ASKED[opens, side][place < 0.3]
        numerator, denominator = contract.tick
        price_text = str(ticks * numerator / denominator)
        raised = now - (MAILS[int(draw() * 20)] if mailed else HOOKS[int(draw() * 100)])
        why = -1
        if rejected:
            why = OLD if chance < 0.5 else OVERTAKEN if chance < 0.65 and slot.last is not None else REFUSED
            if why == OLD:
                raised = now - LATE - 1 - int(draw() * draw() * 6_000)
            elif why == OVERTAKEN and slot.last is not None:
                raised = slot.last[0] - 1 - int(draw() * 20)
        if raised < self.first:
            raised = self.first
        clock = self.clocks[raised // 3_600]
        held = _HELD[side] if left else "flat"
        word = _WORDS[opens, side]
        if mailed:
            text = (
                f"{template.mail}{word}\nContracts: {quantity_text}\nPrice: {price_text}\n"
                f"Position: {held}\nTime: {clock}{MINUTES[raised % 3_600]}\n"
            )
        else:
            text = (
                f'{template.web}{word}", "contracts": {quantity_text}, "price": {price_text},'
                f' "market_position": "{held}", "time": "{clock}{MINUTES[raised % 3_600]}"}}'
            )
        symbol = contract.symbol
        self.signal_rows.append((signal_id, raised, symbol, asked, source, text, now))
        slot.last = (raised, asked, source, text)
        about = f'{{"signal_id": "{signal_id}"}}'
        log_rows = self.log_rows
        if why >= 0:
            log_rows.append(
                (
                    f"{head}{self.log_kind}{tail}",
                    now,
                    "WARN",
                    GATEWAY,
                    self._why(why, slot, template, now),
                    about,
                )
            )
        else:
            self._order(slot, opens, side, lots, signal_id, now, tail, ticks, about)
        if self.chatter:
            extra = int(self.chatter + place)
            if extra and not self.messages:
                extra -= 1
                log_rows.append(
                    (
                        f"{head}{self.extra_kinds[0]}{tail}",
                        now,
                        "INFO",
                        GATEWAY,
                        f"{template.name}: {asked} {quantity_text} {symbol} at {price_text} from {source}",
                        about,
                    )
                )
            for line in range(extra):
                level, service, message, details = self.pools.chatter[int(draw() * CHATTER)]
                log_rows.append(
                    (f"{head}{self.extra_kinds[line + 1]}{tail}", now, level, service, message, details)
                )

    def _why(self, why: int, slot: Slot, template: Template, now: int) -> str:
        """What the gateway says about an alert that no order follows."""
        raised = slot.last[0] if slot.last is not None else now
        if why == OLD:
            return f"alert of {template.name} is {now - raised} s old and was dropped"
        if why == OVERTAKEN:
            return (
                f"alert of {template.name} came after a newer one for {slot.contract.symbol} and was dropped"
            )
        return self.pools.rejections[int(self.draw() * len(self.pools.rejections))]

    def _repeat(
        self, slot: Slot, last: tuple[int, str, str, str], signal_id: str, now: int, head: str, tail: str
    ) -> None:
        """Receive an alert a second time, word for word."""
        raised, asked, source, text = last
        symbol = slot.contract.symbol
        self.signal_rows.append((signal_id, raised, symbol, asked, source, text, now))
        self.log_rows.append(
            (
                f"{head}{self.log_kind}{tail}",
                now,
                "WARN",
                GATEWAY,
                f"alert for {symbol} came before, {now - raised} s ago, and was dropped",
                f'{{"signal_id": "{signal_id}"}}',
            )
        )

    def _order(
        self, slot: Slot, opens: bool, side: int, lots: int, signal_id: str, now: int, tail: str, ticks: int,
        about: str,
    ) -> None:  # fmt: skip
        """Send the order that a signal asks for; leaves a trade and a line about it, now or later."""
        draw, account, market, contract = self.draw, slot.account, slot.market, slot.contract
        lot_worth = ticks * contract.value
        fate = draw()
        error = order_id = response = None
        if fate >= self.pending:
            buys = (side == LONG) == opens
            if draw() < self.maker * slot.style.maker:
                # It rests a little better than the market, and the path is known: so is when it is reached.
                away = int(ticks * (0.5 + 2 * draw()) * 1e-4) or 1
                limit = (ticks - away if buys else ticks + away) or 1
                steps, found = self._crossing(market, limit, buys)
                order = (slot, slot.held, opens, side, lots, limit if found else 0, fate, signal_id, tail, now)
                due = self.stepped + steps
                if due in self.resting:
                    self.resting[due].append(order)
                else:
                    self.resting[due] = [order]
                slot.waiting += 1
                return
            fill = self.slippage.fill(
                market, ticks, 1 if buys else -1, lots * lot_worth / UNITS, self.variance, draw()
            )
            if opens:
                affordable = account.affordable(fill * contract.value)
                if lots > affordable:
                    lots = affordable
            if lots:
                moment = now + SENDING[int(draw() * 100)]
                if self.clock <= moment < self.due - 1 and moment <= self.end - GUARD:
                    self.clock = moment
                else:
                    moment = self._book(moment)
                self._fill(slot, opens, side, lots, fill, False, fate, signal_id, tail, moment, now)
                return
            lots, fate, error = 1, -1.0, no_margin(account.name)
        quantity = contract.quantity(lots)
        level = "INFO"
        if fate < self.failed:
            status, level = "FAILED", "ERROR"
            if error is None:
                errors = self.refusals[account.name, opens]
                error = errors[int(draw() * len(errors))]
            outcome = f"failed: {error}"
        elif fate < self.tested:
            status, outcome = "TEST_EXECUTED", "was accepted as a test"
        else:
            status, outcome = "PENDING", "waits"
            order_id = account.order_id(now)
            response = f'{{"orderId": "{order_id}", "status": "New", "type": "Limit"}}'
        self._unfilled(
            slot, opens, side, quantity, status, error, response, order_id, level, outcome, signal_id, tail,
            self._book(now + 1),
        )  # fmt: skip

    def _unfilled(
        self, slot: Slot, opens: bool, side: int, quantity: float, status: str, error: str | None,
        response: str | None, order_id: str | None, level: str, outcome: str, signal_id: str, tail: str,
        moment: int,
    ) -> None:  # fmt: skip
        """Write down an order that has no fill."""
        action, symbol, name = _ACTIONS[opens, side], slot.contract.symbol, slot.account.name
        head = self.ids.head(moment)
        trade_id = f"{head}{self.trade_kind}{tail}"
        created = min(moment + WRITING[int(self.draw() * len(WRITING))], self.due - 1)
        self.trade_rows.append(
            (
                trade_id, signal_id, moment, name, symbol, action, quantity, None, self.leverage, status,
                error, response, created, 0.0, order_id, None,
            )
        )  # fmt: skip
        self.log_rows.append(
            (
                f"{head}{self.log_kind}{tail}", created, level, TRADER,
                f"{action} {quantity} {symbol} on {name} {outcome}", f'{{"trade_id": "{trade_id}"}}',
            )
        )  # fmt: skip

    def _fill(
        self, slot: Slot, opens: bool, side: int, lots: int, ticks: int, maker: bool, fate: float,
        signal_id: str, tail: str, moment: int, sent: int,
    ) -> None:  # fmt: skip
        """Fill an order at a price in ticks: the account changes, and a trade and a line are left."""
        draw, account, market, contract = self.draw, slot.account, slot.market, slot.contract
        head = f"{moment:08x}"
        if not opens:
            position = account.positions[market]
            assert position is not None
            # A fill beyond the liquidation price would be the liquidation.
            if (ticks - position.liquidation) * side < 0:
                ticks = position.liquidation
        quantity, text = contract.quantities[lots]
        state, ordered, level, words = "Filled", "", "INFO", "filled"
        chance = draw()
        if fate < self.unfilled:
            state, ordered, level, words = "Expired", f', "qty": {text}', "WARN", "expired without a fill"
            lots, quantity = 0, 0.0
        elif chance < self.partial and lots > 1:
            state, ordered, words = (
                "PartiallyFilled",
                f', "qty": {text}',
                "filled in part, the rest cancelled",
            )
            lots = 1 + int(chance / self.partial * (lots - 1))
            quantity, text = contract.quantities[lots]
        numerator, denominator = contract.tick
        price = ticks * numerator / denominator
        order_id = account.order_id(moment)
        profit = None
        fee = 0.0
        if lots:
            worth = lots * ticks * contract.value
            cost = account.fee(worth, maker)
            fee = cost / UNITS
            if opens:
                position = account.increase(market, side, lots, worth, cost, contract.value)
                if not position.id:
                    position.id = f"{head}{self.position_kind}{tail}"
                slot.entries -= 1
                slot.signal_id = signal_id
                slot.watch(position, self.ticks[market], self._reach(market))
                if slot.low > self.lows[market]:
                    self.lows[market] = slot.low
                if slot.high < self.highs[market]:
                    self.highs[market] = slot.high
            else:
                slot.exits -= 1
                profit = self._close(slot, lots, ticks, worth, cost, moment) / UNITS
        action, name = _ACTIONS[opens, side], account.name
        trade_id = f"{head}{self.trade_kind}{tail}"
        created = moment + WRITING[int(draw() * 100)]
        if created >= self.due:
            created = self.due - 1
        self.trade_rows.append(
            (
                trade_id,
                signal_id,
                moment,
                name,
                contract.symbol,
                action,
                quantity,
                price,
                self.leverage,
                "EXECUTED",
                None,
                f'{{"orderId": "{order_id}", "status": "{state}"{ordered}{_MAKER if maker else _TAKER}',
                created,
                fee,
                order_id,
                profit,
            )
        )
        self.log_rows.append(
            (
                f"{head}{self.log_kind}{tail}",
                created,
                level,
                TRADER,
                f"{action} {text} {contract.symbol} on {name} {words} within {moment - sent + 1} s",
                f'{{"trade_id": "{trade_id}"}}',
            )
        )

    def _crossing(self, market: int, limit: int, buys: bool) -> tuple[int, bool]:
        """In how many steps a limit order is reached, and whether it is before patience ends."""
        hour, place, patience = self.hour, self.place, self.patience
        coming = iter(self.ahead)
        side = 1 if buys else -1
        away = (self.ticks[market] - limit) * side
        deviation = self._reach(market) / REACH
        scale = 2.0 / (deviation * deviation) if deviation else NEVER
        for steps in range(1, patience + 1):
            place += 1
            while place >= len(hour.ticks):
                following = next(coming, None)
                if following is None:
                    return patience, False
                hour, place = following, 0
            after = (hour.ticks[place][market] - limit) * side
            # Where a step ends short of the limit, it may have been there: with this chance, as a bridge.
            if after <= 0 or self.draw() * bridge(scale * away * after) < 1.0:
                return steps, True
            away = after
        return patience, False

    def _settle(self, orders: list[_Order]) -> None:
        """Fill the limit orders that are reached in this step, or whose patience ends."""
        draw = self.draw
        for slot, held, opens, side, lots, limit, fate, signal_id, tail, sent in orders:
            slot.waiting -= 1
            account, market, contract = slot.account, slot.market, slot.contract
            moment = self._book(self.begin + 1 + int(draw() * 4))
            mark = self.ticks[market]
            ticks = limit or self.slippage.fill(
                market, mark, 1 if (side == LONG) == opens else -1,
                lots * mark * contract.value / UNITS, self.variance, draw(),
            )  # fmt: skip
            error, asked = None, lots
            position = account.positions[market]
            if opens and held != slot.held:
                error = "cancelled: the position was closed while the order waited"
            elif opens:
                lots = min(lots, account.affordable(ticks * contract.value))
                if not lots:
                    error = no_margin(account.name)
            elif position is None or held != slot.held:
                error = refusals(account.name, False)[-1]
            else:
                lots = min(lots, position.lots)
            if error is None:
                self._fill(slot, opens, side, lots, ticks, bool(limit), fate, signal_id, tail, moment, sent)
            else:
                self._unfilled(
                    slot, opens, side, contract.quantity(asked), "FAILED", error, None, None, "ERROR",
                    f"failed: {error}", signal_id, tail, moment,
                )  # fmt: skip

    def _book(self, moment: int) -> int:
        """The second at which something that is to happen at a moment is booked: in order, in its step, and
        not at or right before a snapshot."""
        moment = min(moment, self.end - GUARD + 1)
        if moment < self.clock:
            moment = self.clock
        while moment >= self.due - 1:
            self._snapshot()
            if moment <= self.taken_at:
                moment = self.taken_at + 1
        self.clock = moment
        return moment

    def _snapshot(self) -> None:
        """Write what all accounts hold at the moment that is due, and set the next."""
        now = self.due
        head = self.ids.head(now)
        prices = self.ticks
        for which, account in enumerate(self.accounts):
            unrealized = 0
            for position, contract, ticks in zip(account.positions, account.contracts, prices, strict=True):
                if position is not None:
                    unrealized += position.unrealized(position.lots * ticks * contract.value)
            self.balance_rows.append(
                (
                    f"{head}{self.balance_kind}{self.ids.tail(self.taken * len(self.accounts) + which)}",
                    account.name,
                    self.asset,
                    (account.wallet - account.used) / UNITS,
                    account.used / UNITS,
                    account.wallet / UNITS,
                    now,
                    (account.wallet + unrealized) / UNITS,
                    (account.used + unrealized) / UNITS,
                )
            )
        self.taken_at = now
        self.taken += 1
        if self.taken < self.snapshots:
            self.due = self.first + self.taken * (self.length // 10) // self.snapshots * 10
        else:
            self.due = self.finish if self.taken == self.snapshots else _NEVER_DUE

    def _reach(self, market: int) -> int:
        """How many ticks from a price the market ends a step, on average, that has been there within it."""
        return int(self.reaches[market] * self.spread_out * self.ticks[market])

    def _reached(self, market: int, came: int) -> None:
        """Do what stops, targets and liquidation prices say that the market's last step has passed."""
        ticks = self.ticks[market]
        for slot in self.by_market[market]:
            position = slot.account.positions[market]
            while position is not None and position.lots and not slot.low < ticks < slot.high:
                side = position.side
                against = ticks <= slot.low if side == LONG else ticks >= slot.high
                if against and slot.stop:
                    self._stop(slot, position, ticks)
                elif against:
                    # On a grid so coarse that the step began beyond that price, its beginning is the nearest.
                    lowest, highest = (ticks, came) if ticks < came else (came, ticks)
                    price = min(max(position.liquidation, lowest), highest)
                    self._force(slot, position, position.lots, price, _LIQUIDATION)
                else:
                    lots = position.lots
                    if not slot.reached and lots > 1:
                        lots = max(1, int(lots * slot.style.first_part))
                    self._force(slot, position, lots, slot.target, _TARGET)
                    if position.lots:
                        slot.advance(position, ticks, self._reach(market))
        self._look(market)

    def _stop(self, slot: Slot, position: Position, ticks: int) -> None:
        """Close a position whose stop was reached, at the market: a bit beyond, and more after a jump."""
        side, stop, market = position.side, slot.stop, slot.market
        worth = position.lots * stop * slot.contract.value / UNITS
        price = self.slippage.fill(market, stop, -side, worth, self.variance, self.draw())
        gap = (stop - ticks) * side - 3 * self._reach(market)
        if gap > 0:
            price -= side * int(gap * self.draw())
        if (price - position.liquidation) * side < 0:
            price = position.liquidation
        self._force(slot, position, position.lots, max(1, price), _STOP)

    def _force(
        self, slot: Slot, position: Position, lots: int, ticks: int, kind: tuple[str, str, str]
    ) -> None:
        """Close lots of a position without a signal of its own: a stop, a target or a liquidation."""
        account, contract = slot.account, slot.contract
        moment = self._book(self.begin + 1 + int(self.draw() * 3))
        worth = lots * ticks * contract.value
        state, level, words = kind
        fee = account.fee(worth, kind is _TARGET)
        head, tail = self.ids.head(moment), self.ids.tail(self.forced)
        self.forced += 1
        trade_id = f"{head}{self.forced_kind}{tail}"
        order_id = account.order_id(moment)
        side, signal_id = position.side, slot.signal_id
        profit = self._close(slot, lots, ticks, worth, fee, moment)
        created = min(moment + WRITING[int(self.draw() * len(WRITING))], self.due - 1)
        quantity, price = contract.quantity(lots), contract.price(ticks)
        self.trade_rows.append(
            (
                trade_id,
                signal_id,
                moment,
                account.name,
                contract.symbol,
                _ACTIONS[False, side],
                quantity,
                price,
                self.leverage,
                "EXECUTED",
                None,
                f'{{"orderId": "{order_id}", "status": "Filled"{state}',
                created,
                fee / UNITS,
                order_id,
                profit / UNITS,
            )
        )
        self.log_rows.append(
            (
                f"{head}{self.forced_log_kind}{tail}",
                created,
                level,
                TRADER,
                f"{_SIDES[side]} {quantity} {contract.symbol} on {account.name} {words} at {price},"
                f" profit {profit / UNITS:.2f}",
                f'{{"trade_id": "{trade_id}"}}',
            )
        )

    def _close(self, slot: Slot, lots: int, ticks: int, worth: int, fee: int, moment: int) -> int:
        """Close lots of a position; leaves its row, and returns the profit in units, when none is left."""
        account, market = slot.account, slot.market
        position = account.positions[market]
        assert position is not None
        entry = position.entry_price(slot.contract)
        profit = account.decrease(market, lots, worth, fee)
        if not position.lots:
            self.position_rows.append(self._position(slot, position, entry, ticks, 0, "CLOSED", moment))
            slot.forget()
            slot.held += 1
        return profit

    def _position(
        self, slot: Slot, position: Position, entry: float, ticks: int, unrealized: int, status: str, now: int
    ) -> _Row:
        contract = slot.contract
        return (
            position.id,
            slot.account.name,
            contract.symbol,
            _SIDES[position.side],
            entry,
            contract.price(ticks),
            contract.price(position.liquidation),
            self.leverage,
            contract.quantity(position.lots),
            unrealized / UNITS,
            status,
            now,
        )

    def _look(self, market: int) -> None:
        """Note at which prices of a market something happens next."""
        slots = self.by_market[market]
        self.lows[market] = max(slot.low for slot in slots)
        self.highs[market] = min(slot.high for slot in slots)

    def _event(self, moment: int, level: str, message: str, details: str) -> None:
        self.log_rows.append(
            (
                f"{self.ids.head(moment)}{self.event_kind}{self.ids.tail(self.events)}",
                moment, level, TRADER, message, details,
            )
        )  # fmt: skip
        self.events += 1

    def _fund(self) -> None:
        """Pay the funding of all open positions, or receive it: LONG pays SHORT while the rate is positive."""
        self.funds_at += _FUNDING
        if not self.funding:
            return
        usual = float(self.funding)
        for market, slots in enumerate(self.by_market):
            rate = int(usual * (1 + 0.7 * NORMAL[int(self.fund_draw() * DRAWS)]))
            for slot in slots:
                position = slot.account.positions[market]
                if position is None or not rate:
                    continue
                contract, ticks = slot.contract, self.ticks[market]
                worth = position.lots * ticks * contract.value
                moment = self._book(self.begin + 1)
                amount = -slot.account.pay(position.side * rounded(worth * rate, UNITS))
                said = worker_logs.funding(
                    slot.account.name, self.asset, contract.symbol, _SIDES[position.side],
                    contract.quantity(position.lots), contract.price(ticks), rate / UNITS, amount / UNITS,
                )  # fmt: skip
                self._event(moment, "INFO", *said)

    def _transfer(self, transfer: Transfer) -> None:
        """Let an amount come to a wallet, or leave it where that much is free."""
        account = next(each for each in self.accounts if each.name == transfer.exchange)
        amount = int(Fraction(transfer.amount) * UNITS * self.capital)
        moment = self._book(self.begin + 1)
        if account.wallet - account.used + amount < 0:
            said = worker_logs.refused_withdrawal(account.name, self.asset, amount / UNITS)
            self._event(moment, "WARN", said, f'{{"exchange": "{account.name}"}}')
            return
        account.wallet += amount
        self._event(moment, "INFO", *worker_logs.transfer(account.name, self.asset, amount / UNITS))

    def _leave(self) -> None:
        """Write the orders that still rest, the last snapshots, and the positions that are open."""
        for orders in self.resting.values():
            for order in orders:
                slot, _, opens, side, lots, _, _, signal_id, tail, sent = order
                order_id = slot.account.order_id(self.clock)
                self._unfilled(
                    slot, opens, side, slot.contract.quantity(lots), "PENDING", None,
                    f'{{"orderId": "{order_id}", "status": "New", "type": "Limit"}}', order_id, "INFO",
                    "waits", signal_id, tail, self._book(sent + 1),
                )  # fmt: skip
        while self.due <= self.finish:
            self._snapshot()
        for slot in self.slots:
            position = slot.account.positions[slot.market]
            if position is not None:
                ticks = self.ticks[slot.market]
                entry = position.entry_price(slot.contract)
                unrealized = position.unrealized(position.lots * ticks * slot.contract.value)
                self.position_rows.append(
                    self._position(slot, position, entry, ticks, unrealized, "OPEN", self.finish)
                )


def _narrowed(rows: list[_Row], places: tuple[int, ...], names: tuple[str, ...]) -> list[_Row]:
    """A copy of the rows with only some of their cells."""
    if len(places) == len(names):
        return rows[:]
    if len(places) == 1:
        return [(row[places[0]],) for row in rows]
    return list(map(itemgetter(*places), rows))
