CREATE VIRTUAL TABLE words USING fts5(title, body UNINDEXED, prefix='2 3', tokenize="unicode61 remove_diacritics 2");
INSERT INTO words VALUES ('Börse', 'x');
