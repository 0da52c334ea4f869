"""Made-up ledgers that look like trading: scenarios in TOML, and the generator of their rows."""
