"""One price path per market: what fills, marks and liquidations all read.

A path is a geometric random walk on the market's tick grid. Its arithmetic is addition, multiplication,
division and square root of doubles, which IEEE 754 rounds the same way everywhere, and the only random
source is `Random.random()`, whose sequence Python promises to keep
(https://docs.python.org/3/library/random.html#notes-on-reproducibility).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import sqrt
from random import Random

from hoox_tasks.seeding.scenario import Crash, Market, Scenario

LARGEST_MOVE = 0.3
"""The largest standard deviation of one move: three of them must never take a price to zero."""


def key_of(*parts: str | int) -> int:
    """A number that depends on all the parts, the same everywhere: the seed of one source of chance."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:16], "big")


def price_paths(scenario: Scenario, seed: int, signals: int) -> list[Path]:
    """The paths that a scenario's markets take when so many signals come, in the scenario's order.

    Signal number n (from 0) moves its market's path once, to `move(n / signals)`.
    """
    key = key_of(scenario.name, seed)
    moves_per_day = signals / len(scenario.markets) / float(scenario.days)
    return [
        Path(market, Random(key_of(key, "prices", market.symbol)), moves_per_day, scenario.crashes)
        for market in scenario.markets
    ]


class Path:
    """The price of one market, in ticks, from one move (`before`) to the next (`ticks`)."""

    __slots__ = ("_crashes", "_level", "_random", "_spread", "before", "ticks")

    def __init__(
        self, market: Market, random: Random, moves_per_day: float, crashes: Sequence[Crash] = ()
    ) -> None:
        """Start at the market's price; `moves_per_day` spreads its daily volatility over the moves."""
        self._level = float(market.price / market.tick)
        # Three uniform draws have a standard deviation of one half.
        self._spread = 2 * min(LARGEST_MOVE, float(market.volatility) / sqrt(moves_per_day))
        self._random = random.random
        self._crashes = [(float(c.at), float(c.lasts), float(c.drop)) for c in crashes]
        self.ticks = self.before = int(self._level)

    def move(self, elapsed: float) -> int:
        """Take one step and return the new price in ticks, at least 1.

        `elapsed` is the part of the scenario's length that has passed, from 0 to 1: a crash takes its
        share off the price as it goes on.
        """
        draw = self._random
        self._level = level = self._level * (1.0 + self._spread * (draw() + draw() + draw() - 1.5))
        for at, lasts, drop in self._crashes:
            if elapsed > at:
                level *= 1.0 - drop * min(1.0, (elapsed - at) / lasts)
        self.before = self.ticks
        self.ticks = ticks = int(level + 0.5) or 1
        return ticks
