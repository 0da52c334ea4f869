CREATE VIRTUAL TABLE words USING fts5(body, colour=blue);
