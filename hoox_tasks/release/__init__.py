"""A release: rehearsed on a copy, applied, checked."""
