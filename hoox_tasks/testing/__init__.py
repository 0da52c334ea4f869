"""What test authors get."""
