CREATE TABLE "two
lines" (x);
INSERT INTO "two
lines" VALUES (1);
