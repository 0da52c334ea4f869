CREATE TABLE z (x);



