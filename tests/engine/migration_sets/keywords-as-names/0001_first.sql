CREATE TABLE z (key TEXT, action TEXT, temp TEXT, plan TEXT);
INSERT INTO z VALUES ('a','b','c','d');
