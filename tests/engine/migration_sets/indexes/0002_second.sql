CREATE INDEX by_owner ON wallets (owner);
CREATE UNIQUE INDEX one_owner ON wallets (lower(owner)) WHERE balance > 0;
