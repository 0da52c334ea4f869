PRAGMA table_info(wallets);
