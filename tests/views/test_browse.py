"""The ledger in Datasette: the running process asked over HTTP, and looked at in a real browser."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from hoox_tasks.config.dictionary import read_dictionary
from hoox_tasks.database import dump
from hoox_tasks.errors import HooxError
from hoox_tasks.server import create_app
from hoox_tasks.views import browse
from hoox_tasks.views.report import read_figures, write_page
from tests.support import SCREENSHOTS
from tests.support.d1_api import ACCOUNT, DATABASE, listening
from tests.support.ledgers import make_ledger
from tests.support.npm import quiet_environment
from tests.support.statements import doubling

HOOX = [str(Path(sys.executable).with_name("hoox"))]


@contextmanager
def browsing(folder: Path, *arguments: str, **env: str) -> Iterator[httpx.Client]:
    """Run `hoox db browse` on a free port until the block ends; gives a client of its address."""
    process = subprocess.Popen(
        [*HOOX, "db", "browse", "--port", "0", *arguments],
        cwd=folder,
        env=quiet_environment({"TMPDIR": str(folder), **env}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        address = None
        while address is None and (line := process.stdout.readline()):
            address = re.search(r"(http://127\.0\.0\.1:\d+)/ledger", line)
        if address is None:
            pytest.fail(f"it did not begin: {process.communicate(timeout=20)[1]}")
        with httpx.Client(base_url=address.group(1), timeout=30) as client:
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        try:
            output = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()
    assert (process.returncode, output[1].replace("On D1", "")) == (0, output[1].replace("On D1", ""))
    assert "Traceback" not in output[1]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browse") / "trades.sqlite"
    make_ledger(path, "demo").close()
    return path


@pytest.fixture(scope="module")
def local(path: Path) -> Iterator[httpx.Client]:
    with browsing(path.parent, "--path", str(path)) as client:
        yield client


def rows(client: httpx.Client, query: str) -> list[dict[str, object]]:
    answer = client.get(f"/ledger/{query}.json", params={"_shape": "array"})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()
    return found


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_queries_without_an_end_keep_nobody_waiting(path: Path) -> None:
    """While three queries hear nothing, another page comes; and the server ends, with 0, when it is told to."""
    with browsing(path.parent, "--path", str(path)) as client:
        for _ in range(3):
            with suppress(httpx.TimeoutException):
                client.get("/ledger.json", params={"sql": doubling(27)}, timeout=0.5)
        assert rows(client, "win_rate")


def test_saved_queries_answer(local: httpx.Client, path: Path) -> None:
    """Each saved query answers with what plain SQL gives."""
    by_day = rows(local, "equity_by_day")
    assert [(row["exchange"], row["equity"]) for row in by_day[:2]] == ask(
        path,
        "SELECT exchange, equity FROM balances WHERE timestamp = (SELECT max(timestamp) FROM balances)"
        " ORDER BY exchange",
    )
    fills = ask(
        path, "SELECT symbol, count(*), sum(fee) FROM trades WHERE status = 'EXECUTED' GROUP BY symbol"
    )
    assert sorted((str(row["symbol"]), row["fills"]) for row in rows(local, "fills_by_symbol")) == sorted(
        (str(symbol), count) for symbol, count, _ in fills
    )
    won = {row["symbol"]: (row["won"], row["lost"]) for row in rows(local, "win_rate")}
    assert won == {
        symbol: (wins, losses)
        for symbol, wins, losses in ask(
            path,
            "SELECT symbol, sum(realized_pnl > 0), sum(realized_pnl < 0) FROM trades"
            " WHERE realized_pnl IS NOT NULL AND status = 'EXECUTED' GROUP BY symbol",
        )
    }
    fees = {row["exchange"]: row["fees"] for row in rows(local, "fees_by_exchange")}
    expected = ask(path, "SELECT exchange, sum(fee) FROM trades WHERE status = 'EXECUTED' GROUP BY exchange")
    assert fees == pytest.approx(dict(expected))
    ((latest,),) = ask(
        path, "SELECT datetime(max(timestamp), 'unixepoch') FROM system_logs WHERE level = 'ERROR'"
    )
    assert rows(local, "error_logs")[0]["time"] == latest
    ((last,),) = ask(path, "SELECT datetime(max(timestamp), 'unixepoch') FROM balances")
    assert f"<small>{last}</small>" in local.get("/ledger/equity_by_day").text


def test_every_saved_query_is_shown(local: httpx.Client) -> None:
    """The ledger's page names every saved query and table, and none that only serves the tools."""
    page = local.get("/ledger").text
    assert all(query["title"] in page for query in browse.QUERIES.values())
    listed = {table["name"]: table["hidden"] for table in local.get("/ledger.json").json()["tables"]}
    assert {name for name, hidden in listed.items() if not hidden} == set(read_dictionary())
    assert listed["d1_migrations"] is True


