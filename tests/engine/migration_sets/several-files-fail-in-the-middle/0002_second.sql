INSERT INTO wallets (owner) VALUES ('a');
