CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO plans (name) VALUES ('free'), ('pro'), ('old');
