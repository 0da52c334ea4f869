"""The checksum of a table that SQL computes where the table is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hoox_tasks.database import checksum
from hoox_tasks.database.checksum import Checksum, checksums
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.outline import outline
from hoox_tasks.database.remote.guard import ask_content, check_guards
from hoox_tasks.database.schema import read_tables
from hoox_tasks.errors import RemoteError, StatementError
from hoox_tasks.rules.limits import STATEMENT_BYTES
from hoox_tasks.values import Value
from tests.support.alike import ALIKE, anything, exact
from tests.support.strategies import Cell, examples, insert_rows

Cells = tuple[Cell, ...]

rows = st.lists(st.tuples(anything, anything, anything), min_size=1, max_size=6)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LocalDatabase]:
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as ledger:
        yield ledger


def summed(ledger: LocalDatabase, content: Sequence[Cells]) -> Checksum:
    """The checksum of a table with these rows."""
    ledger.batch([Statement("DROP TABLE IF EXISTS t"), Statement("CREATE TABLE t (a, b, c)")])
    insert_rows(ledger.connection, "t", ("a", "b", "c"), tuple(content))
    return all_of(ledger)["t"]


def all_of(ledger: LocalDatabase, key: bytes = checksum.PROCESS_KEY) -> dict[str, Checksum]:
    """The checksums of all tables."""
    with ledger.snapshot() as snapshot:
        tables = read_tables(snapshot)
    return checksums(ledger, tables, key=key)


@pytest.mark.parametrize("pair", ALIKE, ids=lambda pair: " and ".join(repr(cell)[:20] for cell in pair))
def test_cells_that_look_alike_have_different_checksums(
    ledger: LocalDatabase, pair: tuple[Cell, Cell]
) -> None:
    """Every character of a text, byte of a blob and bit of a number counts, and so does the type."""
    first, second = (summed(ledger, [(1, cell, 2), (3, 4, 5)]) for cell in pair)
    assert first.rows == second.rows == 2
    assert first != second


@given(rows, st.data())
@examples(60)
def test_ledgers_that_differ_in_one_cell_differ_in_checksum(
    ledger: LocalDatabase, content: list[Cells], data: st.DataObject
) -> None:
    """Whatever is put into whichever cell, the checksum is another."""
    place, column = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 2))
    row = content[place]
    changed = (*row[:column], data.draw(anything), *row[column + 1 :])
    assume(exact(changed) != exact(row))
    before = summed(ledger, content)
    assert summed(ledger, [*content[:place], changed, *content[place + 1 :]]) != before


@given(rows, st.data())
@examples(25)
def test_what_happens_to_rows_is_found(
    ledger: LocalDatabase, content: list[Cells], data: st.DataObject
) -> None:
    """A row that is lost or doubled, and values that changed places, change the checksum; order does not."""
    before = summed(ledger, content)
    assert before.rows == len(content)
    place = data.draw(st.integers(0, len(content) - 1))
    row, lost = content[place], [*content[:place], *content[place + 1 :]]
    other = content[place - 1]
    assert summed(ledger, content[::-1]) == before
    assert summed(ledger, lost) != before
    assert summed(ledger, [*content, row]) != before
    if exact(other) != exact(row):
        # Another row is lost than the one that is doubled: the number of rows stays.
        assert summed(ledger, [*lost, other]) != before
    swapped = [(other[0], *row[1:]), (row[0], *other[1:])]
    if sorted(map(exact, swapped)) != sorted(map(exact, [row, other])):
        rest = [line for line in content if line is not row and line is not other]
        assert summed(ledger, [*rest, *swapped]) != summed(ledger, [*rest, row, other])


def test_rows_with_equal_sums_of_powers_differ(ledger: LocalDatabase) -> None:
    """Rows whose first, second and third powers add up to the same have other checksums."""
    first, second = (0, 4, 7, 11), (1, 2, 9, 10)
    assert [sum(n**power for n in first) for power in (1, 2, 3)] == [
        sum(n**power for n in second) for power in (1, 2, 3)
    ]
    assert summed(ledger, [(n, n, n) for n in first]) != summed(ledger, [(n, n, n) for n in second])


def test_tables_of_any_name_are_compared(ledger: LocalDatabase) -> None:
    """A table and columns with the names that the statement has for its own steps are asked all the same."""
    names = ("cells", "strings", "digits", "measured", "blocks", "hashes", "weights", "b", "h", "d")
    for name in names:
        ledger.batch([Statement(f"CREATE TABLE {name} (r, g, s, o, x, y, c0, c1)")])
        ledger.insert([(name, ("r", "c1"), [(1, name)])])
    found = all_of(ledger)
    assert len(set(found.values())) == len(names)


def test_the_key_decides(ledger: LocalDatabase) -> None:
    """The same rows have the same checksum with the same key, and another with another."""
    summed(ledger, [(1, "two", 3.5)])
    assert all_of(ledger, b"a") == all_of(ledger, b"a")
    assert all_of(ledger, b"a") != all_of(ledger, b"b")


def test_a_large_table_is_asked_page_by_page(ledger: LocalDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages add up to what one query about all rows gives, whatever the rowids are, and without any."""
    content: list[Cells] = [(number * number, "x" * number, None) for number in range(20)]
    whole = summed(ledger, content)
    keyed = "CREATE TABLE keyed (a, b, c, PRIMARY KEY (b, a)) WITHOUT ROWID"
    ledger.batch([Statement(keyed), Statement("INSERT INTO keyed SELECT * FROM t")])
    for page in (2, 6, 20, 40, 41):
        monkeypatch.setattr(checksum, "_ROWS", page)
        assert all_of(ledger) == {"t": whole, "keyed": whole}


