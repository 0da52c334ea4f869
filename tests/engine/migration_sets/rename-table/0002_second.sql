ALTER TABLE wallets RENAME TO purses;
INSERT INTO purses (owner) VALUES ('eve');
