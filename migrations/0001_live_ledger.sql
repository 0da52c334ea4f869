-- The five tables as the live workers write them. Every statement says IF NOT EXISTS: on a ledger
-- that the workers made, with no migration history, this file changes nothing and loses nothing.
-- Times are Unix seconds. Ids are TEXT, because integers above 2^53 lose digits on D1's JSON wire.

-- Every raw incoming alert, before anything was done about it.
CREATE TABLE IF NOT EXISTS trade_signals (
  signal_id TEXT PRIMARY KEY,
  timestamp INTEGER NOT NULL,
  symbol TEXT NOT NULL,
  signal_type TEXT NOT NULL,
  source TEXT,
  raw_data TEXT,
  processed_at INTEGER DEFAULT (unixepoch())
);

-- The primary ledger: one row for each order that was sent, filled or not.
CREATE TABLE IF NOT EXISTS trades (
  id TEXT PRIMARY KEY,
  signal_id TEXT,
  timestamp INTEGER NOT NULL,
  exchange TEXT NOT NULL,
  symbol TEXT NOT NULL,
  action TEXT NOT NULL,
  quantity REAL,
  price REAL,
  leverage INTEGER,
  status TEXT NOT NULL,
  error_message TEXT,
  raw_response TEXT,
  created_at INTEGER DEFAULT (unixepoch())
);

-- Margin and futures exposure, one row for each position.
CREATE TABLE IF NOT EXISTS positions (
  id TEXT PRIMARY KEY,
  exchange TEXT NOT NULL,
  symbol TEXT NOT NULL,
  side TEXT NOT NULL,
  entry_price REAL,
  mark_price REAL,
  liquidation_price REAL,
  leverage INTEGER,
  size REAL,
  unrealized_pnl REAL,
  status TEXT NOT NULL,
  updated_at INTEGER DEFAULT (unixepoch())
);

-- Periodic snapshots of what an account holds.
CREATE TABLE IF NOT EXISTS balances (
  id TEXT PRIMARY KEY,
  exchange TEXT NOT NULL,
  asset TEXT NOT NULL,
  free REAL,
  used REAL,
  total REAL,
  timestamp INTEGER NOT NULL
);

-- Debug and error messages of the workers; details is JSON.
CREATE TABLE IF NOT EXISTS system_logs (
  id TEXT PRIMARY KEY,
  timestamp INTEGER DEFAULT (unixepoch()),
  level TEXT NOT NULL,
  service TEXT NOT NULL,
  message TEXT NOT NULL,
  details TEXT
);

CREATE INDEX IF NOT EXISTS idx_trade_signals_timestamp ON trade_signals (timestamp);
CREATE INDEX IF NOT EXISTS idx_trade_signals_symbol ON trade_signals (symbol);
CREATE INDEX IF NOT EXISTS idx_trades_timestamp ON trades (timestamp);
CREATE INDEX IF NOT EXISTS idx_trades_symbol ON trades (symbol);
CREATE INDEX IF NOT EXISTS idx_trades_status ON trades (status);
CREATE INDEX IF NOT EXISTS idx_positions_symbol ON positions (symbol);
CREATE INDEX IF NOT EXISTS idx_positions_status ON positions (status);
CREATE INDEX IF NOT EXISTS idx_balances_timestamp ON balances (timestamp);
CREATE INDEX IF NOT EXISTS idx_system_logs_timestamp ON system_logs (timestamp);
CREATE INDEX IF NOT EXISTS idx_system_logs_level ON system_logs (level);
CREATE INDEX IF NOT EXISTS idx_system_logs_service ON system_logs (service);
