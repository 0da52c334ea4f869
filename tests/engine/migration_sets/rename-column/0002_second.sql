ALTER TABLE wallets RENAME COLUMN owner TO holder;
