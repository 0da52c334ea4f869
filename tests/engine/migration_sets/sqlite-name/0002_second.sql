CREATE TABLE sqlite_mine (x);
