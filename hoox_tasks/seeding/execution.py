"""What becomes of an order on its way: how long it takes, what it costs beyond the price, how it fails.

- A market order pays half the spread and moves the price by the square root of its size times volatility
  (Toth et al., "Anomalous price impact and the critical nature of liquidity in financial markets",
  Physical Review X 1 (2011) 021006); meanwhile the price moves by itself, for it or against it.
- A limit order waits at a better price until the path comes there, and is sent to the market when it has
  waited too long. Between two steps the path has been further than at either end, with the chance that a
  Brownian bridge gives (Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 6.4); a stop
  or target counts as reached when a step ends within 0.58 deviations of it (Broadie, Glasserman and Kou, "A
  continuity correction for discrete barrier options", Mathematical Finance 7 (1997) 325-349). Otherwise
  limit orders would only be filled where the price runs through them, and lose money by themselves.
- Latencies have a long tail: most orders take a second, few take half a minute.
- Refusals carry the exchange's own code. Bybit: https://bybit-exchange.github.io/docs/v5/error, Binance:
  https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code, MEXC:
  https://www.mexc.com/api-docs/futures/error-code; the words are ours.
"""

from __future__ import annotations

from math import floor, sqrt

from hoox_tasks.seeding.chance import DRAWS, NORMAL

SENDING = (0,) * 22 + (1,) * 44 + (2,) * 16 + (3,) * 8 + (4,) * 4 + (5, 6, 8, 11, 17, 29)
"""Seconds from an alert to the fill of its market order."""

WRITING = (1,) * 70 + (2,) * 16 + (3,) * 6 + (4, 4, 5, 6, 7, 9, 12, 18)
"""Seconds from a fill to its row."""

HOOKS = (1,) * 56 + (2,) * 22 + (3,) * 9 + (4,) * 5 + (5, 6, 7, 9, 12, 15, 19, 26)
"""Seconds from an alert to its arrival over a webhook."""

MAILS = (4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 15, 17, 19, 22, 26, 33, 45, 70, 110)
"""The same by e-mail."""

PATIENCE = 1_800
"""Seconds that a limit order waits before it is sent to the market."""

IMPACT = 1.1e-4
"""What an order of 10,000 adds to its price, as a part of it, in a market that moves by 2.5% a day."""

DRIFT = 2.0e-4
CHASE = 0.8e-4
"""How far the price itself moves until the order is there, as a standard deviation; and on average, because
alerts come when it is moving."""

REACH = 0.5826
"""How near a step has to end to a price that was reached within it, in the step's standard deviations."""

NO_MARGIN = {
    "bybit": "bybit 110007: available balance is not enough for this order",
    "binance": "binance -2019: margin is not sufficient",
    "mexc": "mexc 2005: balance is not sufficient",
}
"""How an exchange refuses an order that the account cannot back."""

_OPENING = {
    "bybit": (
        "bybit 110007: available balance is not enough for this order",
        "bybit 110003: order price is out of the permitted range",
        "bybit 110094: order value is below the smallest allowed",
    ),
    "binance": (
        "binance -2019: margin is not sufficient",
        "binance -4164: order value is below the smallest allowed",
        "binance -5022: post-only order would have been filled at once",
    ),
    "mexc": (
        "mexc 2005: balance is not sufficient",
        "mexc 2003: buying price is too high",
        "mexc 2015: price or quantity has too many digits",
    ),
}

_CLOSING = {
    "bybit": ("bybit 110017: reduce-only order would not reduce the position",),
    "binance": ("binance -2022: reduce-only order was rejected",),
    "mexc": ("mexc 2009: position does not exist or has been closed",),
}

_EITHER = {
    "bybit": (
        "bybit 10006: too many requests, rate limit reached",
        "bybit 10016: internal server error",
        "bybit 10002: request is outside the time window",
        "bybit 10000: server timed out",
    ),
    "binance": (
        "binance -1003: too many requests, rate limit reached",
        "binance -1021: timestamp is outside of recvWindow",
        "binance -1001: internal error, request was not processed",
        "binance -1007: backend timed out, whether the order went through is unknown",
    ),
    "mexc": (
        "mexc 510: too many requests",
        "mexc 501: system is busy",
        "mexc 513: request time is off by too much",
        "mexc 500: internal error",
    ),
}


def bridge(exponent: float) -> float:
    """Close to e to the power of `exponent`, which is not negative, without the C library's."""
    return 1.0 + exponent * (1.0 + exponent * (0.5 + exponent * (1 / 6 + exponent / 24)))


def refusals(exchange: str, opens: bool) -> tuple[str, ...]:
    """How an exchange may refuse an order, the likelier ones more than once."""
    either = _EITHER.get(exchange, ("HTTP 503: exchange is not available", "HTTP 429: too many requests"))
    special = (_OPENING if opens else _CLOSING).get(exchange, ("HTTP 400: order was refused",))
    return either[:1] * 2 + either + special[:1] * (3 if opens else 1) + special


def no_margin(exchange: str) -> str:
    """How an exchange refuses an order that the account cannot back."""
    return NO_MARGIN.get(exchange, "HTTP 400: margin is not sufficient")


class Slippage:
    """How far fills of market orders are from the mark."""

    __slots__ = ("_halves", "_impacts", "_most")

    def __init__(self, spreads: list[float], volatilities: list[float], most: float) -> None:
        """`spreads` are in basis points, `volatilities` of a day; `most` is the largest slip, as a part."""
        self._halves = [spread / 2e4 for spread in spreads]
        self._impacts = [IMPACT * volatility / 0.025 for volatility in volatilities]
        self._most = most

    def fill(
        self, market: int, ticks: int, direction: int, worth: float, variance: float, draw: float
    ) -> int:
        """The price in ticks at which a market order is filled.

        `direction` is 1 for buying and -1 for selling, `worth` is in the quote currency; `draw` is between
        0 and 1, its first digits decide about the drift and its last about the tick.
        """
        place = draw * DRAWS
        whole = int(place)
        slip = self._halves[market] + sqrt(variance) * (
            self._impacts[market] * sqrt(worth / 10_000) + CHASE + DRIFT * NORMAL[whole]
        )
        if slip > self._most:
            slip = self._most
        elif slip < -self._most:
            slip = -self._most
        return ticks + direction * floor(slip * ticks + (place - whole)) or 1
