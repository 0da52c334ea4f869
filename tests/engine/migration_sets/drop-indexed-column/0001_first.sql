CREATE TABLE wallets (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, balance REAL DEFAULT 0);
CREATE INDEX by_balance ON wallets (balance);
