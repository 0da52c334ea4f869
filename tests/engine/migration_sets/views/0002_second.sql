CREATE VIEW rich AS SELECT owner FROM wallets WHERE balance > 5;
