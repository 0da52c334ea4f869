"""The rows of a scenario, read back from SQLite and held against books kept anew from the fills alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, sqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoox_tasks.errors import Refused
from hoox_tasks.seeding import TABLES, Batch, Scenario, counts, generate, load_scenario
from hoox_tasks.seeding.generator import BATCH
from hoox_tasks.seeding.pools import draw_pools
from hoox_tasks.seeding.prices import step_of, walk
from hoox_tasks.seeding.scenario import ORDER_ID_FORMS, Crash, Transfer
from tests.support import ROOT

FOLDERS = [ROOT / "fixtures"]
MIGRATIONS = sorted((ROOT / "migrations").glob("*.sql"))

SCALES = {"demo": 0.2, "quiet": 1, "liquidation": 1, "busy": 0.004, "edge": 1}
"""Every scenario with rows, and how much of it is enough to look at."""

WORDS = {"raw_data", "source", "message", "error_message", "details", "level", "service"}
"""Columns that Faker has a word in; all others carry meaning."""

PINNED = "5ba1212dc68979c39c23ceed7b55323177292c5545da3dabc1d56042546e7721"


def ledger(batches: Iterable[Batch], migrations: Iterable[Path] = MIGRATIONS) -> sqlite3.Connection:
    """A migrated ledger in memory with the batches in it."""
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    for file in migrations:
        db.executescript(file.read_text())
    for batch in batches:
        names, marks = ", ".join(batch.columns), ", ".join("?" * len(batch.columns))
        db.executemany(f"INSERT INTO {batch.table} ({names}) VALUES ({marks})", batch.rows)
    return db


def table(db: sqlite3.Connection, name: str) -> list[sqlite3.Row]:
    return db.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall()


def exact(value: float) -> Fraction:
    """The number that a stored double was written as."""
    return Fraction(repr(value))


def cents(value: Fraction) -> Fraction:
    """Rounded to 8 decimals, half up, as money is."""
    return Fraction(floor(value * 10**8 + Fraction(1, 2)), 10**8)


class Holding:
    """A position as the fills of one exchange and symbol make it."""

    def __init__(self) -> None:
        self.side = ""
        self.size = self.cost = Fraction(0)

    @property
    def sign(self) -> int:
        return 1 if self.side == "LONG" else -1

    def fill(self, trade: sqlite3.Row) -> Fraction | None:
        """Book one fill; returns what it realises if it closes."""
        quantity, price = exact(trade["quantity"]), exact(trade["price"])
        if not quantity:
            return None
        if not trade["action"].startswith("CLOSE_"):
            assert self.size == 0 or self.side == trade["action"]
            self.side = trade["action"]
            self.size += quantity
            self.cost += quantity * price
            return None
        assert trade["action"] == f"CLOSE_{self.side}"
        assert quantity <= self.size
        part = self.cost * quantity / self.size
        self.size -= quantity
        self.cost -= part
        return cents((quantity * price - part) * self.sign)


class Marks:
    """The prices of a scenario's markets, walked anew."""

    def __init__(self, scenario: Scenario, seed: int, signals: int) -> None:
        first = begin_of(scenario)
        self.step = step_of(-(-signals // scenario.signals.burst), int(scenario.days * 86_400))
        self.places = {market.symbol: place for place, market in enumerate(scenario.markets)}
        self.ticks = {market.symbol: Fraction(market.tick) for market in scenario.markets}
        self.moments = [first]
        self.steps = [tuple(int(market.price / market.tick) for market in scenario.markets)]
        self.deviations = [0.0]
        for hour in walk(scenario, seed, first, self.step):
            self.moments += hour.moments
            self.steps += hour.ticks
            self.deviations += [sqrt(hour.variance * self.step / 86_400)] * len(hour.moments)
        self.volatilities = {market.symbol: float(market.volatility) for market in scenario.markets}

    def number(self, moment: int) -> int:
        """Which step holds at a moment; the first is before all moves."""
        return bisect_left(self.moments, moment, 1) - 1

    def at(self, symbol: str, moment: int) -> Fraction:
        return self.steps[self.number(moment)][self.places[symbol]] * self.ticks[symbol]

    def between(self, symbol: str, begin: int, end: int) -> tuple[float, float]:
        """The lowest and highest mark from the step before one moment to the step of another."""
        place = self.places[symbol]
        steps = self.steps[max(0, self.number(begin) - 1) : self.number(end) + 1]
        prices = [float(step[place] * self.ticks[symbol]) for step in steps]
        return min(prices), max(prices)

    def slack(self, symbol: str, moment: int) -> float:
        """How far a fill can be from the marks: what a step may have been between its ends, and slippage."""
        deviation = self.deviations[self.number(moment)] * self.volatilities[symbol]
        return 0.003 + 1.5 * deviation + 3 * float(self.ticks[symbol] / self.at(symbol, moment))


def check(scenario: Scenario, seed: int, db: sqlite3.Connection, scale: float = 1) -> None:
    """Assert everything that the generator promises about its rows."""
    signals = {row["signal_id"]: row for row in table(db, "trade_signals")}
    trades = table(db, "trades")
    begin = begin_of(scenario)
    end = begin + int(scenario.days * 86_400)
    marks = Marks(scenario, seed, len(signals))

    check_orders(scenario, db)
    handled = [signal["processed_at"] for signal in signals.values()]
    assert handled == sorted(handled)
    assert [trade["timestamp"] for trade in trades] == sorted(trade["timestamp"] for trade in trades)
    snapshots = [row["timestamp"] for row in table(db, "balances")]
    for signal in signals.values():
        assert begin <= signal["timestamp"] <= signal["processed_at"] < end
    for trade in trades:
        signal = signals[trade["signal_id"]]
        assert signal["timestamp"] < trade["timestamp"] < trade["created_at"] <= trade["timestamp"] + 60
        # No snapshot is between a fill and its row: both times tell the same books.
        assert bisect_left(snapshots, trade["timestamp"]) == bisect_left(snapshots, trade["created_at"] + 1)
        if trade["status"] != "EXECUTED":
            assert trade["price"] is None
            continue
        answer = json.loads(trade["raw_response"])
        forced = answer["type"] in ("StopLoss", "TakeProfit") or "liquidation" in answer
        since = trade["timestamp"] if forced else signal["processed_at"]
        low, high = marks.between(trade["symbol"], since, trade["timestamp"])
        slack = marks.slack(trade["symbol"], trade["timestamp"])
        assert low * (1 - slack) <= trade["price"] <= high * (1 + slack)
    check_logs(db)
    check_books(scenario, db, marks, end, scale)


def fee_of(scenario: Scenario, trade: sqlite3.Row) -> Fraction:
    """What the exchange's published rates make of a fill."""
    exchange = next(each for each in scenario.exchanges if each.name == trade["exchange"])
    liquidity = json.loads(trade["raw_response"])["liquidity"]
    rate = {"maker": exchange.maker_fee, "taker": exchange.taker_fee}[liquidity]
    return cents(exact(trade["quantity"]) * exact(trade["price"]) * Fraction(rate))


def check_orders(scenario: Scenario, db: sqlite3.Connection) -> None:
    exchanges = {exchange.name: exchange for exchange in scenario.exchanges}
    given_out = set()
    for trade in table(db, "trades"):
        exchange = exchanges[trade["exchange"]]
        if trade["status"] in ("FAILED", "TEST_EXECUTED"):
            assert trade["order_id"] is None
        else:
            assert re.fullmatch(ORDER_ID_FORMS[exchange.order_id], trade["order_id"])
            assert (trade["exchange"], trade["order_id"]) not in given_out
            given_out.add((trade["exchange"], trade["order_id"]))
            assert json.loads(trade["raw_response"])["orderId"] == trade["order_id"]
        if trade["status"] == "EXECUTED":
            assert trade["fee"] == float(fee_of(scenario, trade))
        else:
            assert (trade["fee"], trade["realized_pnl"]) == (0, None)


def check_logs(db: sqlite3.Connection) -> None:
    trade_ids = {trade["id"] for trade in table(db, "trades")}
    signal_ids = {signal["signal_id"] for signal in table(db, "trade_signals")}
    told = []
    warned = set()
    for log in table(db, "system_logs"):
        details = json.loads(log["details"] or "{}")
        assert details.get("signal_id", min(signal_ids)) in signal_ids
        if "trade_id" in details:
            told.append(details["trade_id"])
        if log["level"] == "WARN" and "signal_id" in details:
            warned.add(details["signal_id"])
    assert sorted(told) == sorted(trade_ids)
    ordered = {trade["signal_id"] for trade in table(db, "trades")}
    assert not ordered & warned
    assert ordered | warned == signal_ids


def check_books(scenario: Scenario, db: sqlite3.Connection, marks: Marks, end: int, scale: float) -> None:
    """Keep the books from the fills and events alone, and compare them with every snapshot and position."""
    account = scenario.account
    capital = Fraction(max(1.0, scale))
    start = Fraction(floor(Fraction(account.equity) * 10**8 * capital), 10**8)
    wallets = {exchange.name: start for exchange in scenario.exchanges}
    ticks = {market.symbol: Fraction(market.tick) for market in scenario.markets}
    holdings: dict[tuple[str, str], Holding] = defaultdict(Holding)
    sizes: dict[tuple[str, str], list[tuple[int, Fraction]]] = defaultdict(lambda: [(0, Fraction(0))])
    closed: list[tuple[Any, ...]] = []
    fills = [trade for trade in table(db, "trades") if trade["status"] == "EXECUTED"]
    events = [
        (log["timestamp"], json.loads(log["details"]))
        for log in table(db, "system_logs")
        if '"event"' in (log["details"] or "")
    ]
    rows = table(db, "balances")
    fill_at = event_at = 0

    def stop(holding: Holding, symbol: str) -> float:
        cushion = Fraction(1, account.leverage) - Fraction(account.maintenance)
        price = holding.cost / holding.size * (1 - holding.sign * cushion) / ticks[symbol]
        return float((ceil(price) if holding.side == "LONG" else floor(price)) * ticks[symbol])

    for row in rows:
        now = row["timestamp"]
        assert begin_of(scenario) <= now <= end
        while fill_at < len(fills) and fills[fill_at]["timestamp"] < now:
            trade = fills[fill_at]
            key = trade["exchange"], trade["symbol"]
            holding = holdings[key]
            before = (holding.cost / holding.size, stop(holding, key[1])) if holding.size else None
            profit = holding.fill(trade)
            # A double: beyond nine digits before the point, it cannot hold eight after it.
            assert trade["realized_pnl"] == (None if profit is None else float(profit))
            wallets[trade["exchange"]] += (profit or 0) - fee_of(scenario, trade)
            sizes[key].append((trade["timestamp"], holding.size))
            if profit is not None and not holding.size:
                assert before is not None
                closed.append(
                    (*key, holding.side, float(before[0]), trade["price"], before[1], trade["timestamp"])
                )
            fill_at += 1
        assert fill_at == len(fills) or fills[fill_at]["timestamp"] > now
        while event_at < len(events) and events[event_at][0] < now:
            moment, event = events[event_at]
            if event["event"] == "funding":
                check_funding(event, sizes[event["exchange"], event["symbol"]], moment, marks)
            wallets[event["exchange"]] += exact(event["amount"])
            event_at += 1
        assert event_at == len(events) or events[event_at][0] > now

        held = [(key[1], h) for key, h in holdings.items() if key[0] == row["exchange"] and h.size]
        used = sum((cents(h.cost / account.leverage) for _, h in held), Fraction(0))
        unrealized = sum((cents((h.size * marks.at(s, now) - h.cost) * h.sign) for s, h in held), Fraction(0))
        wallet = wallets[row["exchange"]]
        assert row["total"] == float(wallet)
        assert row["used"] == float(used)
        assert row["free"] == float(wallet - used) >= 0
        assert row["equity"] == float(wallet + unrealized)
        assert row["margin_balance"] == float(used + unrealized)
        assert row["asset"] == account.asset

    assert event_at == len(events)
    assert fill_at == len(fills)
    assert rows[-1]["timestamp"] == end
    positions = table(db, "positions")
    shut = [p for p in positions if p["status"] == "CLOSED"]
    assert all((p["size"], p["unrealized_pnl"]) == (0, 0) for p in shut)
    assert closed == [
        (
            *(p[name] for name in ("exchange", "symbol", "side", "entry_price", "mark_price")),
            p["liquidation_price"],
            p["updated_at"],
        )
        for p in shut
    ]
    still = {(p["exchange"], p["symbol"]): p for p in positions if p["status"] == "OPEN"}
    assert len(still) == len(positions) - len(shut)
    assert still.keys() == {key for key, holding in holdings.items() if holding.size}
    for key, position in still.items():
        holding, mark = holdings[key], marks.at(key[1], end)
        assert position["side"] == holding.side
        assert exact(position["size"]) == holding.size
        assert position["entry_price"] == float(holding.cost / holding.size)
        assert position["mark_price"] == float(mark)
        assert position["liquidation_price"] == stop(holding, key[1])
        # The nearest tick may be the entry itself where the cushion is less than a tick.
        if mark / account.leverage > 10 * ticks[key[1]]:
            assert (position["mark_price"] - position["liquidation_price"]) * holding.sign > 0
        profit = cents((holding.size * mark - holding.cost) * holding.sign)
        assert position["unrealized_pnl"] == float(profit)
        assert (position["leverage"], position["updated_at"]) == (account.leverage, end)


def check_funding(
    event: dict[str, Any], sizes: list[tuple[int, Fraction]], moment: int, marks: Marks
) -> None:
    """LONG pays SHORT while the rate is positive, on what was held, at the mark, or what was free of it."""
    size, mark = exact(event["size"]), exact(event["mark"])
    # Within one second, fills may come before the payment or after it.
    last = max(at for at, _ in sizes if at < moment)
    assert size in [held for at, held in sizes if last <= at <= moment]
    assert mark == marks.at(event["symbol"], moment)
    owed = cents(size * mark * exact(event["rate"])) * (1 if event["side"] == "LONG" else -1)
    paid = -exact(event["amount"])
    assert paid == owed or 0 <= paid < owed


def begin_of(scenario: Scenario) -> int:
    return int(scenario.start.timestamp())


def meaning(batches: Iterable[Batch]) -> str:
    """A hash of all cells that carry meaning."""
    digest = hashlib.sha256()
    for batch in batches:
        places = [i for i, name in enumerate(batch.columns) if name not in WORDS]
        for row in batch.rows:
            digest.update(repr((batch.table, [row[place] for place in places])).encode())
    return digest.hexdigest()


@pytest.mark.parametrize("name", SCALES)
def test_the_rows_of_every_scenario_add_up(name: str) -> None:
    """Signals, fills, fees, positions, balances and logs of each scenario agree to the last digit."""
    scenario = load_scenario(name, FOLDERS)
    db = ledger(generate(scenario, scale=SCALES[name]))
    assert all(table(db, each) for each in TABLES)
    check(scenario, scenario.seed, db, SCALES[name])


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(SCALES)),
    seed=st.integers(0, 2**63),
    part=st.floats(0.001, 1),
)
def test_the_rows_add_up_for_every_seed_and_scale(name: str, seed: int, part: float) -> None:
    """What holds for a scenario does not depend on its seed or on how much of it is made."""
    scenario = load_scenario(name, FOLDERS)
    scale = SCALES[name] * part
    check(scenario, seed, ledger(generate(scenario, seed=seed, scale=scale)), scale)


