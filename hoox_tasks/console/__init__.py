"""What people and programs read: results, notes, progress, questions."""
