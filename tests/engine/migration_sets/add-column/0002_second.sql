ALTER TABLE wallets ADD COLUMN note TEXT DEFAULT '';
UPDATE wallets SET note = upper(owner);
