CREATE INDEX i ON wallets (owner);
