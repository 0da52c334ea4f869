INSERT INTO wallets (owner) VALUES ('n');
