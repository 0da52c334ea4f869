"""One more row like those of a ledger, with what a test says about it and all else to match."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import pytest

from hoox_tasks.lazy import lazy_imports
from hoox_tasks.testing.difference import Row

with lazy_imports():
    from hoox_tasks import seeding

if TYPE_CHECKING:
    from faker import Faker
    from sqlite_utils import Database

_LATER = 60
"""Seconds between the newest row of a ledger and the next."""


class RowFactory:
    """Inserts rows that fit a ledger: `hoox_rows.trade(symbol="BTCUSDT")`.

    A cell that is given stays as it is. The others come from Faker's `TradeProvider` and from the ledger: a
    trade has a signal, its price is that of the last trade of its symbol, its fee is at the exchange's rate,
    and it is the newest row. The same ledger and seed make the same rows. Each method returns the row.
    """

    def __init__(self, database: Database, seed: int = 0) -> None:
        self._database = database
        self._seed = seed
        self._faker: Faker | None = None

    def __call__(self, database: Database) -> RowFactory:
        """Rows for another ledger."""
        return RowFactory(database, self._seed)

    def trade_signal(self, **cells: Any) -> Row:
        """Insert a row of `trade_signals`."""
        row = self._fake.trade_signal()
        moment = cells.get("timestamp", self._moment())
        row |= {"timestamp": moment, "processed_at": moment + 1}
        if (last := self._last_trade({"symbol": cells["symbol"]} if "symbol" in cells else {})) is not None:
            row["symbol"] = last["symbol"]
        row |= {name: cell for name, cell in cells.items() if name in row}
        said = {"ticker": row["symbol"], "action": row["signal_type"]}
        row["raw_data"] = json.dumps(json.loads(row["raw_data"]) | said)
        return self._insert("trade_signals", row, cells)

    def trade(self, **cells: Any) -> Row:
        """Insert a row of `trades`, and of `trade_signals` where no `signal_id` is given."""
        row = self._fake.trade()
        wanted: Row = {name: cells[name] for name in ("symbol", "exchange") if name in cells}
        last = self._last_trade(wanted) or self._last_trade({"symbol": cells.get("symbol")})
        rate = row["fee"] / (row["price"] * row["quantity"])
        if last is not None:
            row |= {name: last[name] for name in ("symbol", "exchange", "price", "quantity", "leverage")}
            rate = (last.get("fee") or rate * last["price"] * last["quantity"]) / (
                last["price"] * last["quantity"]
            )
        moment = cells.get("timestamp", self._moment())
        row |= (
            {"timestamp": moment, "created_at": moment + 1}
            | wanted
            | {name: cell for name, cell in cells.items() if name in row}
        )
        value = (row["price"] or 0) * (row["quantity"] or 0)
        order_id = cells.get("order_id", self._fake.order_id(row["exchange"]))
        closes = str(row["action"]).startswith("CLOSE")
        answer = json.loads(self._fake.trade()["raw_response"]) | {"orderId": order_id}
        row |= {
            "order_id": order_id,
            "raw_response": json.dumps(answer),
            "fee": round(value * rate, 8),
            "realized_pnl": round(value * self._fake.random_int(-500, 500) / 10_000, 8) if closes else None,
        }
        row |= {name: cell for name, cell in cells.items() if name in row}
        if "signal_id" not in cells:
            signal = self.trade_signal(timestamp=moment - 1, symbol=row["symbol"], signal_type=row["action"])
            row["signal_id"] = signal["signal_id"]
        return self._insert("trades", row, cells)

    def position(self, **cells: Any) -> Row:
        """Insert a row of `positions`: an open one, at the last price of its symbol."""
        row = self._fake.position()
        last = self._last_trade({name: cells[name] for name in ("symbol", "exchange") if name in cells})
        if last is not None:
            part = row["mark_price"] / row["entry_price"]
            stop = row["liquidation_price"] / row["entry_price"]
            entry = cells.get("entry_price", last["price"])
            row |= {name: last[name] for name in ("symbol", "exchange", "leverage")}
            row |= {"size": last["quantity"], "entry_price": entry}
            row |= {"mark_price": round(entry * part, 8), "liquidation_price": round(entry * stop, 8)}
        row["updated_at"] = self._moment()
        row |= {name: cell for name, cell in cells.items() if name in row}
        sign = -1 if row["side"] == "SHORT" else 1
        if "unrealized_pnl" not in cells:
            row["unrealized_pnl"] = round((row["mark_price"] - row["entry_price"]) * row["size"] * sign, 8)
        return self._insert("positions", row, cells)

    def balance(self, **cells: Any) -> Row:
        """Insert a row of `balances`; what is not given of its sums follows from what is."""
        row = self._fake.balance() | {"timestamp": self._moment()}
        if (last := self._last_trade({})) is not None:
            row["exchange"] = last["exchange"]
        unrealized = row["margin_balance"] - row["used"]
        row |= {name: cell for name, cell in cells.items() if name in row}
        sums = {
            "total": round(row["free"] + row["used"], 2),
            "margin_balance": round(row["used"] + unrealized, 2),
            "equity": round(row["free"] + row["used"] + unrealized, 2),
        }
        return self._insert("balances", row | sums | cells, cells)

    def system_log(self, **cells: Any) -> Row:
        """Insert a row of `system_logs`."""
        return self._insert("system_logs", self._fake.system_log() | {"timestamp": self._moment()}, cells)

    @property
    def _fake(self) -> Any:
        if self._faker is None:
            import faker

            self._faker = faker.Faker()
            self._faker.add_provider(seeding.TradeProvider)
            # Another factory over the same ledger goes on where this one ended.
            self._faker.seed_instance(f"{self._seed}/{self._database.conn.total_changes}")
        return self._faker

    def _insert(self, table: str, row: Row, cells: Row) -> Row:
        __tracebackhide__ = True
        columns = self._database[table].columns_dict
        for name in cells:
            if name not in columns:
                near = difflib.get_close_matches(name, columns, 1)
                hint = f" Did you mean {near[0]}?" if near else ""
                pytest.fail(f"The table {table} has no column {name}.{hint}")
        whole = {name: cell for name, cell in (row | cells).items() if name in columns}
        self._database.table(table).insert(whole)
        return whole

    def _last_trade(self, wanted: Row) -> Row | None:
        """The newest filled trade with these cells."""
        if not self._database["trades"].exists():
            return None
        cells = {name: cell for name, cell in wanted.items() if cell is not None}
        where = "".join(f" AND {name} = :{name}" for name in cells)
        query = (
            f"SELECT * FROM trades WHERE price > 0 AND quantity > 0{where} ORDER BY timestamp DESC LIMIT 1"
        )
        return next(iter(self._database.query(query, cells)), None)

    def _moment(self) -> int:
        """A minute after the newest row."""
        tables = [name for name in seeding.TABLES if "timestamp" in self._columns(name)]
        newest = [
            self._database.execute(f"SELECT max(timestamp) FROM {table}").fetchone()[0] for table in tables
        ]
        known = [moment for moment in newest if moment is not None]
        return int(max(known)) + _LATER if known else int(self._fake.trade()["timestamp"])

    def _columns(self, table: str) -> dict[str, type]:
        return self._database[table].columns_dict if self._database[table].exists() else {}
