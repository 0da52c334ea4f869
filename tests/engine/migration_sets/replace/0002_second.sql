REPLACE INTO wallets (id, owner) VALUES (2, 'carl');
