INSERT INTO idx (idx, rowid, body) VALUES ('delete', 1, 'hello');
