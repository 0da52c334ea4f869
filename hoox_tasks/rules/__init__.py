"""What D1 allows, and what it says where it does not."""
