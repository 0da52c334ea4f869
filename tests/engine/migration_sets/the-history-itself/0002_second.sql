CREATE TABLE seen AS SELECT count(*) AS n FROM d1_migrations;
