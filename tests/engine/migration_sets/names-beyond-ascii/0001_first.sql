CREATE TABLE preise (währung TEXT, 価格 REAL);
INSERT INTO preise VALUES ('€', 1.25), ('🙂', 2);
