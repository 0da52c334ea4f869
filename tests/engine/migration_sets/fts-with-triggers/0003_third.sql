INSERT INTO notes (body) VALUES ('three');
