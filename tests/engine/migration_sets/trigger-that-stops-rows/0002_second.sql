INSERT INTO wallets (owner, balance) VALUES ('x', -1);
