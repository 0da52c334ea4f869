INSERT INTO wallets (id, owner, balance) VALUES (1, 'ada', 1) ON CONFLICT (id) DO UPDATE SET balance = balance + excluded.balance;
