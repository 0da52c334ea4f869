"""Reports: their numbers against plain SQL, and the page itself."""

from __future__ import annotations

import re
import sqlite3
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.server import create_app
from hoox_tasks.views import extras
from hoox_tasks.views.report import Figures, read_figures, write_page
from hoox_tasks.views.report.page import money, price
from tests.support.d1_api import DATABASE, client_of
from tests.support.ledgers import make_ledger

DAY = 86_400
SCENARIOS = ("demo", "quiet", "edge", "liquidation", "empty")


@pytest.fixture(scope="module", params=SCENARIOS)
def seeded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "ledger.sqlite"
    make_ledger(path, request.param).close()
    return path


@pytest.fixture(scope="module")
def html(seeded: Path) -> str:
    """The page of a seeded ledger."""
    with closing(LocalDatabase(seeded)) as database:
        return write_page(read_figures(database))


@pytest.fixture
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture
def database(seeded: Path) -> Iterator[LocalDatabase]:
    with closing(LocalDatabase(seeded)) as database:
        yield database


class Page(HTMLParser):
    """A report as a program reads it: the values in each element with an id, and each table's rows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.values: dict[str, list[float]] = {}
        self.tables: dict[str, list[list[float | str]]] = {}
        self.shown: list[tuple[float, str]] = []
        self._id = self._table = ""
        self._value: float | None = None
        self._text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "table":
            self._table = found.get("id") or found.get("class") or ""
            self.tables.setdefault(self._table, [])
        elif tag == "tr" and self._table:
            self.tables[self._table].append([])
        elif tag == "time" and self._table:
            self.tables[self._table][-1].append(int(str(found["datetime"])))
        elif tag == "td":
            self._text = ""
        elif tag == "data":
            self._value = float(str(found["value"]))
            self._text = ""
            if self._table:
                self.tables[self._table][-1].append(self._value)
            else:
                self.values.setdefault(self._id, []).append(self._value)
        elif found.get("id"):
            self._id = str(found["id"])

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "data" and self._value is not None:
            self.shown.append((self._value, self._text))
            self._value, self._text = None, ""
        elif tag == "td" and self._table and self._text and not self._text[0].isspace():
            row = self.tables[self._table][-1]
            if not row or isinstance(row[-1], str):
                row.append(self._text)
        elif tag == "table":
            self._table = ""

    def rows(self, table: str) -> list[list[float | str]]:
        """The rows of a table's body."""
        return [row for row in self.tables.get(table, []) if row]


def page_of(database: LocalDatabase | RemoteDatabase, since: int | None = None) -> Page:
    return Page(write_page(read_figures(database, since=since)))


