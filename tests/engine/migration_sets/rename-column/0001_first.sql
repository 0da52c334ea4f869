CREATE TABLE wallets (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, balance REAL DEFAULT 0);
INSERT INTO wallets (owner, balance) VALUES ('ada', 10.5), ('bob', 3);
