"""Prices, arrivals, slippage and order ids: the sources of chance that other things rely on."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal
from itertools import pairwise
from math import exp, log
from random import Random
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoox_tasks.seeding import Scenario, load_scenario
from hoox_tasks.seeding.arrivals import GUARD, Arrivals
from hoox_tasks.seeding.chance import DRAWS, EXPONENTIAL, NORMAL
from hoox_tasks.seeding.execution import Slippage, bridge
from hoox_tasks.seeding.order_ids import order_ids
from hoox_tasks.seeding.prices import STEPS, step_of, walk
from hoox_tasks.seeding.scenario import ORDER_ID_FORMS, Crash
from tests.support import ROOT

FOLDERS = [ROOT / "fixtures"]
FIRST = 1_767_571_200
"""A Monday at midnight."""


def scenario(price: str, volatility: str = "0", **changes: object) -> Scenario:
    """`quiet` with one market, and whatever else is to be different."""
    quiet = load_scenario("quiet", FOLDERS)
    market = dataclasses.replace(
        quiet.markets[0], price=Decimal(price), volatility=Decimal(volatility), tick=Decimal("0.1")
    )
    return dataclasses.replace(quiet, markets=(market,), **changes)  # type: ignore[arg-type]


def path(made: Scenario, seed: int = 0, step: int = 600) -> list[int]:
    """The price of the only market, step by step, in ticks."""
    return [ticks[0] for hour in walk(made, seed, FIRST, step) for ticks in hour.ticks]


def test_the_tables_are_the_same_for_every_c_library() -> None:
    """No quantile is so near to a rounding edge that the last bit of a logarithm decides about it."""
    for place, value in enumerate(NORMAL):
        raw = NormalDist().inv_cdf((place + 0.5) / DRAWS)
        assert abs(raw - value) < 0.5e-6 - 1e-12
    for place, value in enumerate(EXPONENTIAL):
        assert abs(-log(1 - (place + 0.5) / DRAWS) - value) < 0.5e-6 - 1e-12
    assert [-value for value in reversed(NORMAL)] == list(NORMAL)


def test_a_market_that_does_not_move_keeps_its_price() -> None:
    """Without volatility, trend and crashes the path stays on the first price's tick."""
    assert set(path(scenario("100.3"))) == {1003}


def test_a_crash_takes_its_share_and_keeps_it() -> None:
    """Half of the way through a crash, half of its drop is gone; after it, all of it for good."""
    crash = Crash(Decimal("0.5"), Decimal("0.25"), Decimal("0.5"))
    prices = path(scenario("100", crashes=(crash,)))
    assert set(prices[:72]) == {1000}
    assert prices[90] == pytest.approx(750, abs=15)
    assert set(prices[109:]) == {500}


def test_two_crashes_multiply_and_leave_a_tick_at_least() -> None:
    """What a second crash takes is a part of what the first has left, and nothing falls to zero."""
    half = Crash(Decimal("0.1"), Decimal("0.1"), Decimal("0.5"))
    assert path(scenario("100", crashes=(half, half)))[-1] == 250
    nearly = Crash(Decimal("0.1"), Decimal("0.1"), Decimal("0.99"))
    assert path(scenario("0.3", crashes=(nearly,)))[-1] == 1


def test_a_trend_is_what_prices_gain_over_the_length() -> None:
    """A trend of 0.3 ends 30 percent higher, and is half of that half way."""
    quiet = load_scenario("quiet", FOLDERS)
    prices = path(scenario("100", prices=dataclasses.replace(quiet.prices, trend=Decimal("0.3"))))
    assert prices[-1] == pytest.approx(1300, abs=5)
    assert prices[72] == pytest.approx(1150, abs=5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0), volatility=st.decimals(0, 1, places=2), step=st.sampled_from(STEPS))
def test_a_price_never_reaches_zero(seed: int, volatility: Decimal, step: int) -> None:
    """However wild a market is, one step moves it by less than half, and the lowest price is one tick."""
    prices = path(scenario("300", str(volatility)), seed, step)
    assert len(prices) == 86_400 // step
    for before, after in pairwise(prices):
        assert after >= 1
        assert 0.5 * before - 1 <= after <= 1.6 * before + 1


@pytest.mark.parametrize(
    ("length", "signals", "step"), [(86_400, 12, 600), (31_536_000, 500, 3_600), (86_400, 10**6, 30)]
)
def test_a_step_is_as_long_as_the_alerts_allow(length: int, signals: int, step: int) -> None:
    """Few alerts get long steps and many get short ones, within bounds."""
    assert step_of(signals, length) == step


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 3_000), hours=st.integers(1, 60), seed=st.integers(0), wild=st.floats(0, 10))
def test_exactly_so_many_alerts_come_in_order(count: int, hours: int, seed: int, wild: float) -> None:
    """Whatever the market does, as many alerts come as were asked for, each inside of its step."""
    end = FIRST + hours * 3_600
    arrivals = Arrivals(count, FIRST, end, Random(seed))
    found = []
    for begin in range(FIRST, end, 3_600):
        moments = list(range(begin, begin + 3_601, 600))
        for step, came in zip(pairwise(moments), arrivals.over(moments, wild, wild), strict=True):
            assert all(step[0] + GUARD <= moment <= step[1] - GUARD for moment in came)
            found += came
    assert len(found) == count
    assert found == sorted(found)


def test_more_alerts_come_after_a_large_move() -> None:
    """An hour in which the market moves by three deviations has more alerts than one in which it rests."""
    counts = []
    for move in (0.0, 3.0):
        arrivals = Arrivals(24_000, FIRST, FIRST + 240 * 3_600, Random(0))
        moments = list(range(FIRST, FIRST + 3_601, 600))
        counts.append(sum(map(len, arrivals.over(moments, move, move))))
    assert counts[1] > 2 * counts[0]


def test_larger_orders_slip_further() -> None:
    """On average a market order pays half the spread and more for its size; buying and selling alike."""
    slippage = Slippage([2.0], [0.025], 0.003)
    draw = Random(1).random

    def paid(worth: float, direction: int) -> float:
        fills = [slippage.fill(0, 1_000_000, direction, worth, 1.0, draw()) for _ in range(4_000)]
        return direction * (sum(fills) / len(fills) / 1_000_000 - 1) * 1e4

    small, large = paid(100, 1), paid(100_000, 1)
    assert 1 < small < large < 8
    assert paid(100_000, -1) == pytest.approx(large, abs=0.3)


def test_a_bridge_is_close_to_the_exponential() -> None:
    """The polynomial in place of the C library's function is near it where it decides about anything."""
    for place in range(30):
        assert bridge(place / 10) == pytest.approx(exp(place / 10), rel=0.2)


@pytest.mark.parametrize("form", ORDER_ID_FORMS)
def test_no_order_id_comes_twice(form: str) -> None:
    """Fifty thousand orders in one second have as many ids, all of the exchange's form."""
    following = order_ids(form, Random(0))
    ids = [following(1_767_225_600) for _ in range(50_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(ORDER_ID_FORMS[form], each) for each in ids)
