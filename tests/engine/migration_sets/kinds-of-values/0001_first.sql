CREATE TABLE z (v);
INSERT INTO z VALUES (NULL), (1), (1.5), ('t'), (x'00ff'), (-9007199254740991), (1e300), ('it''s; fine');
