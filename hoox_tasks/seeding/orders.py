"""Orders: what becomes of those that are sent, that rest, and that stops, targets and the exchange send."""

from __future__ import annotations

from collections import deque
from math import sqrt

from hoox_tasks.seeding.account import LONG, UNITS, Position
from hoox_tasks.seeding.arrivals import GUARD
from hoox_tasks.seeding.books import ACTIONS, SIDES, Books
from hoox_tasks.seeding.execution import (
    PATIENCE,
    REACH,
    SENDING,
    WRITING,
    Slippage,
    bridge,
    no_margin,
    refusals,
)
from hoox_tasks.seeding.prices import CALM, Hour, step_of
from hoox_tasks.seeding.scenario import Scenario
from hoox_tasks.seeding.strategies import NEVER, Slot
from hoox_tasks.seeding.worker_logs import TRADER

_MAKER = ', "type": "Limit", "liquidity": "maker"}'
_TAKER = ', "type": "Market", "liquidity": "taker"}'
_STOP = (', "type": "StopLoss", "liquidity": "taker"}', "WARN", "was stopped out")
_TARGET = (', "type": "TakeProfit", "liquidity": "maker"}', "INFO", "reached its target")
_LIQUIDATION = (', "type": "Market", "liquidation": true, "liquidity": "taker"}', "ERROR", "was liquidated")
"""The end of an exchange's answer; for fills without a signal, the level and words of their log line too."""


Order = tuple[Slot, int, bool, int, int, int, float, str, str, int]
"""A limit order that rests until a step that is known: its slot, how many positions that has held, whether
it opens, side, lots, limit in ticks (0 where its patience ends there), fate, signal, end of its ids, and when
it was sent."""