def ask(path: Path, sql: str) -> list[tuple[float, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_totals_agree_with_sql(page: Page, seeded: Path) -> None:
    """The page's totals are what plain SQL gives for the executed trades."""
    ((trades, realized, fees, volume),) = ask(
        seeded,
        "SELECT count(*), total(realized_pnl), total(fee), total(price * quantity) FROM trades"
        " WHERE status = 'EXECUTED'",
    )
    ((failed,),) = ask(seeded, "SELECT count(*) FROM trades WHERE status = 'FAILED'")
    ((errors, warnings),) = ask(
        seeded, "SELECT count(*) FILTER (WHERE level = 'ERROR'), count(*) FILTER (WHERE level = 'WARN')"
        " FROM system_logs"
    )  # fmt: skip
    assert page.values["trades"] == [trades]
    assert page.values["failed"] == [failed]
    assert page.values["realized"] == pytest.approx([realized, realized - fees])
    assert page.values["fees"][0] == pytest.approx(fees)
    assert page.values["volume"] == pytest.approx([volume])
    assert page.values["log-errors"] == [errors, warnings]


def test_buckets_agree_with_sql(html: str, page: Page, seeded: Path) -> None:
    """Each bar's profit and fees, each symbol's and each exchange's, are what plain SQL gives."""
    step = int("".join(re.findall(r'id="periods" data-step="(\d+)"', html)) or DAY)
    bars = ask(
        seeded,
        f"SELECT timestamp / {step} * {step} AS start, count(*), total(realized_pnl), total(fee)"
        " FROM trades WHERE status = 'EXECUTED' GROUP BY start ORDER BY start",
    )
    assert page.rows("periods") == [pytest.approx(bar) for bar in bars]
    symbols = ask(
        seeded,
        "SELECT symbol, count(*), total(realized_pnl) AS pnl, total(fee) FROM trades"
        " WHERE status = 'EXECUTED' GROUP BY symbol ORDER BY pnl DESC",
    )
    assert [(row[0], *map(pytest.approx, row[1:])) for row in page.rows("symbols")] == symbols
    exchanges = ask(
        seeded,
        "SELECT exchange, count(*) FILTER (WHERE status = 'EXECUTED'), sum(status = 'FAILED'),"
        " total(fee), total(realized_pnl) FROM trades GROUP BY exchange ORDER BY exchange",
    )
    found = [(row[0], row[1], row[2], row[4], row[6]) for row in page.rows("exchanges")]
    assert [(row[0], *map(pytest.approx, row[1:])) for row in found] == exchanges


def test_exposure_agrees_with_sql(page: Page, seeded: Path) -> None:
    """What is open by symbol and side, and all of it together, is what plain SQL gives."""
    query = (
        "SELECT count(*), total(size * mark_price) AS value, total(unrealized_pnl) FROM positions"
        " WHERE status = 'OPEN' AND size > 0"
    )
    rows = page.rows("exposures")
    by_symbol = ask(
        seeded, query.replace("SELECT", "SELECT symbol, side,") + " GROUP BY symbol, side ORDER BY value DESC"
    )
    assert [(*row[:2], *map(pytest.approx, row[2:])) for row in rows[:-1]] == by_symbol
    if rows:
        assert rows[-1][1:] == pytest.approx(ask(seeded, query)[0])


def test_the_curve_agrees_with_a_plain_loop(page: Page, database: LocalDatabase, seeded: Path) -> None:
    """Equity and drawdown are what one gets by going through the snapshots one after the other."""
    latest: dict[str, float] = {}
    worths: dict[int, float] = {}
    for exchange, timestamp, equity in ask(
        seeded, "SELECT exchange, timestamp, equity FROM balances ORDER BY timestamp, rowid"
    ):
        latest[str(exchange)] = equity
        worths[int(timestamp)] = sum(latest.values())
    if not worths:
        assert "equity-1" not in page.values
        return
    peak, deepest = 0.0, 0.0
    for worth in worths.values():
        peak = max(peak, worth)
        deepest = min(deepest, worth / peak - 1)
    last = worths[max(worths)]
    assert page.values["equity-1"][0] == pytest.approx(last)
    assert page.values["equity-1"][1] == pytest.approx(last - worths[min(worths)])
    assert page.values["drawdown-1"] == [pytest.approx(deepest)]
    (curve,) = read_figures(database).curves
    closes = {time // curve.step * curve.step: worth for time, worth in sorted(worths.items())}
    assert {point.start: pytest.approx(point.equity) for point in curve.points} == closes
    assert [row[:2] for row in page.rows("curve")] == [[at, pytest.approx(v)] for at, v in closes.items()]


def test_what_people_read_is_the_number(page: Page) -> None:
    """Every figure that is written out is its number, rounded, with a real minus sign."""
    for value, text in page.shown:
        plain = text.replace(",", "").replace("\N{MINUS SIGN}", "-").replace("+", "")
        shown = float(plain.rstrip("%")) / (100 if plain.endswith("%") else 1)
        assert shown == pytest.approx(value, rel=1e-7, abs=0.0051)
        assert "-" not in text
        assert "e" not in text


def test_since_leaves_out_what_came_before(tmp_path: Path) -> None:
    """With a moment to begin at, totals count from it, and the curve begins with all exchanges' worth."""
    path = tmp_path / "l.sqlite"
    with closing(make_ledger(path, "demo")) as database:
        since = int(datetime(2026, 1, 20, 12, tzinfo=UTC).timestamp())
        page = page_of(database, since)
        figures = read_figures(database, since=since)
    ((trades, fees),) = ask(
        path,
        f"SELECT count(*), total(fee) FROM trades WHERE status = 'EXECUTED' AND timestamp >= {since}",
    )
    assert page.values["trades"] == [trades]
    assert page.values["fees"][0] == pytest.approx(fees)
    ((first,),) = ask(path, f"SELECT sum(equity) FROM balances WHERE timestamp = {since}")
    assert figures.curves[0].first == pytest.approx(first)


INSERT = (
    "INSERT INTO trades (id, timestamp, exchange, symbol, action, status, price, quantity, fee, realized_pnl)"
    " VALUES (?, ?, 'x', ?, 'LONG', 'EXECUTED', ?, ?, ?, ?)"
)
NOON = 1767614400


def test_the_period_is_that_of_the_trading(tmp_path: Path) -> None:
    """Rows of the logs do not stretch it, and the bars are narrow enough for it."""
    path = tmp_path / "l.sqlite"
    with closing(make_ledger(path, "edge")) as database:
        with database.transaction() as connection:
            log = "INSERT INTO system_logs (id, timestamp, level, service, message) VALUES (?, ?, ?, ?, 'm')"
            connection.execute(log, ("now", 1795000000, "INFO", "hoox_tasks"))
        figures = read_figures(database)
        page = write_page(figures)
    ((first, last),) = ask(
        path,
        "SELECT min(at), max(at) FROM (SELECT timestamp AS at FROM trades UNION ALL SELECT timestamp FROM balances)"
        " WHERE at > 0",
    )
    assert (figures.first, figures.last) == (first, last)
    assert len(figures.periods) > 3
    ((start, end),) = ask(path, f"SELECT datetime({first}, 'unixepoch'), datetime({last}, 'unixepoch')")
    assert f"{start} to {end} UTC" in page


@pytest.mark.parametrize(
    ("seconds", "bars"), [(60, 1), (3_600, 12), (86_400, 24), (6 * 86_400, 36), (300 * 86_400, 300)]
)
def test_bars_fit_the_period(seconds: int, bars: int, tmp_path: Path) -> None:
    """From minutes to weeks wide: neither one bar for all, nor more than can be told apart."""
    with closing(make_ledger(tmp_path / "l.sqlite", "empty")) as database:
        with database.transaction() as connection:
            for at in range(1000):
                connection.execute(
                    INSERT, (str(at), NOON - NOON % 86_400 + at * seconds // 1000, "BTCUSDT", 1, 1, 1, 1)
                )
        figures = read_figures(database)
    assert len(figures.periods) == bars


def test_until_leaves_out_what_came_later(tmp_path: Path) -> None:
    """From --since up to --until, whose own moment is left out; two spans side by side are the whole."""
    with closing(make_ledger(tmp_path / "l.sqlite", "demo")) as database:
        bound = int(datetime(2026, 1, 20, tzinfo=UTC).timestamp())
        early, late, whole = (
            read_figures(database, since=since, until=until)
            for since, until in ((None, bound), (bound, None), (None, None))
        )
    assert early.last is not None
    assert late.first is not None
    assert early.last < bound <= late.first
    assert early.totals.trades > 0 < late.totals.trades
    assert early.totals.trades + late.totals.trades == whole.totals.trades
    assert early.totals.fees + late.totals.fees == pytest.approx(whole.totals.fees)
    assert early.curves[0].last == pytest.approx(late.curves[0].first, rel=0.01)
    assert "until 2026-01-20 00:00:00 UTC" in write_page(early)


def test_text_in_a_column_of_amounts_is_told_and_not_summed(tmp_path: Path) -> None:
    """'64,000.5' does not count as 64."""
    with closing(make_ledger(tmp_path / "l.sqlite", "empty")) as database:
        with database.transaction() as connection:
            connection.execute(INSERT, ("a", NOON, "BTCUSDT", "64,000.5", 1, 2, 3))
            connection.execute(INSERT, ("b", NOON, "BTCUSDT", 50, 2, "1 USDT", 5))
            connection.execute(
                "INSERT INTO positions (id, exchange, symbol, side, size, entry_price, status)"
                " VALUES ('d', 'x', 'Y', 'LONG', 'much', 5, 'OPEN')"
            )
        figures = read_figures(database)
    totals = figures.totals
    assert (totals.trades, totals.volume, totals.fees, totals.realized) == (2, 100, 2, 8)
    assert figures.exposures == ()
    assert figures.texts == {"trades.price": 1, "trades.fee": 1, "positions.size": 1}
    assert 'id="texts"' in write_page(figures)


def test_milliseconds_are_the_times_that_are_meant(tmp_path: Path) -> None:
    """A worker that writes milliseconds beside one that writes seconds trades on the same day."""
    with closing(make_ledger(tmp_path / "l.sqlite", "empty")) as database:
        with database.transaction() as connection:
            connection.execute(INSERT, ("a", NOON, "BTCUSDT", 1, 1, 1, 1))
            connection.execute(INSERT, ("b", (NOON + 60) * 1000 + 7, "BTCUSDT", 1, 1, 1, 1))
            connection.execute(INSERT, ("c", "2026-01-05", "BTCUSDT", 1, 1, 1, 1))
        figures = read_figures(database, since=NOON - 60)
    assert (figures.first, figures.last) == (NOON, NOON + 60)
    assert figures.totals.trades == 2
    assert figures.untimed == 1


@pytest.mark.parametrize(
    "symbol", [r"$\frac{$", "#010009", "a$b$c", "font: 10px x;", "<b>&amp;", "_hidden", "日本"]
)
def test_any_symbol_is_drawn(symbol: str, tmp_path: Path) -> None:
    """A symbol is text: neither mathematics, nor a colour, nor a tag."""
    with closing(make_ledger(tmp_path / "l.sqlite", "empty")) as database:
        with database.transaction() as connection:
            connection.execute(INSERT, ("a", NOON, symbol, 1, 1, 1, 1))
        html = write_page(read_figures(database))
    texts = [
        text.text
        for picture in re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
        for text in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert symbol in texts


def test_a_remote_ledger_gives_the_same_figures(tmp_path: Path) -> None:
    """On D1's API the figures are the same to the last bit, and no right to write is needed."""
    path = tmp_path / "l.sqlite"
    with closing(make_ledger(path, "edge")) as database:
        local = read_figures(database)
    with (
        closing(
            create_app(path, name="l", database_id=DATABASE, token="right", read_only_token="look")
        ) as app,
        closing(RemoteDatabase(client_of(app, token="look"), "l")) as remote,
    ):
        found = read_figures(remote)
    assert _without_label(found) == _without_label(local)


def _without_label(figures: Figures) -> list[object]:
    return [getattr(figures, name) for name in Figures.__slots__ if name != "label"]


def test_the_page_needs_no_network(html: str) -> None:
    """The page refers to nothing outside itself and runs no script, and its pictures are well-formed."""
    outside = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!#)([^"')\s>]+)""", html)
    assert outside == []
    assert "<script" not in html
    assert "@import" not in html
    pictures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    for picture in pictures:
        texts = [
            text.text for text in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
        ]
        assert "#0100" not in picture
        assert any("(UTC)" in str(text) or "USDT" in str(text) for text in texts)


def test_an_empty_ledger_says_so(tmp_path: Path) -> None:
    """A page without rows has a sentence where a picture would be."""
    with closing(make_ledger(tmp_path / "l.sqlite", "empty")) as database:
        html = write_page(read_figures(database))
    assert "<svg" not in html
    assert html.count('class="empty"') == 4


def test_odd_rows_do_not_break_the_page(tmp_path: Path) -> None:
    """Times that are none, infinite and missing amounts, several assets and names in HTML are all shown."""
    with closing(make_ledger(tmp_path / "l.sqlite", "quiet")) as database:
        with database.transaction() as connection:
            trade = "INSERT INTO trades (id, timestamp, exchange, symbol, action, status, fee, realized_pnl)"
            connection.execute(f"{trade} VALUES ('a', 1e18, '<b>', 'X', 'LONG', 'EXECUTED', 1, 1)")
            connection.execute(
                f"{trade} VALUES ('b', 1767600000, '<b>', '<i>', 'LONG', 'EXECUTED', 1, 9e999)"
            )
            connection.execute(
                "INSERT INTO balances (id, exchange, asset, total, timestamp)"
                " VALUES ('c', 'x', 'BTC', 2.5, 1767600000)"
            )
            connection.execute(
                "INSERT INTO positions (id, exchange, symbol, side, size, status)"
                " VALUES ('d', 'x', 'Y', 'LONG', 1, 'OPEN')"
            )
        figures = read_figures(database)
        html = write_page(figures)
    assert {curve.asset: curve.last for curve in figures.curves}["BTC"] == 2.5
    assert figures.unit == ""
    assert figures.untimed == 1
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "<i>" not in html
    assert "∞" in html


def test_many_symbols_are_added_up(tmp_path: Path) -> None:
    """A page names the symbols that matter most and adds up the others, so that nothing is lost."""
    with closing(make_ledger(tmp_path / "l.sqlite", "empty")) as database:
        with database.transaction() as connection:
            connection.executemany(
                "INSERT INTO trades (id, timestamp, exchange, symbol, action, status, fee, realized_pnl)"
                " VALUES (?, 1767600000, 'x', ?, 'LONG', 'EXECUTED', 1, ?)",
                [(str(n), f"S{n}", float(n)) for n in range(40)],
            )
        symbols = read_figures(database).symbols
    assert [symbol.name for symbol in symbols][-1] == ""
    assert len(symbols) == 13
    assert sum(symbol.realized for symbol in symbols) == sum(range(40))
    assert sum(symbol.trades for symbol in symbols) == 40


def test_a_ledger_of_the_first_schema_is_refused(tmp_path: Path) -> None:
    """A ledger that lacks fees is told which column and which command bring them."""
    with (
        closing(make_ledger(tmp_path / "l.sqlite", "empty", up_to=1)) as database,
        pytest.raises(Refused, match=r"no column trades\.fee.* `inv db\.migrate`"),
    ):
        read_figures(database)


def test_a_missing_extra_says_the_line() -> None:
    """What is not installed is named, with the line that installs it."""
    with pytest.raises(Refused, match=r"nowhere_to_be_found.*pip install 'hoox-tasks\[report\]'"):
        extras.require("db.report", "report", "json", "nowhere_to_be_found")


@given(st.floats(min_value=-1e15, max_value=1e15))
def test_amounts_and_prices_read_back(value: float) -> None:
    """An amount is shown to the cent, or to eight places below, a price to eight digits; no exponents."""

    def read(text: str) -> float:
        assert re.fullmatch(r"\N{MINUS SIGN}?[\d,]+(\.\d+)?", text)
        return float(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))

    assert read(price(value)) == pytest.approx(value, rel=6e-8, abs=1e-320)
    near = 0.5e-8 if abs(value) < 0.005 else 0.005
    assert abs(read(money(value)) - value) <= near * (1 + 1e-6) + abs(value) * 1e-15
