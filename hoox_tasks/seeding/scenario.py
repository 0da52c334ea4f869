"""Scenarios: short TOML files that say what a made-up ledger is like, read into frozen values.

Every number is kept as it was written (`Decimal`), so that a fee of 0.00055 is that and nothing near it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from hoox_tasks.errors import Refused

ORDER_ID_FORMS = {
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "sequence": r"[1-9][0-9]{11}",
    "snowflake": r"[1-9][0-9]{17}",
}
"""The forms of an exchange's order ids, as regular expressions: a random UUID (Bybit), a growing number
(Binance), the time and a counter in one number above 2^53 (MEXC)."""

SMALLEST_AMOUNT = Decimal("0.00000001")
"""Money is counted in this part of the quote currency."""

LARGEST = Decimal(10) ** 12


@dataclass(frozen=True, slots=True)
class Market:
    """A symbol that is traded: where its price starts, how it moves, and on which grid.

    `price` and `tick` are in the quote currency, `lot` is the smallest quantity, `volatility` the
    standard deviation of a day's return.
    """

    symbol: str
    price: Decimal
    volatility: Decimal
    tick: Decimal
    lot: Decimal


@dataclass(frozen=True, slots=True)
class Exchange:
    """A place to trade: its fees, as parts of what a fill is worth, and how its order ids look."""

    name: str
    taker_fee: Decimal
    maker_fee: Decimal
    order_id: str


@dataclass(frozen=True, slots=True)
class Account:
    """The account that trades, the same on every exchange.

    `equity` is what it starts with in `asset`, `maintenance` the part of a position's cost that must
    remain of its margin, or else it is liquidated.
    """

    asset: str
    equity: Decimal
    leverage: int
    maintenance: Decimal
    snapshots_per_day: Decimal


@dataclass(frozen=True, slots=True)
class Signals:
    """How often alerts come, and of which kind.

    They come in groups of `burst` within the same second; `long` is the part of new positions that are
    LONG, `rejected` the part of alerts that no order follows.
    """

    per_day: Decimal
    burst: int
    long: Decimal
    rejected: Decimal
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Orders:
    """What becomes of orders: parts of those that were sent, each from 0 to 1.

    `size` is the part of the wallet that backs a new order; `errors` replaces the messages of failed
    ones.
    """

    size: Decimal
    maker: Decimal
    partial: Decimal
    failed: Decimal
    pending: Decimal
    test: Decimal
    unfilled: Decimal
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Logs:
    """How noisy the logs are: lines per signal beside the one about its outcome.

    `messages` replaces what those lines say.
    """

    per_signal: Decimal
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crash:
    """All prices fall by the part `drop`, from the part `at` of the length on, for the part `lasts`."""

    at: Decimal
    lasts: Decimal
    drop: Decimal


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a made-up ledger is like. Two that are equal make equal rows."""

    name: str
    description: str
    start: datetime
    days: Decimal
    seed: int
    account: Account
    signals: Signals
    orders: Orders
    logs: Logs
    markets: tuple[Market, ...]
    exchanges: tuple[Exchange, ...]
    crashes: tuple[Crash, ...]


