-- What the runbook promises and the live schema lacks: fees, order ids, PnL and equity.
-- Amounts are in the quote currency of the symbol, or in the balance's own asset.

ALTER TABLE trades ADD COLUMN fee REAL NOT NULL DEFAULT 0;
ALTER TABLE trades ADD COLUMN order_id TEXT;
ALTER TABLE trades ADD COLUMN realized_pnl REAL;
ALTER TABLE balances ADD COLUMN equity REAL;
ALTER TABLE balances ADD COLUMN margin_balance REAL;

-- An exchange never gives one order id twice; trades that were never sent have none.
CREATE UNIQUE INDEX idx_trades_order_id ON trades (exchange, order_id) WHERE order_id IS NOT NULL;

-- "The five most recent fills" and "signals of a trade" are asked all day.
CREATE INDEX idx_trades_created_at ON trades (created_at);
CREATE INDEX idx_trades_signal_id ON trades (signal_id);
