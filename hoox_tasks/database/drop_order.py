"""The order of tables that refer to each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_DEAD_ENDS = 1000
"""How long a way out of a tangle is looked for; tables without rings are never in one."""


def children_first(
    parents: Mapping[str, Collection[str]], cascades: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """Order tables so that each comes before those that it refers to; `parents` names these.

    In a ring there is no such order. `cascades` names those parents whose deletions change the table: SQLite
    does not drop one of them while the table refers to another that is gone, so that other one waits. Tables
    that have nothing to do with each other come in the opposite order of `parents`.
    """
    up, follows = _exact(parents), _exact({name: (cascades or {}).get(name, ()) for name in parents})
    down = {name: {child for child in parents if name in up[child]} for name in parents}

    def descendants(name: str) -> int:
        found, left = {name}, [name]
        while left:
            new = down[left.pop()] - found
            found |= new
            left += new
        return len(found)

    # Who is referred to has all the descendants of those who refer to him, and more, unless it is a ring.
    places = {name: place for place, name in enumerate(parents)}
    left = sorted(parents, key=lambda name: (descendants(name), -places[name]))

    def can_go(name: str, rest: Collection[str]) -> bool:
        changed, left = set[str](), [name]
        while left:
            last = left.pop()
            new = {child for child in (name, *rest) if last in follows[child]} - changed
            changed |= new
            left += new
        return all(up[child] <= {name, *rest} for child in changed)

    dead_ends: set[frozenset[str]] = set()

    def search(left: list[str]) -> list[str] | None:
        for place, name in enumerate(left):
            rest = left[:place] + left[place + 1 :]
            if can_go(name, rest) and frozenset(rest) not in dead_ends and len(dead_ends) < _DEAD_ENDS:
                following = search(rest)
                if following is not None:
                    return [name, *following]
        if left:
            dead_ends.add(frozenset(left))
        return None if left else []

    return search(left) or left


def _exact(names: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Name tables as they are called, whatever the case in which they are referred to, and no others."""
    known = {name.lower(): name for name in names}
    return {
        name: {known[one.lower()] for one in some if one.lower() in known} for name, some in names.items()
    }
