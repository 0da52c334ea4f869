CREATE TRIGGER noted AFTER INSERT ON wallets
BEGIN
  INSERT INTO log VALUES (NEW.owner);
  -- and more; later
  DELETE FROM log WHERE what = 'x';
END;
