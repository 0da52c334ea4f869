"""One price path per market: what alerts, fills, marks and liquidations all read.

What the paths have in common with those of real markets:

- Returns themselves are not autocorrelated, their tails are fat, and large ones follow large ones for
  days: Cont, "Empirical properties of asset returns", Quantitative Finance 1 (2001) 223-236, facts 1, 2,
  6 and 8. The variance of an hour follows a GARCH(1,1) with normal shocks (Bollerslev, Journal of
  Econometrics 31 (1986) 307-327); its two coefficients add up to nearly one, as fits to cryptocurrencies
  find (Katsiampa, Economics Letters 158 (2017) 3-6).
- Rare jumps, up as often as down (Merton, Journal of Financial Economics 3 (1976) 125-144), in all
  markets at once or in one alone.
- One factor moves all markets, each with its own weight. Large cryptocurrencies correlate with each other
  at 0.6 to 0.9 (Borri, Journal of Empirical Finance 50 (2019) 1-19, on their common tail).
- Hours differ: most moves come while Europe and America trade, fewest before Europe's morning, and less
  on weekends (Hansen, Kim and Kimbrough, Journal of Financial Econometrics 22 (2024) 224-251).

The arithmetic is addition, multiplication, division and square root of doubles, which IEEE 754 rounds
the same way everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import fsum, sqrt
from random import Random

from hoox_tasks.seeding.chance import DRAWS, EXPONENTIAL, NORMAL, key_of
from hoox_tasks.seeding.scenario import Scenario

SHOCK = 0.12
MEMORY = 0.86
"""The weight of an hour's squared move in the variance of the next, and that of its variance."""

OWN_SHOCK = 0.12
OWN_MEMORY = 0.83
"""The same for what a market does apart from all others."""

CALM = 0.88
"""What a step's own deviation is of the market's: jumps make up for the rest."""

LARGEST_SHOCK = 40.0
"""A squared move, in variances of a usual hour, of which no more is remembered: it keeps variance finite."""

LARGEST_STEP = 0.06
"""The largest standard deviation of one step; 3.7 of them never take a price near zero."""

LARGEST_JUMP = 0.3

JUMP = 3.0
"""The smallest jump, in standard deviations of an hour; it is exponential from there on."""

STEPS = (600, 300, 150, 60, 30)
SLOWEST = STEPS[0]
"""Seconds that a step of the price usually takes; all of them divide an hour and are multiples of ten."""

HOURS = (
    0.94, 0.90, 0.86, 0.82, 0.78, 0.76, 0.82, 0.92, 1.00, 1.02, 1.00, 0.98,
    1.04, 1.18, 1.32, 1.34, 1.24, 1.14, 1.08, 1.04, 1.02, 1.00, 0.96, 0.96,
)  # fmt: skip
"""The standard deviation of a move by the hour of the day in UTC, against the usual one."""

WEEKEND = 0.8
"""The same on Saturday and Sunday."""


def step_of(signals: int, length: int) -> int:
    """How many seconds a step takes, so that two or three signals come in each.

    Where a long time has few signals, an hour is enough, and walking it costs less than making its rows.
    """
    if length > 24 * SLOWEST * max(signals, 1):
        return 3_600
    most = min(2.5 * length / max(signals, 1), length)
    return next((step for step in STEPS if step <= most), STEPS[-1])


