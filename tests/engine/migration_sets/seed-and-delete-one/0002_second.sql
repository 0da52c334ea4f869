DELETE FROM plans WHERE name = 'old';
