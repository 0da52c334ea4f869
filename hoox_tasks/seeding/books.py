"""The books of all accounts, and what happens to them by the clock: snapshots, funding, transfers.

Funding and transfers have no table of their own. What they did to a wallet is in `balances` from the next
snapshot on, and in the `details` of a line in `system_logs` (see `worker_logs`).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import product
from random import Random

from hoox_tasks.seeding import worker_logs
from hoox_tasks.seeding.account import LONG, SHORT, UNITS, Account, Position, rounded
from hoox_tasks.seeding.arrivals import GUARD
from hoox_tasks.seeding.chance import DRAWS, NORMAL, key_of
from hoox_tasks.seeding.execution import WRITING
from hoox_tasks.seeding.order_ids import order_ids
from hoox_tasks.seeding.row_ids import RowIds
from hoox_tasks.seeding.rows import Row
from hoox_tasks.seeding.scenario import Scenario, Transfer
from hoox_tasks.seeding.strategies import Slot
from hoox_tasks.seeding.worker_logs import TRADER

_FUNDING = 28_800
"""Seconds between two payments of funding, from midnight UTC on: so do Bybit, Binance and MEXC."""

_NEVER_DUE = 2**62

SIDES = {LONG: "LONG", SHORT: "SHORT"}
ACTIONS = {
    (True, LONG): "LONG",
    (True, SHORT): "SHORT",
    (False, LONG): "CLOSE_LONG",
    (False, SHORT): "CLOSE_SHORT",
}
"""What a position is, and what a trade does, by whether it opens a position and on which side."""


class Books:
    """The accounts of one run, their slots, and the rows that they have left behind."""

    key: int
    begin: int
    taken_at: int
    balance_kind: str
    clock: int
    due: int
    end: int
    event_kind: str
    ids: RowIds
    log_kind: str
    position_kind: str
    trade_kind: str

    __slots__ = (
        "accounts", "asset", "balance_kind", "balance_rows", "begin", "bigger", "by_market", "capital",
        "clock", "draw", "due", "end", "event_kind", "events", "finish", "first", "fund_draw",
        "funding", "funds_at", "ids", "key", "length", "leverage", "log_kind", "log_rows",
        "position_kind", "position_rows", "scenario", "signal_rows", "slots", "snapshots", "taken",
        "taken_at", "ticks", "trade_kind", "trade_rows", "transfers",
    )  # fmt: skip

    def __init__(self, scenario: Scenario, seed: int, first: int, snapshots: int, scale: float) -> None:
        self.scenario: Scenario = scenario
        self.first: int = first
        self.length: int = int(scenario.days * 86_400)
        self.finish: int = first + self.length
        self.leverage: int = scenario.account.leverage
        self.asset: str = scenario.account.asset

        self.key = key = key_of(scenario.name, seed)
        self.draw: Callable[[], float] = Random(key_of(key, "signals")).random
        ids = self.ids = RowIds(key)
        self.trade_kind, self.position_kind, self.log_kind, self.balance_kind, self.event_kind = map(
            ids.kind, range(5)
        )
        self.bigger: float = max(1.0, scale)
        self.capital: Fraction = Fraction(self.bigger)
        self.accounts: list[Account] = [
            Account(
                exchange,
                scenario,
                order_ids(exchange.order_id, Random(key_of(key, "orders", exchange.name))),
                int(Fraction(scenario.account.equity) * UNITS * self.capital),
            )
            for exchange in scenario.exchanges
        ]
        self.slots: list[Slot] = [
            Slot(number, account, market)
            for number, (account, market) in enumerate(product(self.accounts, range(len(scenario.markets))))
        ]
        self.by_market: list[list[Slot]] = [
            [slot for slot in self.slots if slot.market == market] for market in range(len(scenario.markets))
        ]
        self.ticks: tuple[int, ...] = tuple(int(market.price / market.tick) for market in scenario.markets)
        self.begin = self.end = self.clock = first

        self.snapshots: int = snapshots
        self.taken: int = 0
        self.taken_at = self.due = first
        self.events: int = 0
        self.transfers: list[Transfer] = sorted(scenario.transfers, key=lambda transfer: transfer.at)
        self.funding: Decimal = scenario.account.funding * UNITS
        self.funds_at: int = first - first % _FUNDING + _FUNDING
        self.fund_draw: Callable[[], float] = Random(key_of(key, "funding")).random

        self.signal_rows: list[Row] = []
        self.trade_rows: list[Row] = []
        self.position_rows: list[Row] = []
        self.balance_rows: list[Row] = []
        self.log_rows: list[Row] = []

    def leave_unfilled(
        self, slot: Slot, opens: bool, side: int, quantity: float, status: str, error: str | None,
        response: str | None, order_id: str | None, level: str, outcome: str, signal_id: str, tail: str,
        moment: int,
    ) -> None:  # fmt: skip
        """Write down an order that has no fill."""
        action, symbol, name = ACTIONS[opens, side], slot.contract.symbol, slot.account.name
        head = self.ids.head(moment)
        trade_id = f"{head}{self.trade_kind}{tail}"
        created = min(moment + WRITING[int(self.draw() * len(WRITING))], self.due - 1)
        self.trade_rows.append(
            (
                trade_id, signal_id, moment, name, symbol, action, quantity, None, self.leverage, status,
                error, response, created, 0.0, order_id, None,
            )
        )  # fmt: skip
        self.log_rows.append(
            (
                f"{head}{self.log_kind}{tail}", created, level, TRADER,
                f"{action} {quantity} {symbol} on {name} {outcome}", f'{{"trade_id": "{trade_id}"}}',
            )
        )  # fmt: skip

    def book(self, moment: int) -> int:
        """The second at which something that is to happen at a moment is booked: in order, in its step, and
        not at or right before a snapshot."""
        moment = min(moment, self.end - GUARD + 1)
        if moment < self.clock:
            moment = self.clock
        while moment >= self.due - 1:
            self.snapshot()
            if moment <= self.taken_at:
                moment = self.taken_at + 1
        self.clock = moment
        return moment

    def snapshot(self) -> None:
        """Write what all accounts hold at the moment that is due, and set the next."""
        now = self.due
        head = self.ids.head(now)
        prices = self.ticks
        for which, account in enumerate(self.accounts):
            unrealized = 0
            for position, contract, ticks in zip(account.positions, account.contracts, prices, strict=True):
                if position is not None:
                    unrealized += position.unrealized(position.lots * ticks * contract.value)
            self.balance_rows.append(
                (
                    f"{head}{self.balance_kind}{self.ids.tail(self.taken * len(self.accounts) + which)}",
                    account.name,
                    self.asset,
                    (account.wallet - account.used) / UNITS,
                    account.used / UNITS,
                    account.wallet / UNITS,
                    now,
                    (account.wallet + unrealized) / UNITS,
                    (account.used + unrealized) / UNITS,
                )
            )
        self.taken_at = now
        self.taken += 1
        if self.taken < self.snapshots:
            self.due = self.first + self.taken * (self.length // 10) // self.snapshots * 10
        else:
            self.due = self.finish if self.taken == self.snapshots else _NEVER_DUE

    def close(self, slot: Slot, lots: int, ticks: int, worth: int, fee: int, moment: int) -> int:
        """Close lots of a position; leaves its row, and returns the profit in units, when none is left."""
        account, market = slot.account, slot.market
        position = account.positions[market]
        assert position is not None
        entry = position.entry_price(slot.contract)
        profit = account.decrease(market, lots, worth, fee)
        if not position.lots:
            self.position_rows.append(self.position_row(slot, position, entry, ticks, 0, "CLOSED", moment))
            slot.forget()
            slot.held += 1
        return profit

    def position_row(
        self, slot: Slot, position: Position, entry: float, ticks: int, unrealized: int, status: str, now: int
    ) -> Row:
        contract = slot.contract
        return (
            position.id,
            slot.account.name,
            contract.symbol,
            SIDES[position.side],
            entry,
            contract.price(ticks),
            contract.price(position.liquidation),
            self.leverage,
            contract.quantity(position.lots),
            unrealized / UNITS,
            status,
            now,
        )

    def event(self, moment: int, level: str, message: str, details: str) -> None:
        self.log_rows.append(
            (
                f"{self.ids.head(moment)}{self.event_kind}{self.ids.tail(self.events)}",
                moment, level, TRADER, message, details,
            )
        )  # fmt: skip
        self.events += 1

    def fund(self) -> None:
        """Pay the funding of all open positions, or receive it. LONG pays SHORT while the rate is above 0."""
        self.funds_at += _FUNDING
        if not self.funding:
            return
        usual = float(self.funding)
        for market, slots in enumerate(self.by_market):
            rate = int(usual * (1 + 0.7 * NORMAL[int(self.fund_draw() * DRAWS)]))
            for slot in slots:
                position = slot.account.positions[market]
                if position is None or not rate:
                    continue
                contract, ticks = slot.contract, self.ticks[market]
                worth = position.lots * ticks * contract.value
                moment = self.book(self.begin + 1)
                amount = -slot.account.pay(position.side * rounded(worth * rate, UNITS))
                said = worker_logs.funding(
                    slot.account.name, self.asset, contract.symbol, SIDES[position.side],
                    contract.quantity(position.lots), contract.price(ticks), rate / UNITS, amount / UNITS,
                )  # fmt: skip
                self.event(moment, "INFO", *said)

    def transfer(self, transfer: Transfer) -> None:
        """Let an amount come to a wallet, or leave it where that much is free."""
        account = next(each for each in self.accounts if each.name == transfer.exchange)
        amount = int(Fraction(transfer.amount) * UNITS * self.capital)
        moment = self.book(self.begin + 1)
        if account.wallet - account.used + amount < 0:
            said = worker_logs.refused_withdrawal(account.name, self.asset, amount / UNITS)
            self.event(moment, "WARN", said, f'{{"exchange": "{account.name}"}}')
            return
        account.wallet += amount
        self.event(moment, "INFO", *worker_logs.transfer(account.name, self.asset, amount / UNITS))

    def finished(self) -> None:
        """Write the last snapshots, and the positions that are open."""
        while self.due <= self.finish:
            self.snapshot()
        for slot in self.slots:
            position = slot.account.positions[slot.market]
            if position is not None:
                ticks = self.ticks[slot.market]
                entry = position.entry_price(slot.contract)
                unrealized = position.unrealized(position.lots * ticks * slot.contract.value)
                self.position_rows.append(
                    self.position_row(slot, position, entry, ticks, unrealized, "OPEN", self.finish)
                )
