"""Price paths and order ids: the two sources of chance that other things rely on."""

from __future__ import annotations

import re
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoox_tasks.seeding.market import Path
from hoox_tasks.seeding.order_ids import order_ids
from hoox_tasks.seeding.scenario import ORDER_ID_FORMS, Crash, Market


def market(price: str, volatility: str = "0") -> Market:
    return Market("BTCUSDT", Decimal(price), Decimal(volatility), Decimal("0.1"), Decimal("0.001"))


def test_a_market_that_does_not_move_keeps_its_price() -> None:
    """Without volatility the path stays on the first price's tick."""
    path = Path(market("100.3"), Random(0), moves_per_day=24)
    assert [path.move(part / 10) for part in range(10)] == [1003] * 10


def test_a_crash_takes_its_share_and_keeps_it() -> None:
    """Half of the way through a crash, half of its drop is gone; after it, all of it for good."""
    path = Path(market("100"), Random(0), 24, [Crash(Decimal("0.5"), Decimal("0.2"), Decimal("0.5"))])
    assert [path.move(elapsed) for elapsed in (0.4, 0.5, 0.6, 0.7, 0.9)] == [1000, 1000, 750, 500, 500]


def test_two_crashes_multiply() -> None:
    """What a second crash takes is a part of what the first has left."""
    half = Crash(Decimal("0.1"), Decimal("0.1"), Decimal("0.5"))
    assert Path(market("100"), Random(0), 24, [half, half]).move(0.5) == 250


@settings(max_examples=50)
@given(seed=st.integers(0), volatility=st.decimals(0, 1, places=2), moves=st.integers(1, 10_000))
def test_a_price_moves_within_bounds_and_never_reaches_zero(
    seed: int, volatility: Decimal, moves: int
) -> None:
    """One move is at most three standard deviations, and the lowest price is one tick."""
    path = Path(market("3", str(volatility)), Random(seed), moves_per_day=moves)
    bound = 3 * min(0.3, float(volatility) / moves**0.5)
    for _ in range(200):
        after = path.move(0.5)
        assert after >= 1
        # Both prices are rounded to a tick.
        assert abs(after - path.before) <= bound * (path.before + 1) + 1


def test_a_total_loss_stops_at_one_tick() -> None:
    """A crash that takes nearly all of a price of few ticks leaves one."""
    crash = Crash(Decimal("0.1"), Decimal("0.1"), Decimal("0.99"))
    assert Path(market("0.3"), Random(0), 24, [crash]).move(1) == 1


@pytest.mark.parametrize("form", ORDER_ID_FORMS)
def test_no_order_id_comes_twice(form: str) -> None:
    """Fifty thousand orders in one second have as many ids, all of the exchange's form."""
    following = order_ids(form, Random(0))
    ids = [following(1_767_225_600) for _ in range(50_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(ORDER_ID_FORMS[form], each) for each in ids)
