CREATE VIRTUAL TABLE words USING fts5(body);
INSERT INTO words VALUES ('hello there');
