CREATE TABLE posts (id);
