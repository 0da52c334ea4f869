INSERT INTO wallets (colour) VALUES ('a');
