DELETE FROM owners;
