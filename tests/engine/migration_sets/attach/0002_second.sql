ATTACH DATABASE 'x.db' AS other;
