INSERT INTO notes_fts (notes_fts, rowid, body) VALUES ('delete', 1, 'hello');
DELETE FROM notes;
