INSERT INTO wallets (owner) VALUES ('x');
