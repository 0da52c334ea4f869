ALTER TABLE wallets DROP COLUMN balance;
