"""The D1 client against scripted answers: what it sends, repeats, refuses and says."""

from __future__ import annotations

import email.utils
import gc
import hashlib
import io
import json
import logging
import socket
import ssl
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.d1 import D1Client, answers, streaming
from hoox_tasks.errors import HooxError, Refused, RemoteError, StatementError
from hoox_tasks.values import Approximate
from tests.support.d1_api import listening

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ACCOUNT = "0123456789abcdef0123456789abcdef"
DATABASE = "a682f084-594e-4bd8-be2d-40ea5f8cf42e"
BASE = "https://d1.test/client/v4"
TOKEN = "s3cr3t-T0ken_of-the-ledger"

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def ok(result: Any) -> httpx.Response:
    return httpx.Response(200, json={"success": True, "errors": [], "messages": [], "result": result})


def rows(*found: list[Any], columns: tuple[str, ...] = ("a",)) -> httpx.Response:
    meta = {"duration": 2.5, "changes": 0, "rows_read": 7, "rows_written": 0}
    results = {"columns": list(columns), "rows": list(found)}
    return ok([{"success": True, "results": results, "meta": meta}])


def refusal(status: int, code: int, message: str, **headers: str) -> httpx.Response:
    body = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
    return httpx.Response(status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


class Script:
    """A server that gives one answer after the other, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def client(self, *answers: Answer, database: str | None = DATABASE) -> D1Client:
        self.answers = list(answers)
        return D1Client(
            ACCOUNT,
            TOKEN,
            database_id=database,
            base_url=BASE,
            transport=httpx.MockTransport(self),
            sleep=self.waits.append,
        )

    def body(self, index: int = -1) -> Any:
        return json.loads(self.requests[index].content)


@pytest.fixture
def script() -> Script:
    return Script()


def test_a_statement_goes_to_raw_with_its_values(script: Script) -> None:
    """One statement and its values are posted to `/raw`, with the token, and come back as a Result."""
    result = script.client(rows([1], ["x"])).raw("SELECT ?", ["x"])
    request = script.requests[0]
    assert str(request.url) == f"https://d1.test/client/v4/accounts/{ACCOUNT}/d1/database/{DATABASE}/raw"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert script.body() == {"sql": "SELECT ?", "params": ["x"]}
    assert result.columns == ("a",)
    assert list(result.rows) == [(1,), ("x",)]
    assert result.meta.duration == 0.0025
    assert (result.meta.rows_read, result.meta.rows_written) == (7, 0)


def test_a_script_and_a_batch_are_one_request(script: Script) -> None:
    """Several statements travel in one request, as one text or each with values of its own."""
    two = ok([{"success": True, "results": {"columns": [], "rows": []}, "meta": {}}] * 2)
    client = script.client(two)
    assert len(client.raw_script("SELECT 1; SELECT 2", write=True)) == 2
    assert script.body() == {"sql": "SELECT 1; SELECT 2"}
    assert len(client.raw_batch([("SELECT ?", [1]), ("SELECT 2", [])], write=True)) == 2
    assert script.body() == {"batch": [{"sql": "SELECT ?", "params": [1]}, {"sql": "SELECT 2"}]}
    assert len(script.requests) == 2


@pytest.mark.parametrize("size", [3, 60_000], ids=["small", "large"])
def test_cells_are_what_sqlite_had(script: Script, size: int) -> None:
    """Repeated column names, blobs, NULLs and REALs beyond int64 survive, in answers of any size."""
    row = [None, 1.5, "é\n", [0, 255], 10**20, 7]
    result = script.client(rows(*[row] * size, columns=("a", "a", "b", "c", "d", "e"))).raw("SELECT")
    assert result.columns == ("a", "a", "b", "c", "d", "e")
    found = list(result.rows)
    assert len(found) == size
    assert set(found) == {(None, 1.5, "é\n", b"\x00\xff", 1e20, 7)}
    assert isinstance(found[0][4], float)
    assert result.meta.rows_read == 7


def test_a_large_answer_costs_little_memory(script: Script) -> None:
    """100,000 rows are read from a file as they are taken: a few MB of memory, not hundreds."""
    row = json.dumps(["t" * 40, 1700000000, "BTCUSDT", 0.1, 50000.5, None, "EXECUTED"])

    def answer(_: httpx.Request) -> httpx.Response:
        def body() -> Iterator[bytes]:
            yield b'{"result":[{"results":{"columns":["a","b","c","d","e","f","g"],"rows":['
            for index in range(100_000):
                yield (("," if index else "") + row).encode()
            yield b']},"success":true,"meta":{"rows_read":100000}}],"success":true,"errors":[]}'

        return httpx.Response(200, content=body())

    client = script.client(answer)
    tracemalloc.start()
    try:
        result = client.raw("SELECT")
        count = sum(1 for _ in result.rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert result.meta.rows_read == 100_000
    assert peak < 16e6


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.lists(st.lists(st.integers(-(2**53), 2**53) | st.text() | st.none(), min_size=2, max_size=2)),
    st.dictionaries(st.sampled_from(["errors", "messages", "extra"]), json_values),
    st.sampled_from([None, 1]),
    st.integers(1, 40),
)
def test_the_stream_reads_what_json_reads(
    table: list[list[Any]], more: dict[str, Any], indent: int | None, piece: int
) -> None:
    """However an answer is laid out and cut into pieces, streaming finds the same rows as `json` does."""
    found = {"columns": ["x", "y"], "rows": table}
    data = {
        **more,
        "success": True,
        "result": [{"extra": more, "results": found, "meta": {"rows_read": 3}, "z": 1}],
        "y": more,
    }
    original, streaming._CHUNK = streaming._CHUNK, piece
    try:
        result = streaming.stream(io.BytesIO(json.dumps(data, indent=indent).encode()))
        assert result is not None
        assert list(result.rows) == [tuple(row) for row in table]
    finally:
        streaming._CHUNK = original
    assert result.columns == ("x", "y")
    assert result.meta.rows_read == 3


def test_rows_before_columns_are_read_whole(script: Script) -> None:
    """An answer that gives the rows first is understood too."""
    big = [["x" * 1000]] * 2000
    answer = ok([{"results": {"rows": big, "columns": ["a"]}, "success": True}])
    result = script.client(answer).raw("SELECT")
    assert (result.columns, len(list(result.rows))) == (("a",), 2000)


def test_a_large_answer_that_is_cut_off_is_asked_for_again(script: Script) -> None:
    """A large answer that broke off is noticed before its first row is handed out."""
    whole = rows(*[["x" * 100]] * 20_000)
    cut = httpx.Response(200, content=whole.content[:-5000])
    assert len(list(script.client(cut, whole).raw("SELECT").rows)) == 20_000
    assert len(script.requests) == 2


def test_large_answers_to_several_statements_are_whole(script: Script) -> None:
    """Several results are all there, however large they are together."""
    one = {"success": True, "results": {"columns": ["a"], "rows": [["x" * 100]] * 10_000}, "meta": {}}
    results = script.client(ok([one, one, one])).raw_script("SELECT; SELECT; SELECT", write=False)
    assert [len(list(result.rows)) for result in results] == [10_000] * 3


LARGE = [["x" * 100]] * 20_000


@pytest.mark.parametrize("write", [False, True])
def test_a_large_answer_to_another_question_is_ambiguous(script: Script, write: bool) -> None:
    """Two results to one statement: something else may have been run, which is said of a reading query too."""
    result = [{"results": {"columns": ["a"], "rows": LARGE}}] * 2
    client = script.client(httpx.Response(200, json={"result": result, "success": True}))
    with pytest.raises(RemoteError, match="It may have run something else than was meant") as caught:
        list(client.raw("SELECT", write=write).rows)
    assert caught.value.ambiguous


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    ("result", "envelope"),
    [
        ([{"results": {"columns": ["a"], "rows": LARGE}, "success": True}], {"success": False}),
        ([{"results": {"columns": ["a"], "rows": LARGE}, "success": True}], {}),
        ([{"results": {"columns": ["a"], "rows": LARGE}, "success": False}], {"success": True}),
        ([{"results": {"columns": ["a"], "rows": [*LARGE, None]}}], {"success": True}),
        ([{"results": {"columns": ["a"], "rows": [*LARGE, [["no byte"]]]}}], {"success": True}),
        ([{"results": {"columns": None, "rows": LARGE}}], {"success": True}),
        (None, {"success": True, "more": LARGE}),
    ],
    ids=["failed", "no word", "failed inside", "no row", "no cell", "no columns", "no result"],
)
def test_a_large_answer_is_only_believed_whole(
    script: Script, result: Any, envelope: dict[str, Any], write: bool
) -> None:
    """After its rows a large answer must say that it is a success, as a small one must; a write is ambiguous."""
    client = script.client(httpx.Response(200, json={"result": result} | envelope))
    with pytest.raises(RemoteError) as caught:
        list(client.raw("SELECT", write=write).rows)
    assert caught.value.ambiguous is write
    assert ("may or may not have happened" in str(caught.value)) is write
    assert caught.value.__context__ is None


@pytest.mark.parametrize("write", [False, True])
def test_a_large_answer_that_is_no_text_is_damaged(script: Script, write: bool) -> None:
    """Bytes that are no UTF-8 in the middle of a large answer are an error like any other damage."""
    content = rows(*LARGE, ["caf\u00e9"], *LARGE).content.replace("é".encode(), b"\xff")
    client = script.client(httpx.Response(200, content=content))
    with pytest.raises(RemoteError, match="damaged") as caught:
        list(client.raw("SELECT", write=write).rows)
    assert caught.value.ambiguous is write


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_large_answers_file_is_closed(tmp_path: Path, taken: int) -> None:
    """The file behind the rows is closed after the last one, and when nobody wants more of them."""
    (tmp_path / "answer").write_bytes(rows([1], [2], [3]).content)
    file = (tmp_path / "answer").open("rb")  # left open, it would warn, which is an error here
    result = streaming.stream(file)
    found = [row for row, _ in zip(result.rows, range(taken), strict=False)]
    assert found == [(1,), (2,), (3,)][:taken]
    del result
    gc.collect()
    assert file.closed
    damaged = io.BytesIO(b'{"result":[{"results":')
    with pytest.raises(RemoteError):
        streaming.stream(damaged)
    assert damaged.closed


@pytest.mark.parametrize(
    "item", [None, {}, {"success": True}, {"results": {"columns": ["a"], "rows": [None]}}]
)
def test_a_result_without_rows_is_no_empty_result(script: Script, item: Any) -> None:
    """A read whose result is missing or garbled is an error, not a table without rows."""
    with pytest.raises(RemoteError, match="damaged"):
        script.client(ok([item])).raw("SELECT 1")


@pytest.mark.parametrize("size", [1, 1_200_000])
@pytest.mark.parametrize("write", [False, True])
def test_an_answer_to_another_question_may_have_changed_something(
    script: Script, size: int, write: bool
) -> None:
    """Two results to one statement mean that D1 took it for two: that is never a reason to try again."""
    item = {"success": True, "results": {"columns": ["a"], "rows": [["x" * size]]}, "meta": {}}
    with pytest.raises(RemoteError, match="results to 1 statement") as caught:
        list(script.client(ok([item, item])).raw("SELECT 1", write=write).rows)
    assert caught.value.ambiguous
    assert "may have run something else" in str(caught.value)
    assert "gain" not in str(caught.value)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"success": true, "result": ' + b"[" * 100_000,
        b'{"success": true, "result": [{"results": {"columns": ["a"], "rows": [[' + b"[" * 2_000_000 + b"}",
    ],
)
def test_json_that_is_nested_deeply_is_damaged(script: Script, body: bytes) -> None:
    """It ends in a sentence, however large the answer, and a write with it may have happened."""
    with pytest.raises(RemoteError, match="damaged") as caught:
        list(script.client(httpx.Response(200, content=body)).raw("SELECT 1", write=True).rows)
    assert caught.value.ambiguous


def test_numbers_that_are_none_are_left_out(script: Script) -> None:
    """What D1 says of its work is not needed: infinities in it end nothing."""
    body = (
        b'{"success": true, "result": [{"results": {"columns": ["a"], "rows": [[1]]},'
        b' "meta": {"changes": 1e999, "rows_read": NaN}}]}'
    )
    result = script.client(httpx.Response(200, content=body)).raw("SELECT 1")
    assert (list(result.rows), result.meta.changes, result.meta.rows_read) == ([(1,)], 0, None)


def test_a_write_needs_no_rows(script: Script) -> None:
    """A write that D1 calls a success is one without a word about rows; without success it is ambiguous."""
    result = script.client(ok([{"success": True, "meta": {"changes": 1}}])).raw("INSERT", write=True)
    assert (result.columns, list(result.rows), result.meta.changes) == ((), [], 1)
    for item in [None, {"changes": 1}]:
        with pytest.raises(RemoteError) as caught:
            script.client(ok([item])).raw("INSERT", write=True)
        assert caught.value.ambiguous


# -- what cannot travel ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**53 + 1, "CAST(? AS INTEGER)"),
        (-(2**60), "CAST(? AS INTEGER)"),
        (float("inf"), "9e999"),
        (float("nan"), "NULL"),
        (b"\x00", "X'...'"),
        (1.0, "CAST(? AS REAL)"),
        ("\ud800", "surrogate"),
    ],
)
def test_values_that_the_wire_would_change_are_refused(script: Script, value: Any, words: str) -> None:
    """A value that D1 would round, retype or drop is refused before anything is sent, with the way out."""
    client = script.client(rows([1]))
    with pytest.raises(Refused) as caught:
        client.raw("SELECT ?, ?", [1, value])
    assert "Parameter 2" in str(caught.value)
    assert words in str(caught.value)
    with pytest.raises(Refused, match="Parameter 1 of statement 2"):
        client.raw_batch([("SELECT 1", []), ("SELECT ?", [value])], write=True)
    assert script.requests == []


@pytest.mark.parametrize("value", [None, 0, True, 2**53, -(2**53), 1.5, -0.25, 1e300, "", "é\0\n'"])
def test_values_that_the_wire_keeps_are_sent(script: Script, value: Any) -> None:
    """NULL, text, integers up to 2^53 and broken numbers go as JSON has them; true and false as 1 and 0."""
    script.client(rows([1])).raw("SELECT ?", [value])
    (sent,) = script.body()["params"]
    assert sent == value
    assert type(sent) is (int if value is True else type(value))


def test_statements_beyond_the_limits_are_refused(script: Script) -> None:
    """A statement of more than 100,000 bytes, or with more than 100 values, is not sent."""
    client = script.client(rows([1]))
    fits = "SELECT '" + "é" * 49_990 + "'"
    client.raw(fits)
    with pytest.raises(Refused, match=r"100,0\d\d bytes long; D1 takes 100,000"):
        client.raw(fits + " " * 20)
    client.raw("SELECT 1", [1] * 100)
    with pytest.raises(Refused, match="101 parameters"):
        client.raw("SELECT 1", [1] * 101)
    assert len(script.requests) == 2


# -- repeating ------------------------------------------------------------------------------------

UNSENT = [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("no connection")]
LOST: list[Answer] = [
    httpx.ReadTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    refusal(500, 7500, "internal error; reference = abc"),
    refusal(400, 7500, "Network connection lost.: SQLITE_UNKNOWN".replace(": SQLITE_UNKNOWN", "")),
    refusal(400, 7500, "Network connection lost.: SQLITE_UNKNOWN"),
    refusal(504, 7009, "upstream timeout"),
    httpx.Response(200, json={}),
    httpx.Response(200, json={"result": [{"results": {"columns": ["a"], "rows": []}}]}),
    httpx.Response(502, text="<html>bad gateway</html>"),
    httpx.Response(503, text=""),
    httpx.Response(200, text=""),
    httpx.Response(200, text='{"success":true,"result":[{"results":{"columns":["a"],"rows":[[1],[2'),
]
LIMITED = refusal(429, 971, "Please wait and consider throttling your request speed")


@pytest.mark.parametrize("failure", [*UNSENT, *LOST, LIMITED], ids=lambda f: str(f)[:40])
def test_a_read_is_repeated(script: Script, failure: Answer) -> None:
    """A read survives lost connections, cut answers, 429, 5xx and D1's transient errors."""
    result = script.client(failure, failure, rows([1])).raw("SELECT 1")
    assert list(result.rows) == [(1,)]
    assert len(script.requests) == 3
    assert len(script.waits) == 2


@pytest.mark.parametrize("failure", [*UNSENT, LIMITED], ids=lambda f: str(f)[:40])
def test_a_write_is_repeated_where_it_has_not_begun(script: Script, failure: Answer) -> None:
    """A write that was surely not begun is repeated."""
    script.client(failure, rows([1])).raw("INSERT", write=True)
    assert len(script.requests) == 2


@pytest.mark.parametrize("failure", LOST, ids=lambda f: str(f)[:40])
def test_a_write_with_a_lost_answer_is_ambiguous(script: Script, failure: Answer) -> None:
    """A write that may or may not have happened is not repeated, and the error says that it may have happened."""
    with pytest.raises(RemoteError) as caught:
        script.client(failure).raw("INSERT", write=True)
    assert caught.value.ambiguous
    assert "may or may not have happened" in str(caught.value)
    assert len(script.requests) == 1


def test_patience_ends_after_five_attempts(script: Script) -> None:
    """Five attempts with growing, uneven waits; then the last failure is the error."""
    with pytest.raises(RemoteError, match="HTTP 503"):
        script.client(httpx.Response(503)).raw("SELECT 1")
    assert len(script.requests) == 5
    assert len(script.waits) == 4
    assert 0.5 <= script.waits[0] <= 1.0 < script.waits[1]
    assert sum(script.waits) < 60


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(script: Script, form: str) -> None:
    """`Retry-After` decides the wait, in seconds or as a date; more than a minute ends the attempts."""

    def after(seconds: int) -> str:
        moment = time.time() + seconds
        return str(seconds) if form == "seconds" else email.utils.formatdate(moment, usegmt=True)

    script.client(refusal(429, 971, "slow down", retry_after=after(7)), rows([1])).raw("SELECT 1")
    assert 5 <= script.waits[0] <= 8.1
    with pytest.raises(RemoteError, match="no more requests now"):
        script.client(refusal(429, 971, "slow down", retry_after=after(300)), rows([1])).raw("SELECT 1")
    assert len(script.waits) == 1


@pytest.mark.parametrize("message", ["D1 DB storage operation exceeded timeout", "D1 DB's CPU time limit"])
def test_work_that_is_too_much_is_not_repeated(script: Script, message: str) -> None:
    """A statement that D1 gave up on would only be given up on again."""
    message = message.replace("CPU", "exceeded its CPU")
    with pytest.raises(RemoteError, match="do less"):
        script.client(refusal(500, 7500, message)).raw("SELECT 1")
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "message",
    [
        "D1 DB storage operation exceeded timeout which caused object to be reset.",
        "D1 DB exceeded its CPU time limit and was reset.",
        "D1 DB's isolate exceeded its memory limit and was reset.",
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_reset_under_a_write_is_ambiguous(script: Script, message: str, status: int) -> None:
    """Where D1 was reset in the middle of a write, whatever its status, nobody knows what became of it."""
    with pytest.raises(RemoteError) as caught:
        script.client(refusal(status, 7500, message)).raw("UPDATE", write=True)
    assert caught.value.ambiguous
    assert len(script.requests) == 1


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "words"),
    [
        (401, 10000, "Authentication error", "CLOUDFLARE_API_TOKEN"),
        (400, 9106, "Authentication failed", "D1 Edit"),
        (403, 7403, "The given account is not valid", "CLOUDFLARE_ACCOUNT_ID"),
        (400, 7003, "Could not route", "CLOUDFLARE_ACCOUNT_ID"),
        (404, 7404, "The database could not be found", "wrangler d1 list"),
        (400, 7400, "Invalid property", "several statements"),
        (400, 7502, "exists", "another name"),
        (400, 7406, "limit reached", "Delete a database"),
        (418, 1234, "teapot", "code 1234"),
    ],
)
def test_errors_say_what_to_do(script: Script, status: int, code: int, message: str, words: str) -> None:
    """Every error code of D1 becomes what is wrong, what to do, the code and the ray, and is not repeated."""
    answer = refusal(status, code, message, cf_ray="8f2-ABC")
    with pytest.raises(RemoteError) as caught:
        script.client(answer).raw("INSERT", write=True)
    assert words in str(caught.value)
    assert f"(HTTP {status}, code {code}, cf-ray 8f2-ABC)" in str(caught.value)
    assert (caught.value.status, caught.value.code, caught.value.ambiguous) == (status, code, False)
    assert len(script.requests) == 1


