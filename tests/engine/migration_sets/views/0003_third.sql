DROP VIEW rich;
CREATE VIEW rich (who) AS SELECT owner FROM wallets;
