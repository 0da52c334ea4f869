CREATE VIRTUAL TABLE words USING fts5(body);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab('words', 'row');
