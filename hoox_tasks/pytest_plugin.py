"""The pytest plugin: fixtures that hand each test its own ledger."""