def test_columns_are_described(local: httpx.Client) -> None:
    """Every column's sentence and unit stand in its table's page, and a time beside its number."""
    for name, table in read_dictionary().items():
        page = local.get(f"/ledger/{name}").text
        for column in table.columns.values():
            assert column.description.replace("'", "&#39;") in page
            assert not column.unit or f"Unit: {column.unit}." in page
    assert re.search(r"17\d{8} <small>2026-01-\d\d \d\d:\d\d:\d\d</small>", local.get("/ledger/trades").text)


def test_nothing_can_be_changed(local: httpx.Client, path: Path) -> None:
    """SQL that would change the ledger is refused, and so is whoever calls it by another name."""
    answer = local.get("/ledger.json", params={"sql": "DELETE FROM trades"})
    assert answer.status_code == 400
    answer = local.get("/ledger.json", params={"sql": "WITH x AS (SELECT 1) DELETE FROM trades"})
    assert answer.status_code == 400
    assert ask(path, "SELECT count(*) > 0 FROM trades") == [(1,)]
    assert local.get("/ledger", headers={"Host": "elsewhere.example:80"}).status_code == 421


def test_a_local_ledger_is_live(tmp_path: Path) -> None:
    """What is written meanwhile, and still lies in the write-ahead log, is shown."""
    path = tmp_path / "l.sqlite"
    with (
        closing(make_ledger(path, "quiet")) as database,
        browsing(tmp_path, "--path", str(path)) as client,
    ):
        with database.transaction() as connection:
            connection.execute("INSERT INTO system_logs VALUES ('x', 2000000000, 'ERROR', 's', 'news', NULL)")
        assert rows(client, "error_logs")[0]["message"] == "news"


def test_a_remote_ledger_is_copied(tmp_path: Path) -> None:
    """With --remote a whole copy is browsed, and gone when it ends."""
    path = tmp_path / "l.sqlite"
    make_ledger(path, "edge").close()
    with closing(create_app(path, name="ledger", database_id=DATABASE, token="right")) as app:
        with (
            listening(app) as url,
            browsing(
                tmp_path,
                "--remote",
                CLOUDFLARE_API_BASE_URL=url,
                CLOUDFLARE_ACCOUNT_ID=ACCOUNT,
                CLOUDFLARE_API_TOKEN="right",
                INVOKE_HOOX_DATABASE_ID=DATABASE,
            ) as client,
        ):
            tables = {table["name"]: table["count"] for table in client.get("/ledger.json").json()["tables"]}
            assert list(tmp_path.glob(".hoox-scratch-*"))
        for name in read_dictionary():
            assert [(tables[name],)] == ask(path, f"SELECT count(*) FROM {name}")
    assert list(tmp_path.glob(".hoox-scratch-*")) == []


def test_a_copy_is_the_ledger(tmp_path: Path) -> None:
    """A copy has every cell of the ledger, with its type, and the schema; how many rows is told."""
    with closing(make_ledger(tmp_path / "l.sqlite", "edge")) as database:
        copied = browse.copy(database, tmp_path / "copy.sqlite")
    total = 0
    for table in [*read_dictionary(), "d1_migrations"]:
        before = ask(tmp_path / "l.sqlite", f"SELECT * FROM {table} ORDER BY 1")
        assert before == ask(tmp_path / "copy.sqlite", f"SELECT * FROM {table} ORDER BY 1")
        total += len(before)
    assert copied >= total
    schema = "SELECT name FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    assert ask(tmp_path / "l.sqlite", schema) == ask(tmp_path / "copy.sqlite", schema)


def test_a_copy_that_lacks_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy with fewer rows than were read is not shown."""
    real = dump.dump

    def more(*arguments: Any, **options: Any) -> dict[str, int]:
        return {name: rows + 1 for name, rows in real(*arguments, **options).items()}

    monkeypatch.setattr(dump, "dump", more)
    with (
        closing(make_ledger(tmp_path / "l.sqlite", "quiet")) as database,
        pytest.raises(HooxError, match="not complete"),
    ):
        browse.copy(database, tmp_path / "copy.sqlite")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
    ],
)
def test_pages_of_other_sites_are_not_answered(local: httpx.Client, headers: dict[str, str]) -> None:
    """A page elsewhere learns nothing, not even by the time that its SQL takes."""
    page = "/ledger.json?sql=select+1"
    assert local.get(page, headers=headers).status_code == 403
    for own in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert local.get(page, headers=own).status_code == 200


def test_a_taken_port_is_told(local: httpx.Client, path: Path) -> None:
    """Where the port is taken, a sentence says so and names the flag."""
    result = subprocess.run(
        [*HOOX, "db", "browse", "--path", str(path), "--port", str(local.base_url.port)],
        capture_output=True,
        text=True,
        env=quiet_environment(),
        timeout=60,
    )
    assert result.returncode == 1
    assert re.fullmatch(r"Port \d+ cannot be used: .*\. Choose another with --port\.\n?", result.stderr)


@pytest.fixture
def chromium() -> str:
    """A headless Chromium; skips where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    return found


