INSERT INTO notes_fts (notes_fts) VALUES ('integrity-check');
