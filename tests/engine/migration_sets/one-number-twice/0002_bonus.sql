INSERT INTO wallets (owner) VALUES ('bonus');
