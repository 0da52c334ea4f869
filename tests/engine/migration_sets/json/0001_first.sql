CREATE TABLE z (doc TEXT);
INSERT INTO z VALUES (json_object('a', json_array(1, 2)));
