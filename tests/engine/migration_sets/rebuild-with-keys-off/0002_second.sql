PRAGMA foreign_keys=OFF;
ALTER TABLE wallets ADD COLUMN k;
PRAGMA foreign_keys=ON;
