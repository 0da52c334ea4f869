DROP TABLE notes_fts;
