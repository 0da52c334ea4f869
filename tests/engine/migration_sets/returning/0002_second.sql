INSERT INTO wallets (owner) VALUES ('r') RETURNING id;
