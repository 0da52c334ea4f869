"""One ledger behind one interface, in a SQLite file or on Cloudflare D1."""
