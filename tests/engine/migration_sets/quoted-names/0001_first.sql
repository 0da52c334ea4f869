CREATE TABLE "order" ("group" TEXT, [select] INT, `a b` REAL);
INSERT INTO "order" VALUES ('x', 1, 2.5);
