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

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from random import Random

from hoox_tasks.errors import Refused
from hoox_tasks.seeding.account import LONG, SHORT, UNITS, Account, Contract, Position
from hoox_tasks.seeding.market import Path
from hoox_tasks.seeding.order_ids import OrderIds, order_ids
from hoox_tasks.seeding.pools import Pools, draw_pools
from hoox_tasks.seeding.rows import TABLES, Batch, Cell
from hoox_tasks.seeding.scenario import Scenario

GENERATOR_VERSION = "1"
"""Changes whenever the same scenario, seed and start would make other rows."""

BATCH = 2_000
"""Rows of the fullest table at which all tables are handed over: enough to be fast, little to hold."""

SAMPLE = 2_000
"""Signals up to which rows are counted by making them."""

MOST_FILLS = 3
ADDING = 0.25
LATENCY = 4
"""At most so many fills build up a position, with that chance of a signal to add to it; a fill comes at
most so many seconds after its signal."""

_SIDES = {LONG: "LONG", SHORT: "SHORT"}
_OPENING = {LONG: ("LONG", "BUY"), SHORT: ("SHORT", "SELL")}
_CLOSING = {LONG: "CLOSE_LONG", SHORT: "CLOSE_SHORT"}

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
    if not 1970 <= moment.year < 2200:
        raise Refused(f"A ledger cannot start at {start}.", "Give a time from 1970 to 2199.")
    return max(0, int(moment.timestamp()))


def _size(scenario: Scenario, scale: float) -> tuple[int, int]:
    """How many signals, and how many snapshots beside the one at the start."""
    if not 0 < scale <= 1_000_000:
        raise Refused(f"A scenario cannot be scaled by {scale}.", "Give a number above 0, at most 1000000.")
    per_day = float(scenario.days) * scale
    signals = round(per_day * float(scenario.signals.per_day))
    if not scenario.signals.per_day:
        return 0, 0
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


