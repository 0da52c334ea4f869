CREATE TRIGGER noted AFTER INSERT ON wallets BEGIN
  INSERT INTO log VALUES ('in; ' || NEW.owner);
END;
INSERT INTO wallets (owner) VALUES ('t');
