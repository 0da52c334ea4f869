CREATE INDEX i ON wallets (colour);
