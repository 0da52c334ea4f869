"""Recovery points and undo."""
