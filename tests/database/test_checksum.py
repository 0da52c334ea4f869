"""The checksum of a table that SQL computes where the table is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hoox_tasks.database import checksum
from hoox_tasks.database.checksum import Checksum, checksums
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.schema import read_tables
from hoox_tasks.rules.limits import STATEMENT_BYTES
from hoox_tasks.values import Value
from tests.support.strategies import examples, integers

Cells = tuple[Value, ...]

sizes = st.floats(1e-6, 1e15)
numbers = st.one_of(integers, st.just(0.0), sizes, sizes.map(lambda number: -number))
rows = st.lists(st.tuples(numbers, st.text(max_size=6), numbers), min_size=2, max_size=6)


@pytest.fixture
def ledger(tmp_path: Path) -> LocalDatabase:
    return LocalDatabase(tmp_path / "ledger.sqlite", create=True)


def summed(ledger: LocalDatabase, content: Sequence[Cells]) -> Checksum:
    """The checksum of a table with these rows."""
    with closing(ledger):
        ledger = LocalDatabase(ledger.path, create=True)
    with closing(ledger):
        ledger.batch([Statement("DROP TABLE IF EXISTS t"), Statement("CREATE TABLE t (a, b, c)")])
        ledger.insert([("t", ("a", "b", "c"), content)])
        with ledger.snapshot() as snapshot:
            tables = read_tables(snapshot)
        return checksums(ledger, tables)["t"]


@given(rows, st.data())
@examples(60)
def test_what_happens_to_rows_is_found(
    ledger: LocalDatabase, content: list[Cells], data: st.DataObject
) -> None:
    """A row lost, doubled or with another number, and values that changed places, change the checksum."""
    before = summed(ledger, content)
    assert before.rows == len(content)
    place = data.draw(st.integers(0, len(content) - 1))
    row = content[place]
    lost = [*content[:place], *content[place + 1 :]]
    assert summed(ledger, lost) != before
    assert summed(ledger, [*content, row]) != before
    # Another row is lost than the one that is doubled: the number of rows stays.
    other = content[place - 1]
    if repr(other) != repr(row):
        assert summed(ledger, [*lost, other]) != before
    number = row[0]
    assert isinstance(number, int | float)
    # Bits below 2^-106 do not count.
    next_to = math.nextafter(number, math.inf) if number else 2.0**-106
    changed = -(number + 1) if isinstance(number, int) else next_to
    assert summed(ledger, [*lost, (changed, *row[1:])]) != before
    if repr(other[0]) != repr(row[0]) and repr(other[1:]) != repr(row[1:]):
        rest = [one for one in content if one is not row and one is not other]
        swapped = [(other[0], *row[1:]), (row[0], *other[1:])]
        assume(sorted(map(repr, swapped)) != sorted(map(repr, [row, other])))
        assert summed(ledger, [*rest, *swapped]) != summed(ledger, [*rest, row, other])


@given(rows)
@examples(20)
def test_the_order_of_rows_does_not_count(ledger: LocalDatabase, content: list[Cells]) -> None:
    """Rows in another order have the same checksum."""
    assert summed(ledger, content[::-1]) == summed(ledger, content)


@pytest.mark.parametrize("text", ["ab\ncd", b"\x00\x01\x02"])
@pytest.mark.parametrize("change", ["cut off", "written otherwise", "of another type"])
def test_a_text_that_was_mistreated_is_found(ledger: LocalDatabase, text: str | bytes, change: str) -> None:
    """A text or blob that is cut off, escaped or became the other is found."""
    escaped = "ab\\ncd" if isinstance(text, str) else b"\\x00\\x01\\x02"
    other = text.encode() if isinstance(text, str) else text.decode()
    became = {"cut off": text[:-1], "written otherwise": escaped, "of another type": other}[change]
    assert summed(ledger, [(1, became, 2)]) != summed(ledger, [(1, text, 2)])


def test_a_large_table_is_asked_page_by_page(ledger: LocalDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages add up to what one query about all rows gives, whatever the rowids are."""
    content = [(number * number, "x" * number, None) for number in range(20)]
    whole = summed(ledger, content)
    for page in (1, 3, 10, 20):
        monkeypatch.setattr(checksum, "_PAGE", page)
        assert summed(ledger, content) == whole


def test_the_widest_table_fits_a_statement(ledger: LocalDatabase) -> None:
    """A table of 100 columns with long names, the most that D1 allows, is asked under its rules."""
    names = [f"column_{number}_with_a_name_of_forty_characters"[:40] for number in range(100)]
    with closing(ledger):
        ledger.batch([Statement(f"CREATE TABLE wide ({', '.join(names)})")])
        ledger.insert([("wide", names, [tuple(range(100))])])
        with ledger.snapshot() as snapshot:
            tables = read_tables(snapshot)
        before = checksums(ledger, tables)["wide"]
        asked = [checksum._Question(tables[0], start).sql for start in range(0, 100, checksum._COLUMNS)]
        assert max(map(len, asked)) < STATEMENT_BYTES
        ledger.batch([Statement(f"UPDATE wide SET {names[99]} = 98")])
        assert checksums(ledger, tables)["wide"] != before
