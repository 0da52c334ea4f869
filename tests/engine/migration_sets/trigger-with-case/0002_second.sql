CREATE TRIGGER noted AFTER UPDATE ON wallets WHEN NEW.balance <> OLD.balance BEGIN
  INSERT INTO log SELECT CASE WHEN NEW.balance > OLD.balance THEN 'up' ELSE 'down' END;
END;
