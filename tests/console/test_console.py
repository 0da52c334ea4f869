"""Results in every format, for any value."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from hoox_tasks.console import gate, pulse, terminal
from hoox_tasks.console.documents import _json_value, unique
from hoox_tasks.console.formats import FORMATS, render
from hoox_tasks.database.interface import Rows
from hoox_tasks.errors import Refused
from hoox_tasks.values import Row

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
    st.binary(max_size=20),
)
COLUMNS = ("a", "b", "c")
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=5)


class Screen(io.StringIO):
    """Output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def rendered(rows: list[Row], format: str, columns: tuple[str, ...] = COLUMNS) -> str:
    output = io.StringIO(newline="")
    assert render([Rows(columns, rows)], format, output) == len(rows)
    return output.getvalue()


@given(ROWS)
def test_json_and_ndjson_hold_every_value(rows: list[Row]) -> None:
    """Reading them gives the values again, infinities and blobs included."""

    def expected(row: Row) -> dict[str, object]:
        return dict(zip(COLUMNS, map(_json_value, row), strict=True))

    assert json.loads(rendered(rows, "json")) == [expected(row) for row in rows]
    assert [json.loads(line) for line in rendered(rows, "ndjson").split("\n") if line] == [
        expected(row) for row in rows
    ]


@given(ROWS, st.sampled_from([("csv", ","), ("tsv", "\t")]))
def test_csv_is_read_back(rows: list[Row], kind: tuple[str, str]) -> None:
    """Texts and numbers come back from the standard reader, whatever is in them."""
    format, delimiter = kind
    found = list(csv.reader(io.StringIO(rendered(rows, format), newline=""), delimiter=delimiter))
    assert found[0] == list(COLUMNS)
    for row, cells in zip(rows, found[1:], strict=True):
        for value, cell in zip(row, cells, strict=True):
            if value is None:
                assert cell == ""
            elif isinstance(value, bytes):
                assert cell == f"X'{value.hex().upper()}'"
            elif isinstance(value, float):
                assert float(cell) == value
                assert math.isfinite(value) == ("9e999" not in cell)
            else:
                assert cell == str(value)


@given(ROWS, st.sampled_from(FORMATS), st.integers(20, 120))
def test_nothing_reaches_a_terminal_that_would_steer_it(rows: list[Row], format: str, room: int) -> None:
    """Every format shows only printable characters there, and a table no line too long."""
    output = Screen(newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(room))
        render([Rows(("a", "b\x1b[2J", "c"), rows)], format, output)
    text = output.getvalue()
    assert all(char.isprintable() or char in "\n\t\u3000" for char in text), text
    if format == "table":
        assert max(map(wcswidth, text.split("\n"))) <= room


@given(ROWS)
def test_a_tables_columns_are_straight(rows: list[Row]) -> None:
    """Every line is as wide as the dashes below the titles, but for space at its end."""
    lines = rendered(rows, "table").split("\n")[:-1]
    assert len(lines) == len(rows) + 2
    assert all(wcswidth(line) <= len(lines[1]) for line in lines)


@given(ROWS)
def test_markdown_has_one_line_for_each_row(rows: list[Row]) -> None:
    """Neither a pipe nor a line end in a cell makes another column or row."""
    lines = rendered(rows, "markdown").split("\n")[:-1]
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert line.replace("\\|", "").count("|") == len(COLUMNS) + 1


def test_long_results_repeat_the_titles_and_lose_no_row() -> None:
    """A table is laid out in blocks; every row is in one of them."""
    rows: list[Row] = [(number,) for number in range(2500)]
    lines = rendered(rows, "table", ("n",)).split()
    assert [line for line in lines if line.isdigit()] == [str(number) for number in range(2500)]
    assert lines.count("n") == 3


def test_results_are_read_one_after_the_other() -> None:
    """The second statement is not run before the first one's rows are written."""
    output = io.StringIO()
    seen: list[str] = []

    def watched() -> Iterator[Rows]:
        for result in [Rows(("a",), [(1,)]), Rows((), []), Rows(("b",), [])]:
            seen.append(output.getvalue())
            yield result

    render(watched(), "csv", output)
    assert seen == ["", "a\n1\n", "a\n1\n"]
    assert output.getvalue() == "a\n1\n\nb\n"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["id", "id", "id"], ["id", "id_2", "id_3"]),
        (["id", "id", "id_2"], ["id", "id_3", "id_2"]),
        (["a_2", "a", "a"], ["a_2", "a", "a_3"]),
    ],
)
def test_equal_names_are_told_apart(names: list[str], expected: list[str]) -> None:
    """No name is given twice, and none that was there is changed."""
    assert unique(names) == expected


def test_unknown_formats_are_refused() -> None:
    """With the known ones."""
    with pytest.raises(Refused, match=r"no format xml\. Choose one of: table, json, csv"):
        render([], "xml", io.StringIO())


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0004, "0 ms"), (0.25, "250 ms"), (1.04, "1.0 s"), (75, "75.0 s")]
)
def test_durations_are_said_in_the_unit_that_suits(seconds: float, said: str) -> None:
    """Milliseconds below a second."""
    assert terminal.duration(seconds) == said


def test_counts_agree_with_their_number() -> None:
    """One row, two rows, and thousands set apart."""
    assert [terminal.count(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert terminal.count(2, "entry", "entries") == "2 entries"


def test_confirming_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, or in CI, only --confirm will do."""
    monkeypatch.setattr("sys.stdin", io.StringIO("ledger\n"))
    with pytest.raises(Refused, match="Give --confirm"):
        terminal.confirm("ledger", "This wipes it.", confirmed=False)
    monkeypatch.setattr("sys.stdin", Screen("ledger\n"))
    monkeypatch.setenv("CI", "1")
    with pytest.raises(Refused, match="Give --confirm"):
        terminal.confirm("ledger", "This wipes it.", confirmed=False)
    monkeypatch.delenv("CI")
    terminal.confirm("ledger", "This wipes it.", confirmed=False)
    terminal.confirm("ledger", "This wipes it.", confirmed=True)


class Lively(Screen):
    """A terminal that tells when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        """Write text."""
        count = super().write(text)
        if "..." in text:
            self.written.set()
        return count


def test_what_takes_long_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some silence seconds are shown on a terminal; before anything else is written they are taken away."""
    error, out = Lively(), Screen()
    monkeypatch.setattr("sys.stderr", error)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr(pulse, "_SILENCE", 0.01)
    monkeypatch.setattr(pulse, "_INTERVAL", 0.005)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    with pulse.beating():
        assert error.written.wait(5)
        with pulse.waiting():
            shown = error.getvalue()
            assert shown.startswith("\r... 0 s\x1b[K")
            assert shown.endswith("\r\x1b[K")
            error.written.clear()
            assert not error.written.wait(0.05)
        print("result")
        assert error.written.wait(5)
    assert out.getvalue() == "result\n"
    assert error.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("TQDM_DISABLE", "1")])
def test_no_sign_of_life_where_nobody_wants_it(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a dumb terminal, and where bars are switched off, the streams are left as they are."""
    error = Screen()
    monkeypatch.setattr("sys.stderr", error)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    with pulse.beating():
        assert sys.stderr is error


@given(st.text(st.sampled_from(":#[ \n\ra\t"), max_size=12))
def test_no_text_is_a_command_to_githubs_runner(text: str) -> None:
    """In a job no line begins with `::`, and `##[` is nowhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_ACTIONS", "true")
        logged = gate.shown(text)
    assert "##[" not in logged
    assert not [line for line in re.split("[\r\n]", logged) if line.lstrip().startswith("::")]
