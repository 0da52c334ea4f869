-- first; table
CREATE TABLE z ( -- a; comment
  v /* the value; */ TEXT
);
/* then; rows */ INSERT INTO z VALUES ('x'); -- done;
