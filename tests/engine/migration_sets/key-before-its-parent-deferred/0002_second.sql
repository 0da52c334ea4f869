PRAGMA defer_foreign_keys = on;
INSERT INTO bags VALUES (1, 1);
INSERT INTO owners VALUES (1);
