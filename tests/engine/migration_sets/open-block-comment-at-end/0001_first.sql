CREATE TABLE z (x);
/* never closed