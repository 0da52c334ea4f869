"""One line brings the tests of the migrations that this project's ledger is made with."""

pytest_plugins = ["hoox_tasks.testing.migration_tests"]
