INSERT INTO wallets (owner) VALUES ('a');
CREATE TABLE z (x);
INSERT INTO nowhere VALUES (1);
