"""Figures that people can read: whole numbers, times, records, and texts that are cut before anything else."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from hoox_tasks.console.formats import print_table, render
from hoox_tasks.console.table import Layout
from hoox_tasks.console.times import Comparison, dates_compared, read_time
from hoox_tasks.database.interface import Rows
from hoox_tasks.values import Row, Value

NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
SECONDS = 1769817496
MILLISECONDS = 1779261050000
TIMES = frozenset({"timestamp", "created_at"})


class Screen(io.StringIO):
    """Output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_screen(columns: Sequence[str], rows: list[Row], room: int, layout: Layout | None = None) -> str:
    output = Screen(newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(room))
        render([Rows(tuple(columns), rows)], "table", output, layout)
    return output.getvalue()


def in_a_pipe(columns: Sequence[str], rows: list[Row], format: str, layout: Layout | None = None) -> str:
    output = io.StringIO(newline="")
    render([Rows(tuple(columns), rows)], format, output, layout)
    return output.getvalue()


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.text()), min_size=1, max_size=4), st.integers(40, 200)
)
def test_no_number_is_cut(rows: list[Row], room: int) -> None:
    """Whatever stands beside them and however narrow the terminal, every digit is there, on one line."""
    shown = on_screen(("price", "quantity", "realized_pnl", "note"), rows, room)
    words = shown.split()
    for row in rows:
        assert {str(value) for value in row[:3]} <= set(words)
    assert max(map(wcswidth, shown.split("\n"))) <= room


@given(st.lists(st.tuples(NUMBERS, st.text(st.characters(codec="ascii"), max_size=200)), max_size=3))
def test_full_leaves_nothing_out(rows: list[Row]) -> None:
    """With `full` every character of a text is on the screen, over as many lines as it takes."""
    layout = Layout(full=True)
    shown = on_screen(("price", "text"), rows, 30, layout)
    assert "…" not in shown
    assert not layout.cut
    whole = in_a_pipe(("price", "text"), rows, "table").replace(" ", "")
    together = shown.replace(" ", "").replace("\n", "")
    for line in whole.split("\n")[2:-1]:
        text = line.removeprefix(next((str(p) for p, _ in rows if line.startswith(str(p))), ""))
        assert text in together


def test_a_price_of_eight_columns_is_whole_at_80() -> None:
    """The row that showed `10838.59…` at 80 columns has its digits, and at 60 there are records."""
    columns = ("id", "symbol", "action", "price", "quantity", "fee", "status", "realized_pnl")
    row: Row = (
        "3f8a0c1e-9d1b-4a52",
        "BTCUSDT",
        "CLOSE_LONG",
        92158.5,
        0.117,
        5.4192996,
        "EXECUTED",
        10838.590312,
    )
    for room in (40, 60, 80, 200):
        shown = on_screen(columns, [row], room)
        assert {"92158.5", "0.117", "5.4192996", "10838.590312"} <= set(shown.split())
        assert shown.startswith("-- row 1") == (room < 80)


def test_texts_are_cut_before_anything_else() -> None:
    """A long answer gives way to the numbers beside it, and what was cut is known."""
    layout = Layout()
    shown = on_screen(("raw_response", "price"), [("x" * 500, 98779.4175257732)], 60, layout)
    assert shown.splitlines()[2] == "x" * 41 + "…  98779.4175257732"
    assert layout.cut


def test_a_number_that_has_no_room_beside_its_title_stands_below() -> None:
    """It is whole, on a line of its own."""
    title = "a_very_long_name_of_a_column_indeed"
    shown = on_screen((title, "x" * 20), [(-9223372036854775808, 1)], 40).splitlines()
    assert shown[1:3] == [f"{title[:19]}…", "-9223372036854775808".rjust(40)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (SECONDS, "2026-01-30 23:58:16"),
        (float(SECONDS), "2026-01-30 23:58:16"),
        (SECONDS + 0.25, "2026-01-30 23:58:16.250"),
        (MILLISECONDS, "2026-05-20 07:10:50"),
        (MILLISECONDS + 7, "2026-05-20 07:10:50.007"),
        (0, ""),
        (12, ""),
        (-SECONDS, ""),
        (2**62, ""),
        (SECONDS + 0.12345, ""),
        ("2026-01-30", ""),
        (None, ""),
    ],
)
def test_a_time_is_written_in_utc(value: Value, shown: str) -> None:
    """Seconds, or milliseconds where it is clearly those; what is no time stays the number that it is."""
    assert read_time(value) == shown


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_columns_of_times_are_shown_as_times(format: str) -> None:
    """By their name, also within min and max; a number of another column is a number."""
    columns = ("created_at", "max(t.timestamp)", "MIN(created_at)", "count(*)", "id")
    shown = in_a_pipe(columns, [(SECONDS, SECONDS, SECONDS, SECONDS, 5)], format, Layout(times=lambda: TIMES))
    assert shown.count("2026-01-30 23:58:16") == 3
    assert shown.count(str(SECONDS)) == 1


