CREATE TABLE z (v);
INSERT INTO z VALUES (lower('A')), (hex('a')), (date('2024-02-29', '+1 year')), (printf('%05d', 42)), (iif(1 > 0, 'y', 'n')), (round(2.567, 1));
