INSERT INTO wallets (owner) VALUES (NULL);