@pytest.mark.parametrize("format", ["csv", "tsv", "json", "ndjson"])
def test_what_programs_read_is_what_is_stored(format: str) -> None:
    """No format for programs turns a time into something else."""
    shown = in_a_pipe(("created_at",), [(SECONDS,)], format, Layout(times=lambda: TIMES))
    assert str(SECONDS) in shown
    assert "2026" not in shown


def test_the_dictionary_is_only_asked_where_a_number_may_be_a_time() -> None:
    """A result without such a number costs no look at it."""

    def asked() -> frozenset[str]:
        raise AssertionError

    assert "5.5" in in_a_pipe(("created_at", "b"), [(5.5, "text")], "table", Layout(times=asked))


def test_our_own_tables_have_separators_and_data_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts are easier to read with them; a number of the ledger can be copied as it is."""
    print_table(("table", "rows"), [("trades", 14782)])
    assert "14,782" in capsys.readouterr().out
    assert "14782" in in_a_pipe(("rows",), [(14782,)], "table")


COLUMNS = {"trades": frozenset({"created_at", "timestamp"})}


@pytest.mark.parametrize(
    ("statement", "params", "column"),
    [
        ("SELECT * FROM trades WHERE created_at > '2026-01-30'", [], "created_at"),
        ("SELECT * FROM trades t WHERE t.created_at<='2026-01-30 10:00'", [], "created_at"),
        ("SELECT * FROM trades WHERE '2026-01-30' < \"created_at\"", [], "created_at"),
        ("SELECT * FROM trades WHERE timestamp BETWEEN '2026-01' AND '2026-02'", [], "timestamp"),
        ("SELECT * FROM trades WHERE timestamp NOT BETWEEN 5 AND '2026-02-01'", [], "timestamp"),
        ("SELECT * FROM trades WHERE timestamp IN ('2026-01-30')", [], "timestamp"),
        ("SELECT * FROM trades WHERE created_at LIKE '2026-01%'", [], "created_at"),
        ("SELECT * FROM trades WHERE symbol = ? AND created_at > ?", ["BTC", "2026-01-30"], "created_at"),
        ("SELECT * FROM trades WHERE ?2 <> created_at AND ?1", [1, "2026-01-30"], "created_at"),
        ("DELETE FROM trades WHERE trades.created_at < '2020-01-01'", [], "created_at"),
        ("SELECT * FROM trades WHERE date(created_at, 'unixepoch') > '2026-01-30'", [], None),
        ("SELECT * FROM trades WHERE created_at > unixepoch('2026-01-30')", [], None),
        ("SELECT * FROM trades WHERE created_at > ? AND symbol <> '2026-01-30'", [5], None),
        ("SELECT * FROM trades WHERE created_at > '1769817496'", [], None),
        ("SELECT * FROM orders WHERE created_at > '2026-01-30'", [], None),
    ],
)
def test_a_time_that_is_compared_with_a_date_is_noticed(
    statement: str, params: list[Value], column: str | None
) -> None:
    """Whichever way round, written out or bound; with functions of time, and in other tables, it is meant so."""
    found = dates_compared(statement, params, COLUMNS)
    assert [name for _, name, _ in found] == ([column] if column else [])


def test_a_comparison_names_the_date() -> None:
    """So that it can be told what to write instead."""
    statement = "SELECT * FROM trades WHERE created_at > '2026-01-30'"
    assert dates_compared(statement, (), COLUMNS) == [Comparison("trades", "created_at", "2026-01-30")]


def test_records_go_on_once_they_have_begun() -> None:
    """A long result does not turn from records into a table in its middle."""
    wide: Row = (-(2**63), 1.2345678901234567e-300, 2)
    shown = on_screen(("a", "b", "c"), [wide] * 1000 + [(1, 2, 3)] * 10, 40)
    assert len(re.findall(r"^-- row", shown, re.M)) == 1010
