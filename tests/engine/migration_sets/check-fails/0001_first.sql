CREATE TABLE z (a CHECK (a > 0));
