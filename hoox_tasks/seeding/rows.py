"""The five tables as the generator fills them: their columns, and rows in batches."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

GENERATOR_VERSION = "2"
"""Changes whenever the same scenario, seed and start would make other rows."""

Cell: TypeAlias = int | float | str | None
Row: TypeAlias = tuple[Cell, ...]

TABLES: dict[str, tuple[str, ...]] = {
    "trade_signals": (
        "signal_id",
        "timestamp",
        "symbol",
        "signal_type",
        "source",
        "raw_data",
        "processed_at",
    ),
    "trades": (
        "id",
        "signal_id",
        "timestamp",
        "exchange",
        "symbol",
        "action",
        "quantity",
        "price",
        "leverage",
        "status",
        "error_message",
        "raw_response",
        "created_at",
        "fee",
        "order_id",
        "realized_pnl",
    ),
    "positions": (
        "id",
        "exchange",
        "symbol",
        "side",
        "entry_price",
        "mark_price",
        "liquidation_price",
        "leverage",
        "size",
        "unrealized_pnl",
        "status",
        "updated_at",
    ),
    "balances": (
        "id",
        "exchange",
        "asset",
        "free",
        "used",
        "total",
        "timestamp",
        "equity",
        "margin_balance",
    ),
    "system_logs": ("id", "timestamp", "level", "service", "message", "details"),
}
"""Every column that rows are made for, by table, in the order of the cells. Signals come before trades."""


class Batch(NamedTuple):
    """Some thousand rows of one table; each row has one cell for each of `columns`."""

    table: str
    columns: tuple[str, ...]
    rows: list[Row]
