CREATE VIRTUAL TABLE idx USING fts5(body, content='');
INSERT INTO idx (rowid, body) VALUES (1, 'hello');
