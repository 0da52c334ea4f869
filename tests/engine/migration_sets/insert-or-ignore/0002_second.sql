INSERT OR IGNORE INTO wallets (id, owner) VALUES (1, 'x'), (9, 'y');