@pytest.mark.parametrize("scale", [3, 2.5])
def test_a_bigger_desk_adds_up(scale: float) -> None:
    """With more capital, strategies and alerts, and larger transfers, the books are as exact."""
    scenario = dataclasses.replace(load_scenario("demo", FOLDERS), days=Decimal(2))
    db = ledger(generate(scenario, scale=scale))
    check(scenario, scenario.seed, db, scale)
    first = db.execute("SELECT sum(equity) FROM balances WHERE timestamp = ?", (begin_of(scenario),))
    assert first.fetchone()[0] == 2 * 25_000 * scale


parts = st.decimals(0, Decimal("0.25"), places=3)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_rows_add_up_whatever_a_scenario_asks_for(data: st.DataObject) -> None:
    """Leverage, crashes, funding, transfers, bursts and empty pockets never break the books."""
    scenario = load_scenario(data.draw(st.sampled_from(["quiet", "edge"])), FOLDERS)
    leverage = data.draw(st.integers(1, 125))
    per_day = data.draw(st.integers(1, 400))
    scenario = dataclasses.replace(
        scenario,
        days=Decimal(1),
        account=dataclasses.replace(
            scenario.account,
            leverage=leverage,
            equity=data.draw(st.decimals(1, 100_000, places=2)),
            snapshots_per_day=Decimal(data.draw(st.integers(0, 500))),
            funding=data.draw(st.decimals(Decimal("-0.01"), Decimal("0.01"), places=4)),
        ),
        signals=dataclasses.replace(
            scenario.signals,
            per_day=Decimal(per_day),
            burst=data.draw(st.integers(1, 30)),
            long=data.draw(parts) * 4,
            rejected=data.draw(parts),
        ),
        orders=dataclasses.replace(
            scenario.orders,
            size=data.draw(st.decimals(Decimal("0.001"), 1, places=3)),
            maker=data.draw(parts) * 4,
            partial=data.draw(parts) * 4,
            failed=data.draw(parts),
            pending=data.draw(parts),
            test=data.draw(parts),
            unfilled=data.draw(parts),
        ),
        desk=dataclasses.replace(
            scenario.desk,
            risk=data.draw(st.decimals(Decimal("0.001"), 1, places=3)),
            edge=data.draw(parts) * 4,
            stops=data.draw(parts) * 4,
            styles=("trend", "breakout", "reversion")[data.draw(st.integers(0, 2)) :],
        ),
        crashes=(Crash(Decimal("0.3"), Decimal("0.2"), data.draw(parts) * 3),),
        transfers=(
            Transfer(data.draw(parts) * 4, "bybit", data.draw(st.decimals(1, 100_000, places=2))),
            Transfer(data.draw(parts) * 4, "bybit", -data.draw(st.decimals(1, 100_000, places=2))),
        ),
    )
    check(scenario, 0, ledger(generate(scenario)))