def test_an_error_of_the_engine_has_its_message_and_offset(script: Script) -> None:
    """What SQLite says becomes a StatementError with the statement and the offset."""
    answer = refusal(400, 7500, 'near "FORM": syntax error at offset 9: SQLITE_ERROR')
    with pytest.raises(StatementError) as caught:
        script.client(answer).raw("SELECT 1 FORM x")
    assert caught.value.message == 'near "FORM": syntax error at offset 9: SQLITE_ERROR'
    assert (caught.value.offset, caught.value.sql) == (9, "SELECT 1 FORM x")
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("not authorized: SQLITE_AUTH", "D1 Edit"),
        ("statement too long: SQLITE_TOOBIG", "100,000 bytes"),
        ("too many SQL variables at offset 3: SQLITE_ERROR", "100 values"),
        ("incomplete input: SQLITE_ERROR", "splitter"),
    ],
)
def test_the_engines_errors_say_what_to_do(script: Script, message: str, words: str) -> None:
    """The engine's limits are explained, a token without D1 write among them."""
    with pytest.raises(StatementError, match=words):
        script.client(refusal(400, 7500, message)).raw("INSERT", write=True)


def test_the_failed_result_of_several_is_named(script: Script) -> None:
    """A result that failed by itself is reported with its place."""
    good = {"success": True, "results": {"columns": [], "rows": []}}
    with pytest.raises(StatementError) as caught:
        script.client(ok([good, {"success": False, "error": "boom"}])).raw_script("A; B", write=True)
    assert caught.value.index == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, html="<!doctype html><title>Log in</title>"), "web page answered"),
        (httpx.Response(302, headers={"location": "https://portal.test/login"}), "redirect to portal.test"),
        (httpx.Response(403, html="<p>", headers={"cf-mitigated": "challenge"}), "firewall"),
        (httpx.Response(403, json={"code": 1010, "error": "banned"}), "banned"),
        (httpx.Response(204), "answered with nothing"),
        (httpx.Response(200, text="{} trailing"), "cut off or damaged"),
        (httpx.Response(200, text="[]"), "cut off or damaged"),
        (ok([]), "0 results"),
        (ok(None), "0 results"),
    ],
)
def test_what_is_not_d1_is_named(script: Script, answer: httpx.Response, words: str) -> None:
    """A portal, a firewall, a redirect, an empty or damaged answer each get a sentence."""
    with pytest.raises(RemoteError, match=words):
        script.client(answer).raw("SELECT 1")


