CREATE TABLE z (v);
INSERT INTO z VALUES ('a;b'), ('-- no comment'), ('/* nor this */'), (';');
