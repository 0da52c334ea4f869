"""What the desk trades, and by which plan: named strategies in three styles, on slots of their own.

A slot is one market on one exchange; it holds one position at a time, which several strategies of one
style build up and take down. Positions are sized so that the stop costs a fixed part of the wallet
("percent volatility" sizing; Van Tharp, Trade Your Way to Financial Freedom, 1998; Faith, Way of the
Turtle, 2007), leave in parts at targets, and move the stop to the entry once the first one is reached.

Prices have no memory, so no rule could win on them. The desk's edge is made instead: for a part of its
positions the side is taken from what the path will do next.
"""

from __future__ import annotations

from collections import deque
from math import sqrt
from typing import NamedTuple

from hoox_tasks.seeding.account import LONG, SHORT, Account, Contract, Position
from hoox_tasks.seeding.prices import Hour
from hoox_tasks.seeding.scenario import Scenario


class Style(NamedTuple):
    """The plan behind a position.

    `hours` is how long it is meant to last. `stop` and `targets` are distances from the entry, in standard
    deviations of the price over that time; the first target closes the part `first_part`. `along` is whether
    it goes with a move or against it, `maker` how
    readily its orders wait, against the scenario's usual. `names` are the indicators that traders build it
    on, `intervals` TradingView's bars for it, in minutes.
    """

    hours: int
    stop: float
    targets: tuple[float, float]
    first_part: float
    along: bool
    maker: float
    names: tuple[str, ...]
    intervals: tuple[str, ...]


STYLES = {
    "trend": Style(
        30, 1.1, (1.5, 3.2), 0.34, True, 0.7,
        ("Supertrend", "EMA Cross 21/55", "MACD Trend", "Ichimoku Cloud", "Turtle 55", "ADX Trend"),
        ("60", "120", "240"),
    ),
    "breakout": Style(
        12, 0.9, (1.2, 2.4), 0.5, True, 0.5,
        ("Donchian 20", "BB Squeeze", "Keltner Breakout", "Range Break", "Opening Range", "ATR Channel"),
        ("15", "30", "60"),
    ),
    "reversion": Style(
        5, 1.5, (0.8, 1.3), 0.6, False, 1.6,
        ("RSI Fade", "BB %B Reversion", "VWAP Fade", "Z-Score Reversion", "Stoch RSI", "Connors RSI-2"),
        ("5", "15", "30"),
    ),
}  # fmt: skip

MOST_ORDERS = 400
"""Orders that build a position up, or take it down, at most."""

FRAMES = {"5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h"}
"""How traders write TradingView's intervals, which are minutes."""


class Strategy(NamedTuple):
    """A strategy as its alerts name it, with the bars that it runs on, in minutes."""

    name: str
    interval: str