def raised(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("failure", "words", "attempts"),
    [
        (raised(httpx.ConnectError("x"), socket.gaierror(-2, "not known")), "name d1.test cannot", 5),
        (raised(httpx.ConnectError("x"), ssl.SSLCertVerificationError("self-signed")), "No secure", 1),
        (httpx.ConnectError("[Errno 111] Connection refused"), "Connection refused", 5),
        (httpx.ReadTimeout("x"), "No answer from d1.test in 40 seconds", 5),
    ],
)
def test_the_way_there_is_named(script: Script, failure: Exception, words: str, attempts: int) -> None:
    """DNS, TLS, refused connections and silence are told apart; a bad certificate is not tried again."""
    with pytest.raises(RemoteError, match=words):
        script.client(failure).raw("SELECT 1")
    assert len(script.requests) == attempts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"token": ""}, "no Cloudflare API token"),
        ({"token": TOKEN + "\n"}, "line break"),
        ({"token": TOKEN + "ü"}, "outside ASCII"),
        ({"account_id": ""}, "no Cloudflare account id"),
        ({"account_id": "a/b"}, "account id 'a/b' cannot"),
        ({"database_id": "my-database"}, "not a D1 database id"),
        ({"database_id": DATABASE + "/../x"}, "not a D1 database id"),
        ({"base_url": "api.cloudflare.com"}, "address"),
        ({"base_url": "http://example.com/client/v4"}, "unencrypted"),
        ({"base_url": "http://127.example.com/client/v4"}, "unencrypted"),
        ({"base_url": "https://example.com:99999"}, "address"),
        ({"base_url": "https://exa\0mple.com"}, "address"),
        ({"base_url": "https://example.com/#client"}, "address"),
        ({"base_url": f"https://{TOKEN}@example.com"}, "address"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(change: dict[str, Any], words: str) -> None:
    """Nothing is sent with a token, account, database or address that cannot be right."""
    settings: dict[str, Any] = {
        "account_id": ACCOUNT,
        "token": TOKEN,
        "database_id": DATABASE,
        "base_url": BASE,
    } | change
    with pytest.raises(Refused, match=words) as caught:
        D1Client(settings.pop("account_id"), settings.pop("token"), **settings)
    assert TOKEN not in str(caught.value)


def test_the_token_is_never_shown(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """The token is in no message, DEBUG log, repr or traceback, even where a server echoes it."""
    caplog.set_level(logging.DEBUG)
    failures: list[Answer] = [
        refusal(400, 7500, f"near {TOKEN}: SQLITE_ERROR"),
        refusal(401, 10000, f"Bearer {TOKEN} is unknown"),
        httpx.ReadError(f"while sending {TOKEN}"),
        httpx.Response(200, html=f"<p>{TOKEN}"),
        httpx.Response(302, headers={"location": f"https://{TOKEN}.test/"}),
    ]
    client = script.client(rows([1]))
    client.raw("SELECT 1")
    shown = [repr(client), str(client), repr(vars(client)["_http"])]
    for failure in failures:
        with pytest.raises(HooxError) as caught:
            script.client(failure).raw("INSERT", write=True)
        error = caught.value
        assert error.__context__ is None
        assert error.__cause__ is None
        shown += [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
    assert TOKEN not in "\n".join([*shown, caplog.text])
    assert caplog.text


def test_a_token_in_a_header_of_the_answer_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a server sends back, header and reason included, stays out of the DEBUG log of the transport."""

    def echo(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response(f"200 {TOKEN}", [("X-Echo", environ["HTTP_AUTHORIZATION"])])
        return [rows([1]).content]

    caplog.set_level(logging.DEBUG)
    echo.hosts, echo.token = set(), TOKEN  # type: ignore[attr-defined]
    with (
        listening(echo) as base,  # type: ignore[arg-type]
        D1Client(ACCOUNT, TOKEN, database_id=DATABASE, base_url=base) as client,
    ):
        client.raw("SELECT 1")
    assert "/raw: HTTP 200" in caplog.text
    assert TOKEN not in caplog.text


def test_a_token_for_tests_does_not_garble_messages(script: Script) -> None:
    """A token of a few letters is left standing where a message has it in a word."""
    script.answers = [refusal(400, 7500, "no such table: company: SQLITE_ERROR")]
    transport = httpx.MockTransport(script)
    with (
        D1Client(ACCOUNT, "any", database_id=DATABASE, base_url=BASE, transport=transport) as client,
        pytest.raises(StatementError, match="company"),
    ):
        client.raw("SELECT * FROM company")


# -- export, import, Time Travel, databases -------------------------------------------------------


def exported(**more: Any) -> httpx.Response:
    return ok({"success": True, "type": "export", "at_bookmark": "b1", "messages": []} | more)


def test_an_export_is_polled_until_it_is_there(script: Script) -> None:
    """Polls are spaced, carry the bookmark and the same options, and are repeated when lost."""
    done = {"filename": "x.sql", "signed_url": "https://r2.test/x.sql?X-Sig=key"}
    said: list[tuple[str, int, int | None]] = []
    export = script.client(
        exported(),
        exported(status="active", messages=["Uploaded part 1"]),
        httpx.ReadError("reset"),
        exported(status="complete", messages=["Uploaded part 2"], result=done),
    ).export(tables=["trades"], progress=lambda *args: said.append(args))
    assert (export.filename, export.bookmark) == ("x.sql", "b1")
    assert export.signed_url.endswith("?X-Sig=key")
    assert "X-Sig" not in repr(export)
    options = {"output_format": "polling", "dump_options": {"tables": ["trades"]}}
    assert script.body(0) == options
    assert [script.body(index) for index in (1, 2, 3)] == [options | {"current_bookmark": "b1"}] * 3
    assert said == [("Uploaded part 1", 1, None), ("Uploaded part 2", 2, None)]
    assert len(script.waits) == 3


@pytest.mark.parametrize(
    "answer",
    [
        exported(success=False, error="Cannot export databases with Virtual Tables (fts5)"),
        exported(status="error", error="Cannot export databases with Virtual Tables (fts5)"),
    ],
)
def test_an_export_that_d1_refuses_is_an_error(script: Script, answer: httpx.Response) -> None:
    """D1's refusal to export is passed on with what to do."""
    with pytest.raises(RemoteError, match=r"Virtual Tables \(fts5\)\. D1 exports no virtual"):
        script.client(answer).export()


def test_a_download_goes_without_the_token(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """A signed URL gets no token, its key stays out of the log, and a broken download starts anew."""
    caplog.set_level(logging.DEBUG)
    target = io.BytesIO(b"head;")
    target.seek(5)
    size = script.client(
        httpx.ReadError("reset"), httpx.Response(503), httpx.Response(200, content=b"SELECT 1;" * 1000)
    ).download("https://r2.test/x.sql?X-Sig=key", target)
    assert size == 9000
    assert target.getvalue() == b"head;" + b"SELECT 1;" * 1000
    assert all("authorization" not in request.headers for request in script.requests)
    assert script.requests[0].extensions["timeout"]["read"]
    assert "r2.test" in caplog.text
    assert "X-Sig" not in caplog.text
    with pytest.raises(RemoteError, match="came empty"):
        script.client(httpx.Response(200)).download("https://r2.test/x.sql", target)
    with pytest.raises(RemoteError, match="a web page"):
        script.client(httpx.Response(200, html="<p>")).download("https://r2.test/x.sql", target)
    with pytest.raises(RemoteError, match="HTTP 403"):
        script.client(httpx.Response(403)).download("https://r2.test/x.sql?X-Sig=key", target)


PRIVATE = [
    "http://r2.test/x.sql",
    "ftp://r2.test/x.sql",
    "https://user:word@r2.test/x.sql",
    "https://169.254.169.254/latest",
    "https://10.0.0.1/x",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://localhost/x",
    "https://x.localhost./x",
    "https://metadata/x",
    "https://metadata.internal/x",
    "https://127.1/x",
    "https://2130706433/x",
    "https://1.0x7f000001/x",
    "https:///x",
    "https://r2.test:99999/x",
    "file:///etc/passwd",
    "x",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_a_signed_address_is_encrypted_and_public(script: Script, url: str) -> None:
    """Nothing is fetched from, or uploaded to, an address inside of the network or without encryption."""
    init = ok({"upload_url": url, "filename": "f"})
    with pytest.raises(RemoteError, match="not an encrypted one of a public host") as caught:
        script.client(init).import_file(b"SELECT 1;")
    assert not caught.value.ambiguous
    with pytest.raises(RemoteError, match="not an encrypted one of a public host"):
        script.client(init).download(url, io.BytesIO())
    assert [request.url.host for request in script.requests] == ["d1.test"]


@pytest.mark.parametrize(
    "url", ["https://r2.test/x", "https://a.r2.cloudflarestorage.com/x?y=1", "https://1.1.1.1/x"]
)
def test_a_public_address_is_fetched(script: Script, url: str) -> None:
    """The addresses that D1 gives are let through."""
    assert script.client(httpx.Response(200, content=b"x")).download(url, io.BytesIO()) == 1


class Importer:
    """D1's import, as far as a client sees it; `polls` are its progress objects after the upload."""

    def __init__(self, *polls: Answer) -> None:
        self.polls = list(polls)
        self.uploads: list[bytes] = []
        self.etag = ""
        self.actions: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            assert "authorization" not in request.headers
            assert request.headers["content-length"] == str(len(request.content))
            self.uploads.append(request.content)
            return httpx.Response(200, headers={"etag": f'"{hashlib.md5(request.content).hexdigest()}"'})
        body = json.loads(request.content)
        self.actions.append(body["action"])
        if body["action"] == "init":
            self.etag = body["etag"]
            return ok({"success": True, "upload_url": "https://r2.test/up?key", "filename": "f.sql"})
        if body["action"] == "ingest":
            assert body == {"action": "ingest", "filename": "f.sql", "etag": self.etag}
        else:
            assert body == {"action": "poll", "current_bookmark": "b1"}
        answer = self.polls.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer


def progress(**more: Any) -> httpx.Response:
    return ok({"success": True, "type": "import", "at_bookmark": "b1", "messages": []} | more)


IMPORTED = progress(
    status="complete",
    result={"num_queries": 2, "final_bookmark": "b2", "meta": {"duration": 1, "rows_written": 5}},
)


@pytest.mark.parametrize("as_file", [True, False])
def test_an_import_uploads_ingests_and_polls(script: Script, tmp_path: Path, as_file: bool) -> None:
    """A file or bytes go up whole with a comment that is new each time, then polls follow to the end."""
    text = b"CREATE TABLE t (a);\nINSERT INTO t VALUES (1);"
    (tmp_path / "f.sql").write_bytes(text)
    uploads = []
    for _ in range(2):
        d1_import = Importer(progress(status="active"), progress(), IMPORTED)
        done = script.client(d1_import).import_file(tmp_path / "f.sql" if as_file else text)
        assert (done.queries, done.bookmark, done.meta.rows_written) == (2, "b2", 5)
        assert d1_import.actions == ["init", "ingest", "poll", "poll"]
        assert d1_import.uploads[0].startswith(text + b"\n-- ")
        assert hashlib.md5(d1_import.uploads[0]).hexdigest() == d1_import.etag
        uploads += d1_import.uploads
    assert uploads[0] != uploads[1]


@pytest.mark.parametrize(
    ("polls", "kind", "ambiguous"),
    [
        ([progress(success=False, error="Not currently importing anything.")], RemoteError, True),
        ([progress(), progress(success=False, error="Not currently importing anything.")], RemoteError, True),
        (
            [progress(), progress(status="error", errors=["no such table: x: SQLITE_ERROR"])],
            StatementError,
            None,
        ),
        ([progress(success=False, error='{"D1_RESET_DO":true}')], RemoteError, True),
        ([progress(), *[httpx.ReadError("reset")] * 5], RemoteError, True),
        ([httpx.ReadError("reset")], RemoteError, True),
        ([refusal(429, 971, "slow")] * 5, RemoteError, False),
    ],
)
def test_an_import_is_never_believed_without_its_result(
    script: Script, polls: list[Answer], kind: type[HooxError], ambiguous: bool | None
) -> None:
    """Only `complete` is success; where the outcome is unknown the error is ambiguous."""
    with pytest.raises(kind) as caught:
        script.client(Importer(*polls)).import_file(b"SELECT 1;")
    assert getattr(caught.value, "ambiguous", None) == ambiguous


def test_a_failure_that_is_complete_is_no_success(script: Script) -> None:
    """An import that ended without success is an error, though it is complete."""
    failed = progress(success=False, status="complete", error="no such table: x: SQLITE_ERROR")
    with pytest.raises(StatementError, match="no such table"):
        script.client(Importer(progress(), failed)).import_file(b"SELECT 1;")


@pytest.mark.parametrize(
    "polls",
    [[httpx.ReadError("reset")] * 5, [refusal(400, 7500, "bad bookmark")], [refusal(401, 10000, "x")]],
)
def test_a_poll_that_fails_says_nothing_about_the_import(script: Script, polls: list[Answer]) -> None:
    """Where D1 does not tell how far an import is, the advice is to look, never to try again."""
    with pytest.raises(RemoteError, match="look at the ledger") as caught:
        script.client(Importer(progress(), *polls)).import_file(b"SELECT 1;")
    assert caught.value.ambiguous
    assert "Try again" not in str(caught.value)


def test_a_file_that_cannot_be_fetched_names_its_own_host(script: Script) -> None:
    """A download that breaks is blamed on the host that it came from."""
    with pytest.raises(RemoteError, match=r"connection to r2\.test broke"):
        script.client(httpx.ReadError("reset")).download("https://r2.test/x.sql?X-Sig=key", io.BytesIO())


def test_an_upload_that_arrives_damaged_is_not_ingested(script: Script) -> None:
    """Where the stored file's checksum is another, the import stops before anything ran."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            return httpx.Response(200, headers={"etag": '"d41d8cd98f00b204e9800998ecf8427e"'})
        assert json.loads(request.content)["action"] == "init"
        return ok({"upload_url": "https://r2.test/up", "filename": "f"})

    with pytest.raises(RemoteError, match="did not arrive whole"):
        script.client(answer).import_file(b"SELECT 1;")


def test_bookmarks(script: Script) -> None:
    """The bookmark of now or of a moment is read; restoring sends it, and tells the way back."""
    client = script.client(ok({"bookmark": "b1"}))
    assert client.bookmark() == "b1"
    assert dict(script.requests[0].url.params) == {}
    client.bookmark(1_700_000_000)
    assert dict(script.requests[1].url.params) == {"timestamp": "2023-11-14T22:13:20Z"}
    client = script.client(ok({"bookmark": "b1", "previous_bookmark": "b9", "message": ""}))
    assert client.restore("b1").previous_bookmark == "b9"
    assert (script.requests[2].method, dict(script.requests[2].url.params)) == ("POST", {"bookmark": "b1"})
    with pytest.raises(RemoteError, match="may or may not have happened"):
        script.client(httpx.ReadError("reset")).restore("b1")


def test_a_database_is_found_by_its_exact_name(script: Script) -> None:
    """D1's name filter is not exact: the database of that very name is taken, or near names are listed."""
    names = [f"ledger-{index}" for index in range(100)] + ["ledger", "trading"]

    def listing(request: httpx.Request) -> httpx.Response:
        params = dict(request.url.params)
        size, page = int(params["per_page"]), int(params["page"])
        found = [name for name in names if params.get("name", "") in name]
        return ok(
            [{"uuid": f"id of {name}", "name": name} for name in found[(page - 1) * size : page * size]]
        )

    client = script.client(listing, database=None)
    assert client.find_database("ledger").uuid == "id of ledger"
    with pytest.raises(RemoteError, match="Did you mean trading") as caught:
        client.find_database("tradign")
    assert caught.value.code == 7404
    with pytest.raises(RemoteError, match="wrangler d1 create"):
        client.find_database("qqqqqqqqqqq")


def test_a_listing_without_pages_ends(script: Script) -> None:
    """A server that gives the same page again and again is not asked forever."""
    page = ok([{"uuid": f"id {index}", "name": f"ledger-{index}"} for index in range(100)])
    assert len(script.client(page, database=None).list_databases()) == 100
    assert len(script.requests) == 2


@pytest.mark.parametrize("result", [None, {}, {"name": "ledger", "bookmark": 5}])
def test_a_success_that_names_nothing_is_ambiguous(script: Script, result: Any) -> None:
    """A database without an id and a restore without a bookmark may have happened, or not."""
    client = script.client(ok(result))
    for change in (lambda: client.create_database("ledger"), lambda: client.restore("b1")):
        with pytest.raises(RemoteError) as caught:
            change()
        assert caught.value.ambiguous
    with pytest.raises(RemoteError, match="gave no Time Travel bookmark"):
        client.bookmark()


def test_databases_are_made_described_and_deleted(script: Script) -> None:
    """The control plane's calls use their methods and paths; without a database id, none is sent."""
    answer = ok(
        {"uuid": DATABASE, "name": "ledger", "file_size": 4096, "num_tables": 5, "version": "production"}
    )
    client = script.client(answer)
    assert client.create_database("ledger").uuid == DATABASE
    assert client.get_database().file_size == 4096
    client.delete_database()
    base = f"/client/v4/accounts/{ACCOUNT}/d1/database"
    assert [(request.method, request.url.path) for request in script.requests] == [
        ("POST", base),
        ("GET", f"{base}/{DATABASE}"),
        ("DELETE", f"{base}/{DATABASE}"),
    ]
    with pytest.raises(Refused, match="no D1 database id"):
        script.client(answer, database=None).raw("SELECT 1")


def test_the_largest_integers_stay_integers() -> None:
    """They travel as 2^63, which is no integer of SQLite: they are marked as rounded, and not taken for REALs."""
    cells = json.loads("[9223372036854776000, -9223372036854776000, 9007199254740992, 18446744073709552000]")
    largest, smallest, large, real = answers.read_row(cells)
    assert [repr(largest), repr(smallest), repr(large)] == [str(2**63 - 1), str(-(2**63)), str(2**53)]
    assert {type(largest), type(smallest), type(large)} == {Approximate}
    assert (real, type(real)) == (2.0**64, float)
