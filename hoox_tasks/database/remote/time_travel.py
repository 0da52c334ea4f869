"""Going back to a moment that D1 keeps."""

from __future__ import annotations

from contextlib import suppress

from hoox_tasks.d1 import D1Client, Restored
from hoox_tasks.errors import RemoteError

_ATTEMPTS = 3
"""How often it is asked for: D1 allows ten journeys in ten minutes."""


def travel(client: D1Client, bookmark: str, present: str) -> Restored:
    """Bring a database to a bookmark; `present` is the bookmark of before.

    After a lost answer it is asked for again only while the database is at that: otherwise it would take
    away what others wrote after the first journey. Raises `RemoteError`, which is ambiguous where the
    journey may have been made.
    """
    for left in reversed(range(_ATTEMPTS)):
        try:
            return client.restore(bookmark)
        except RemoteError as error:
            if not (error.ambiguous and left and _is_at(client, present)):
                raise
    raise AssertionError


def _is_at(client: D1Client, bookmark: str) -> bool:
    """Whether a database surely is at a bookmark still."""
    with suppress(RemoteError):
        return client.bookmark() == bookmark
    return False


def way_back(name: str, bookmark: str) -> str:
    """Say how to bring a database to a bookmark by hand."""
    return f"`wrangler d1 time-travel restore {name} --bookmark={bookmark}`"
