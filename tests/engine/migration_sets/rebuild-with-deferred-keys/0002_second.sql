PRAGMA defer_foreign_keys = true;
CREATE TABLE w2 (id INTEGER PRIMARY KEY, owner TEXT);
INSERT INTO w2 SELECT id, owner FROM wallets;
DROP TABLE wallets;
ALTER TABLE w2 RENAME TO wallets;
PRAGMA defer_foreign_keys = false;