def _key(*parts: object) -> int:
    """A number that depends on all the parts, the same everywhere."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:16], "big")


class _Ids:
    """Row ids in the form of a UUIDv7: the time, which kind of row, and a number of its own.

    They are made from three parts, so that all rows of one signal share the work. Sorted by time, they
    are also fast to index.
    """

    def __init__(self, key: int) -> None:
        self._mask = key & 0xFFFFFFFFFFFF
        self._kind = key >> 48

    def kind(self, number: int) -> str:
        """The middle part for one kind of row."""
        mixed = self._kind ^ (number * 0x9E3779B1)
        return f"-7{mixed & 0xFFF:03x}-{'89ab'[mixed >> 12 & 3]}{mixed >> 14 & 0xFFF:03x}-"

    def head(self, moment: int) -> str:
        """The first part: milliseconds since 1970, of which only the seconds count."""
        text = f"{moment * 1000:012x}"
        return f"{text[:8]}-{text[8:]}"

    def tail(self, number: int) -> str:
        """The last part: a number that is given once per kind."""
        return f"{number ^ self._mask:012x}"


class _Play:
    """One run of a scenario: its markets and accounts, and the rows that they have left behind."""

    def __init__(self, scenario: Scenario, seed: int, first: int, signals: int, snapshots: int) -> None:
        self.scenario = scenario
        self.signals = signals
        self.snapshots = snapshots
        self.first = first
        self.length = int(scenario.days * 86_400)
        key = _key(scenario.name, seed)
        self.random = Random(_key(key, "signals"))
        self.pools: Pools = draw_pools(key)
        self.ids = _Ids(key)
        self.contracts = [Contract(market) for market in scenario.markets]
        moves_per_day = signals / len(self.contracts) / float(scenario.days)
        self.paths = [
            Path(
                market,
                Random(_key(key, market.symbol)),
                moves_per_day=moves_per_day,
                crashes=scenario.crashes,
            )
            for market in scenario.markets
        ]
        self.accounts = [Account(exchange, scenario) for exchange in scenario.exchanges]
        self.order_ids: list[OrderIds] = [
            order_ids(exchange.order_id, Random(_key(key, exchange.name))) for exchange in scenario.exchanges
        ]
        # The prices at which the first LONG from above and the first SHORT from below are liquidated.
        self.long_stops = [0] * len(self.contracts)
        self.short_stops = [_NEVER] * len(self.contracts)
        self.rows: dict[str, list[_Row]] = {table: [] for table in TABLES}
        self.chatter = [(*line[:2], text, line[3]) for text in scenario.logs.messages for line in self.pools.chatter[:3]] or self.pools.chatter
        self.chatter_kind, self.balance_kind, self.position_kind = (self.ids.kind(n) for n in (6, 7, 8))
        self.taken = 0
        self.chatted = 0
        self.positions = 0
        self.liquidations = 0

    def batches(self, chosen: Mapping[str, tuple[int, ...]]) -> Iterator[Batch]:
        """Play all signals, and hand the rows over whenever there are enough of them."""
        for _ in self._played():
            yield from self._handed_over(chosen)
        yield from self._handed_over(chosen)

    def _handed_over(self, chosen: Mapping[str, tuple[int, ...]]) -> Iterator[Batch]:
        for table, names in TABLES.items():
            rows = self.rows[table]
            if rows and table in chosen:
                places = chosen[table]
                if len(places) < len(names):
                    rows = _narrowed(rows, places)
                yield Batch(table, tuple(names[place] for place in places), rows[:])
            self.rows[table].clear()

    def _played(self) -> Iterator[None]:
        """Play the signals; pauses whenever a batch is full."""
        scenario, pools, ids = self.scenario, self.pools, self.ids
        draw = self.random.random
        contracts, accounts, paths = self.contracts, self.accounts, self.paths
        long_stops, short_stops = self.long_stops, self.short_stops
        signal_rows, trade_rows, log_rows = (
            self.rows[table] for table in ("trade_signals", "trades", "system_logs")
        )
        market_count, account_count = len(contracts), len(accounts)
        head, tail = ids.head, ids.tail
        signal_kind, trade_kind, log_kind = (ids.kind(number) for number in (1, 2, 3))

        burst, sources = scenario.signals.burst, scenario.signals.sources
        mails, alerts = pools.mails, pools.alerts
        rejections = [f"{text}" for text in pools.rejections]
        errors = scenario.orders.errors or pools.errors
        long, rejected = float(scenario.signals.long), float(scenario.signals.rejected)
        orders = scenario.orders
        maker_part, partial_part = float(orders.maker), float(orders.partial)
        # One draw decides what becomes of an order: these are the upper ends of the parts.
        failed = float(orders.failed)
        tested = failed + float(orders.test)
        pending = tested + float(orders.pending)
        unfilled = pending + float(orders.unfilled)
        size, size_parts = orders.size.as_integer_ratio()
        leverage = scenario.account.leverage
        margin_parts = size_parts * 128
        chatter_part = float(scenario.logs.per_signal)

        # All signals fit in, with their latency, before the last snapshot.
        span = self.length - LATENCY
        groups = -(-self.signals // burst)
        taken, due = self.first, self._snapshot()

        for number in range(self.signals):
            if number % burst == 0:
                group = number // burst
                now = self.first + LATENCY + int((group + 0.999 * draw()) * span / groups)
                while now >= due:
                    taken, due = due, self._snapshot()
                if now == taken:
                    now += 1
                start_of_id = head(now)
            end_of_id = tail(number)
            market = int(draw() * market_count)
            contract = contracts[market]
            ticks = paths[market].move(number / self.signals)
            if ticks <= long_stops[market] or ticks >= short_stops[market]:
                self._liquidate(market, now)
            which = int(draw() * account_count)
            account = accounts[which]
            position = account.positions[market]

            # What the signal asks for.
            if position is None:
                side = LONG if draw() < long else SHORT
                opens = True
            else:
                side = position.side
                opens = position.fills < MOST_FILLS and draw() < ADDING
            action = _SIDES[side] if opens else _CLOSING[side]
            asked = _OPENING[side][draw() < 0.3] if opens else action
            symbol = contract.symbol
            price = contract.price(ticks)
            signal_id = f"{start_of_id}{signal_kind}{end_of_id}"
            source = sources[int(draw() * len(sources))]
            raw = (
                f"{mails[number & 15]}\n{asked} {symbol} {price}"
                if source == "Email"
                else f'{alerts[int(draw() * 32)]}{symbol}", "action": "{asked}", "price": {price}}}'
            )
            sent = now - 1 - int(draw() * LATENCY)
            signal_rows.append((signal_id, sent, symbol, asked, source, raw, now))

            # What becomes of it.
            log_id = f"{start_of_id}{log_kind}{end_of_id}"
            if draw() < rejected:
                why = rejections[int(draw() * len(rejections))]
                log_rows.append(
                    (log_id, now, "WARN", "hoox-gateway", why, f'{{"signal_id": "{signal_id}"}}')
                )
            else:
                trade_id = f"{start_of_id}{trade_kind}{end_of_id}"
                lot_worth = ticks * contract.value
                if not opens and position is not None:
                    wanted = affordable = position.lots
                else:
                    wanted = (
                        account.wallet * leverage * size * (64 + int(draw() * 128))
                        // (margin_parts * lot_worth)
                    ) or 1
                    affordable = account.affordable(lot_worth)
                    if wanted > affordable > 0:
                        wanted = affordable
                quantity = contract.quantity(wanted)
                fate = draw()
                order_id: str | None = None
                paid: float | None = None
                profit: float | None = None
                fee = 0.0
                error = response = None
                if fate >= unfilled and wanted <= affordable:
                    status = "EXECUTED"
                    order_id = self.order_ids[which](now)
                    paid = price
                    maker = draw() < maker_part
                    lots = wanted
                    if wanted > 1 and draw() < partial_part:
                        lots = 1 + int(draw() * (wanted - 1))
                        response = (
                            f'{{"orderId": "{order_id}", "status": "PartiallyFilled", "qty": {quantity}, '
                            f'"liquidity": "{"maker" if maker else "taker"}"}}'
                        )
                        quantity = contract.quantity(lots)
                    else:
                        response = (
                            f'{{"orderId": "{order_id}", "status": "Filled", '
                            f'"liquidity": "{"maker" if maker else "taker"}"}}'
                        )
                    worth = lots * lot_worth
                    cost = account.fee(worth, maker)
                    fee = cost / UNITS
                    if opens:
                        position = account.increase(market, side, lots, worth, cost, contract.value)
                        position.signal_id = signal_id
                        if position.fills == 1:
                            position.key = f"{start_of_id}{self.position_kind}{end_of_id}"
                        self._set_stops(market)
                    else:
                        profit = self._close(account, market, lots, ticks, cost, now) / UNITS
                    level, message = "INFO", f"{action} {symbol} filled on {account.name}"
                elif fate < failed or wanted > affordable:
                    status = "FAILED"
                    error = (
                        errors[number % len(errors)] if fate < failed else "insufficient margin for this order"
                    )
                    level, message = "ERROR", f"{action} {symbol} failed on {account.name}: {error}"
                elif fate < tested:
                    status = "TEST_EXECUTED"
                    response = "{}"
                    level, message = "INFO", f"{action} {symbol} accepted as a test by {account.name}"
                else:
                    order_id = self.order_ids[which](now)
                    if fate < pending:
                        status = "PENDING"
                        response = f'{{"orderId": "{order_id}", "status": "New"}}'
                        level, message = "INFO", f"{action} {symbol} waits on {account.name}"
                    else:
                        status = "EXECUTED"
                        paid = price
                        response = (
                            f'{{"orderId": "{order_id}", "status": "Expired", "qty": {quantity}, '
                            '"liquidity": "taker"}'
                        )
                        quantity = 0.0
                        level, message = "WARN", f"{action} {symbol} expired without a fill on {account.name}"
                trade_rows.append(
                    (
                        trade_id,
                        signal_id,
                        now,
                        account.name,
                        symbol,
                        action,
                        quantity,
                        paid,
                        leverage,
                        status,
                        error,
                        response,
                        now + 1,
                        fee,
                        order_id,
                        profit,
                    )
                )
                log_rows.append((log_id, now, level, "trade-worker", message, f'{{"trade_id": "{trade_id}"}}'))

            if chatter_part:
                self._chat(chatter_part, now, start_of_id, number)
            if len(signal_rows) >= BATCH:
                yield

        while self.taken <= self.snapshots:
            self._snapshot()
        self._leave_open()

    def _chat(self, per_signal: float, now: int, start_of_id: str, number: int) -> None:
        draw = self.random.random
        lines = int(per_signal + draw())
        for line in range(lines):
            level, service, message, details = self.chatter[int(draw() * len(self.chatter))]
            log_id = f"{start_of_id}{self.chatter_kind}{self.ids.tail(self.chatted)}"
            self.chatted += 1
            self.rows["system_logs"].append((log_id, now, level, service, message, details))

    def _snapshot(self) -> int:
        """Write what all accounts hold at the moment that is due; returns the next such moment."""
        now = self.first + self.taken * self.length // self.snapshots
        head = self.ids.head(now)
        for which, account in enumerate(self.accounts):
            unrealized = 0
            for position, contract, path in zip(account.positions, self.contracts, self.paths, strict=True):
                if position is not None:
                    unrealized += position.unrealized(position.lots * path.ticks * contract.value)
            self.rows["balances"].append(
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
        for which, account in enumerate(self.accounts):
            position = account.positions[market]
            if position is None or (path.ticks - position.liquidation) * position.side > 0:
                continue
            # On a grid so coarse that the move began beyond that price, its beginning is the nearest.
            ticks = min(max(position.liquidation, lowest), highest)
            lots = position.lots
            worth = lots * ticks * contract.value
            fee = account.fee(worth, False)
            action = _CLOSING[position.side]
            head, tail = self.ids.head(now), self.ids.tail(self.liquidations)
            trade_id = f"{head}{self.ids.kind(4)}{tail}"
            order_id = self.order_ids[which](now)
            profit = self._close(account, market, lots, ticks, fee, now)
            self.rows["trades"].append(
                (
                    trade_id,
                    position.signal_id,
                    now,
                    account.name,
                    contract.symbol,
                    action,
                    contract.quantity(lots),
                    contract.price(ticks),
                    self.scenario.account.leverage,
                    "EXECUTED",
                    None,
                    f'{{"orderId": "{order_id}", "status": "Filled", "liquidity": "taker", "liquidation": true}}',
                    now + 1,
                    fee / UNITS,
                    order_id,
                    profit / UNITS,
                )
            )
            self.rows["system_logs"].append(
                (
                    f"{head}{self.ids.kind(5)}{tail}",
                    now,
                    "ERROR",
                    "trade-worker",
                    f"{_SIDES[position.side]} {contract.symbol} was liquidated by {account.name}",
                    f'{{"trade_id": "{trade_id}"}}',
                )
            )
            self.liquidations += 1

    def _close(self, account: Account, market: int, lots: int, ticks: int, fee: int, now: int) -> int:
        """Close lots of a position; leaves its row, and returns the profit in units, when none is left."""
        position, contract = account.positions[market], self.contracts[market]
        assert position is not None
        entry = position.entry_price(contract)
        profit = account.decrease(market, lots, lots * ticks * contract.value, fee)
        if not position.lots:
            self.rows["positions"].append(
                self._position(account, market, position, entry, ticks, 0, "CLOSED", now)
            )
            self._set_stops(market)
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
                    self.rows["positions"].append(
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
            position.key,
            account.name,
            contract.symbol,
            _SIDES[position.side],
            entry,
            contract.price(ticks),
            contract.price(position.liquidation),
            self.scenario.account.leverage,
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


def _narrowed(rows: list[_Row], places: tuple[int, ...]) -> list[_Row]:
    """The rows with only some of their cells."""
    if len(places) == 1:
        return [(row[places[0]],) for row in rows]
    return list(map(itemgetter(*places), rows))
