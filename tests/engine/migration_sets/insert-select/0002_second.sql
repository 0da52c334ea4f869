CREATE TABLE names (n);
INSERT INTO names SELECT owner FROM wallets ORDER BY owner;
