"""When alerts come: in clusters, after large moves, by day more than by night.

- Each alert makes others likelier for some minutes: a self-exciting process (Hawkes, Biometrika 58
  (1971) 83-90), as orders and trades arrive in markets (Bacry, Mastromatteo and Muzy, "Hawkes processes in
  finance", Market Microstructure and Liquidity 1 (2015)). It runs in steps, within which its intensity
  stands still, which converges to it as steps get short (Kirchner, Stochastic Processes and their
  Applications 126 (2016) 2494-2525).
- Activity follows volatility (Cont 2001, fact 10), the hours of the day and the days of the week: most in
  the afternoon of UTC, least in its early morning, less on weekends. It bunches after every five minutes,
  when bars close and robots act (Hansen, Kim and Kimbrough, Journal of Financial Econometrics 22 (2024)
  224-251).
"""

from __future__ import annotations

from random import Random

from hoox_tasks.seeding.chance import DRAWS, EXPONENTIAL
from hoox_tasks.seeding.prices import is_weekend

BRANCHING = 0.35
"""How many further alerts one alert brings about on average, with their own; below one."""

FADES = 900.0
"""Seconds in which most of that excitement is over."""

AT_CLOSE = 0.25
BAR = 300
"""The part of alerts that wait for a bar of so many seconds to close."""

HOURS = (
    0.75, 0.68, 0.60, 0.54, 0.50, 0.50, 0.58, 0.74, 0.92, 1.00, 1.02, 1.02,
    1.12, 1.40, 1.66, 1.72, 1.56, 1.38, 1.24, 1.14, 1.08, 1.00, 0.92, 0.84,
)  # fmt: skip
"""Alerts by the hour of the day in UTC, against the usual number."""

WEEKEND = 0.62
"""Alerts on Saturday and Sunday, against a weekday."""

GUARD = 6
"""Seconds after the beginning of a step and before its end in which no alert is dealt with."""


def season(moment: int) -> float:
    """How many alerts come at a moment in Unix seconds, against the usual number."""
    return HOURS[moment // 3_600 % 24] * (WEEKEND if is_weekend(moment) else 1.0)


class Arrivals:
    """The moments of exactly `count` alerts between `first` and `end` (Unix seconds), step by step."""

    __slots__ = ("_credit", "_draw", "_end", "_excited", "_weight", "left")

    def __init__(self, count: int, first: int, end: int, random: Random) -> None:
        self.left: int = count
        self._end = end
        self._draw = random.random
        self._credit = EXPONENTIAL[int(self._draw() * DRAWS)]
        self._excited = 0.0
        self._weight = 0.0
        for begin in range(first, end, 3_600):
            self._weight += season(begin) * min(3_600, end - begin)

    def over(self, moments: list[int], move: float, before: float) -> list[list[int]]:
        """The moments at which alerts are dealt with in the steps of an hour, in order; all that are left
        in the last.

        A step lasts from one of `moments` to the next; the market moves by `move` deviations of a usual
        hour, after `before`.
        """
        draw, exponential = self._draw, EXPONENTIAL
        begin, finish = moments[0], moments[-1]
        # What is left is spread over what remains, so that all have come at the end, and not before.
        warmth = 0.5 + 0.25 * min(9.0, move * move) + 0.25 * min(9.0, before * before)
        share = season(begin) / self._weight if self._weight > 0 else 0.0
        rate = self.left * share * warmth * (1 - BRANCHING)
        self._weight -= season(begin) * (finish - begin)
        credit, excited = self._credit, self._excited
        steps: list[list[int]] = []
        for end in moments[1:]:
            span = end - begin
            total = (rate + excited) * span
            if end >= self._end:
                came = [self._moment(begin, span, draw()) for _ in range(self.left)]
                self.left = 0
                steps.append(sorted(came))
            elif credit > total:
                credit -= total
                steps.append([])
                excited /= 1.0 + span / FADES
            else:
                came = []
                while credit <= total and self.left:
                    came.append(self._moment(begin, span, credit / total))
                    self.left -= 1
                    credit += exponential[int(draw() * DRAWS)]
                credit = max(0.0, credit - total)
                excited = (excited + len(came) * BRANCHING / FADES) / (1.0 + span / FADES)
                steps.append(sorted(came))
            begin = end
        self._credit, self._excited = credit, excited
        return steps

    def _moment(self, begin: int, span: int, part: float) -> int:
        moment = begin + GUARD + int(part * (span - 2 * GUARD))
        chance = self._draw()
        if chance < AT_CLOSE:
            # The bar closes, and it takes a moment until everybody has noticed.
            close = moment + -moment % BAR + 1 + int(chance / AT_CLOSE * 5)
            if close <= begin + span - GUARD:
                return close
        return moment
