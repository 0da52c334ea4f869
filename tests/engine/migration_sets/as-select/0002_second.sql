CREATE TABLE rich AS SELECT owner, balance FROM wallets WHERE balance > 5;
