"""Chance that is the same on every platform: seeds from names, and tables of two distributions.

The only source of chance is `Random.random()`, whose sequence Python promises to keep
(https://docs.python.org/3/library/random.html#notes-on-reproducibility). Logarithms and exponentials
differ in their last bit between C libraries, so nothing here calls them at run time: a draw picks from a
table of quantiles, which are rounded far above that bit.
"""

from __future__ import annotations

import hashlib
from math import log
from statistics import NormalDist

DRAWS = 4096
"""How many quantiles a table has. The middles of as many equal parts: the largest is 3.7 deviations."""

_DIGITS = 6


def key_of(*parts: str | int) -> int:
    """A number that depends on all the parts, the same everywhere: the seed of one source of chance."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:16], "big")


def _normal() -> tuple[float, ...]:
    upper = [round(NormalDist().inv_cdf((DRAWS // 2 + i + 0.5) / DRAWS), _DIGITS) for i in range(DRAWS // 2)]
    return (*(-value for value in reversed(upper)), *upper)


NORMAL = _normal()
"""Quantiles of the normal distribution with mean 0 and variance 1, in order."""

EXPONENTIAL = tuple(round(-log(1 - (i + 0.5) / DRAWS), _DIGITS) for i in range(DRAWS))
"""Quantiles of the exponential distribution with mean 1, in order."""
