INSERT INTO wallets (owner) VALUES ('y');
