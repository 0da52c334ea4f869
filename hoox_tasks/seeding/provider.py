"""A Faker provider for everything that a trade ledger holds.

    fake = Faker()
    fake.add_provider(TradeProvider)
    fake.trade()  # a dict with every column of `trades`

Each row makes sense by itself (its fee follows from its price, its order id looks like its exchange's);
rows that make sense together come from `hoox_tasks.seeding.generate`. Times are Unix seconds, amounts
are in the quote currency, and all chance is Faker's, so that its seed decides.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from faker.providers import BaseProvider

from hoox_tasks.seeding.alerts import ADDRESSES
from hoox_tasks.seeding.execution import refusals
from hoox_tasks.seeding.order_ids import order_ids
from hoox_tasks.seeding.rows import Cell
from hoox_tasks.seeding.strategies import FRAMES, STYLES


class _Market(NamedTuple):
    symbol: str
    price: float
    price_decimals: int
    lot_decimals: int


class _Exchange(NamedTuple):
    name: str
    taker_fee: float
    order_id: str


_MARKETS = (
    _Market("BTCUSDT", 64_000.0, 1, 3),
    _Market("ETHUSDT", 3_200.0, 2, 2),
    _Market("SOLUSDT", 150.0, 2, 1),
    _Market("XRPUSDT", 0.52, 4, 0),
    _Market("DOGEUSDT", 0.125, 5, 0),
)
_EXCHANGES = (
    _Exchange("bybit", 0.00055, "uuid"),
    _Exchange("binance", 0.0005, "sequence"),
    _Exchange("mexc", 0.0002, "snowflake"),
)
_LEVERAGE = 5
_MAINTENANCE = 0.005

_REJECTIONS = (
    "strategy {strategy} is paused since {seconds} min",
    "passphrase of {strategy} does not match",
    "{strategy} asked for a symbol that is not traded here",
    "daily loss limit of {strategy} is reached",
    "request {trace} from {host} is not on the list of allowed addresses",
    "cooldown of {strategy} lasts {seconds} s more",
)
_CHATTER = (
    ("DEBUG", "hoox-gateway", "POST /webhook 200 in {seconds} ms from {address}, trace {trace}"),
    ("DEBUG", "hoox-gateway", "POST /webhook 200 in 1{seconds} ms from {address}, trace {trace}"),
    ("DEBUG", "d1-worker", "batch {trace} of 3 rows written in {seconds} ms"),
    ("DEBUG", "d1-worker", "batch {trace} of 4 rows written in 1{seconds} ms"),
    ("DEBUG", "trade-worker", "positions in step with the exchange, {seconds} ms"),
    ("INFO", "telegram-worker", "sent to {person} in 2{seconds} ms"),
    ("INFO", "trade-worker", "leverage and margin mode are as configured"),
    ("INFO", "email-worker", "mailbox checked in {seconds}0 ms, trace {trace}"),
    ("WARN", "trade-worker", "exchange answered after {seconds}00 ms, trace {trace}"),
    ("WARN", "hoox-gateway", "unknown sender {host} was turned away"),
    ("WARN", "trade-worker", "rate limit: {seconds} requests left in this minute"),
    ("ERROR", "telegram-worker", "429 Too Many Requests: retry after {seconds} s"),
)


class TradeProvider(BaseProvider):
    """Makes symbols, signals, trades, positions, balances and log lines for any Faker."""

    def symbol(self) -> str:
        """A market's symbol, as in `BTCUSDT`."""
        return self._market().symbol

    def exchange(self) -> str:
        """An exchange's name, as the ledger writes it."""
        return self._exchange().name

    def trade_action(self) -> str:
        """What a trade does: LONG, SHORT, CLOSE_LONG or CLOSE_SHORT."""
        return str(self.random_element(("LONG", "SHORT", "CLOSE_LONG", "CLOSE_SHORT")))

    def order_id(self, exchange: str | None = None) -> str:
        """An order id as `exchange` gives them, or any exchange where None; a UUID for an unknown one."""
        forms = {known.name: known.order_id for known in _EXCHANGES}
        form = forms.get(exchange or self.exchange(), "uuid")
        return order_ids(form, self.generator.random)(self._moment())

    def strategy(self) -> str:
        """The name of a trading strategy with its bars, as in `Supertrend 4h`."""
        style = STYLES[str(self.random_element(tuple(STYLES)))]
        interval = str(self.random_element(style.intervals))
        return f"{self.random_element(style.names)} {FRAMES[interval]}"

    def order_error(self) -> str:
        """Why an exchange did not take an order, with its own code."""
        return str(self.random_element(refusals(self.exchange(), bool(self.random_int(0, 1)))))

    def rejection(self) -> str:
        """Why no order followed from a signal."""
        return self._filled(str(self.random_element(_REJECTIONS)))

    def trade_signal(self) -> dict[str, Cell]:
        """A row of `trade_signals`."""
        market = self._market()
        moment = self._moment()
        kind = str(self.random_element(("BUY", "SELL", "LONG", "SHORT", "CLOSE_LONG", "CLOSE_SHORT")))
        return {
            "signal_id": self.generator.uuid4(),
            "timestamp": moment,
            "symbol": market.symbol,
            "signal_type": kind,
            "source": str(self.random_element(("TradingView", "Email"))),
            "raw_data": json.dumps(
                {
                    "strategy": self.strategy(),
                    "ticker": f"{market.symbol}.P",
                    "exchange": self.exchange().upper(),
                    "interval": str(self.random_element(tuple(FRAMES))),
                    "action": "buy" if kind in ("BUY", "LONG", "CLOSE_SHORT") else "sell",
                    "contracts": self._quantity(market),
                    "price": self._price(market),
                }
            ),
            "processed_at": moment + self.random_int(1, 4),
        }

    def trade(self) -> dict[str, Cell]:
        """A row of `trades`: a filled order, that opens or closes a position."""
        market, exchange = self._market(), self._exchange()
        moment = self._moment()
        action = self.trade_action()
        price, quantity = self._price(market), self._quantity(market)
        order_id = self.order_id(exchange.name)
        return {
            "id": self.generator.uuid4(),
            "signal_id": self.generator.uuid4(),
            "timestamp": moment,
            "exchange": exchange.name,
            "symbol": market.symbol,
            "action": action,
            "quantity": quantity,
            "price": price,
            "leverage": _LEVERAGE,
            "status": "EXECUTED",
            "error_message": None,
            "raw_response": json.dumps({"orderId": order_id, "status": "Filled", "liquidity": "taker"}),
            "created_at": moment + 1,
            "fee": round(quantity * price * exchange.taker_fee, 8),
            "order_id": order_id,
            "realized_pnl": round(quantity * price * self._part(-0.05, 0.05), 8)
            if action.startswith("CLOSE")
            else None,
        }

    def position(self) -> dict[str, Cell]:
        """A row of `positions`: an open one."""
        market = self._market()
        side, sign = self.random_element((("LONG", 1), ("SHORT", -1)))
        entry, size = self._price(market), self._quantity(market)
        mark = round(entry * self._part(0.97, 1.03), market.price_decimals)
        stop = entry * (1 - sign * (1 / _LEVERAGE - _MAINTENANCE))
        return {
            "id": self.generator.uuid4(),
            "exchange": self.exchange(),
            "symbol": market.symbol,
            "side": side,
            "entry_price": entry,
            "mark_price": mark,
            "liquidation_price": round(stop, market.price_decimals),
            "leverage": _LEVERAGE,
            "size": size,
            "unrealized_pnl": round((mark - entry) * size * sign, 8),
            "status": "OPEN",
            "updated_at": self._moment(),
        }

    def balance(self) -> dict[str, Cell]:
        """A row of `balances`: `total` is `free` and `used`, `equity` is `free` and `margin_balance`."""
        free, used = (self.random_int(0, 10_000_000) / 100 for _ in range(2))
        unrealized = round(used * self._part(-0.5, 0.5), 2)
        return {
            "id": self.generator.uuid4(),
            "exchange": self.exchange(),
            "asset": "USDT",
            "free": free,
            "used": used,
            "total": round(free + used, 2),
            "timestamp": self._moment(),
            "equity": round(free + used + unrealized, 2),
            "margin_balance": round(used + unrealized, 2),
        }

    def system_log(self) -> dict[str, Cell]:
        """A row of `system_logs`."""
        level, service, message = self.random_element(_CHATTER)
        return {
            "id": self.generator.uuid4(),
            "timestamp": self._moment(),
            "level": level,
            "service": service,
            "message": self._filled(message),
            "details": json.dumps({"request_id": self.generator.uuid4()}) if self.random_int(0, 3) else None,
        }

    def _market(self) -> _Market:
        return _MARKETS[self.random_int(0, len(_MARKETS) - 1)]

    def _exchange(self) -> _Exchange:
        return _EXCHANGES[self.random_int(0, len(_EXCHANGES) - 1)]

    def _moment(self) -> int:
        # Not "the last year": the same seed must make the same row tomorrow.
        return self.random_int(1_735_689_600, 1_767_225_599)

    def _part(self, low: float, high: float) -> float:
        return float(low + (high - low) * self.generator.random.random())

    def _price(self, market: _Market) -> float:
        return round(market.price * self._part(0.8, 1.2), market.price_decimals)

    def _quantity(self, market: _Market) -> float:
        smallest: float = 10.0**-market.lot_decimals
        return round(max(smallest, 2_000 / market.price * self._part(0.1, 2)), market.lot_decimals)

    def _filled(self, text: str) -> str:
        # Only the words that the text has a place for: a Faker call costs more than all the rest.
        words = {
            "seconds": lambda: str(self.random_int(2, 90)),
            "trace": lambda: self.hexify("^^^^^^^^"),
            "strategy": self.strategy,
            "host": self.generator.ipv4_public,
            "person": self.generator.name,
            "address": lambda: str(self.random_element(ADDRESSES)),
        }
        for word, said in words.items():
            if f"{{{word}}}" in text:
                text = text.replace(f"{{{word}}}", said())
        return text
