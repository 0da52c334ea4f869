INSERT INTO wallets (owner) VALUES (sqlite_version());
