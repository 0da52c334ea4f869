"""What a run prepares for its tests, and what it says about one that failed.

It is apart from the plugin because pytest looks at everything that a plugin's module holds, and so would
import what is put off here.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hoox_tasks.lazy import lazy_imports
from hoox_tasks.testing.fixtures import LEDGERS
from hoox_tasks.testing.options import kept_folder

with lazy_imports():
    from hoox_tasks.testing import ledgers, queries


def prepare(items: Sequence[pytest.Item]) -> None:
    """Import what tests with ledgers need: the time that it takes is no test's."""
    if any("hoox_queries" in getattr(item, "fixturenames", ()) for item in items):
        queries.enable()
    queries.Watch()
    # sqlite-utils looks for plugins of its own with its first database.
    ledgers.import_sqlite_utils().Database(memory=True).close()


def describe_failure(item: pytest.Item) -> str:
    """Say which ledgers a failed test had, and keep them where that was asked for."""
    factory = item.stash.get(LEDGERS, None)
    if factory is None or not factory.ledgers:
        return ""
    folder = kept_folder(item.config) if item.config.getoption("hoox_keep") else None
    return ledgers.describe(factory.ledgers, folder, item.nodeid)
