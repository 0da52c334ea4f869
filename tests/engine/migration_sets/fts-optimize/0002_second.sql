INSERT INTO words (words) VALUES ('optimize');
INSERT INTO words (words, rank) VALUES ('rank', 'bm25(10.0)');
