"""Where Flask-Migrate keeps its own; no SQL."""
