"""In which order tables that refer to each other are dropped, and the statements that do it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter

from hoox_tasks import sql
from hoox_tasks.database.interface import SchemaObject

_DEAD_ENDS = 1000
"""How many dead ends of a ring are looked at before any order is taken; without rings there is none."""

Graph = Mapping[str, Collection[str]]


def drop_statements(
    schema: Iterable[SchemaObject],
    tables: Sequence[str],
    virtual: Collection[str] = (),
    *,
    database: str = "",
) -> list[str]:
    """Write the statements that drop every object of a schema.

    `tables` are dropped in their order, but `virtual` ones first: these take their shadow tables along.
    `database` is the name under which the ledger is attached, where there are several.
    """
    prefix = f"{sql.quote_name(database)}." if database else ""
    chosen = set(virtual)
    names = [("trigger", item.name) for item in schema if item.type == "trigger"]
    names += [("view", item.name) for item in schema if item.type == "view"]
    names += [("table", name) for name in tables if name in chosen]
    names += [("table", name) for name in tables if name not in chosen]
    return [f"DROP {kind.upper()} IF EXISTS {prefix}{sql.quote_name(name)}" for kind, name in names]


def children_first(parents: Graph, cascades: Graph | None = None) -> list[str]:
    """Order tables so that each comes before those that it refers to; `parents` names these.

    In a ring there is no such order. `cascades` names those parents whose deletions change the table: SQLite
    does not drop one of them while the table refers to another that is gone, so that other one waits. Tables
    that have nothing to do with each other come in the opposite order of `parents`.
    """
    up = _spelled(parents)
    places = {name: place for place, name in enumerate(parents)}
    children: dict[str, set[str]] = {name: set() for name in parents}
    for name, referred in up.items():
        for parent in referred - {name}:
            children[parent].add(name)
    ordered: list[str] = []
    sorter = TopologicalSorter(children)
    with suppress(CycleError):  # What is not part of a ring comes out all the same.
        sorter.prepare()
    while ready := sorter.get_ready():
        ordered += sorted(ready, key=lambda name: -places[name])
        sorter.done(*ready)
    done = set(ordered)
    tangled = [name for name in parents if name not in done]
    if tangled:
        follows = _spelled({name: (cascades or {}).get(name, ()) for name in parents})
        ordered += _untangled(tangled, up, children, follows, places)
    return ordered


def _untangled(
    tables: list[str], up: Graph, children: Graph, follows: Graph, places: Mapping[str, int]
) -> list[str]:
    """Order tables in rings, and those that they refer to, so that each can be dropped in its turn."""
    # A table has all the descendants of its children, and more, unless they are in one ring.
    start = sorted(tables, key=lambda name: (len(_descendants(name, children)), -places[name]))
    chosen: list[str] = []
    dead_ends: set[frozenset[str]] = set()
    untried = [(start, 0)]
    while untried:
        left, first = untried.pop()
        if not left:
            return chosen
        for place in range(first, len(left)):
            rest = left[:place] + left[place + 1 :]
            if _can_go(left[place], rest, up, follows) and frozenset(rest) not in dead_ends:
                untried += [(left, place + 1), (rest, 0)]
                chosen.append(left[place])
                break
        else:
            dead_ends.add(frozenset(left))
            if len(dead_ends) == _DEAD_ENDS:
                break
            chosen = chosen[:-1]
    return start


def _can_go(name: str, rest: Collection[str], up: Graph, follows: Graph) -> bool:
    """Whether SQLite drops a table while `rest` are there: what that changes must refer to no table gone."""
    changed, unvisited = set[str](), [name]
    present = {name, *rest}
    while unvisited:
        last = unvisited.pop()
        new = {child for child in present if last in follows[child]} - changed
        changed |= new
        unvisited += new
    return all(present.issuperset(up[child]) for child in changed)


def _descendants(name: str, children: Graph) -> set[str]:
    found, unvisited = {name}, [name]
    while unvisited:
        new = set(children[unvisited.pop()]) - found
        found |= new
        unvisited += new
    return found


def _spelled(names: Graph) -> dict[str, set[str]]:
    """Name tables as they are called, whatever the case in which they are referred to, and no others."""
    known = {name.lower(): name for name in names}
    return {
        name: {known[each.lower()] for each in referred if each.lower() in known}
        for name, referred in names.items()
    }
