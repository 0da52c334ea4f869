"""A ledger shown to people: a prompt, pages, a report, the schema's reference."""
