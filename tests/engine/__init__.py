"""What runs against real engines and real clients of D1 that we did not write."""