def look(chromium: str, address: str, name: str, tmp_path: Path, *, dark: bool = False) -> str:
    """Open a page in the browser, keep a picture of it, and give the document as the browser has it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    picture = SCREENSHOTS / f"{name}.png"
    picture.unlink(missing_ok=True)
    flags = [
        "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--window-size=1200,3400",
        f"--user-data-dir={tmp_path / 'chromium'}",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox does not work for root.
    if dark:
        flags.append("--blink-settings=preferredColorScheme=0")
    command = [chromium, *flags, f"--screenshot={picture}", "--dump-dom", address]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    return dom


def test_datasette_in_a_browser(chromium: str, local: httpx.Client, tmp_path: Path) -> None:
    """A real browser shows the trades with their descriptions, and the saved queries."""
    dom = look(chromium, f"{local.base_url.copy_with(path='/ledger/trades')}", "browse-trades", tmp_path)
    assert "What the exchange took for the fill" in dom
    # What stands above the rows is folded, so that the first of them is in sight.
    assert re.search(r'<details><summary>What the columns mean</summary><dl class="column-descriptions"', dom)
    assert '<details><summary>Filters</summary><form class="filters"' in dom
    assert "bybit" in dom
    dom = look(
        chromium, f"{local.base_url.copy_with(path='/ledger/fees_by_exchange')}", "browse-fees", tmp_path
    )
    assert "fees_bp" in dom


@pytest.mark.parametrize("dark", [False, True])
def test_a_report_in_a_browser(chromium: str, path: Path, tmp_path: Path, dark: bool) -> None:
    """A real browser draws the report, light and dark, wide, and with no text cut off or over another."""
    from hoox_tasks.database.local.database import LocalDatabase

    with closing(LocalDatabase(path)) as database:
        html = write_page(read_figures(database))
    # The browser itself says which texts of a picture overlap, or leave it.
    probe = """<script>
      const found = [];
      for (const svg of document.querySelectorAll("svg")) {
        const frame = svg.getBoundingClientRect();
        const boxes = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
        for (const [text, box] of boxes) {
          if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push("cut: " + text);
          for (const [other, its] of boxes)
            if (box !== its && box.left < its.right - 1 && its.left < box.right - 1
                && box.top < its.bottom - 1 && its.top < box.bottom - 1) found.push(text + " over " + other);
        }
      }
      document.body.dataset.found = JSON.stringify(found);
      document.body.dataset.width = document.querySelector("svg").getBoundingClientRect().width;
      document.body.dataset.ink = getComputedStyle(document.querySelector("svg text")).fill;
    </script>"""
    page = tmp_path / "report.html"
    page.write_text(html.replace("</body>", f"{probe}</body>"), "utf-8")
    dom = look(chromium, page.as_uri(), f"report-{'dark' if dark else 'light'}", tmp_path, dark=dark)
    assert re.search(r'data-found="\[\]"', dom), re.findall(r'data-found="[^"]*"', dom)
    width = re.search(r'data-width="([\d.]+)"', dom)
    assert width
    assert float(width.group(1)) > 800
    ink = re.search(r'data-ink="rgb\((\d+)', dom)
    assert ink
    assert (int(ink.group(1)) > 128) == dark


def test_a_report_on_a_phone(chromium: str, path: Path, tmp_path: Path) -> None:
    """At 390 pixels the page is no wider than the screen, and no text of a picture is too small to read."""
    from hoox_tasks.database.local.database import LocalDatabase

    with closing(LocalDatabase(path)) as database:
        page = write_page(read_figures(database))
    # Chromium's own window cannot be as narrow as a phone; a frame in it can.
    outer = tmp_path / "phone.html"
    outer.write_text(
        f"""<iframe style="width: 390px; height: 3000px; border: 0" srcdoc="{html.escape(page)}"></iframe>
        <script>onload = () => {{
          const page = document.querySelector("iframe").contentDocument;
          const heights = [...page.querySelectorAll("svg text")].map(t => t.getBoundingClientRect().height);
          document.body.dataset.width = page.documentElement.scrollWidth;
          document.body.dataset.smallest = Math.min(...heights);
        }}</script>""",
        "utf-8",
    )
    dom = look(chromium, outer.as_uri(), "report-phone", tmp_path)
    found = re.search(r'data-width="([\d.]+)" data-smallest="([\d.]+)"', dom)
    assert found
    assert float(found[1]) == 390
    assert float(found[2]) >= 9
