"""A ledger on Cloudflare D1."""