class Orders(Books):
    """Fills orders at the market's prices, now or later, and books them."""

    forced: int
    variance: float
    failures: int
    forced_kind: str
    forced_log_kind: str
    place: int
    spread_out: float
    stepped: int

    __slots__ = (
        "ahead", "failed", "failures", "forced", "forced_kind", "forced_log_kind", "highs", "hour",
        "lows", "maker", "own_errors", "partial", "patience", "pending", "place", "reaches",
        "refusals", "resting", "slippage", "spread_out", "step", "stepped", "tested", "unfilled",
        "variance",
    )  # fmt: skip

    def __init__(
        self, scenario: Scenario, seed: int, first: int, signals: int, snapshots: int, scale: float
    ) -> None:
        super().__init__(scenario, seed, first, snapshots, scale)
        self.forced_kind, self.forced_log_kind = map(self.ids.kind, range(5, 7))
        self.forced = self.stepped = self.place = self.failures = 0
        self.own_errors: bool = bool(scenario.orders.errors)
        # The nearest prices, from below and from above, at which something happens in a market: looked at
        # in every step, where looking at all slots would take long.
        self.lows: list[int] = [0] * len(scenario.markets)
        self.highs: list[int] = [NEVER] * len(scenario.markets)
        self.step: int = step_of(-(-signals // scenario.signals.burst), self.length)
        self.patience: int = max(1, PATIENCE // self.step)
        self.ahead: deque[Hour] = deque()
        self.hour: Hour = Hour(first, [], [], 1.0, 0.0)
        terms = scenario.account
        self.slippage: Slippage = Slippage(
            [float(market.spread) for market in scenario.markets],
            [float(market.volatility) for market in scenario.markets],
            min(0.003, 0.3 * (1 / terms.leverage - float(terms.maintenance))),
        )
        self.reaches: list[float] = [
            REACH * CALM * float(market.volatility) * sqrt(self.step / 86_400) for market in scenario.markets
        ]
        self.variance = self.spread_out = 1.0
        self.resting: dict[int, list[Order]] = {}

        # One draw decides what becomes of an order: these are the upper ends of the parts.
        orders = scenario.orders
        self.failed: float = float(orders.failed)
        self.tested: float = self.failed + float(orders.test)
        self.pending: float = self.tested + float(orders.pending)
        self.unfilled: float = self.pending + float(orders.unfilled)
        self.partial: float = float(orders.partial)
        self.maker: float = float(orders.maker)
        self.refusals: dict[tuple[str, bool], tuple[str, ...]] = {
            (account.name, opens): orders.errors or refusals(account.name, opens)
            for account in self.accounts
            for opens in (True, False)
        }

    def order(
        self, slot: Slot, opens: bool, side: int, lots: int, signal_id: str, now: int, tail: str, ticks: int,
        about: str,
    ) -> None:  # fmt: skip
        """Send the order that a signal asks for; leaves a trade and a line about it, now or later."""
        draw, account, market, contract = self.draw, slot.account, slot.market, slot.contract
        lot_worth = ticks * contract.value
        fate = draw()
        error = order_id = response = None
        if fate >= self.pending:
            buys = (side == LONG) == opens
            if draw() < self.maker * slot.style.maker:
                # It rests a little better than the market, and the path is known: so is when it is reached.
                away = int(ticks * (0.5 + 2 * draw()) * 1e-4) or 1
                limit = (ticks - away if buys else ticks + away) or 1
                steps, found = self._crossing(market, limit, buys)
                order = (
                    slot,
                    slot.held,
                    opens,
                    side,
                    lots,
                    limit if found else 0,
                    fate,
                    signal_id,
                    tail,
                    now,
                )
                due = self.stepped + steps
                if due in self.resting:
                    self.resting[due].append(order)
                else:
                    self.resting[due] = [order]
                slot.waiting += 1
                return
            fill = self.slippage.fill(
                market, ticks, 1 if buys else -1, lots * lot_worth / UNITS, self.variance, draw()
            )
            if opens:
                affordable = account.affordable(fill * contract.value)
                if lots > affordable:
                    lots = affordable
            if lots:
                moment = now + SENDING[int(draw() * 100)]
                if self.clock <= moment < self.due - 1 and moment <= self.end - GUARD:
                    self.clock = moment
                else:
                    moment = self.book(moment)
                self._fill(slot, opens, side, lots, fill, False, fate, signal_id, tail, moment, now)
                return
            lots, fate, error = 1, -1.0, no_margin(account.name)
            account.refused += 1
        quantity = contract.quantity(lots)
        level = "INFO"
        if fate < self.failed:
            status, level = "FAILED", "ERROR"
            if error is None:
                errors = self.refusals[account.name, opens]
                # A scenario's own messages come in turn, so that even a short ledger has all of them.
                place = self.failures if self.own_errors else int(draw() * len(errors))
                error = errors[place % len(errors)]
                self.failures += 1
            outcome = f"failed: {error}"
        elif fate < self.tested:
            status, outcome = "TEST_EXECUTED", "was accepted as a test"
        else:
            status, outcome = "PENDING", "waits"
            order_id = account.order_id(now)
            response = f'{{"orderId": "{order_id}", "status": "New", "type": "Limit"}}'
        self.leave_unfilled(
            slot, opens, side, quantity, status, error, response, order_id, level, outcome, signal_id, tail,
            self.book(now + 1),
        )  # fmt: skip

    def _fill(
        self, slot: Slot, opens: bool, side: int, lots: int, ticks: int, maker: bool, fate: float,
        signal_id: str, tail: str, moment: int, sent: int,
    ) -> None:  # fmt: skip
        """Fill an order at a price in ticks: the account changes, and a trade and a line are left."""
        draw, account, market, contract = self.draw, slot.account, slot.market, slot.contract
        head = f"{moment:08x}"
        if not opens:
            position = account.positions[market]
            assert position is not None
            # A fill beyond the liquidation price would be the liquidation.
            if (ticks - position.liquidation) * side < 0:
                ticks = position.liquidation
        quantity, text = contract.quantities[lots]
        state, ordered, level, words = "Filled", "", "INFO", "filled"
        chance = draw()
        if fate < self.unfilled:
            state, ordered, level, words = "Expired", f', "qty": {text}', "WARN", "expired without a fill"
            lots, quantity = 0, 0.0
        elif chance < self.partial and lots > 1:
            state, ordered, words = (
                "PartiallyFilled",
                f', "qty": {text}',
                "filled in part, the rest cancelled",
            )
            lots = 1 + int(chance / self.partial * (lots - 1))
            quantity, text = contract.quantities[lots]
        numerator, denominator = contract.tick
        price = ticks * numerator / denominator
        order_id = account.order_id(moment)
        profit = None
        fee = 0.0
        if lots:
            worth = lots * ticks * contract.value
            cost = account.fee(worth, maker)
            fee = cost / UNITS
            if opens:
                position = account.increase(market, side, lots, worth, cost, contract.value)
                if not position.id:
                    position.id = f"{head}{self.position_kind}{tail}"
                slot.entries -= 1
                account.refused = 0
                slot.signal_id = signal_id
                slot.watch(position, self.ticks[market], self._reach(market))
                if slot.low > self.lows[market]:
                    self.lows[market] = slot.low
                if slot.high < self.highs[market]:
                    self.highs[market] = slot.high
            else:
                slot.exits -= 1
                profit = self.close(slot, lots, ticks, worth, cost, moment) / UNITS
        action, name = ACTIONS[opens, side], account.name
        trade_id = f"{head}{self.trade_kind}{tail}"
        created = moment + WRITING[int(draw() * 100)]
        if created >= self.due:
            created = self.due - 1
        self.trade_rows.append(
            (
                trade_id,
                signal_id,
                moment,
                name,
                contract.symbol,
                action,
                quantity,
                price,
                self.leverage,
                "EXECUTED",
                None,
                f'{{"orderId": "{order_id}", "status": "{state}"{ordered}{_MAKER if maker else _TAKER}',
                created,
                fee,
                order_id,
                profit,
            )
        )
        self.log_rows.append(
            (
                f"{head}{self.log_kind}{tail}",
                created,
                level,
                TRADER,
                f"{action} {text} {contract.symbol} on {name} {words} within {moment - sent + 1} s",
                f'{{"trade_id": "{trade_id}"}}',
            )
        )
        if opens and not slot.low < self.ticks[market] < slot.high:
            # The price has run through a limit, and on to where the new position ends.
            self.reached(market, ticks)

    def _reach(self, market: int) -> int:
        """How many ticks from a price the market ends a step, on average, that has been there within it."""
        return int(self.reaches[market] * self.spread_out * self.ticks[market])

    def _crossing(self, market: int, limit: int, buys: bool) -> tuple[int, bool]:
        """In how many steps a limit order is reached, and whether it is before patience ends."""
        hour, place, patience = self.hour, self.place, self.patience
        coming = iter(self.ahead)
        side = 1 if buys else -1
        away = (self.ticks[market] - limit) * side
        deviation = self._reach(market) / REACH
        scale = 2.0 / (deviation * deviation) if deviation else NEVER
        for steps in range(1, patience + 1):
            place += 1
            while place >= len(hour.ticks):
                following = next(coming, None)
                if following is None:
                    return patience, False
                hour, place = following, 0
            after = (hour.ticks[place][market] - limit) * side
            # Where a step ends short of the limit, it may have been there: with this chance, as a bridge.
            if after <= 0 or self.draw() * bridge(scale * away * after) < 1.0:
                return steps, True
            away = after
        return patience, False

    def settle(self, orders: list[Order]) -> None:
        """Fill the limit orders that are reached in this step, or whose patience ends."""
        draw = self.draw
        for slot, held, opens, side, lots, limit, fate, signal_id, tail, sent in orders:
            slot.waiting -= 1
            account, market, contract = slot.account, slot.market, slot.contract
            moment = self.book(self.begin + 1 + int(draw() * 4))
            mark = self.ticks[market]
            ticks = limit or self.slippage.fill(
                market, mark, 1 if (side == LONG) == opens else -1,
                lots * mark * contract.value / UNITS, self.variance, draw(),
            )  # fmt: skip
            error, asked = None, lots
            position = account.positions[market]
            if opens and held != slot.held:
                error = "cancelled: the position was closed while the order waited"
            elif opens:
                lots = min(lots, account.affordable(ticks * contract.value))
                if not lots:
                    error = no_margin(account.name)
            elif position is None or held != slot.held:
                error = refusals(account.name, False)[-1]
            else:
                lots = min(lots, position.lots)
            if error is None:
                self._fill(slot, opens, side, lots, ticks, bool(limit), fate, signal_id, tail, moment, sent)
            else:
                self.leave_unfilled(
                    slot, opens, side, contract.quantity(asked), "FAILED", error, None, None, "ERROR",
                    f"failed: {error}", signal_id, tail, moment,
                )  # fmt: skip

    def reached(self, market: int, came: int) -> None:
        """Do what stops, targets and liquidation prices say that the market's last step has passed."""
        ticks = self.ticks[market]
        for slot in self.by_market[market]:
            position = slot.account.positions[market]
            while position is not None and position.lots and not slot.low < ticks < slot.high:
                side = position.side
                against = ticks <= slot.low if side == LONG else ticks >= slot.high
                if against and slot.stop:
                    self._stop(slot, position, ticks)
                elif against:
                    # On a grid so coarse that the step began beyond that price, its beginning is the nearest.
                    lowest, highest = (ticks, came) if ticks < came else (came, ticks)
                    price = min(max(position.liquidation, lowest), highest)
                    self._force(slot, position, position.lots, price, _LIQUIDATION)
                else:
                    lots = position.lots
                    if not slot.reached and lots > 1:
                        lots = max(1, int(lots * slot.style.first_part))
                    self._force(slot, position, lots, slot.target, _TARGET)
                    if position.lots:
                        slot.advance(position, ticks, self._reach(market))
        self._look(market)

    def _stop(self, slot: Slot, position: Position, ticks: int) -> None:
        """Close a position whose stop was reached, at the market: a bit beyond, and more after a jump."""
        side, stop, market = position.side, slot.stop, slot.market
        worth = position.lots * stop * slot.contract.value / UNITS
        price = self.slippage.fill(market, stop, -side, worth, self.variance, self.draw())
        gap = (stop - ticks) * side - 3 * self._reach(market)
        if gap > 0:
            price -= side * int(gap * self.draw())
        if (price - position.liquidation) * side < 0:
            price = position.liquidation
        self._force(slot, position, position.lots, max(1, price), _STOP)

    def _force(
        self, slot: Slot, position: Position, lots: int, ticks: int, kind: tuple[str, str, str]
    ) -> None:
        """Close lots of a position without a signal of its own: a stop, a target or a liquidation."""
        account, contract = slot.account, slot.contract
        moment = self.book(self.begin + 1 + int(self.draw() * 3))
        worth = lots * ticks * contract.value
        state, level, words = kind
        fee = account.fee(worth, kind is _TARGET)
        head, tail = self.ids.head(moment), self.ids.tail(self.forced)
        self.forced += 1
        trade_id = f"{head}{self.forced_kind}{tail}"
        order_id = account.order_id(moment)
        side, signal_id = position.side, slot.signal_id
        profit = self.close(slot, lots, ticks, worth, fee, moment)
        created = min(moment + WRITING[int(self.draw() * len(WRITING))], self.due - 1)
        quantity, price = contract.quantity(lots), contract.price(ticks)
        self.trade_rows.append(
            (
                trade_id,
                signal_id,
                moment,
                account.name,
                contract.symbol,
                ACTIONS[False, side],
                quantity,
                price,
                self.leverage,
                "EXECUTED",
                None,
                f'{{"orderId": "{order_id}", "status": "Filled"{state}',
                created,
                fee / UNITS,
                order_id,
                profit / UNITS,
            )
        )
        self.log_rows.append(
            (
                f"{head}{self.forced_log_kind}{tail}",
                created,
                level,
                TRADER,
                f"{SIDES[side]} {quantity} {contract.symbol} on {account.name} {words} at {price},"
                f" profit {profit / UNITS:.2f}",
                f'{{"trade_id": "{trade_id}"}}',
            )
        )

    def _look(self, market: int) -> None:
        """Note at which prices of a market something happens next."""
        slots = self.by_market[market]
        self.lows[market] = max(slot.low for slot in slots)
        self.highs[market] = min(slot.high for slot in slots)

    def leave_resting(self) -> None:
        """Write down the orders that still rest."""
        for orders in self.resting.values():
            for slot, _, opens, side, lots, _, _, signal_id, tail, sent in orders:
                order_id = slot.account.order_id(self.clock)
                self.leave_unfilled(
                    slot, opens, side, slot.contract.quantity(lots), "PENDING", None,
                    f'{{"orderId": "{order_id}", "status": "New", "type": "Limit"}}', order_id, "INFO",
                    "waits", signal_id, tail, self.book(sent + 1),
                )  # fmt: skip
