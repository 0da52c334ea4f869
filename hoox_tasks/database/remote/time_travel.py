"""Going back to a moment that D1 keeps."""

from __future__ import annotations

from collections.abc import Callable

from hoox_tasks.d1 import D1Client, Restored
from hoox_tasks.errors import RemoteError

_ATTEMPTS = 3
"""How often it is asked for: D1 allows ten journeys in ten minutes."""


def travel(client: D1Client, bookmark: str, is_unchanged: Callable[[], bool]) -> Restored:
    """Bring a database to a bookmark; repeated after a lost answer only while the database is as it was.

    Otherwise it would take away what others wrote after the first attempt. Raises `RemoteError`, which is
    ambiguous where the journey may have been made.
    """
    for left in reversed(range(_ATTEMPTS)):
        try:
            return client.restore(bookmark)
        except RemoteError as error:
            if not (error.ambiguous and left and is_unchanged()):
                raise
    raise AssertionError


def way_back(name: str, bookmark: str) -> str:
    """Say how to bring a database to a bookmark by hand."""
    return f"`wrangler d1 time-travel restore {name} --bookmark={bookmark}`"
