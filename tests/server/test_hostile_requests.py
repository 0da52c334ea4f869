"""The local D1 API under requests that mean harm: each gets an answer, and none takes it from others."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.server import Api, create_app
from tests.support.d1_api import ACCOUNT, DATABASE, listening
from tests.support.statements import doubling
from tests.support.strategies import examples

PATH = f"/client/v4/accounts/{ACCOUNT}/d1/database"
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
HEADERS = {"Authorization": "Bearer any"}
SOON = 5.0
"""Seconds; the requests that are in the way would take 30."""


class Begun:
    """Knows when the server has begun a statement with some words in it."""

    def __init__(self, words: str) -> None:
        self._words = words
        self.event = threading.Event()

    def __call__(self, statement: str) -> None:
        if self._words in statement:
            self.event.set()

    def wait(self) -> None:
        assert self.event.wait(10)


@pytest.fixture
def begun() -> Begun:
    return Begun("RECURSIVE")


@pytest.fixture
def app(tmp_path: Path, begun: Begun) -> Iterator[Api]:
    path = tmp_path / "l.sqlite"
    with closing(create_app(path, database_id=DATABASE, on_statement=begun)) as app:
        yield app


@pytest.fixture
def base(app: Api) -> Iterator[str]:
    with listening(app) as base:
        yield base


def ask(base: str, statement: str) -> httpx.Response:
    place = f"{base}/accounts/{ACCOUNT}/d1/database/{DATABASE}/raw"
    return httpx.post(place, json={"sql": statement}, headers=HEADERS, timeout=SOON, trust_env=False)


def send(base: str, statement: str) -> socket.socket:
    """Send a request and do not wait for its answer."""
    place = urlsplit(base)
    body = json.dumps({"sql": statement}).encode()
    connection = socket.create_connection((place.hostname, place.port))
    connection.sendall(
        f"POST {PATH}/{DATABASE}/raw HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer any\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


def test_a_slow_query_keeps_nobody_waiting(base: str, begun: Begun) -> None:
    """While a query runs without an end, others read, write and describe the database."""
    with send(base, f"{ENDLESS} SELECT max(x) FROM c"):
        begun.wait()
        assert ask(base, "CREATE TABLE t (a)").status_code == 200
        assert ask(base, "INSERT INTO t VALUES (1)").status_code == 200
        assert ask(base, "SELECT a FROM t").json()["result"][0]["results"]["rows"] == [[1]]
        place = f"{base}/accounts/{ACCOUNT}/d1/database/{DATABASE}"
        assert httpx.get(place, headers=HEADERS, timeout=SOON, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "change", [f"{ENDLESS} INSERT INTO t SELECT x FROM c", f"{ENDLESS} DELETE FROM t WHERE a IN c"]
)
def test_work_for_a_client_that_has_left_is_ended(base: str, begun: Begun, change: str) -> None:
    """Once its client is gone a change is undone, and the next one is made."""
    assert ask(base, "CREATE TABLE t (a)").status_code == 200
    assert ask(base, "INSERT INTO t VALUES (1)").status_code == 200
    with send(base, change):
        begun.wait()
    assert ask(base, "INSERT INTO t VALUES (2)").status_code == 200
    assert ask(base, "SELECT a FROM t").json()["result"][0]["results"]["rows"] == [[1], [2]]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"\0\1\2\r\n\r\n", 400),
        (b"<b> <i> HTTP/x\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_as_any_other(base: str, request_: bytes, status: int) -> None:
    """A line or a header that cannot be read gets Cloudflare's envelope, and no page of HTML."""
    place = urlsplit(base)
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(request_)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        document = json.loads(answer.read())
    assert (answer.status, answer.getheader("Content-Type")) == (status, "application/json")
    assert (document["success"], document["result"], document["errors"][0]["code"]) == (False, None, 7400)


