"""Scenarios: short TOML files that say what a made-up ledger is like, read into frozen values.

Every number is kept as it was written (`Decimal`), so that a fee of 0.00055 is that and nothing near it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from pathlib import Path

from hoox_tasks.errors import Refused
from hoox_tasks.seeding.toml_table import Table
from hoox_tasks.suggestions import remedy
from hoox_tasks.toml import read_toml

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

STYLES = ("trend", "breakout", "reversion")
"""How a strategy trades: along a move that lasts, out of a range, or against a move that went too far."""


@dataclass(frozen=True, slots=True)
class Market:
    """A symbol that is traded: where its price starts, how it moves, and on which grid.

    `price` and `tick` are in the quote currency, `lot` is the smallest quantity, `volatility` the
    standard deviation of a usual day's return, `follows` its correlation with what moves all markets,
    from 0 to 1, and `spread` the difference of bid and ask in basis points.
    """

    symbol: str
    price: Decimal
    volatility: Decimal
    tick: Decimal
    lot: Decimal
    follows: Decimal
    spread: Decimal


@dataclass(frozen=True, slots=True)
class Exchange:
    """A place to trade: its fees, as parts of what a fill is worth, and how its order ids look.

    `lots` are the smallest quantities by symbol where they are not the market's.
    """

    name: str
    taker_fee: Decimal
    maker_fee: Decimal
    order_id: str
    lots: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Account:
    """The account that trades, the same on every exchange.

    `equity` is what it starts with in `asset`, `maintenance` the part of a position's cost that must
    remain of its margin, or else it is liquidated. `funding` is the usual part of a position's worth that
    LONG pays to SHORT every eight hours.
    """

    asset: str
    equity: Decimal
    leverage: int
    maintenance: Decimal
    snapshots_per_day: Decimal
    funding: Decimal


@dataclass(frozen=True, slots=True)
class Signals:
    """How often alerts come, and of which kind.

    They come in groups of `burst` within the same second; `long` is the part of new positions that are
    LONG (at 0.5 the strategies decide), `rejected` the part of alerts that no order follows.
    """

    per_day: Decimal
    burst: int
    long: Decimal
    rejected: Decimal
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prices:
    """How all prices move: `trend` is what they gain over the whole length, `jumps` how many a week."""

    trend: Decimal
    jumps: Decimal


@dataclass(frozen=True, slots=True)
class Desk:
    """How positions are chosen, sized and left.

    `risk` is the part of the wallet that is lost where the stop is reached, `edge` the part of positions
    whose side is known to be right, `stops` the part of them that have a stop and targets at all.
    """

    risk: Decimal
    edge: Decimal
    stops: Decimal
    styles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Orders:
    """What becomes of orders: parts of those that were sent, each from 0 to 1.

    `size` is the largest part of the wallet that backs one position; `errors` replaces the messages of
    failed ones.
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
class Transfer:
    """An amount that comes to an exchange's wallet, or leaves it below zero; `at` is a part of the length."""

    at: Decimal
    exchange: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a made-up ledger is like. Two that are equal make equal rows."""

    name: str
    description: str
    start: datetime
    days: Decimal
    seed: int
    account: Account
    prices: Prices
    signals: Signals
    desk: Desk
    orders: Orders
    logs: Logs
    markets: tuple[Market, ...]
    exchanges: tuple[Exchange, ...]
    crashes: tuple[Crash, ...]
    transfers: tuple[Transfer, ...]


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
            remedy(name, found, f"Choose one of: {', '.join(near)}.")
            if near
            else f"Put {name}.toml into one of: {', '.join(map(str, folders)) or 'a fixtures folder'}.",
        )
    return _read(found[name])


def _read(file: Path) -> Scenario:
    try:
        data = read_toml(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file} cannot be read: {error}.", "A scenario is a TOML file in UTF-8.") from error
    except ValueError as error:
        raise Refused(f"{file} is not TOML: {error}.", "Correct that line.") from error
    return _scenario(file.stem, Table(file, "", data))


def _scenario(name: str, top: Table) -> Scenario:
    scenario = Scenario(
        name=name,
        description=top.text("description"),
        start=top.moment("start", datetime(2026, 1, 1, tzinfo=UTC)),
        days=top.number("days", Decimal(1), low=Decimal("0.001"), high=Decimal(3_653)),
        seed=top.integer("seed", 0, low=0, high=2**63 - 1),
        account=_account(top.table("account")),
        prices=_prices(top.table("prices")),
        signals=_signals(top.table("signals")),
        desk=_desk(top.table("desk")),
        orders=_orders(top.table("orders")),
        logs=_logs(top.table("logs")),
        markets=tuple(map(_market, top.tables("markets"))),
        exchanges=tuple(map(_exchange, top.tables("exchanges"))),
        crashes=tuple(map(_crash, top.tables("crashes"))),
        transfers=tuple(map(_transfer, top.tables("transfers"))),
    )
    top.close()
    _check(scenario, top)
    return scenario


def _account(table: Table) -> Account:
    account = Account(
        asset=table.text("asset", "USDT"),
        equity=table.number("equity", Decimal(10_000), low=SMALLEST_AMOUNT, high=LARGEST),
        leverage=table.integer("leverage", 5, low=1, high=125),
        maintenance=table.number("maintenance", Decimal("0.005"), low=Decimal(0), high=Decimal(1)),
        snapshots_per_day=table.number("snapshots_per_day", Decimal(24), low=Decimal(0), high=Decimal(1440)),
        funding=table.number("funding", Decimal("0.0001"), low=Decimal("-0.01"), high=Decimal("0.01")),
    )
    if account.equity % SMALLEST_AMOUNT:
        raise table.wrong("equity", "Give at most 8 decimals.")
    if account.maintenance * account.leverage >= 1:
        raise table.wrong("maintenance", f"Give less than 1 / leverage, which is 1/{account.leverage}.")
    table.close()
    return account


def _prices(table: Table) -> Prices:
    prices = Prices(
        trend=table.number("trend", Decimal(0), low=Decimal("-0.95"), high=Decimal(20)),
        jumps=table.number("jumps", Decimal(1), low=Decimal(0), high=Decimal(80)),
    )
    table.close()
    return prices


def _desk(table: Table) -> Desk:
    desk = Desk(
        risk=table.number("risk", Decimal("0.004"), low=Decimal("0.00001"), high=Decimal(1)),
        edge=table.part("edge", "0.25"),
        stops=table.part("stops", "1"),
        styles=table.texts("styles", STYLES),
    )
    for style in desk.styles:
        if style not in STYLES:
            raise table.wrong("styles", f"Give some of: {', '.join(STYLES)}.")
    table.close()
    return desk


def _signals(table: Table) -> Signals:
    signals = Signals(
        per_day=table.number("per_day", Decimal(0), low=Decimal(0), high=Decimal(86_400)),
        burst=table.integer("burst", 1, low=1, high=10_000),
        long=table.part("long", "0.5"),
        rejected=table.part("rejected"),
        sources=table.texts("sources", ("TradingView", "TradingView", "TradingView", "Email")),
    )
    table.close()
    return signals


def _orders(table: Table) -> Orders:
    orders = Orders(
        size=table.number("size", Decimal("0.2"), low=SMALLEST_AMOUNT, high=Decimal(1)),
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


def _logs(table: Table) -> Logs:
    logs = Logs(
        per_signal=table.number("per_signal", Decimal(0), low=Decimal(0), high=Decimal(100)),
        messages=table.texts("messages", ()),
    )
    table.close()
    return logs


def _market(table: Table) -> Market:
    market = Market(
        symbol=table.text("symbol"),
        price=table.number("price", low=SMALLEST_AMOUNT, high=LARGEST),
        volatility=table.number("volatility", low=Decimal(0), high=Decimal(1)),
        tick=table.number("tick", low=SMALLEST_AMOUNT, high=LARGEST),
        lot=table.number("lot", low=SMALLEST_AMOUNT, high=LARGEST),
        follows=table.part("follows", "0.85"),
        spread=table.number("spread", Decimal("1.5"), low=Decimal(0), high=Decimal(500)),
    )
    if market.price % market.tick:
        raise table.wrong("price", f"Give a multiple of the tick, {market.tick}.")
    if market.price / market.tick > LARGEST:
        raise table.wrong("tick", "Give a larger one: a price can be at most 1e12 ticks.")
    if market.tick * market.lot % SMALLEST_AMOUNT:
        raise table.wrong("lot", "Give a larger one: tick times lot must be a multiple of 0.00000001.")
    table.close()
    return market


def _exchange(table: Table) -> Exchange:
    exchange = Exchange(
        name=table.text("name"),
        taker_fee=table.number("taker_fee", low=Decimal(0), high=Decimal("0.1")),
        maker_fee=table.number("maker_fee", low=Decimal(0), high=Decimal("0.1")),
        order_id=table.text("order_id", allowed=tuple(ORDER_ID_FORMS)),
        lots=table.numbers("lots", low=SMALLEST_AMOUNT, high=LARGEST),
    )
    table.close()
    return exchange


def _crash(table: Table) -> Crash:
    crash = Crash(
        at=table.part("at"),
        lasts=table.number("lasts", low=Decimal("0.000001"), high=Decimal(1)),
        drop=table.number("drop", low=Decimal(0), high=Decimal("0.99")),
    )
    table.close()
    return crash


def _transfer(table: Table) -> Transfer:
    transfer = Transfer(
        at=table.part("at"),
        exchange=table.text("exchange"),
        amount=table.number("amount", low=-LARGEST, high=LARGEST),
    )
    if not transfer.amount or transfer.amount % SMALLEST_AMOUNT:
        raise table.wrong("amount", "Give an amount other than 0, with at most 8 decimals.")
    table.close()
    return transfer


def _check(scenario: Scenario, top: Table) -> None:
    """Refuse what only shows when tables are held against each other."""
    symbols = [market.symbol for market in scenario.markets]
    exchanges = [exchange.name for exchange in scenario.exchanges]
    for key, names in (("markets", symbols), ("exchanges", exchanges)):
        if scenario.signals.per_day and not names:
            raise Refused(f"{top.file}: {key} is missing.", f"Signals need at least one [[{key}]].")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Refused(f"{top.file}: {key} has {twice!r} twice.", "Give each its own name.")
    for index, transfer in enumerate(scenario.transfers, 1):
        if transfer.exchange not in exchanges:
            raise Refused(
                f"{top.file}: transfers[{index}].exchange is {transfer.exchange!r}, no exchange here.",
                f"Give one of: {', '.join(exchanges)}.",
            )
    account = scenario.account
    for index, exchange in enumerate(scenario.exchanges, 1):
        where = f"{top.file}: exchanges[{index}]"
        # What is left of the margin at a liquidation has to pay for the fill that closes it.
        if 2 * max(exchange.taker_fee, exchange.maker_fee) > account.maintenance:
            raise Refused(
                f"{where}.taker_fee is more than half of account.maintenance.",
                f"Give at most {account.maintenance / 2} as a fee, or a larger maintenance.",
            )
        for symbol in exchange.lots:
            if symbol not in symbols:
                raise Refused(
                    f"{where}.lots has {symbol!r}, which is no market here.",
                    f"Give some of: {', '.join(symbols)}.",
                )
        for market in scenario.markets:
            lot = exchange.lots.get(market.symbol, market.lot)
            if market.tick * lot % SMALLEST_AMOUNT:
                raise Refused(
                    f"{where}.lots.{market.symbol} is {lot}.",
                    "Give a larger one: tick times lot must be a multiple of 0.00000001.",
                )
            # A price may double before the first order; the fee comes on top of the margin.
            most = account.equity * scenario.orders.size * account.leverage
            if scenario.signals.per_day and most < 2 * market.price * lot:
                least = 2 * market.price * lot / scenario.orders.size / account.leverage
                raise Refused(
                    f"{top.file}: account.equity is {account.equity}, too little for one lot of"
                    f" {market.symbol} on {exchange.name}.",
                    f"Give at least {least.quantize(Decimal('0.01'), ROUND_UP)}, or a larger orders.size or"
                    " account.leverage.",
                )
