"""Order ids in the forms that exchanges give them: never twice the same from one source."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

OrderIds: TypeAlias = Callable[[int], str]
"""Called with Unix seconds, gives the next order id."""


def order_ids(form: str, random: Random) -> OrderIds:
    """A source of order ids in one of `ORDER_ID_FORMS`."""
    return {"uuid": _uuids, "sequence": _sequence, "snowflake": _snowflakes}[form](random)


def _uuids(random: Random) -> OrderIds:
    draw = random.random
    middles = [
        f"{int(draw() * 0x10000):04x}-4{int(draw() * 0x1000):03x}-{'89ab'[int(draw() * 4)]}"
        f"{int(draw() * 0x1000):03x}"
        for _ in range(1024)
    ]
    ends = [f"{int(draw() * 0x1000000000000):012x}" for _ in range(1024)]
    first = int(draw() * 2**32)

    def following(_: int) -> str:
        nonlocal first
        # An odd step visits all 2^32 numbers before it repeats one.
        first = (first + 0x9E3779B1) & 0xFFFFFFFF
        place = int(draw() * 0x100000)
        return f"{first:08x}-{middles[place >> 10]}-{ends[place & 1023]}"

    return following


def _sequence(random: Random) -> OrderIds:
    draw = random.random
    last = 200_000_000_000 + int(draw() * 600_000_000_000)

    def following(_: int) -> str:
        nonlocal last
        last += 1 + int(draw() * 40)
        return str(last)

    return following


def _snowflakes(random: Random) -> OrderIds:
    draw = random.random
    last = 0

    def following(now: int) -> str:
        nonlocal last
        # Eighteen digits from 1970 to 2250, and as exact as a number this large can be as text only.
        last = max(last + 1, 100_000_000_000_000_000 + now * 100_000_000 + int(draw() * 100_000_000))
        return str(last)

    return following