@pytest.mark.parametrize("statement", ["{}", "CREATE TABLE late AS {}"])
def test_the_answer_comes_in_time_from_what_hears_nothing(
    base: str, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """SQLite looks at no clock while it compiles; the client is told in time, and what it was told stays true."""
    monkeypatch.setattr("hoox_tasks.server.database.REQUEST_SECONDS", 0.2)
    monkeypatch.setattr("hoox_tasks.server.work._GRACE", 0.1)
    answer = ask(base, statement.format(doubling(15)))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (500, 7500)
    assert "exceeded timeout" in answer.json()["errors"][0]["message"]
    wait_until(lambda: ask(base, "SELECT 1").status_code == 200 and not busy_threads())
    assert ask(base, "SELECT name FROM sqlite_schema").json()["result"][0]["results"]["rows"] == []


def busy_threads() -> bool:
    """Whether the work of a request goes on."""
    return any("_do" in thread.name for thread in threading.enumerate())


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_rows_without_an_end_are_ended_by_their_size(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result has a bound in memory, as D1's engine has."""
    monkeypatch.setattr("hoox_tasks.server.database.RESULT_BYTES", 1_000_000)
    answer = ask(base, f"{ENDLESS} SELECT x FROM c")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (500, 7500)
    assert "memory" in answer.json()["errors"][0]["message"]


def test_a_restore_ends_what_reads(base: str, begun: Begun) -> None:
    """Going back in time does not wait for a query without an end."""
    place = f"{base}/accounts/{ACCOUNT}/d1/database/{DATABASE}/time_travel"
    with httpx.Client(headers=HEADERS, timeout=SOON, trust_env=False) as http:
        assert ask(base, "CREATE TABLE t (a)").status_code == 200
        bookmark = http.get(f"{place}/bookmark").json()["result"]["bookmark"]
        assert ask(base, "DROP TABLE t").status_code == 200
        with send(base, f"{ENDLESS} SELECT max(x) FROM c") as slow:
            begun.wait()
            assert http.post(f"{place}/restore", params={"bookmark": bookmark}).status_code == 200
            slow.settimeout(SOON)
            assert slow.recv(100).startswith(b"HTTP/1.1 500")
        assert ask(base, "SELECT a FROM t").status_code == 200


# -- requests that are no requests ----------------------------------------------------------------

_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(),
        st.text(st.characters(codec=None), max_size=8),
        st.sampled_from(["polling", "init", "ingest", "poll", "0" * 32, "SELECT 1", "SELECT ?"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_KEYS = [
    "sql",
    "params",
    "batch",
    "name",
    "output_format",
    "current_bookmark",
    "dump_options",
    "action",
    "etag",
    "filename",
    "no_schema",
    "no_data",
    "tables",
]
_bodies = st.dictionaries(
    st.sampled_from(_KEYS),
    st.one_of(_values, st.dictionaries(st.sampled_from(_KEYS), _values, max_size=3)),
    max_size=5,
)
_PLACES = (
    "POST ",
    f"POST /{DATABASE}/raw",
    f"POST /{DATABASE}/query",
    f"POST /{DATABASE}/export",
    f"POST /{DATABASE}/import",
    f"POST /{DATABASE}/time_travel/restore",
    f"PATCH /{DATABASE}",
)


@given(place=st.sampled_from(_PLACES), body=st.one_of(_bodies, _values))
@examples(60)
def test_whatever_json_is_sent_is_answered(
    tmp_path_factory: pytest.TempPathFactory, place: str, body: Any
) -> None:
    """Any JSON at any place gets an answer in Cloudflare's envelope, and never an error of the server."""
    folder = tmp_path_factory.mktemp("api")
    method, path = place.split(" ")
    with (
        closing(create_app(folder / "l.sqlite", database_id=DATABASE)) as app,
        httpx.Client(transport=httpx.WSGITransport(app), headers=HEADERS) as http,
    ):
        answer = http.request(method, f"http://127.0.0.1{PATH}{path}", content=json.dumps(body).encode())
    assert answer.status_code < 500
    assert answer.json()["success"] is (answer.status_code == 200)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"sql":' * 100_000, b'{"sql": "\\ud800"}', b"\xff\xfe", b"", b"1e999"]
)
def test_what_is_no_json_object_is_malformed(app: Api, content: bytes) -> None:
    """Text that cannot be read, deep nesting and half a character included, is refused in the envelope."""
    with httpx.Client(transport=httpx.WSGITransport(app), headers=HEADERS) as http:
        answer = http.post(f"http://127.0.0.1{PATH}/{DATABASE}/raw", content=content)
    assert answer.status_code == 400
    assert answer.json()["success"] is False


@pytest.mark.parametrize("query", ["page=inf", "page=-inf&per_page=nan", "page=1e308", "per_page=x", "page="])
def test_a_page_that_is_no_number_is_the_first(app: Api, query: str) -> None:
    """Numbers in an address that are none do not end in an error of the server."""
    with httpx.Client(transport=httpx.WSGITransport(app), headers=HEADERS) as http:
        assert http.get(f"http://127.0.0.1{PATH}?{query}").status_code == 200


@pytest.mark.parametrize(
    "request_head",
    [
        "Content-Length: 5\r\n\r\n{",
        "Content-Length: x\r\n\r\n{}",
        "Content-Length: -5\r\n\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
def test_a_body_that_is_not_as_long_as_it_says_is_answered(
    base: str, request_head: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A request that is cut off or lies about its length is a 400, and nothing is printed."""
    place = urlsplit(base)
    with socket.create_connection((place.hostname, place.port), timeout=SOON) as connection:
        head = f"POST {PATH}/{DATABASE}/raw HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer any\r\n"
        connection.sendall((head + request_head).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert b'"success":false' in answer
    assert "Traceback" not in capfd.readouterr().err