def find_scenarios(folders: Sequence[Path]) -> dict[str, Path]:
    """The scenarios in some folders, by name and in its order; the first folder that has a name wins.

    Folders that do not exist count as empty.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for file in folder.glob("*.toml"):
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def load_scenario(name: str, folders: Sequence[Path]) -> Scenario:
    """Read one scenario, from the first of the folders that has it.

    Raises `Refused` when there is none of that name, or when its file has a mistake: the message names
    the file, the key and what is allowed there.
    """
    found = find_scenarios(folders)
    if name not in found:
        near = difflib.get_close_matches(name, found, n=len(found) or 1, cutoff=0.0)
        raise Refused(
            f"There is no scenario {name!r}.",
            f"Choose one of: {', '.join(near)}."
            if near
            else f"Put {name}.toml into one of: {', '.join(map(str, folders)) or 'a fixtures folder'}.",
        )
    return _read(found[name])


def _read(file: Path) -> Scenario:
    import tomllib

    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{file} is not TOML: {error}.", "Correct that line.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file} cannot be read: {error}.", "A scenario is a TOML file in UTF-8.") from error
    return _scenario(file.stem, _Table(file, "", data))


def _scenario(name: str, top: _Table) -> Scenario:
    scenario = Scenario(
        name=name,
        description=top.text("description"),
        start=top.moment("start", datetime(2026, 1, 1, tzinfo=UTC)),
        days=top.number("days", Decimal(1), low=Decimal("0.001"), high=Decimal(3_653)),
        seed=top.integer("seed", 0, low=0, high=2**63 - 1),
        account=_account(top.table("account")),
        signals=_signals(top.table("signals")),
        orders=_orders(top.table("orders")),
        logs=_logs(top.table("logs")),
        markets=tuple(map(_market, top.tables("markets"))),
        exchanges=tuple(map(_exchange, top.tables("exchanges"))),
        crashes=tuple(map(_crash, top.tables("crashes"))),
    )
    top.close()
    _check(scenario, top)
    return scenario


def _account(table: _Table) -> Account:
    account = Account(
        asset=table.text("asset", "USDT"),
        equity=table.number("equity", Decimal(10_000), low=SMALLEST_AMOUNT, high=LARGEST),
        leverage=table.integer("leverage", 5, low=1, high=125),
        maintenance=table.number("maintenance", Decimal("0.005"), low=Decimal(0), high=Decimal(1)),
        snapshots_per_day=table.number("snapshots_per_day", Decimal(24), low=Decimal(0), high=Decimal(1440)),
    )
    if account.equity % SMALLEST_AMOUNT:
        raise table.wrong("equity", "Give at most 8 decimals.")
    if account.maintenance * account.leverage >= 1:
        raise table.wrong("maintenance", f"Give less than 1 / leverage, which is 1/{account.leverage}.")
    table.close()
    return account


def _signals(table: _Table) -> Signals:
    signals = Signals(
        per_day=table.number("per_day", Decimal(0), low=Decimal(0), high=Decimal(86_400)),
        burst=table.integer("burst", 1, low=1, high=10_000),
        long=table.part("long", "0.5"),
        rejected=table.part("rejected"),
        sources=table.texts("sources", ("TradingView", "TradingView", "TradingView", "Email")),
    )
    table.close()
    return signals


def _orders(table: _Table) -> Orders:
    orders = Orders(
        size=table.number("size", Decimal("0.05"), low=SMALLEST_AMOUNT, high=Decimal(1)),
        maker=table.part("maker"),
        partial=table.part("partial"),
        failed=table.part("failed"),
        pending=table.part("pending"),
        test=table.part("test"),
        unfilled=table.part("unfilled"),
        errors=table.texts("errors", ()),
    )
    if orders.failed + orders.pending + orders.test + orders.unfilled > 1:
        raise table.wrong("failed", "Together with pending, test and unfilled it can be at most 1.")
    table.close()
    return orders


def _logs(table: _Table) -> Logs:
    logs = Logs(
        per_signal=table.number("per_signal", Decimal(0), low=Decimal(0), high=Decimal(100)),
        messages=table.texts("messages", ()),
    )
    table.close()
    return logs


def _market(table: _Table) -> Market:
    market = Market(
        symbol=table.text("symbol"),
        price=table.number("price", low=SMALLEST_AMOUNT, high=LARGEST),
        volatility=table.number("volatility", low=Decimal(0), high=Decimal(1)),
        tick=table.number("tick", low=SMALLEST_AMOUNT, high=LARGEST),
        lot=table.number("lot", low=SMALLEST_AMOUNT, high=LARGEST),
    )
    if market.price % market.tick:
        raise table.wrong("price", f"Give a multiple of the tick, {market.tick}.")
    if market.price / market.tick > LARGEST:
        raise table.wrong("tick", "Give a larger one: a price can be at most 1e12 ticks.")
    if market.tick * market.lot % SMALLEST_AMOUNT:
        raise table.wrong("lot", "Give a larger one: tick times lot must be a multiple of 0.00000001.")
    table.close()
    return market


def _exchange(table: _Table) -> Exchange:
    exchange = Exchange(
        name=table.text("name"),
        taker_fee=table.number("taker_fee", low=Decimal(0), high=Decimal("0.1")),
        maker_fee=table.number("maker_fee", low=Decimal(0), high=Decimal("0.1")),
        order_id=table.text("order_id", allowed=tuple(ORDER_ID_FORMS)),
    )
    table.close()
    return exchange


def _crash(table: _Table) -> Crash:
    crash = Crash(
        at=table.part("at"),
        lasts=table.number("lasts", low=Decimal("0.000001"), high=Decimal(1)),
        drop=table.number("drop", low=Decimal(0), high=Decimal("0.99")),
    )
    table.close()
    return crash


def _check(scenario: Scenario, top: _Table) -> None:
    for key, names in (
        ("markets", [market.symbol for market in scenario.markets]),
        ("exchanges", [exchange.name for exchange in scenario.exchanges]),
    ):
        if scenario.signals.per_day and not names:
            raise Refused(f"{top.file}: {key} is missing.", f"Signals need at least one [[{key}]].")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Refused(f"{top.file}: {key} has {twice!r} twice.", "Give each its own name.")
    for index, exchange in enumerate(scenario.exchanges, 1):
        # What is left of the margin at a liquidation has to pay for the fill that closes it.
        if 2 * max(exchange.taker_fee, exchange.maker_fee) > scenario.account.maintenance:
            raise Refused(
                f"{top.file}: exchanges[{index}].taker_fee is more than half of account.maintenance.",
                f"Give at most {scenario.account.maintenance / 2} as a fee, or a larger maintenance.",
            )


class _Table:
    """One table of a file: takes its keys one by one, and refuses those that nobody asked for."""

    def __init__(self, file: Path, where: str, data: dict[str, Any]) -> None:
        self.file = file
        self._where = where
        self._data = data
        self._asked: list[str] = []

    def wrong(self, key: str, allowed: str) -> Refused:
        """The error for a value that is not allowed."""
        return Refused(f"{self.file}: {self._where}{key} is {_shown(self._data.get(key))}.", allowed)

    def number(self, key: str, default: Decimal | None = None, *, low: Decimal, high: Decimal) -> Decimal:
        allowed = f"Give a number from {low:f} to {high:f}."
        value = self._take(key, default, allowed)
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        if not isinstance(value, Decimal) or not value.is_finite() or not low <= value <= high:
            raise self.wrong(key, allowed)
        return value

    def part(self, key: str, default: str = "0") -> Decimal:
        return self.number(key, Decimal(default), low=Decimal(0), high=Decimal(1))

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        allowed = f"Give a whole number from {low} to {high}."
        value = self._take(key, default, allowed)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, allowed)
        return value

    def text(self, key: str, default: str | None = None, *, allowed: Sequence[str] = ()) -> str:
        remedy = f"Give one of: {', '.join(allowed)}." if allowed else "Give a text that is not empty."
        value = self._take(key, default, remedy)
        if not isinstance(value, str) or not value.strip() or (allowed and value not in allowed):
            raise self.wrong(key, remedy)
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        allowed = "Give a list of at least one text."
        value = self._take(key, list(default), allowed)
        if (
            not isinstance(value, list)
            or not all(isinstance(text, str) for text in value)
            or (key in self._data and not value)
        ):
            raise self.wrong(key, allowed)
        return tuple(value)

    def moment(self, key: str, default: datetime) -> datetime:
        allowed = "Give a date and time, as in 2026-01-01T00:00:00Z, from 1970 to 2089."
        value = self._take(key, default, allowed)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if not isinstance(value, datetime):
            raise self.wrong(key, allowed)
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        if not 1970 <= moment.year < 2090 or moment.timestamp() < 0:
            raise self.wrong(key, allowed)
        return moment

    def table(self, key: str) -> _Table:
        value = self._take(key, {}, "")
        if not isinstance(value, dict):
            raise self.wrong(key, f"Give a table, [{key}].")
        return _Table(self.file, f"{self._where}{key}.", value)

    def tables(self, key: str) -> Iterator[_Table]:
        value = self._take(key, [], "")
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, f"Give tables, [[{key}]].")
        for index, item in enumerate(value, 1):
            yield _Table(self.file, f"{self._where}{key}[{index}].", item)

    def close(self) -> None:
        """Refuse the first key that has not been asked for."""
        for key in self._data:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, n=1)
                raise Refused(
                    f"{self.file}: {self._where}{key} is not a key that a scenario has.",
                    (f"Did you mean {near[0]}? " if near else "") + f"Allowed: {', '.join(self._asked)}.",
                )

    def _take(self, key: str, default: Any, allowed: str) -> Any:
        self._asked.append(key)
        value = self._data.get(key, default)
        if value is None:
            raise Refused(f"{self.file}: {self._where}{key} is missing.", allowed)
        return value


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, Decimal | datetime | date) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