def is_weekend(moment: int) -> bool:
    """Whether some Unix seconds are on a Saturday or Sunday in UTC."""
    return (moment // 86_400 + 3) % 7 >= 5


class Hour:
    """The steps of one hour: when each begins, and the price of each market from then on, in ticks.

    `variance` is that of the common factor against its usual one, `move` is what the factor did, in
    standard deviations of a usual hour.
    """

    __slots__ = ("begin", "moments", "move", "ticks", "variance")

    def __init__(
        self, begin: int, moments: list[int], ticks: list[tuple[int, ...]], variance: float, move: float
    ) -> None:
        self.begin: int = begin
        self.moments: list[int] = moments
        self.ticks: list[tuple[int, ...]] = ticks
        self.variance: float = variance
        self.move: float = move


def walk(scenario: Scenario, seed: int, first: int, step: int) -> Iterator[Hour]:
    """The hours of a scenario that starts at `first` (Unix seconds), with a step every `step` seconds.

    A price holds after the moment at which its step begins, up to and including the one of the next; the
    markets' own prices hold until the first. Moments are multiples of ten seconds after `first`, up to
    half a step after the even ones.
    """
    markets = scenario.markets
    length = int(scenario.days * 86_400)
    draw = Random(key_of(key_of(scenario.name, seed), "prices")).random
    normal, count = NORMAL, len(markets)
    # Weights of the factor and of what is a market's own, in a return that is one deviation large.
    weights = [(float(m.follows), sqrt(1 - float(m.follows) ** 2)) for m in markets]
    bases = [CALM * float(m.volatility) * sqrt(step / 86_400) for m in markets]
    levels = [float(m.price / m.tick) for m in markets]
    pull = _Pull(scenario)
    jumps = float(scenario.prices.jumps) / 168
    variance, own = 1.0, [1.0] * count
    pulled = 1.0

    for begin in range(first, first + length, 3_600):
        season = HOURS[begin // 3_600 % 24] * (WEEKEND if is_weekend(begin) else 1.0)
        moments = [
            begin + late + (10 * int(draw() * step / 20) if late or begin > first else 0)
            for late in range(0, 3_600, step)
        ]
        while moments and moments[-1] >= first + length:
            moments.pop()
        if not moments:
            return
        steps = len(moments)
        factors = [normal[int(draw() * DRAWS)] for _ in moments]
        leap, leaper, leap_at = 0.0, -1, -1
        chance = draw()
        if chance < 2 * jumps:
            # One half of the jumps is everybody's, the other half is shared out among the markets.
            leap = (JUMP + 1.5 * EXPONENTIAL[int(draw() * DRAWS)]) * sqrt(3_600 // step)
            leap *= 1 if draw() < 0.5 else -1
            leaper, leap_at = -1 if chance < jumps else int(draw() * count), int(draw() * steps)
            if leaper < 0:
                factors[leap_at] += leap
        pulls = pull.over(moments) if pull.pulls else None
        columns: list[list[int]] = []
        for which, base in enumerate(bases):
            common, apart = weights[which]
            common *= min(LARGEST_STEP, base * season * sqrt(variance))
            apart *= min(LARGEST_STEP, base * season * sqrt(own[which]))
            noises = [normal[int(draw() * DRAWS)] for _ in moments]
            if which == leaper:
                noises[leap_at] += leap
            # With half its variance added, a price that rises and falls alike goes nowhere.
            level, still = levels[which], 1.0 + 0.5 * (common * common + apart * apart)
            path = []
            if leap_at < 0:
                for factor, noise in zip(factors, noises, strict=True):
                    level *= still + common * factor + apart * noise
                    path.append(level)
            else:
                for factor, noise in zip(factors, noises, strict=True):
                    change = common * factor + apart * noise
                    level *= still + max(-LARGEST_JUMP, min(LARGEST_JUMP, change))
                    path.append(level)
            levels[which] = level
            if pulls is not None:
                path = [price * part for price, part in zip(path, pulls, strict=True)]
            columns.append([int(price + 0.5) or 1 for price in path])
            moved = fsum(noises)
            square = min(LARGEST_SHOCK, moved * moved * own[which] / steps)
            own[which] = 1 - OWN_SHOCK - OWN_MEMORY + OWN_SHOCK * square + OWN_MEMORY * own[which]
        move = fsum(factors) * sqrt(variance / steps)
        yield Hour(begin, moments, list(zip(*columns, strict=True)), variance, move)
        # A crash is a shock like any other: what it took in this hour adds to what chance did.
        fall = 0.0
        if pulls is not None and scenario.crashes and bases[0]:
            fall = (pulls[-1] - pulled) / pulled / (bases[0] * sqrt(3_600 // step))
            pulled = pulls[-1]
        shock = min(LARGEST_SHOCK, move * move + fall * fall)
        variance = 1 - SHOCK - MEMORY + SHOCK * shock + MEMORY * variance


class _Pull:
    """What a scenario's trend and crashes make of prices, whatever else they do."""

    def __init__(self, scenario: Scenario) -> None:
        self._first: int | None = None
        self._length = int(scenario.days * 86_400)
        self._trend = float(scenario.prices.trend)
        self._crashes = [(float(c.at), float(c.lasts), float(c.drop)) for c in scenario.crashes]
        self.pulls = bool(self._trend or self._crashes)

    def over(self, moments: list[int]) -> list[float]:
        """The part of its own price that a market has at some moments."""
        if self._first is None:
            self._first = moments[0]
        parts = []
        for moment in moments:
            elapsed = (moment - self._first) / self._length
            part = 1.0 + self._trend * elapsed
            for at, lasts, drop in self._crashes:
                if elapsed > at:
                    part *= 1.0 - drop * min(1.0, (elapsed - at) / lasts)
            parts.append(part)
        return parts
