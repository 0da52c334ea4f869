"""What an account owes and owns: positions, margin and wallet, in whole numbers.

Money is counted in units of 1e-8 of the quote currency, quantities in lots, prices in ticks, so that
every sum is exact. A position's cost is kept as a fraction: closing a part of it would otherwise round
its entry price. Amounts are rounded to the unit, half up, where they become visible: a fee, a margin, a
realised or unrealised profit.

Margin is isolated: a position is backed by its cost divided by the leverage, and by nothing else.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import gcd

from hoox_tasks.seeding.order_ids import OrderIds
from hoox_tasks.seeding.scenario import Exchange, Market, Scenario

UNITS = 100_000_000
"""Units of money in one whole of the quote currency."""

LONG = 1
SHORT = -1


def rounded(numerator: int, denominator: int) -> int:
    """The nearest whole number to a fraction; halves go up."""
    return (2 * numerator + denominator) // (2 * denominator)


class _Quantities(dict[int, tuple[float, str]]):
    """Quantities by lots, as numbers and as texts; the last ones are remembered, because texts cost time."""

    def __init__(self, lot: tuple[int, int]) -> None:
        self._lot = lot

    def __missing__(self, lots: int) -> tuple[float, str]:
        if len(self) > 5_000:
            self.clear()
        numerator, denominator = self._lot
        quantity = lots * numerator / denominator
        found = self[lots] = quantity, str(quantity)
        return found


class Contract:
    """A market's grid on an exchange as whole numbers: `value` is a lot's worth at one tick, in units."""

    __slots__ = ("lot", "quantities", "symbol", "tick", "value")

    def __init__(self, market: Market, lot: Decimal) -> None:
        self.symbol: str = market.symbol
        self.tick: tuple[int, int] = market.tick.as_integer_ratio()
        self.lot: tuple[int, int] = lot.as_integer_ratio()
        self.value: int = int(market.tick * lot * UNITS)
        self.quantities: _Quantities = _Quantities(self.lot)

    def price(self, ticks: int) -> float:
        """The double nearest to a price on the grid: dividing whole numbers rounds only once."""
        numerator, denominator = self.tick
        return ticks * numerator / denominator

    def quantity(self, lots: int) -> float:
        """The double nearest to a quantity on the grid."""
        numerator, denominator = self.lot
        return lots * numerator / denominator


class Position:
    """An open position: `lots` that cost `cost / parts` units, bought (LONG) or sold (SHORT)."""

    __slots__ = ("cost", "id", "liquidation", "lots", "margin", "parts", "side")

    def __init__(self, side: int) -> None:
        self.side: int = side
        self.lots: int = 0
        self.cost: int = 0
        self.parts: int = 1
        self.margin: int = 0
        self.liquidation: int = 0
        self.id: str = ""

    def unrealized(self, worth: int) -> int:
        """Profit in units if all of it were closed for `worth` units; negative for a loss."""
        parts = self.parts
        if parts == 1:
            return (worth - self.cost) * self.side
        return rounded((worth * parts - self.cost) * self.side, parts)

    def entry_price(self, contract: Contract) -> float:
        """The volume-weighted price of what is still open."""
        numerator, denominator = contract.lot
        return self.cost * denominator / (self.parts * self.lots * numerator * UNITS)


class Account:
    """One exchange's account: a wallet in units, and at most one position in each market.

    `refused` counts the orders in a row that it could not back.
    """

    __slots__ = (
        "_backed",
        "_leverage",
        "_long_stop",
        "_maker",
        "_short_stop",
        "_taker",
        "contracts",
        "name",
        "order_id",
        "positions",
        "refused",
        "used",
        "wallet",
    )

    def __init__(self, exchange: Exchange, scenario: Scenario, order_id: OrderIds, wallet: int) -> None:
        terms = scenario.account
        self.name: str = exchange.name
        self.wallet: int = wallet
        self.used: int = 0
        self.refused: int = 0
        self.order_id: OrderIds = order_id
        self.positions: list[Position | None] = [None] * len(scenario.markets)
        self.contracts: list[Contract] = [
            Contract(market, exchange.lots.get(market.symbol, market.lot)) for market in scenario.markets
        ]
        self._leverage = terms.leverage
        self._maker = exchange.maker_fee.as_integer_ratio()
        self._taker = exchange.taker_fee.as_integer_ratio()
        # What a unit of free collateral can back, fee included; a bit less, because it is a double.
        dearest = float(max(exchange.taker_fee, exchange.maker_fee))
        self._backed = 0.999999 / (1 / terms.leverage + dearest)
        # Where a loss has eaten the margin down to the maintenance margin, as a part of the entry price.
        cushion = Fraction(1, terms.leverage) - Fraction(terms.maintenance)
        self._long_stop = (1 - cushion).as_integer_ratio()
        self._short_stop = (1 + cushion).as_integer_ratio()

    def fee(self, worth: int, maker: bool) -> int:
        """What the exchange takes for a fill of `worth` units, in units."""
        numerator, denominator = self._maker if maker else self._taker
        return (2 * worth * numerator + denominator) // (2 * denominator)

    def affordable(self, lot_worth: int) -> int:
        """How many lots of `lot_worth` units the free collateral can back, fee included."""
        # A few units stay back, because the margin and the fee are rounded apart.
        free = self.wallet - self.used - 4
        return int(free * self._backed / lot_worth) if free > 0 else 0

    def increase(self, market: int, side: int, lots: int, worth: int, fee: int, value: int) -> Position:
        """Open a position, or add to it, for `worth` units; `value` is the contract's."""
        position = self.positions[market]
        if position is None:
            position = self.positions[market] = Position(side)
        position.lots = held = position.lots + lots
        parts = position.parts
        position.cost += worth * parts
        whole = parts * held * value
        if side == LONG:
            numerator, denominator = self._long_stop
            position.liquidation = -(-position.cost * numerator // (whole * denominator))
        else:
            numerator, denominator = self._short_stop
            position.liquidation = position.cost * numerator // (whole * denominator)
        backing = parts * self._leverage
        margin = (2 * position.cost + backing) // (2 * backing)
        self.used += margin - position.margin
        position.margin = margin
        self.wallet -= fee
        return position

    def decrease(self, market: int, lots: int, worth: int, fee: int) -> int:
        """Close all or a part of a position for `worth` units; returns the realised profit in units.

        The fee is taken from the wallet as well, and is not part of the profit.
        """
        position = self.positions[market]
        assert position is not None
        if lots == position.lots:
            profit = position.unrealized(worth)
            self.positions[market] = None
            self.used -= position.margin
            position.lots = 0
        else:
            held = position.lots
            profit = rounded(
                (worth * position.parts * held - position.cost * lots) * position.side, position.parts * held
            )
            # In lowest terms, or else many partial closes would make numbers of hundreds of digits.
            cost, parts = position.cost * (held - lots), position.parts * held
            common = gcd(cost, parts)
            position.cost, position.parts = cost // common, parts // common
            position.lots = held - lots
            margin = rounded(position.cost, position.parts * self._leverage)
            self.used += margin - position.margin
            position.margin = margin
        self.wallet += profit - fee
        return profit

    def pay(self, amount: int) -> int:
        """Take an amount in units off the free collateral, or add it below zero; returns what was taken."""
        paid = min(amount, max(0, self.wallet - self.used))
        self.wallet -= paid
        return paid
