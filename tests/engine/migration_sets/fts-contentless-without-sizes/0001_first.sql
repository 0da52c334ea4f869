CREATE VIRTUAL TABLE idx USING fts5(body, content='', columnsize=0);
INSERT INTO idx (rowid, body) VALUES (1, 'hello');
