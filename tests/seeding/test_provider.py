"""The Faker provider: single rows, for anybody's own Faker."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from faker import Faker

from hoox_tasks.seeding import TABLES, TradeProvider
from hoox_tasks.seeding.scenario import ORDER_ID_FORMS

ROWS = {
    "trade_signals": "trade_signal",
    "trades": "trade",
    "positions": "position",
    "balances": "balance",
    "system_logs": "system_log",
}


def faker(seed: int = 0) -> Any:
    fake = Faker()
    fake.add_provider(TradeProvider)
    fake.seed_instance(seed)
    return fake


@pytest.mark.parametrize("table", TABLES)
def test_a_row_has_every_column_of_its_table(table: str) -> None:
    """What the provider makes can be inserted as it is."""
    assert tuple(getattr(faker(), ROWS[table])()) == TABLES[table]


@pytest.mark.parametrize(
    "word", [*ROWS.values(), "symbol", "exchange", "order_id", "trade_action", "strategy"]
)
def test_fakers_seed_decides(word: str) -> None:
    """The same seed says the same, and not every seed does."""
    said = [[getattr(faker(seed), word)() for _ in range(2)] for seed in (*range(8), *range(8))]
    assert said[:8] == said[8:]
    assert any(each != said[0] for each in said)


@pytest.mark.parametrize(
    ("exchange", "form"), [("bybit", "uuid"), ("binance", "sequence"), ("mexc", "snowflake")]
)
def test_order_ids_look_like_their_exchange(exchange: str, form: str) -> None:
    """Each exchange's order ids have its form, and do not come twice."""
    fake = faker()
    ids = [fake.order_id(exchange) for _ in range(50)]
    assert all(re.fullmatch(ORDER_ID_FORMS[form], each) for each in ids)
    assert len(set(ids)) == 50


def test_a_single_row_makes_sense_by_itself() -> None:
    """Fees, profits and balances follow from the other cells of the row."""
    fake = faker(3)
    rates = {"bybit": 0.00055, "binance": 0.0005, "mexc": 0.0002}
    for _ in range(200):
        trade, position, balance = fake.trade(), fake.position(), fake.balance()
        worth = trade["quantity"] * trade["price"]
        assert worth > 0
        assert trade["fee"] == pytest.approx(worth * rates[trade["exchange"]], abs=1e-8)
        assert (trade["realized_pnl"] is None) == (trade["action"] in ("LONG", "SHORT"))
        assert json.loads(trade["raw_response"])["orderId"] == trade["order_id"]
        sign = {"LONG": 1, "SHORT": -1}[position["side"]]
        profit = (position["mark_price"] - position["entry_price"]) * position["size"] * sign
        assert position["unrealized_pnl"] == pytest.approx(profit, abs=1e-8)
        assert (position["entry_price"] - position["liquidation_price"]) * sign > 0
        assert balance["free"] + balance["used"] == pytest.approx(balance["total"])
        assert balance["free"] + balance["margin_balance"] == pytest.approx(balance["equity"])


def test_no_word_is_left_open() -> None:
    """Messages come with all their blanks filled in."""
    fake = faker()
    said = [fake.order_error() + fake.rejection() + fake.system_log()["message"] for _ in range(200)]
    assert not [text for text in said if re.search(r"[{}^]", text)]