def test_fewer_rows_are_asked_for_where_d1_gives_up(
    ledger: LocalDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where D1 ends a request that does too much, the same is asked about fewer rows at a time."""
    whole = summed(ledger, [(number, "x", None) for number in range(100)])
    asked: list[int] = []
    batch = ledger.batch

    def limited(statements: Sequence[Statement], *, write: bool = True) -> object:
        size = int(statements[0].sql.partition("LIMIT ")[2].split(")")[0])
        asked.append(size)
        if size > 50:
            raise RemoteError("D1 failed inside: D1 DB exceeded its CPU time limit", "Do less.")
        return batch(statements, write=write)

    monkeypatch.setattr(ledger, "batch", limited)
    monkeypatch.setattr(checksum, "_ROWS", 3200)
    assert all_of(ledger) == {"t": whole}
    assert asked == [3200, 400, 50, 50, 50]


def test_the_widest_table_fits_a_statement(ledger: LocalDatabase) -> None:
    """A table of 100 columns with long names, the most that D1 allows, is asked under its rules."""
    names = [f"column_{number}_with_a_name_of_forty_characters"[:40] for number in range(100)]
    ledger.batch([Statement(f"CREATE TABLE wide ({', '.join(names)})")])
    ledger.insert([("wide", names, [tuple(range(100)), tuple("x" * 1001 for _ in names), (0.001,) * 100])])
    before = all_of(ledger)["wide"]
    with ledger.snapshot() as snapshot:
        (table,) = read_tables(snapshot)
    question = checksum._Question("wide", table, table.columns, after=str(2**62))
    assert len(question.sql(b"", 100_000)) < STATEMENT_BYTES
    ledger.batch([Statement(f"UPDATE wide SET {names[99]} = 98 WHERE {names[98]} = 98")])
    assert all_of(ledger)["wide"] != before


def test_rows_behind_searches_and_boxes_count(ledger: LocalDatabase) -> None:
    """A row of an FTS5 or R*Tree table that changed is found, with content of its own or without."""
    ledger.batch(
        [
            Statement("CREATE VIRTUAL TABLE words USING fts5(a, b)"),
            Statement("CREATE VIRTUAL TABLE bare USING fts5(a, content='')"),
            Statement("CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1)"),
            Statement("INSERT INTO words VALUES ('FILLED', 1), ('other', 2)"),
            Statement("INSERT INTO bare VALUES ('FILLED')"),
            Statement("INSERT INTO boxes VALUES (1, 0, 5)"),
        ]
    )
    before = all_of(ledger)
    assert before["words"].rows == 2
    for change, table in [
        ("UPDATE words SET a = 'FAILED' WHERE b = 1", "words"),
        ("UPDATE words SET rowid = 7 WHERE b = 2", "words"),
        ("INSERT INTO bare VALUES ('FAILED')", "bare_docsize"),
        ("UPDATE boxes SET x1 = 6", "boxes"),
    ]:
        ledger.batch([Statement(change)])
        after = all_of(ledger)
        assert after[table] != before[table]
        before = after


def test_a_ledger_in_utf16_has_the_checksum_of_its_rows(tmp_path: Path, ledger: LocalDatabase) -> None:
    """The same rows have the same checksum, however a file writes its texts."""
    content: list[Cells] = [(1, "é😀x", b"\0\xff"), (0.1, "a\0b", None), (-0.0, "x" * 2000, 1e300)]
    with closing(sqlite3.connect(tmp_path / "wide.sqlite")) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE t (a, b, c)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", content)
        connection.commit()
    with closing(LocalDatabase(tmp_path / "wide.sqlite")) as wide:
        assert all_of(wide)["t"] == summed(ledger, content)


@pytest.mark.parametrize("columns", [1, 50, 100])
def test_the_question_fits_into_a_guard(ledger: LocalDatabase, columns: int) -> None:
    """The statement can stand inside of one that compares its answer, within D1's limits of size and depth."""
    names = [f"c{number}" for number in range(columns)]
    ledger.batch([Statement(f"CREATE TABLE wide ({', '.join(names)})")])
    with ledger.snapshot() as snapshot:
        content = ask_content(ledger, read_tables(snapshot))
    (answer,) = content.answers
    assert check_guards([answer.guard("arrived")])
    ledger.batch([answer.guard("arrived")])
    ledger.insert([("wide", names, [(1,) * columns])])
    with pytest.raises(StatementError, match="hoox guard arrived: wide"):
        ledger.batch([answer.guard("arrived")])


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO trades VALUES ('t99', 1.5, 'FILLED')",
        "DELETE FROM trades WHERE id = 't7'",
        "UPDATE trades SET price = price + 0.00001 WHERE id = 't7'",
        "UPDATE trades SET price = NULL WHERE id = 't7'",
        "UPDATE trades SET status = 'FAILED' WHERE id = 't7'",
        "UPDATE trades SET id = 't0' || id WHERE id = 't7'",
        "UPDATE trades SET price = CASE id WHEN 't7' THEN 8 ELSE 7 END WHERE id IN ('t7', 't8')",
    ],
)
@pytest.mark.parametrize("end", ["", "WITHOUT ROWID"])
def test_a_guard_of_a_large_table_asks_for_its_outline(
    ledger: LocalDatabase, monkeypatch: pytest.MonkeyPatch, change: str, end: str
) -> None:
    """More rows than one request can weigh are guarded by one short statement, which notices what others do."""
    monkeypatch.setattr("hoox_tasks.database.checksum._ROWS", 10)
    ledger.connection.executescript(
        f"CREATE TABLE trades (id TEXT PRIMARY KEY, price REAL, status TEXT) {end};"
        "INSERT INTO trades SELECT 't' || value, value, 'FILLED' FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12]');"
        "CREATE TABLE few (a); INSERT INTO few VALUES (1);"
    )
    with ledger.snapshot() as snapshot:
        content = ask_content(ledger, read_tables(snapshot))
    assert content.counts == {"trades": 12, "few": 1}
    guards = check_guards(answer.guard("changed") for answer in content.answers)
    assert [answer.about for answer in content.answers] == ["few", "trades"]
    assert len(guards[1].sql) < 10_000
    ledger.batch(guards, write=False)
    ledger.connection.executescript(change)
    with pytest.raises(StatementError, match="hoox guard changed: trades"):
        ledger.batch(guards, write=False)


def test_an_outline_takes_any_table(ledger: LocalDatabase) -> None:
    """Numbers without end, texts without characters, blobs, and 100 columns are outlined within D1's limits."""
    names = [f"c{place}" for place in range(100)]
    ledger.batch([Statement(f"CREATE TABLE wide ({', '.join(names)})")])
    extremes: list[Value] = [
        2**63 - 1,
        -(2**63),
        1e308,
        float("-inf"),
        5e-324,
        "",
        "😀" * 50,
        "\0",
        b"",
        b"\xff" * 2000,
        None,
    ]
    ledger.insert([("wide", names, [tuple(extremes * 10)[:100], tuple(reversed((extremes * 10)[:100]))])])
    with ledger.snapshot() as snapshot:
        (table,) = read_tables(snapshot)
    query = outline(table, table.columns)
    assert len(query) < 60_000
    ((rows, total),) = ledger.batch([Statement(query)], write=False)[0]
    assert rows == 2
    assert abs(int(str(total))) < 2**33
