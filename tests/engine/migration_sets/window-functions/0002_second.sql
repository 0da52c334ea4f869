CREATE TABLE ranks AS SELECT owner, row_number() OVER (ORDER BY balance DESC) AS place FROM wallets;
