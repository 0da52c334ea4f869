CREATE UNIQUE INDEX u ON wallets (owner);
