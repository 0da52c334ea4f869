SELECT count(*) FROM wallets;
INSERT INTO wallets (owner) VALUES ('s');
