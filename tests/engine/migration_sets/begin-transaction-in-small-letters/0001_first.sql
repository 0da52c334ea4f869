begin transaction;
CREATE TABLE z (x);
commit;
