DROP TABLE nowhere;
