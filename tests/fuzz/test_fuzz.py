"""Anything at all, given to whatever reads text from outside: it answers or refuses, and never crashes.

`inv fuzz --minutes 30` gives it that long. What it finds is kept beside the sources, in `.hypothesis`, and is
tried first the next time; what was found once stands in `CORPUS`, as a test for ever.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoox_tasks import sql
from hoox_tasks.config.wrangler import read_config
from hoox_tasks.console.formats import FORMATS, render
from hoox_tasks.database.interface import Rows
from hoox_tasks.database.load import load
from hoox_tasks.database.remote.statements import unmistakable
from hoox_tasks.errors import HooxError
from hoox_tasks.server import create_app
from hoox_tasks.values import Value

SECONDS = 2.0
"""CPU time that one input may take."""
EXAMPLES = int(os.environ.get("HOOX_FUZZ_EXAMPLES", "25"))

CORPUS = [
    "SELECT 1 AS ['] /* ' ; DELETE FROM trades ; -- */ , 2",
    "SELECT " + "1," * 20_000 + ",1",
    "\n" * 80_000,
    "INSERT OR REPLACE INTO t VALUES('" + "a;\n" * 60_000 + "');",
    "CREATE TABLE t (a);\nINSERT INTO t VALUES(1); -- closed (ticket 12);\n" * 3,
    "CREATE TABLE t (a);\nINSERT INTO t VALUES(zeroblob(500000000));\n",
    "PRAGMA encoding='nope';\n",
    "PRAGMA writable_schema = ON; ATTACH 'x' AS y;\n",
    "\0",
    "{" * 100_000,
    "[" * 100_000,
    "\x1b]52;c;QUJD\x07",
]
_pieces = st.sampled_from(
    [
        "SELECT",
        "INSERT INTO t VALUES(",
        "CREATE TABLE t (a)",
        "CREATE TRIGGER r BEGIN",
        "END",
        "PRAGMA x=1",
        ";",
        "\n",
        "\r\n",
        "'",
        '"',
        "[",
        "]",
        "`",
        "--",
        "/*",
        "*/",
        "(",
        ")",
        ",",
        "1",
        "x'00'",
        "\x00",
        "\ufeff",
        "{",
        "}",
        ":",
        "= ",
        '"a"',
        "true",
        "1e999",
        "\\u0000",
        "é",
        "😀",
        "\x1b[2J",
        "::add-mask::x\n",
    ]
)
texts = st.one_of(st.text(max_size=200), st.lists(_pieces, max_size=40).map("".join))


def split(text: str) -> None:
    """The splitter, and what stands on it."""
    for piece in sql.split(text):
        assert sql.split(sql.join([piece.sql])) or not piece.sql.strip()
        sql.format_ddl(piece.sql)
        unmistakable(piece.sql)


def load_dump(text: str) -> None:
    """The loader of dumps."""
    with TemporaryDirectory() as folder:
        source = Path(folder, "dump.sql")
        source.write_bytes(text.encode("utf-8", "surrogatepass"))
        load(source, Path(folder, "scratch.sqlite"))


def read_settings(text: str) -> None:
    """The reader of wrangler's configuration."""
    with TemporaryDirectory() as folder:
        for name in ("wrangler.toml", "wrangler.jsonc"):
            path = Path(folder, name)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            with suppress(HooxError):
                read_config(path)


def serve(text: str) -> None:
    """The local D1 API: an answer in Cloudflare's envelope, below 500."""
    database = "a682f084-594e-4bd8-be2d-40ea5f8cf42e"
    place = f"http://127.0.0.1/client/v4/accounts/a/d1/database/{database}/raw"
    with (
        TemporaryDirectory() as folder,
        closing(create_app(Path(folder, "l.sqlite"), database_id=database)) as app,
        httpx.Client(transport=httpx.WSGITransport(app)) as client,
    ):
        for content in (text.encode("utf-8", "surrogatepass"), json.dumps({"sql": text}).encode()):
            headers = {"Content-Type": "application/json", "Authorization": "Bearer any"}
            answer = client.post(place, content=content, headers=headers)
            assert answer.status_code < 500
            assert "success" in answer.json()


def show(text: str) -> None:
    """The console: rows in every format, and nothing in a table that a terminal would obey."""
    rows: list[tuple[Value, ...]] = [(text, 1), (text.encode("utf-8", "surrogatepass"), None)]
    for name in FORMATS:
        shown = StringIO()
        render([Rows(("a", text or "b"), rows)], name, shown)
        if name in {"table", "markdown"}:
            assert "\x1b" not in shown.getvalue()


READERS: dict[str, Callable[[str], None]] = {
    "splitter": split,
    "dump loader": load_dump,
    "config": read_settings,
    "server": serve,
    "console": show,
}


def within_bounds(reader: str, text: str) -> None:
    """Let one read a text: a `HooxError` is an answer; anything else, or too long, is a defect."""
    started = time.process_time()
    with suppress(HooxError):
        READERS[reader](text)
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("text", CORPUS, ids=lambda text: repr(text)[:30])
@pytest.mark.parametrize("reader", READERS)
def test_what_was_found_once_is_read_within_bounds(reader: str, text: str) -> None:
    """An input that once crashed a reader, held it up or came past it gets a sentence, soon."""
    within_bounds(reader, text)


@pytest.mark.parametrize("reader", READERS)
@given(text=texts)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_anything_is_read_within_bounds(reader: str, text: str) -> None:
    """Whatever text a reader gets, it answers or refuses."""
    within_bounds(reader, text)
