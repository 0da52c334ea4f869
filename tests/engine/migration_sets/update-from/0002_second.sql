UPDATE wallets SET balance = balance - fee FROM fees WHERE fees.id = wallets.id;
