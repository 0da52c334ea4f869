"""Runs with faults injected between client and API."""