def strategies_of(style: str, slot: int, scale: float) -> list[Strategy]:
    """The strategies of one style that share a slot: two, and more on a bigger desk, all named apart."""
    plan = STYLES[style]
    many = max(2, min(48, round(2 * scale)))
    found = []
    for number in range(many):
        # Steps that visit all names and all intervals before either comes again.
        place = slot * 2 + number
        name = plan.names[place % len(plan.names)]
        interval = plan.intervals[(place + place // len(plan.names)) % len(plan.intervals)]
        version = number // (len(plan.names) * len(plan.intervals))
        found.append(
            Strategy(f"{name} {FRAMES[interval]}" + (f" v{version + 1}" if version else ""), interval)
        )
    return found


NEVER = 2**63
"""A price in ticks that no path reaches."""


class Slot:
    """One market on one exchange, and the plan of the position there.

    `stop` and `target` are prices in ticks, 0 where there is none; `low` and `high` the nearest ones below
    and above at which something happens. `entries` and `exits` are how many orders the position is still to
    be built up and taken down with, `lots` what each adds, `deadline` the Unix seconds from which it is
    left. `reached` counts the targets that are behind it, `waiting` the orders that rest on the exchange,
    `held` the positions that are no more.
    """

    stop: int
    entries: int
    deadline: int
    exits: int
    held: int
    high: int
    lots: int
    low: int
    reached: int
    target: int
    waiting: int

    __slots__ = (
        "account", "contract", "deadline", "distances", "entries", "exits", "held", "high", "last",
        "lots", "low", "market", "number", "places", "reached", "side", "signal_id", "stop", "strategies",
        "style", "target", "waiting",
    )  # fmt: skip

    def __init__(self, number: int, account: Account, market: int) -> None:
        self.number: int = number
        self.account: Account = account
        self.market: int = market
        self.contract: Contract = account.contracts[market]
        self.style: Style = STYLES["trend"]
        self.strategies: list[tuple[Style, list[int]]] = []
        self.places: list[int] = []
        self.side: int = 0
        self.stop = self.target = 0
        self.distances: tuple[float, float, float] = (0.0, 0.0, 0.0)
        self.low, self.high = 0, NEVER
        self.entries = self.exits = self.lots = self.deadline = self.reached = self.waiting = self.held = 0
        self.signal_id: str = ""
        self.last: tuple[int, str, str, str] | None = None

    def watch(self, position: Position, mark: int, reach: int) -> None:
        """Set stop and target of a position that was built up, from its entry and beyond the mark.

        Both are in ticks, and so is `reach`: how near the mark has to come to a price to have been there.
        """
        below, first, _ = self.distances
        side = position.side
        if below and not self.reached:
            entry = position.cost / (position.parts * position.lots * self.contract.value)
            if side == LONG:
                stop, target, least = int(entry * (1.0 - below)), int(entry * (1.0 + first)), mark - reach
                self.stop = (stop if stop < least else least - 1) if least > 1 else 1
                least = mark + reach
                self.target = (target if target > least else least) + 1
            else:
                stop, target, least = int(entry * (1.0 + below)), int(entry * (1.0 - first)), mark + reach
                self.stop = (stop if stop > least else least) + 1
                least = mark - reach
                self.target = (target if target < least else least - 1) if least > 1 else 0
        self._look(side, position.liquidation, reach)

    def advance(self, position: Position, mark: int, reach: int) -> None:
        """Set the next target of a position that has reached its first, and its stop to its entry."""
        self.reached += 1
        entry = position.cost / (position.parts * position.lots * self.contract.value)
        second = self.distances[2]
        if position.side == LONG:
            self.stop = max(1, min(int(entry), mark - reach - 1))
            self.target = max(int(entry * (1.0 + second)), mark + reach) + 1
        else:
            self.stop = max(int(entry), mark + reach) + 1
            self.target = max(0, min(int(entry * (1.0 - second)), mark - reach - 1))
        self._look(position.side, position.liquidation, reach)

    def forget(self) -> None:
        """Drop the plan of a position that is no more."""
        self.stop = self.target = self.entries = self.exits = self.lots = self.reached = 0
        self.distances = (0.0, 0.0, 0.0)
        self.low, self.high = 0, NEVER

    def _look(self, side: int, liquidation: int, reach: int) -> None:
        stop, target = self.stop, self.target
        if side == LONG:
            self.low = stop + reach if stop and stop + reach > liquidation else liquidation
            self.high = target - reach if target else NEVER
        else:
            self.high = stop - reach if stop and stop - reach < liquidation else liquidation
            self.low = target + reach if target else 0


class Planner:
    """Decides sides, sizes, stops and targets; `rate` is how many alerts a slot gets in an hour."""

    def __init__(self, scenario: Scenario, rate: float) -> None:
        desk = scenario.desk
        self._rate = rate
        self._sigmas = [float(market.volatility) for market in scenario.markets]
        self._edge = float(desk.edge)
        self._risk = float(desk.risk)
        self._stops = float(desk.stops)
        self._most = float(scenario.orders.size) * scenario.account.leverage
        self._widest = 0.6 / scenario.account.leverage
        # All of one side where a scenario says so; at one half the strategies decide.
        self._leaning = 2 * float(scenario.signals.long) - 1

    def side(
        self,
        slot: Slot,
        style: Style,
        ticks: int,
        ahead: deque[Hour],
        usual: float,
        first: float,
        other: float,
    ) -> int:
        """Which side a new position takes, from two draws; `usual` is the average price of the last hours."""
        leaning = self._leaning
        if first < abs(leaning):
            return LONG if leaning > 0 else SHORT
        if first > 1 - self._edge * (1 - abs(leaning)) and ahead:
            later = ahead[min(style.hours, len(ahead)) - 1].ticks[-1][slot.market]
            return LONG if later >= ticks else SHORT
        if other < 0.3:
            # Not every chart shows the same.
            return LONG if other < 0.15 else SHORT
        return LONG if (ticks >= usual) == (style.along) else SHORT

    def open(
        self, slot: Slot, style: Style, lot_worth: int, now: int, variance: float, chance: float
    ) -> None:
        """Lay the plan of a new position: how large, in how many orders, for how long, and its ways out."""
        days = style.hours / 24
        sigma = self._sigmas[slot.market] * sqrt(days * min(2.2, max(0.5, variance)))
        below = max(0.003, min(self._widest, style.stop * sigma))
        wallet = slot.account.wallet
        worth = wallet * self._most
        slot.distances = (0.0, 0.0, 0.0)
        if chance < self._stops:
            worth = min(worth, wallet * self._risk / below)
            first, second = style.targets
            slot.distances = (below, max(0.002, first * sigma), max(0.004, second * sigma))
        expected = self._rate * style.hours
        slot.style = style
        slot.entries = max(1, min(MOST_ORDERS, int(expected * 0.4 + chance)))
        if chance >= self._stops:
            # Who has no plan is all in at once.
            slot.entries = min(slot.entries, 2)
        slot.exits = max(1, min(MOST_ORDERS, int(expected * 0.3 + 1 - chance)))
        slot.lots = int(worth / slot.entries / lot_worth) or 1
        slot.deadline = now + int(style.hours * 3_600 * (0.6 + 0.8 * chance))
        slot.reached = 0
