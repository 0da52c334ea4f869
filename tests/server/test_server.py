"""The local D1 API, asked by our own client, by bare HTTP, by the official SDK and by wrangler."""

from __future__ import annotations

import hashlib
import io
import json
import math
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cloudflare
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.d1 import D1Client
from hoox_tasks.errors import Refused, RemoteError, StatementError
from hoox_tasks.server import Api, create_app, serve
from hoox_tasks.server.database import breaks_the_splitter
from hoox_tasks.server.json_values import as_text, from_wire, script_number, to_wire
from tests.support.d1_api import ACCOUNT, DATABASE, TRIGGER, client_of, listening
from tests.support.npm import Wrangler

PATH = f"/client/v4/accounts/{ACCOUNT}/d1/database"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Api]:
    with closing(
        create_app(tmp_path / "l.sqlite", name="ledger", database_id=DATABASE, token="right")
    ) as app:
        yield app


@pytest.fixture
def client(app: Api) -> Iterator[D1Client]:
    with client_of(app) as client:
        yield client


@pytest.fixture
def http(app: Api) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer right"}
    with httpx.Client(
        transport=httpx.WSGITransport(app), base_url="http://127.0.0.1", headers=headers
    ) as http:
        yield http


def cells(client: D1Client, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    return list(client.raw(sql, params, write=True).rows)


# -- statements -----------------------------------------------------------------------------------


def test_statements_run_and_answer(client: D1Client) -> None:
    """Statements change the file and answer with columns, rows and figures."""
    client.raw("CREATE TABLE t (a, b)", write=True)
    written = client.raw("INSERT INTO t VALUES (1, 'x'), (2, NULL)", write=True).meta
    assert (written.changes, written.rows_written, written.last_row_id) == (2, 2, 2)
    result = client.raw("SELECT a, b, a FROM t WHERE a >= ?", [1])
    assert result.columns == ("a", "b", "a")
    assert list(result.rows) == [(1, "x", 1), (2, None, 2)]
    assert result.meta.rows_read == 2
    assert result.meta.size_after


def test_several_statements_are_one_transaction(client: D1Client) -> None:
    """When one of several statements fails, in one text or as a batch, none of them has happened."""
    assert len(client.raw_script("CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1);", write=True)) == 2
    with pytest.raises(StatementError, match=r"UNIQUE constraint failed: t\.a: SQLITE_CONSTRAINT"):
        client.raw_script("INSERT INTO t VALUES (2); INSERT INTO t VALUES (1)", write=True)
    with pytest.raises(StatementError):
        client.raw_batch([("INSERT INTO t VALUES (?)", [3]), ("INSERT INTO t VALUES (?)", [1])], write=True)
    with pytest.raises(StatementError, match="no such table: x"):
        client.raw_script("DROP TABLE t; INSERT INTO x VALUES (1)", write=True)
    assert cells(client, "SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("BEGIN", "state.storage.transaction"),
        ("PRAGMA user_version", "not authorized: SQLITE_AUTH"),
        ("SELECT sqlite_version()", "not authorized to use function: sqlite_version"),
        ("ATTACH ':memory:' AS x", "SQLITE"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("-- nothing", "did not contain a statement"),
        ("", "No SQL statements detected"),
    ],
)
def test_d1s_rules_hold(client: D1Client, sql: str, words: str) -> None:
    """What D1 refuses is refused in its words, as a statement that failed."""
    with pytest.raises(StatementError, match=words):
        client.raw(sql, write=True)


def test_pragmas_last_for_one_request(client: D1Client) -> None:
    """A pragma does not outlive its request, and foreign keys are always on."""
    client.raw("PRAGMA case_sensitive_like = ON", write=True)
    client.raw("PRAGMA foreign_keys = OFF", write=True)
    assert cells(client, "SELECT 'a' LIKE 'A'") == [(1,)]
    assert cells(client, "PRAGMA foreign_keys") == [(1,)]


def test_parameters_belong_to_one_statement(http: httpx.Client) -> None:
    """Values for several statements, or of unknown kinds, are a malformed request."""
    bodies: tuple[Any, ...] = (
        {"sql": "SELECT ?; SELECT ?", "params": [1, 2]},
        {"sql": "SELECT ?", "params": [{"a": 1}]},
        {"sql": "SELECT ?", "params": [[1, 256]]},
        {"sql": 1},
        {"batch": []},
        {"batch": ["SELECT 1"]},
        [],
    )
    for body in bodies:
        answer = http.post(f"{PATH}/{DATABASE}/raw", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 7400), body


def test_query_drops_repeated_names_and_raw_keeps_them(http: httpx.Client) -> None:
    """`/query` answers objects, in which the last of two columns with one name is left."""
    body = {"sql": "SELECT 1 AS a, 2 AS a, 3 AS b"}
    query = http.post(f"{PATH}/{DATABASE}/query", json=body).json()
    raw = http.post(f"{PATH}/{DATABASE}/raw", json=body).json()
    assert query["result"][0]["results"] == [{"a": 2, "b": 3}]
    assert raw["result"][0]["results"] == {"columns": ["a", "a", "b"], "rows": [[1, 2, 3]]}
    assert (raw["success"], raw["errors"], raw["messages"]) == (True, [], [])


# -- values ---------------------------------------------------------------------------------------

CELLS = [
    ("1", 1, "integer"),
    ("1.0", 1, "real"),
    ("1.5", 1.5, "real"),
    ("9007199254740992", 9007199254740992, "integer"),
    ("9007199254740993", 9007199254740992, "integer"),
    ("9223372036854775807", 9223372036854775807 + 193, "integer"),
    ("9e999", None, "real"),
    ("1e300", 1e300, "real"),
    ("X'00ff'", [0, 255], "blob"),
    ("'é'", "é", "text"),
    ("NULL", None, "null"),
]


@pytest.mark.parametrize(("literal", "wire", "kind"), CELLS)
def test_numbers_are_doubles_on_the_way_out(http: httpx.Client, literal: str, wire: Any, kind: str) -> None:
    """Large integers are rounded, whole REALs lose their point, infinities are null, blobs are lists."""
    body = {"sql": f"SELECT {literal}, typeof({literal})"}
    answer = http.post(f"{PATH}/{DATABASE}/raw", json=body).json()
    assert answer["result"][0]["results"]["rows"] == [[wire, kind]]


@pytest.mark.parametrize(
    ("sent", "kind", "text"),
    [
        ("1", "integer", "1"),
        ("1.0", "integer", "1"),
        ("1.5", "real", "1.5"),
        ("9007199254740993", "integer", "9007199254740992"),
        ("1e300", "real", "1.0e+300"),
        ("true", "integer", "1"),
        ("[0, 65]", "blob", "\0A"),
        ('"1"', "text", "1"),
        ('"\\ud800"', "text", "�"),
        ("null", "null", None),
    ],
)
def test_numbers_are_doubles_on_the_way_in(http: httpx.Client, sent: str, kind: str, text: Any) -> None:
    """A whole JSON number is bound as an INTEGER, with the precision of a double."""
    body = f'{{"sql": "SELECT typeof(?1), CAST(?1 AS TEXT)", "params": [{sent}]}}'
    answer = http.post(f"{PATH}/{DATABASE}/raw", content=body).json()
    assert answer["result"][0]["results"]["rows"] == [[kind, text]]


@given(st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary() | st.none())
def test_the_wire_keeps_what_a_double_keeps(value: Any) -> None:
    """There and back through JSON, a cell is what a double makes of it, and the rest is unchanged."""
    back = from_wire(json.loads(json.dumps(to_wire(value))))
    if isinstance(value, int | float):
        assert back is None if math.isinf(value) else float(back) == float(value)  # type: ignore[arg-type]
        if not math.isinf(value):
            assert float(script_number(value)) == float(value)
    else:
        assert back == value


@given(st.text(st.characters(exclude_categories=())))
def test_text_is_always_utf8(text: str) -> None:
    """Half a surrogate pair becomes a replacement character; all other text stays."""
    as_text(text).encode()
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert as_text(text) == text


# -- who may, and what is there -------------------------------------------------------------------


def test_the_token_is_checked(app: Api, tmp_path: Path) -> None:
    """Without the right token nothing is answered; where none is set, any will do."""
    with pytest.raises(RemoteError, match="does not accept the API token") as caught:
        client_of(app, "wrong").raw("SELECT 1")
    assert (caught.value.status, caught.value.code) == (401, 10000)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://127.0.0.1") as http:
        assert http.get(PATH).status_code == 401
        assert http.get(PATH, headers={"Authorization": "Basic right"}).status_code == 401
    with closing(create_app(tmp_path / "other.sqlite", database_id=DATABASE)) as any_token:
        assert cells(client_of(any_token, "whatever"), "SELECT 1") == [(1,)]


def test_a_read_only_token_reads(tmp_path: Path) -> None:
    """With the read-only token statements that write fail as on D1, and nothing else can be changed."""
    with closing(
        create_app(tmp_path / "l.sqlite", database_id=DATABASE, token="right", read_only_token="look")
    ) as app:
        client_of(app).raw("CREATE TABLE t (a)", write=True)
        reader = client_of(app, "look")
        assert cells(reader, "SELECT count(*) FROM t") == [(0,)]
        with pytest.raises(StatementError, match=r"not authorized: SQLITE_AUTH.*D1 Edit"):
            reader.raw("INSERT INTO t VALUES (1)", write=True)
        with pytest.raises(RemoteError, match="10000"):
            reader.import_file(b"DROP TABLE t;")
        with pytest.raises(RemoteError, match="10000"):
            reader.restore(reader.bookmark())
        assert cells(reader, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test", "", "[::1", "10.0.0.1:8799"])
def test_other_names_are_not_answered(app: Api, http: httpx.Client, host: str) -> None:
    """A page whose name was bound to this machine gets nothing, whatever token it guesses."""
    assert http.get(PATH, headers={"Host": host}).status_code == 403
    assert http.get(PATH, headers={"Host": "localhost:8799"}).status_code == 200


def test_large_requests_are_refused(http: httpx.Client) -> None:
    """A request beyond the bound is refused by its size, before it is read."""
    answer = http.post(f"{PATH}/{DATABASE}/raw", content=b"{}", headers={"Content-Length": str(10**12)})
    assert answer.status_code == 413


def test_everybody_may_not_come_without_a_token(tmp_path: Path) -> None:
    """Beyond loopback the server wants a token of its own."""
    with closing(create_app(tmp_path / "l.sqlite")) as app, pytest.raises(Refused, match="--token"):
        serve(app, "0.0.0.0")


def test_with_a_token_it_can_be_served_to_others(app: Api) -> None:
    """Bound to all addresses it answers by any name, as the token keeps strangers out."""
    serve(app, "0.0.0.0").server_close()
    transport = httpx.WSGITransport(app)
    with httpx.Client(transport=transport, base_url="http://ledger.test") as http:
        assert http.get(PATH, headers={"Authorization": "Bearer right"}).status_code == 200
        assert http.get(PATH).status_code == 401


def test_a_taken_port_is_an_error(app: Api) -> None:
    """Where the port is taken the caller is told, and the process goes on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, pytest.raises(OSError, match="in use"):
        serve(app, port=taken.getsockname()[1])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/client/v4/nothing", 404, 7003),
        ("PATCH", PATH, 405, 7001),
        ("POST", f"{PATH}/not-a-uuid/raw", 400, 7400),
        ("POST", f"{PATH}/{DATABASE[:-1]}f/raw", 404, 7404),
        ("GET", f"{PATH}/nobody", 404, 7404),
        ("POST", f"{PATH}/{DATABASE}/export", 400, 7400),
        ("POST", f"{PATH}/{DATABASE}/import", 400, 7400),
        ("POST", f"{PATH}/{DATABASE}/time_travel/restore", 400, 7400),
        ("POST", f"{PATH}/{DATABASE}/time_travel/restore?bookmark=x", 400, 7400),
        ("GET", f"{PATH}/{DATABASE}/time_travel/bookmark?timestamp=x", 400, 7400),
        ("GET", f"{PATH}/{DATABASE}/time_travel/bookmark?timestamp=2001-01-01", 400, 7400),
    ],
)
def test_errors_have_cloudflares_form(
    http: httpx.Client, method: str, path: str, status: int, code: int
) -> None:
    """Errors come in Cloudflare's envelope, with its codes and a ray."""
    answer = http.request(method, path, content=b"{}" if method == "POST" else None)
    assert answer.status_code == status
    body = answer.json()
    assert (body["success"], body["result"], body["errors"][0]["code"]) == (False, None, code)
    assert answer.headers["cf-ray"]


def test_databases_are_listed_made_and_deleted(app: Api, tmp_path: Path) -> None:
    """The control plane lists, finds, describes, creates and deletes; the served file stays."""
    account = client_of(app, database=None)
    made = account.create_database("second-ledger")
    assert [info.name for info in account.list_databases()] == ["ledger", "second-ledger"]
    assert account.find_database("ledger").uuid == DATABASE
    with pytest.raises(RemoteError, match="Choose another name"):
        account.create_database("ledger")
    with pytest.raises(RemoteError):
        account.create_database("-no")
    second = client_of(app, database=made.uuid)
    second.raw("CREATE TABLE t (a)", write=True)
    assert (second.get_database().num_tables, client_of(app).get_database().num_tables) == (1, 0)
    second.delete_database()
    with pytest.raises(RemoteError) as caught:
        second.delete_database()
    assert caught.value.code == 7404
    client_of(app).delete_database()
    assert (tmp_path / "l.sqlite").exists()


def test_a_database_is_described_by_id_or_name_in_part(http: httpx.Client) -> None:
    """`fields` chooses what is told; a name stands for the id where a database is described."""
    answer = http.get(f"{PATH}/ledger", params={"fields": "uuid,name"})
    assert answer.json()["result"] == {"uuid": DATABASE, "name": "ledger"}
    assert http.get(f"{PATH}/{DATABASE}").json()["result"]["version"] == "production"
    assert http.patch(f"{PATH}/{DATABASE}", json={"read_replication": {"mode": "auto"}}).is_success


# -- export and import ----------------------------------------------------------------------------

LEDGER = """
CREATE TABLE "child" (id INTEGER PRIMARY KEY AUTOINCREMENT, p REFERENCES parent);
CREATE TABLE parent (id TEXT PRIMARY KEY, r REAL, b BLOB, i INTEGER);
INSERT INTO parent VALUES ('it''s', 1.0, X'00FF', 9007199254740993), ('a' || char(10) || 'b', 1.5, NULL, 1);
INSERT INTO child (p) VALUES ('it''s'), (NULL);
CREATE INDEX parent_r ON parent (r);
CREATE VIEW v AS SELECT 1 AS one;
"""


def test_an_export_has_d1s_form(client: D1Client) -> None:
    """Tables in the order they were made with their rows behind them, rounding and `replace` included."""
    client.raw_script(LEDGER, write=True)
    target = io.BytesIO()
    export = client.export()
    client.download(export.signed_url, target)
    assert target.getvalue().decode().splitlines() == [
        "PRAGMA defer_foreign_keys=TRUE;",
        'CREATE TABLE IF NOT EXISTS "child" (id INTEGER PRIMARY KEY AUTOINCREMENT, p REFERENCES parent);',
        """INSERT INTO "child" ("id","p") VALUES(1,'it''s');""",
        """INSERT INTO "child" ("id","p") VALUES(2,NULL);""",
        "CREATE TABLE parent (id TEXT PRIMARY KEY, r REAL, b BLOB, i INTEGER);",
        """INSERT INTO "parent" ("id","r","b","i") VALUES('it''s',1,X'00ff',9007199254740992);""",
        """INSERT INTO "parent" ("id","r","b","i") VALUES(replace('a\\nb','\\n',char(10)),1.5,NULL,1);""",
        "DELETE FROM sqlite_sequence;",
        """INSERT INTO "sqlite_sequence" ("name","seq") VALUES('child',2);""",
        "CREATE INDEX parent_r ON parent (r);",
        "CREATE VIEW v AS SELECT 1 AS one;",
    ]
    assert export.bookmark == client.bookmark()


def test_an_export_can_be_of_parts(client: D1Client) -> None:
    """Tables, schema and data can be left out, with D1's gaps: indexes go by their own names."""
    client.raw_script(LEDGER, write=True)

    def lines(**options: Any) -> list[str]:
        target = io.BytesIO()
        client.download(client.export(**options).signed_url, target)
        return target.getvalue().decode().splitlines()

    assert [line[:20] for line in lines(tables=["parent"], data=False)][1:] == ["CREATE TABLE parent "]
    assert all(line.startswith(("PRAGMA", "INSERT")) for line in lines(schema=False))
    assert not any("INSERT" in line for line in lines(data=False))


def test_virtual_tables_are_not_exported(client: D1Client) -> None:
    """One virtual table makes the whole export fail, unless only others are asked for."""
    client.raw_script("CREATE TABLE t (a); CREATE VIRTUAL TABLE f USING fts5(a)", write=True)
    with pytest.raises(RemoteError, match=r"Virtual Tables \(fts5\)"):
        client.export()
    assert client.export(tables=["t"]).signed_url


def test_signed_urls_are_for_one_file_and_method(client: D1Client, http: httpx.Client) -> None:
    """A signed URL opens its own file only, for reading only."""
    url = client.export().signed_url
    del http.headers["Authorization"]
    assert http.get(url).status_code == 200
    assert http.put(url, content=b"x").status_code == 403
    assert http.get(url.replace(".sql?", ".sqx?")).status_code == 403
    assert http.get(url.partition("?")[0]).status_code == 403


def test_an_import_loads_triggers_and_is_all_or_nothing(client: D1Client) -> None:
    """The import splits as SQLite does, loads what `/raw` cannot, and keeps nothing of a file that fails."""
    script = f"CREATE TABLE t (a);\nCREATE TABLE log (a);\n{TRIGGER};\nINSERT INTO t VALUES (1);"
    done = client.import_file(script.encode())
    assert done.queries == 4
    assert done.bookmark == client.bookmark()
    assert cells(client, "SELECT a FROM log") == [("one; two",)]
    with pytest.raises(StatementError, match="no such table: nowhere: SQLITE_ERROR"):
        client.import_file(b"INSERT INTO t VALUES (2); INSERT INTO nowhere VALUES (1);")
    assert cells(client, "SELECT count(*) FROM t") == [(1,)]
    assert client.bookmark() == done.bookmark


def test_an_import_follows_d1s_steps(http: httpx.Client) -> None:
    """Its outcome is told once, a file that was seen is not uploaded again, a missing one not ingested."""

    def post(**body: Any) -> Any:
        return http.post(f"{PATH}/{DATABASE}/import", json=body).json()["result"]

    content = b"CREATE TABLE t (a);"
    etag = hashlib.md5(content).hexdigest()
    init = post(action="init", etag=etag)
    early = post(action="ingest", etag=etag, filename=init["filename"])
    assert (early["success"], "error" in early) == (False, True)
    assert http.put(init["upload_url"], content=content).headers["etag"] == f'"{etag}"'
    state = post(action="ingest", etag=etag, filename=init["filename"])
    assert state["success"]
    final = post(action="poll", current_bookmark=state["at_bookmark"])
    assert (final["status"], final["result"]["num_queries"]) == ("complete", 1)
    again = post(action="poll", current_bookmark=state["at_bookmark"])
    assert (again["success"], again["error"]) == (False, "Not currently importing anything.")
    assert "upload_url" not in post(action="init", etag=etag)


# -- D1's splitter --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "breaks"),
    [
        (TRIGGER, True),
        ("CREATE TRIGGER x AFTER INSERT ON t BEGIN\r\nDELETE FROM t;\r\nEND", True),
        ("CREATE TRIGGER x AFTER INSERT ON t BEGIN\nDELETE FROM t;\nEND", True),
        ("CREATE TRIGGER x AFTER INSERT ON t begin DELETE FROM t; end", True),
        ("CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; END", True),
        ("CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t /* all */; END", True),
        ("CREATE TRIGGER x AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('x'); END", True),
        ("CREATE TRIGGER x AFTER INSERT ON t WHEN new.a = 'x' BEGIN DELETE FROM t; END", False),
        ("SELECT CASE 1 WHEN 1 THEN 'begin; end' END -- no trigger", False),
    ],
)
def test_the_strict_splitter_breaks_on_known_shapes(tmp_path: Path, trigger: str, breaks: bool) -> None:
    """With the switch, triggers of the shapes known to break on D1 break; SQLite takes all of them."""
    assert breaks_the_splitter(trigger) is breaks
    tables = "CREATE TABLE t (a); CREATE TABLE log (a);"
    for strict in (True, False):
        with closing(
            create_app(tmp_path / f"{strict}.sqlite", database_id=DATABASE, strict_splitter=strict)
        ) as app:
            client = client_of(app)
            client.raw_script(tables, write=True)
            if strict and breaks:
                with pytest.raises(StatementError, match="incomplete input"):
                    client.raw_script(f"{trigger};", write=True)
                client.import_file(f"{trigger};".encode())
            else:
                client.raw_script(f"{trigger};", write=True)


# -- Time Travel ----------------------------------------------------------------------------------


def test_bookmarks_stand_for_moments(client: D1Client) -> None:
    """A bookmark has D1's form, stays while nothing changes, grows with every change, and can be gone to."""
    client.raw("CREATE TABLE t (a)", write=True)
    first = client.bookmark()
    assert [len(group) for group in first.split("-")] == [8, 8, 8, 32]
    cells(client, "SELECT * FROM t")
    with pytest.raises(StatementError):
        client.raw_script("INSERT INTO t VALUES (1); SELECT x", write=True)
    assert client.bookmark() == first
    client.raw("INSERT INTO t VALUES (1)", write=True)
    second = client.bookmark()
    assert second > first
    restored = client.restore(first)
    assert (restored.bookmark, restored.previous_bookmark) == (first, second)
    assert cells(client, "SELECT count(*) FROM t") == [(0,)]
    assert client.bookmark() > second
    client.restore(second)
    assert cells(client, "SELECT count(*) FROM t") == [(1,)]


def test_a_bookmark_that_a_client_was_told_is_kept(client: D1Client) -> None:
    """After more commits than there are moments kept of themselves, a promised one can be gone to."""
    client.raw("CREATE TABLE t (a)", write=True)
    promised = client.bookmark()
    for _ in range(60):
        client.raw("INSERT INTO t VALUES (1)", write=True)
    assert client.restore(promised).bookmark == promised
    assert cells(client, "SELECT count(*) FROM t") == [(0,)]


def test_changes_by_others_move_the_bookmark(client: D1Client, tmp_path: Path) -> None:
    """What another program does to the file is noticed."""
    before = client.bookmark()
    with closing(sqlite3.connect(tmp_path / "l.sqlite")) as other:
        other.execute("CREATE TABLE t (a)")
    assert client.bookmark() > before


def test_a_moment_can_be_gone_to_by_its_time(client: D1Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bookmark of a timestamp is that of the last change before it."""
    moment = 1_800_000_000.0
    monkeypatch.setattr("hoox_tasks.server.database.time.time", lambda: moment)
    client.raw("CREATE TABLE t (a)", write=True)
    first = client.bookmark()
    moment += 100
    client.raw("INSERT INTO t VALUES (1)", write=True)
    assert client.bookmark(1_800_000_050) == first
    assert client.bookmark(1_800_000_100) == client.bookmark()


# -- the official SDK -----------------------------------------------------------------------------


@pytest.fixture
def sdk(app: Api) -> Iterator[cloudflare.Cloudflare]:
    with (
        listening(app) as base_url,
        cloudflare.Cloudflare(
            api_token="right", base_url=base_url, _strict_response_validation=True, max_retries=0
        ) as sdk,
    ):
        yield sdk


WHERE: dict[str, Any] = {"account_id": ACCOUNT, "database_id": DATABASE}


def test_the_sdk_queries(sdk: cloudflare.Cloudflare) -> None:
    """The official SDK, validating strictly, runs query and raw, single and batch."""
    sdk.d1.database.query(**WHERE, sql="CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2.5, NULL)")
    (found,) = sdk.d1.database.query(**WHERE, sql="SELECT * FROM t WHERE a > ?", params=["0"]).result
    assert found.results == []  # the SDK's parameters are text, which is greater than any number
    (found,) = sdk.d1.database.query(**WHERE, sql="SELECT * FROM t").result
    assert found.results == [{"a": 1, "b": "x"}, {"a": 2.5, "b": None}]
    assert found.meta is not None
    assert found.meta.served_by_region == "WEUR"
    batch: list[Any] = [{"sql": "SELECT 1 AS a"}, {"sql": "SELECT ? AS b", "params": ["y"]}]
    first, second = sdk.d1.database.raw(**WHERE, batch=batch).result
    assert first.results is not None
    assert second.results is not None
    assert (first.results.columns, first.results.rows) == (["a"], [[1]])
    assert (second.results.columns, second.results.rows) == (["b"], [["y"]])
    with pytest.raises(cloudflare.BadRequestError, match="no such table"):
        sdk.d1.database.raw(**WHERE, sql="SELECT * FROM nowhere")


def test_the_sdk_lists_and_describes(sdk: cloudflare.Cloudflare) -> None:
    """The official SDK lists with pages, and gets, creates and deletes databases."""
    made = sdk.d1.database.create(account_id=ACCOUNT, name="second")
    assert made.uuid is not None
    assert [each.name for each in sdk.d1.database.list(account_id=ACCOUNT)] == ["ledger", "second"]
    assert [each.name for each in sdk.d1.database.list(account_id=ACCOUNT, per_page=1)] == [
        "ledger",
        "second",
    ]
    assert [each.uuid for each in sdk.d1.database.list(account_id=ACCOUNT, name="led")] == [DATABASE]
    assert sdk.d1.database.get(**WHERE).version == "production"
    few = sdk.d1.database.get(**WHERE, fields=["uuid", "name"])
    assert (few.uuid, few.name, few.version) == (DATABASE, "ledger", None)
    sdk.d1.database.delete(account_id=ACCOUNT, database_id=made.uuid)
    with pytest.raises(cloudflare.NotFoundError):
        sdk.d1.database.get(account_id=ACCOUNT, database_id=made.uuid)


def test_the_sdk_imports_and_exports(sdk: cloudflare.Cloudflare) -> None:
    """The official SDK walks through the import's and the export's steps."""
    content = f"CREATE TABLE t (a); CREATE TABLE log (a);\n{TRIGGER};\nINSERT INTO t VALUES (1);".encode()
    etag = hashlib.md5(content).hexdigest()
    init = sdk.d1.database.import_(**WHERE, action="init", etag=etag)
    assert init.upload_url is not None
    assert init.filename is not None
    assert httpx.put(init.upload_url, content=content).headers["etag"] == f'"{etag}"'
    state = sdk.d1.database.import_(**WHERE, action="ingest", etag=etag, filename=init.filename)
    while state.status != "complete":
        assert state.success
        assert state.at_bookmark is not None
        state = sdk.d1.database.import_(**WHERE, action="poll", current_bookmark=state.at_bookmark)
    assert state.result is not None
    assert state.result.num_queries == 4
    dump = sdk.d1.database.export(**WHERE, output_format="polling")
    while dump.status != "complete":
        assert dump.success
        assert dump.at_bookmark is not None
        dump = sdk.d1.database.export(**WHERE, output_format="polling", current_bookmark=dump.at_bookmark)
    assert dump.result is not None
    assert dump.result.signed_url is not None
    assert """INSERT INTO "log" ("a") VALUES('one; two');""" in httpx.get(dump.result.signed_url).text


def test_the_sdk_travels_in_time(sdk: cloudflare.Cloudflare) -> None:
    """The official SDK gets bookmarks and restores to them."""
    sdk.d1.database.query(**WHERE, sql="CREATE TABLE t (a)")
    before = sdk.d1.database.time_travel.get_bookmark(**WHERE).bookmark
    assert before is not None
    sdk.d1.database.query(**WHERE, sql="DROP TABLE t")
    restored = sdk.d1.database.time_travel.restore(**WHERE, bookmark=before)
    assert restored.bookmark == before
    assert restored.previous_bookmark is not None
    assert restored.previous_bookmark > before
    assert sdk.d1.database.query(**WHERE, sql="SELECT count(*) AS n FROM t").result[0].results == [{"n": 0}]


# -- wrangler -------------------------------------------------------------------------------------


class Remote:
    """A folder with a wrangler config and migrations, and wrangler pointed at a local D1 API."""

    def __init__(self, folder: Path, wrangler: Wrangler, base_url: str) -> None:
        self.folder = folder
        self._wrangler = wrangler
        self._env = {
            "CLOUDFLARE_API_BASE_URL": base_url,
            "CLOUDFLARE_API_TOKEN": "right",
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        }

    def __call__(self, *arguments: str, check: bool = True) -> str:
        done = self._wrangler("d1", *arguments, cwd=self.folder, env=self._env, check=check)
        return done.stdout + ("" if check else done.stderr)

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def remote(tmp_path: Path, wrangler: Wrangler, app: Api) -> Iterator[Remote]:
    folder = tmp_path / "workspace"
    (folder / "migrations").mkdir(parents=True)
    database = {"binding": "DB", "database_name": "ledger", "database_id": DATABASE}
    config = {"name": "worker", "compatibility_date": "2026-01-01", "d1_databases": [database]}
    (folder / "wrangler.json").write_text(json.dumps(config))
    (folder / "migrations" / "0001_first.sql").write_text("CREATE TABLE t (a);")
    (folder / "migrations" / "0002_second.sql").write_text(
        "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);"
    )
    with listening(app) as base_url:
        yield Remote(folder, wrangler, base_url)


def test_wrangler_executes_and_exports(remote: Remote, client: D1Client) -> None:
    """Real wrangler runs a command, a file with triggers, and an export, against the local API."""
    remote("execute", "ledger", "--remote", "--command", "CREATE TABLE t (a); CREATE TABLE log (a)")
    (remote.folder / "load.sql").write_text(f"{TRIGGER};\nINSERT INTO t VALUES (1);")
    loaded = remote("execute", "ledger", "--remote", "--yes", "--file", "load.sql")
    assert "Executed 2 queries" in loaded
    found = remote.json("execute", "ledger", "--remote", "--command", "SELECT * FROM log")
    assert found[0]["results"] == [{"a": "one; two"}]
    refused = remote("execute", "ledger", "--remote", "--command", "SELECT * FROM nowhere", check=False)
    assert "no such table: nowhere" in refused
    remote("export", "ledger", "--remote", "--output", "out.sql", "--skip-confirmation")
    target = io.BytesIO()
    client.download(client.export().signed_url, target)
    assert (remote.folder / "out.sql").read_bytes() == target.getvalue()


def test_wrangler_migrates(remote: Remote, client: D1Client) -> None:
    """Real wrangler applies and lists migrations on the local API."""
    assert "0001_first.sql" in remote("migrations", "list", "ledger", "--remote")
    remote("migrations", "apply", "ledger", "--remote")
    assert cells(client, "SELECT name FROM d1_migrations ORDER BY id") == [
        ("0001_first.sql",),
        ("0002_second.sql",),
    ]
    assert cells(client, "SELECT a FROM t") == [(1,), (2,)]
    assert "No migrations to apply" in remote("migrations", "list", "ledger", "--remote")


def test_wrangler_lists_describes_and_travels(remote: Remote, client: D1Client) -> None:
    """Real wrangler lists and describes databases, and restores to a bookmark."""
    assert [each["uuid"] for each in remote.json("list")] == [DATABASE]
    assert remote.json("info", "ledger")["uuid"] == DATABASE
    client.raw("CREATE TABLE t (a)", write=True)
    bookmark = remote.json("time-travel", "info", "ledger")["bookmark"]
    assert bookmark == client.bookmark()
    client.raw("DROP TABLE t", write=True)
    restored = remote.json("time-travel", "restore", "ledger", "--bookmark", bookmark)
    assert restored["bookmark"] == bookmark
    assert cells(client, "SELECT count(*) FROM t") == [(0,)]


def test_a_request_that_never_ends_is_ended(client: D1Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that takes too long is ended, as D1 does, and the next one is answered."""
    monkeypatch.setattr("hoox_tasks.server.database.REQUEST_SECONDS", 0.2)
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x < 0"
    with pytest.raises(RemoteError, match="exceeded timeout"):
        client.raw(endless)
    assert cells(client, "SELECT 1") == [(1,)]
