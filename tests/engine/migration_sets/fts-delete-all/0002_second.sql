INSERT INTO notes_fts (notes_fts) VALUES ('rebuild');
INSERT INTO notes_fts (notes_fts) VALUES ('delete-all');
