INSERT INTO wallets (owner) VALUES (reverse('abc'));