def test_the_same_seed_makes_the_same_rows_in_another_process() -> None:
    """Neither hash randomisation nor anything else of a process gets into the rows."""
    program = (
        "import hashlib, pathlib, sys; from hoox_tasks.seeding import *;"
        "rows = list(generate(load_scenario('edge', [pathlib.Path(sys.argv[1])])));"
        "print(hashlib.sha256(repr(rows).encode()).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program, str(FOLDERS[0])],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    here = hashlib.sha256(repr(list(generate(load_scenario("edge", FOLDERS)))).encode()).hexdigest()
    assert printed == {f"{here}\n"}


def test_the_rows_are_the_same_on_every_platform_and_python() -> None:
    """The promise itself: this digest is the rows of `quiet` under GENERATOR_VERSION 2, everywhere.

    It can only be pinned, not derived. When it has to change, GENERATOR_VERSION has to change with it.
    """
    assert meaning(generate(load_scenario("quiet", FOLDERS))) == PINNED


def test_other_words_change_nothing_that_carries_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another Faker, which says other things, ids, times, prices and amounts stay as they are."""
    scenario = load_scenario("demo", FOLDERS)
    usual = list(generate(scenario, scale=0.05))
    monkeypatch.setattr(
        "hoox_tasks.seeding.desk.draw_pools", lambda seed, messages: draw_pools(seed + 1, messages)
    )
    other = list(generate(scenario, scale=0.05))
    assert usual != other
    assert meaning(usual) == meaning(other)


def test_the_seed_decides() -> None:
    """Another seed makes other rows, and no id of the one is an id of the other."""
    scenario = load_scenario("quiet", FOLDERS)
    ids = [{row[0] for batch in generate(scenario, seed=seed) for row in batch.rows} for seed in (1, 2)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_all_starts_at_the_start() -> None:
    """A start some weeks later moves every time by as much, and changes no price and no amount.

    Other starts meet other hours of the day and days of the week, in which there is more or less to do.
    """
    scenario = load_scenario("quiet", FOLDERS)
    moved = list(generate(scenario, start=scenario.start + timedelta(days=14)))
    usual = list(generate(scenario))
    timed = {"timestamp", "processed_at", "created_at", "updated_at"}
    money = {"quantity", "price", "fee", "realized_pnl", "equity", "entry_price", "free", "total"}
    for old, new in zip(usual, moved, strict=True):
        assert len(old.rows) == len(new.rows)
        for i, name in enumerate(old.columns):
            if name in timed:
                assert [row[i] + 1_209_600 for row in old.rows] == [row[i] for row in new.rows]  # type: ignore[operator]
            elif name in money:
                assert [row[i] for row in old.rows] == [row[i] for row in new.rows]


def test_a_start_without_a_zone_is_utc() -> None:
    """A naive time means UTC, not the zone of the machine."""
    scenario = load_scenario("quiet", FOLDERS)
    naive, aware = (list(generate(scenario, start=datetime(2026, 3, 1, tzinfo=zone))) for zone in (None, UTC))
    assert naive == aware


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(scale: float) -> None:
    """A scale that makes no sense is an error at once, not at the first row."""
    with pytest.raises(Refused, match="cannot be scaled"):
        generate(load_scenario("quiet", FOLDERS), scale=scale)


def test_an_impossible_start_is_refused() -> None:
    """A start that Unix seconds in ids cannot hold is an error at once."""
    with pytest.raises(Refused, match="cannot start"):
        generate(load_scenario("quiet", FOLDERS), start=datetime(1969, 12, 31, tzinfo=UTC))


def test_an_older_ledger_gets_the_columns_it_has() -> None:
    """With the first migration alone there are no fees, and every row fits."""
    empty = ledger((), MIGRATIONS[:1])
    columns = {name: [c[1] for c in empty.execute(f"PRAGMA table_info({name})")] for name in TABLES}
    scenario = load_scenario("quiet", FOLDERS)
    old = ledger(generate(scenario, columns=columns), MIGRATIONS[:1])
    new = ledger(generate(scenario))
    for name in TABLES:
        chosen = ", ".join(columns[name])
        rows = [tuple(row) for row in table(old, name)]
        assert rows == [tuple(row) for row in new.execute(f"SELECT {chosen} FROM {name} ORDER BY rowid")]
        assert rows


def test_a_table_that_is_not_there_gets_no_rows() -> None:
    """Only the tables that are named get batches, with a single column as well."""
    batches = generate(load_scenario("quiet", FOLDERS), columns={"trades": ["id", "colour"]})
    assert [(batch.table, batch.columns, len(batch.rows[0])) for batch in batches] == [("trades", ("id",), 1)]


def test_batches_stay_small() -> None:
    """No batch of a long scenario holds more than some thousand rows."""
    sizes = [len(batch.rows) for batch in generate(load_scenario("demo", FOLDERS), scale=3)]
    assert BATCH <= max(sizes) < 5 * BATCH


@pytest.mark.parametrize("name", [*SCALES, "initial"])
def test_counts_are_the_rows(name: str) -> None:
    """A small ledger is counted exactly, a large one nearly."""
    scenario = load_scenario(name, FOLDERS)
    made = dict.fromkeys(TABLES, 0)
    scale = min(1, SCALES.get(name, 1) * 10)
    for batch in generate(scenario, scale=scale):
        made[batch.table] += len(batch.rows)
    counted = counts(scenario, scale)
    if made["trade_signals"] <= 2_000:
        assert counted == made
    assert counted["trade_signals"] == made["trade_signals"]
    assert counted["balances"] == made["balances"]
    assert counted == pytest.approx(made, rel=0.05)


def test_scale_multiplies_the_rows() -> None:
    """Ten times the scale makes ten times the rows, in the same length of time."""
    one, ten = (counts(load_scenario("quiet", FOLDERS), scale) for scale in (1, 10))
    assert ten["trade_signals"] == 10 * one["trade_signals"]
    assert sum(ten.values()) == pytest.approx(10 * sum(one.values()), rel=0.2)


def test_the_sizes_are_as_announced() -> None:
    """`demo` has a few thousand trades, `quiet` tens of rows, `busy` 120,000 trades, `initial` none."""
    sizes = {name: counts(load_scenario(name, FOLDERS)) for name in (*SCALES, "initial")}
    assert 2_000 <= sizes["demo"]["trades"] <= 5_000
    assert 20 <= sum(sizes["quiet"].values()) < 100
    assert sizes["busy"]["trades"] == pytest.approx(120_000, rel=0.02)
    assert sum(sizes["initial"].values()) == 0


def test_demo_answers_the_runbooks_questions() -> None:
    """Each of the runbook's queries finds something in `demo`, open positions on Bybit among it."""
    db = ledger(generate(load_scenario("demo", FOLDERS)))
    statuses = {row[0] for row in db.execute("SELECT DISTINCT status FROM trades")}
    assert statuses == {"EXECUTED", "TEST_EXECUTED", "FAILED", "PENDING"}
    assert len(db.execute("SELECT * FROM trades ORDER BY created_at DESC LIMIT 5").fetchall()) == 5
    assert db.execute("SELECT count(*) FROM positions WHERE size > 0 AND exchange = 'bybit'").fetchone()[0]


def test_the_crash_empties_the_account() -> None:
    """After `liquidation` hardly anything is left, and liquidated positions are why."""
    db = ledger(generate(load_scenario("liquidation", FOLDERS)))
    equity = [row["equity"] for row in table(db, "balances")]
    assert equity[-1] < equity[0] / 20
    forced = [t for t in table(db, "trades") if "liquidation" in (t["raw_response"] or "")]
    lost = -sum(trade["realized_pnl"] for trade in forced)
    assert lost > equity[0] / 2
    stops = {(p["symbol"], p["updated_at"], p["liquidation_price"]) for p in table(db, "positions")}
    assert all((t["symbol"], t["timestamp"], t["price"]) in stops for t in forced)


def test_edge_has_the_rows_that_break_naive_readers() -> None:
    """NULL prices, zero sizes, odd texts, crowded seconds, extreme prices and losses are all there."""
    scenario = load_scenario("edge", FOLDERS)
    db = ledger(generate(scenario))
    trades, logs = table(db, "trades"), table(db, "system_logs")

    def some(where: str, name: str = "trades") -> bool:
        return bool(db.execute(f"SELECT 1 FROM {name} WHERE {where}").fetchone())

    assert some("status = 'FAILED' AND price IS NULL AND order_id IS NULL")
    assert some("status = 'PENDING' AND price IS NULL AND order_id IS NOT NULL")
    assert some("status = 'EXECUTED' AND quantity = 0")
    assert some("raw_response LIKE '%PartiallyFilled%'")
    assert some("realized_pnl < 0")
    assert some("price > 1e10")
    assert some("price < 1e-4")
    assert some("fee = 0 AND quantity > 0 AND status = 'EXECUTED'")
    assert some("size = 0", "positions")
    assert some("details IS NULL", "system_logs")
    assert some("json_valid(raw_data) = 0", "trade_signals")
    crowd = "SELECT count(*) FROM trade_signals GROUP BY processed_at"
    assert max(row[0] for row in db.execute(crowd)) >= 20
    assert set(scenario.orders.errors) <= {trade["error_message"] for trade in trades}
    assert set(scenario.logs.messages) <= {log["message"] for log in logs}
