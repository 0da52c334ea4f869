"""The order of tables that refer to each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.database.drop_order import children_first
from tests.support.strategies import examples


@given(st.lists(st.sets(st.integers(0, 7)), min_size=8, max_size=8))
@examples(100)
def test_children_come_before_their_parents(referred: list[set[int]]) -> None:
    """Without rings, every table comes before all that it refers to, in whatever case it names them."""
    parents = {f"T{place}": {f"t{one}" for one in some if one < place} for place, some in enumerate(referred)}
    order = [name.lower() for name in children_first(parents)]
    assert sorted(order) == sorted(name.lower() for name in parents)
    for name, some in parents.items():
        assert all(order.index(name.lower()) < order.index(one) for one in some)


def test_what_has_nothing_to_do_with_each_other_keeps_its_order() -> None:
    """Reversed, tables that refer to nothing come as they were given."""
    assert children_first({"a": set(), "b": {"elsewhere"}, "c": set()}) == ["c", "b", "a"]


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=3), min_size=4, max_size=4))
@examples(150)
def test_a_ring_can_be_dropped(keys: list[list[tuple[int, bool]]]) -> None:
    """Where SQLite drops the tables in any order at all, with foreign keys on, it does so in this one."""
    names = [f"t{place}" for place in range(len(keys))]
    parents = {name: {names[parent] for parent, _ in some} for name, some in zip(names, keys, strict=True)}
    cascades = {
        name: {names[parent] for parent, cascades in some if cascades}
        for name, some in zip(names, keys, strict=True)
    }
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for name, some in zip(names, keys, strict=True):
            columns = [
                f"c{place} REFERENCES {names[parent]}{' ON DELETE CASCADE' if follows else ''}"
                for place, (parent, follows) in enumerate(some)
            ]
            connection.execute(f"CREATE TABLE {name} ({', '.join(['id PRIMARY KEY', *columns])})")
        connection.execute("PRAGMA foreign_keys = ON")
        ours = dropped(connection, children_first(parents, cascades))
        assert ours or not any(dropped(connection, order) for order in permutations(names))


@pytest.mark.parametrize(
    "parent",
    [lambda place: place - 1, lambda place: 0, lambda place: (place - 1) % 1100, lambda place: place // 2],
)
def test_many_tables_are_put_in_order(parent: Callable[[int], int]) -> None:
    """1,100 tables in a chain, a star, a ring or a tree are put in an order in which SQLite drops them."""
    names = [f"t{place}" for place in range(1100)]
    parents = {
        name: {names[parent(place)]} if parent(place) >= 0 else set[str]() for place, name in enumerate(names)
    }
    order = children_first(parents, parents)
    assert sorted(order) == sorted(names)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for name, referred in parents.items():
            columns = ["id PRIMARY KEY", *(f"up REFERENCES {each}" for each in referred)]
            connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        connection.execute("PRAGMA foreign_keys = ON")
        assert dropped(connection, order)


def dropped(connection: sqlite3.Connection, order: Iterable[str]) -> bool:
    """Whether SQLite drops the tables in this order; they are all there again afterwards."""
    connection.execute("BEGIN")
    connection.execute("PRAGMA defer_foreign_keys = ON")
    try:
        for name in order:
            connection.execute(f"DROP TABLE {name}")
    except sqlite3.OperationalError:
        return False
    else:
        return True
    finally:
        connection.execute("ROLLBACK")
