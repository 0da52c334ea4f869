"""From a scenario to rows that look like trading and add up.

One signal after another is played through: its market's price moves, positions that the move wipes out
are liquidated, an order may follow, a fill changes the account, and everything leaves its rows. Balances
are written at even intervals.

What holds for the rows (amounts in the quote currency, times in Unix seconds):

- A trade's signal exists and is earlier. A liquidation belongs to the signal that last added to the
  position. `created_at` of a trade is one second after its fill.
- `fee` is quantity x price x the exchange's rate, rounded half up to 8 decimals; whether the maker's or
  the taker's rate is told by `liquidity` in `raw_response`. What was not filled has no price and no fee.
- Open positions are what the fills net to. `entry_price` is the volume-weighted price of what is open,
  `unrealized_pnl` is (mark - entry) x size for a LONG and its negative for a SHORT, rounded as above.
  A closed position has size 0 and keeps its last entry, its last price and its liquidation price.
- Margin is isolated. `liquidation_price` is entry x (1 - 1/leverage + maintenance) for a LONG, entry x
  (1 + 1/leverage - maintenance) for a SHORT, on the market's tick on the side of the entry.
- `balances.total` is the wallet: the first equity + realised PnL - fees. `used` is the margin of open
  positions (cost / leverage), `free` = total - used, `margin_balance` = used + unrealised PnL, and
  `equity` = total + unrealised PnL = free + margin_balance. A snapshot has all fills before it in it,
  and none has its second.
- A market's price moves with each signal for it, and everything reads that one path. A liquidation is
  filled at the liquidation price, which the move has passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from random import Random

from hoox_tasks.errors import Refused
from hoox_tasks.seeding.account import LONG, SHORT, UNITS, Account, Contract, Position
from hoox_tasks.seeding.market import key_of, price_paths
from hoox_tasks.seeding.order_ids import order_ids
from hoox_tasks.seeding.pools import CHATTER, draw_pools
from hoox_tasks.seeding.rows import TABLES, Batch, Cell
from hoox_tasks.seeding.scenario import Scenario

BATCH = 2_000
"""Rows of the fullest table at which all tables are handed over: enough to be fast, little to hold."""

SAMPLE = 2_000
"""Signals up to which rows are counted by making them."""

MOST_FILLS = 3
ADDING = 0.25
LATENCY = 4
"""At most so many fills build up a position, with that chance of a signal to add to it; a fill comes one
to so many seconds after its signal."""

_SIDES = {LONG: "LONG", SHORT: "SHORT"}
_ACTIONS = {
    (True, LONG): "LONG",
    (True, SHORT): "SHORT",
    (False, LONG): "CLOSE_LONG",
    (False, SHORT): "CLOSE_SHORT",
}
_ASKED = {
    (True, LONG): ("LONG", "BUY"),
    (True, SHORT): ("SHORT", "SELL"),
    (False, LONG): ("CLOSE_LONG", "CLOSE_LONG"),
    (False, SHORT): ("CLOSE_SHORT", "CLOSE_SHORT"),
}
"""What a trade does, and the words for it in a signal, by whether it opens a position and on which side."""

_MAKER = ', "liquidity": "maker"}'
_TAKER = ', "liquidity": "taker"}'

_NEVER = 2**63
"""A price in ticks that no path reaches."""

_Row = tuple[Cell, ...]


def generate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    start: datetime | None = None,
    scale: float = 1,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Batch]:
    """Make the rows of a scenario, in batches of some thousand, with memory that does not grow.

    `seed` and `start` (UTC where it has no zone) default to the scenario's own; `scale=10` makes ten
    times the rows in the same length of time. The same scenario, seed, start, scale and
    `GENERATOR_VERSION` make the same rows everywhere; another release of Faker may change words, but no
    id, time, price or amount. `columns` names the columns that a ledger has, by table, and leaves out
    all others; None means all. Batches of the five tables take turns, signals before their trades.

    Raises `Refused` when `scale` or `start` is not possible.
    """
    first = _seconds(scenario.start if start is None else start)
    signals, snapshots = _size(scenario, scale)
    chosen = _choice(columns)
    if not signals:
        return iter(())
    play = _Play(scenario, scenario.seed if seed is None else seed, first, signals, snapshots)
    return play.batches(chosen)


def counts(scenario: Scenario, scale: float = 1) -> dict[str, int]:
    """How many rows a scenario makes, by table.

    Exact up to 2,000 signals (with the scenario's own seed). Beyond that signals and balances are exact,
    and the other tables are estimated from a smaller ledger of the same kind, mostly within 5 percent.
    """
    signals, snapshots = _size(scenario, scale)
    sample = min(1.0, SAMPLE / signals) if signals else 1.0
    rows = dict.fromkeys(TABLES, 0)
    for batch in generate(scenario, scale=scale * sample):
        rows[batch.table] += len(batch.rows)
    if sample < 1:
        rows = {table: round(count / sample) for table, count in rows.items()}
        rows["trade_signals"] = signals
        rows["balances"] = (snapshots + 1) * len(scenario.exchanges)
    return rows


def _seconds(start: datetime) -> int:
    moment = start if start.tzinfo else start.replace(tzinfo=UTC)
    if not 1970 <= moment.year < 2090:
        raise Refused(f"A ledger cannot start at {start}.", "Give a time from 1970 to 2089.")
    return max(0, int(moment.timestamp()))


def _size(scenario: Scenario, scale: float) -> tuple[int, int]:
    """How many signals, and how many snapshots beside the one at the start."""
    if not 0 < scale <= 1_000_000:
        raise Refused(f"A scenario cannot be scaled by {scale}.", "Give a number above 0, at most 1000000.")
    per_day = float(scenario.days) * scale
    if not scenario.signals.per_day:
        return 0, 0
    signals = round(per_day * float(scenario.signals.per_day))
    # Two seconds at least between snapshots leave the fills a second of their own.
    most = int(scenario.days * 86_400) // 2
    return max(1, signals), max(1, min(most, round(per_day * float(scenario.account.snapshots_per_day))))


def _choice(columns: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[int, ...]]:
    """For each table that is wanted, the places of the columns that are."""
    if columns is None:
        return {table: tuple(range(len(names))) for table, names in TABLES.items()}
    return {
        table: places
        for table, names in TABLES.items()
        if (places := tuple(i for i, name in enumerate(names) if name in columns.get(table, ())))
    }


class _Ids:
    """Row ids in the form of a UUIDv8: the second, which kind of row, and a number of its own.

    They are put together from three parts, so that all rows of one signal share the work. Sorted by
    time, they are also fast to index.
    """

    def __init__(self, key: int) -> None:
        self._mask = key & 0xFFFFFFFFFFFF
        self._mark = f"{key >> 48 & 0xFFFF:04x}"
        self._kind = key >> 64

    def kind(self, number: int) -> str:
        """The middle part for one kind of row."""
        # An odd factor keeps the kinds apart, whichever of their lower bits are used.
        mixed = self._kind ^ (number * 0x9E3779B1)
        return f"-{self._mark}-8{mixed & 0xFFF:03x}-{'89ab'[mixed >> 12 & 3]}{mixed >> 14 & 0xFFF:03x}-"

    def head(self, moment: int) -> str:
        """The first part, for a second until 2105."""
        return f"{moment:08x}"

    def tail(self, number: int) -> str:
        """The last part, for a number that is given once per kind."""
        return f"{number ^ self._mask:012x}"


class _Play:
    """One run of a scenario: its markets and accounts, and the rows that they have left behind."""

    def __init__(self, scenario: Scenario, seed: int, first: int, signals: int, snapshots: int) -> None:
        self.scenario = scenario
        self.signals = signals
        self.snapshots = snapshots
        self.taken = 0
        self.first = first
        self.length = int(scenario.days * 86_400)
        self.leverage = scenario.account.leverage

        key = key_of(scenario.name, seed)
        self.draw = Random(key_of(key, "signals")).random
        self.pools = draw_pools(key, scenario.signals.sources, scenario.orders.errors, scenario.logs.messages)
        ids = self.ids = _Ids(key)
        self.signal_kind, self.trade_kind, self.position_kind, self.log_kind = map(ids.kind, range(4))
        self.balance_kind, self.liquidation_kind, self.liquidation_log_kind = map(ids.kind, range(4, 7))
        self.chatter_kinds = [ids.kind(7 + line) for line in range(int(scenario.logs.per_signal) + 1)]
        self.liquidations = 0

        self.contracts = [Contract(market) for market in scenario.markets]
        self.paths = price_paths(scenario, seed, signals)
        self.accounts = [
            Account(
                exchange, scenario, order_ids(exchange.order_id, Random(key_of(key, "orders", exchange.name)))
            )
            for exchange in scenario.exchanges
        ]
        # The first prices, from above for LONG and from below for SHORT positions, at which one may have
        # to be liquidated: looked at with every move, where looking at all positions would take long.
        self.long_stops = [0] * len(self.contracts)
        self.short_stops = [_NEVER] * len(self.contracts)

        # One draw decides what becomes of an order: these are the upper ends of the parts.
        orders = scenario.orders
        self.failed = float(orders.failed)
        self.tested = self.failed + float(orders.test)
        self.pending = self.tested + float(orders.pending)
        self.unfilled = self.pending + float(orders.unfilled)
        self.partial = float(orders.partial)
        self.maker = float(orders.maker)
        self.gearing = float(orders.size) * self.leverage

        self.signal_rows: list[_Row] = []
        self.trade_rows: list[_Row] = []
        self.position_rows: list[_Row] = []
        self.balance_rows: list[_Row] = []
        self.log_rows: list[_Row] = []

    def batches(self, chosen: Mapping[str, tuple[int, ...]]) -> Iterator[Batch]:
        """Play all signals, and hand the rows over whenever there are enough of them."""
        waiting = {
            "trade_signals": self.signal_rows,
            "trades": self.trade_rows,
            "positions": self.position_rows,
            "balances": self.balance_rows,
            "system_logs": self.log_rows,
        }
        for _ in self._played():
            for table, rows in waiting.items():
                if rows and table in chosen:
                    names, places = TABLES[table], chosen[table]
                    yield Batch(
                        table, tuple(names[place] for place in places), _narrowed(rows, places, names)
                    )
                rows.clear()

    def _played(self) -> Iterator[None]:
        """Play the signals, one after another; pauses whenever a batch is full, and at the end."""
        draw, scenario = self.draw, self.scenario
        contracts, paths, accounts = self.contracts, self.paths, self.accounts
        long_stops, short_stops = self.long_stops, self.short_stops
        market_count, account_count = len(contracts), len(accounts)
        burst = scenario.signals.burst
        long_part, rejected_part = float(scenario.signals.long), float(scenario.signals.rejected)
        chatter = float(scenario.logs.per_signal)
        alerts, rejections = self.pools.alerts, self.pools.rejections
        alert_count, rejection_count = len(alerts), len(rejections)
        signal_rows, log_rows = self.signal_rows, self.log_rows
        # All signals, with the time that an order takes, fit in before the last snapshot.
        groups = -(-self.signals // burst)
        interval = (self.length - LATENCY) / groups
        taken, due = self.first, self._snapshot()

        for number in range(self.signals):
            if number % burst == 0:
                now = self.first + LATENCY + int((number // burst + 0.999 * draw()) * interval)
                while now >= due:
                    taken, due = due, self._snapshot()
                if now == taken:
                    now += 1
                head = self.ids.head(now)
            tail = self.ids.tail(number)
            market = int(draw() * market_count)
            ticks = paths[market].move(number / self.signals)
            if ticks <= long_stops[market] or ticks >= short_stops[market]:
                self._liquidate(market, now)

            account = accounts[int(draw() * account_count)]
            position = account.positions[market]
            if position is None:
                side = LONG if draw() < long_part else SHORT
                opens = True
            else:
                side = position.side
                opens = position.fills < MOST_FILLS and draw() < ADDING
            asked = _ASKED[opens, side][draw() < 0.3]
            signal_id = f"{head}{self.signal_kind}{tail}"
            source, before, between, after = alerts[int(draw() * alert_count)]
            symbol = contracts[market].symbol
            signal_rows.append(
                (
                    signal_id,
                    now - 1 - int(draw() * LATENCY),
                    symbol,
                    asked,
                    source,
                    f"{before}{symbol}{between}{asked}{after}",
                    now,
                )
            )

            if draw() < rejected_part:
                why = rejections[int(draw() * rejection_count)]
                log_id = f"{head}{self.log_kind}{tail}"
                log_rows.append((log_id, now, "WARN", "hoox-gateway", why, f'{{"signal_id": "{signal_id}"}}'))
            else:
                self._order(account, market, ticks, side, opens, signal_id, now, head, tail)
            if chatter:
                for kind in self.chatter_kinds[: int(chatter + draw())]:
                    level, service, message, details = self.pools.chatter[int(draw() * CHATTER)]
                    log_rows.append((f"{head}{kind}{tail}", now, level, service, message, details))
            if len(signal_rows) >= BATCH:
                yield

        while self.taken <= self.snapshots:
            self._snapshot()
        self._leave_open()
        yield

    def _order(
        self,
        account: Account,
        market: int,
        ticks: int,
        side: int,
        opens: bool,
        signal_id: str,
        now: int,
        head: str,
        tail: str,
    ) -> None:
        """Send the order that a signal asks for; leaves a trade and a line about it."""
        draw, contract = self.draw, self.contracts[market]
        action, symbol = _ACTIONS[opens, side], contract.symbol
        lot_worth = ticks * contract.value
        position = account.positions[market]
        if opens or position is None:
            lots = int(account.wallet * self.gearing * (0.5 + draw()) / lot_worth) or 1
            affordable = account.affordable(lot_worth)
            if lots > affordable > 0:
                lots = affordable
        else:
            lots = affordable = position.lots
        quantity = contract.quantity(lots)
        fate = draw()
        order_id = price = profit = error = response = None
        fee = 0.0
        level = "INFO"
        if fate < self.failed or lots > affordable:
            status = "FAILED"
            errors = self.pools.errors
            error = (
                errors[int(draw() * len(errors))] if fate < self.failed else "insufficient margin for one lot"
            )
            level, outcome = "ERROR", f"failed: {error}"
        elif fate < self.tested:
            status, outcome = "TEST_EXECUTED", "was accepted as a test"
        else:
            order_id = account.order_id(now)
            if fate < self.pending:
                status, outcome = "PENDING", "waits"
                response = f'{{"orderId": "{order_id}", "status": "New"}}'
            else:
                status = "EXECUTED"
                price = contract.price(ticks)
                maker = draw() < self.maker
                liquidity = _MAKER if maker else _TAKER
                state, ordered = "Filled", ""
                if fate < self.unfilled:
                    outcome = "expired without a fill"
                    level = "WARN"
                    state, ordered = "Expired", f', "qty": {quantity}'
                    lots, quantity = 0, 0.0
                elif lots > 1 and draw() < self.partial:
                    outcome = "was filled in part"
                    state, ordered = "PartiallyFilled", f', "qty": {quantity}'
                    lots = 1 + int(draw() * (lots - 1))
                    quantity = contract.quantity(lots)
                else:
                    outcome = "was filled"
                response = f'{{"orderId": "{order_id}", "status": "{state}"{ordered}{liquidity}'
                if lots:
                    worth = lots * lot_worth
                    cost = account.fee(worth, maker)
                    fee = cost / UNITS
                    if opens:
                        position = account.increase(market, side, lots, worth, cost, contract.value)
                        position.signal_id = signal_id
                        if position.fills == 1:
                            position.id = f"{head}{self.position_kind}{tail}"
                        if side == LONG:
                            self.long_stops[market] = max(self.long_stops[market], position.liquidation)
                        else:
                            self.short_stops[market] = min(self.short_stops[market], position.liquidation)
                    else:
                        profit = self._close(account, market, lots, ticks, cost, now) / UNITS
        trade_id = f"{head}{self.trade_kind}{tail}"
        self.trade_rows.append(
            (
                trade_id,
                signal_id,
                now,
                account.name,
                symbol,
                action,
                quantity,
                price,
                self.leverage,
                status,
                error,
                response,
                now + 1,
                fee,
                order_id,
                profit,
            )
        )
        self.log_rows.append(
            (
                f"{head}{self.log_kind}{tail}",
                now,
                level,
                "trade-worker",
                f"{action} {symbol} on {account.name} {outcome}",
                f'{{"trade_id": "{trade_id}"}}',
            )
        )

    def _snapshot(self) -> int:
        """Write what all accounts hold at the moment that is due; returns the next such moment."""
        now = self.first + self.taken * self.length // self.snapshots
        head = self.ids.head(now)
        for which, account in enumerate(self.accounts):
            unrealized = 0
            for position, contract, path in zip(account.positions, self.contracts, self.paths, strict=True):
                if position is not None:
                    unrealized += position.unrealized(position.lots * path.ticks * contract.value)
            self.balance_rows.append(
                (
                    f"{head}{self.balance_kind}{self.ids.tail(self.taken * len(self.accounts) + which)}",
                    account.name,
                    self.scenario.account.asset,
                    (account.wallet - account.used) / UNITS,
                    account.used / UNITS,
                    account.wallet / UNITS,
                    now,
                    (account.wallet + unrealized) / UNITS,
                    (account.used + unrealized) / UNITS,
                )
            )
        self.taken += 1
        return self.first + self.taken * self.length // self.snapshots

    def _liquidate(self, market: int, now: int) -> None:
        """Close the positions in a market that its last move has wiped out, each at its own price."""
        path, contract = self.paths[market], self.contracts[market]
        lowest, highest = sorted((path.before, path.ticks))
        for account in self.accounts:
            position = account.positions[market]
            if position is None or (path.ticks - position.liquidation) * position.side > 0:
                continue
            # On a grid so coarse that the move began beyond that price, its beginning is the nearest.
            ticks = min(max(position.liquidation, lowest), highest)
            lots = position.lots
            worth = lots * ticks * contract.value
            fee = account.fee(worth, False)
            action = _ACTIONS[False, position.side]
            head, tail = self.ids.head(now), self.ids.tail(self.liquidations)
            trade_id = f"{head}{self.liquidation_kind}{tail}"
            order_id = account.order_id(now)
            profit = self._close(account, market, lots, ticks, fee, now)
            self.trade_rows.append(
                (
                    trade_id,
                    position.signal_id,
                    now,
                    account.name,
                    contract.symbol,
                    action,
                    contract.quantity(lots),
                    contract.price(ticks),
                    self.leverage,
                    "EXECUTED",
                    None,
                    f'{{"orderId": "{order_id}", "status": "Filled", "liquidation": true{_TAKER}',
                    now + 1,
                    fee / UNITS,
                    order_id,
                    profit / UNITS,
                )
            )
            self.log_rows.append(
                (
                    f"{head}{self.liquidation_log_kind}{tail}",
                    now,
                    "ERROR",
                    "trade-worker",
                    f"{_SIDES[position.side]} {contract.symbol} was liquidated by {account.name}",
                    f'{{"trade_id": "{trade_id}"}}',
                )
            )
            self.liquidations += 1
        self._set_stops(market)

    def _close(self, account: Account, market: int, lots: int, ticks: int, fee: int, now: int) -> int:
        """Close lots of a position; leaves its row, and returns the profit in units, when none is left."""
        position, contract = account.positions[market], self.contracts[market]
        assert position is not None
        entry = position.entry_price(contract)
        profit = account.decrease(market, lots, lots * ticks * contract.value, fee)
        if not position.lots:
            self.position_rows.append(
                self._position(account, market, position, entry, ticks, 0, "CLOSED", now)
            )
        return profit

    def _leave_open(self) -> None:
        """Write the rows of the positions that the last signal has left open."""
        end = self.first + self.length
        for account in self.accounts:
            for market, position in enumerate(account.positions):
                if position is not None:
                    contract, ticks = self.contracts[market], self.paths[market].ticks
                    entry = position.entry_price(contract)
                    unrealized = position.unrealized(position.lots * ticks * contract.value)
                    self.position_rows.append(
                        self._position(account, market, position, entry, ticks, unrealized, "OPEN", end)
                    )

    def _position(
        self,
        account: Account,
        market: int,
        position: Position,
        entry: float,
        ticks: int,
        unrealized: int,
        status: str,
        now: int,
    ) -> _Row:
        contract = self.contracts[market]
        return (
            position.id,
            account.name,
            contract.symbol,
            _SIDES[position.side],
            entry,
            contract.price(ticks),
            contract.price(position.liquidation),
            self.leverage,
            contract.quantity(position.lots),
            unrealized / UNITS,
            status,
            now,
        )

    def _set_stops(self, market: int) -> None:
        """Note at which prices of a market the next liquidation happens."""
        highest, lowest = 0, _NEVER
        for account in self.accounts:
            position = account.positions[market]
            if position is not None:
                if position.side == LONG:
                    highest = max(highest, position.liquidation)
                else:
                    lowest = min(lowest, position.liquidation)
        self.long_stops[market], self.short_stops[market] = highest, lowest


def _narrowed(rows: list[_Row], places: tuple[int, ...], names: tuple[str, ...]) -> list[_Row]:
    """A copy of the rows with only some of their cells."""
    if len(places) == len(names):
        return rows[:]
    if len(places) == 1:
        return [(row[places[0]],) for row in rows]
    return list(map(itemgetter(*places), rows))
