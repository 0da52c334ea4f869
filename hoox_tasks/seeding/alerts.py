"""Alerts as they arrive: TradingView's webhooks and its e-mails, and how a gateway turns them away.

A strategy's alert is a message that its author wrote with TradingView's placeholders; these use
`{{ticker}}`, `{{exchange}}`, `{{interval}}`, `{{strategy.order.action}}`, `{{strategy.order.contracts}}`,
`{{close}}`, `{{strategy.market_position}}` and `{{time}}`
(https://www.tradingview.com/support/solutions/43000531021/). A perpetual's ticker ends in `.P`, intervals
are minutes. Webhooks come from four addresses
(https://www.tradingview.com/support/solutions/43000529348/), e-mails from noreply@tradingview.com.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hoox_tasks.seeding.strategies import Strategy

ADDRESSES = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
"""From where TradingView sends webhooks."""

EMAIL = "Email"
"""The source whose alerts are mails; those of all others are JSON."""

LATE = 300
"""Seconds after which an alert is too old to act on."""

MINUTES = tuple(f"{second // 60:02d}:{second % 60:02d}Z" for second in range(3_600))
"""The rest of a time after its hour, by the second of the hour."""

OLD, OVERTAKEN, REFUSED, PAUSED = range(4)
"""Why no order follows from an alert: it came late, came after a newer one, was not wanted, or the account
cannot back it."""


class Template:
    """The text of one strategy's alerts for one market on one exchange."""

    __slots__ = ("mail", "name", "web")

    def __init__(self, strategy: Strategy, symbol: str, exchange: str) -> None:
        self.name: str = strategy.name
        known = json.dumps(
            {
                "strategy": strategy.name,
                "ticker": f"{symbol}.P",
                "exchange": exchange.upper(),
                "interval": strategy.interval,
            },
            ensure_ascii=False,
        )
        self.web: str = f'{known[:-1]}, "action": "'
        self.mail: str = (
            "From: TradingView <noreply@tradingview.com>\n"
            f"Subject: Alert: {strategy.name} on {symbol}.P\n\n"
            f"Strategy: {strategy.name}\nExchange: {exchange.upper()}\nTicker: {symbol}.P\n"
            f"Interval: {strategy.interval}\nAction: "
        )


class Clock(dict[int, str]):
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
