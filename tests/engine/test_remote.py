"""The same promises on a real D1 engine and on the local D1 API, with equal results."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.d1 import D1Client
from hoox_tasks.database import dump
from hoox_tasks.database.checksum import Checksum, checksums
from hoox_tasks.database.interface import Moment, Statement, Table
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.database.schema import read_tables
from hoox_tasks.errors import StatementError
from hoox_tasks.server import create_app
from tests.support.alike import ALIKE, anything, literal
from tests.support.engine import EngineDatabase
from tests.support.strategies import Cell, examples

LOCAL = "a682f084-594e-4bd8-be2d-40ea5f8cf42e"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[RemoteDatabase]:
    with closing(create_app(tmp_path / "l.sqlite", database_id=LOCAL)) as app:
        client = D1Client(
            "any",
            "any",
            database_id=LOCAL,
            base_url="http://127.0.0.1/client/v4",
            transport=httpx.WSGITransport(app),
        )
        with closing(RemoteDatabase(client, "local")) as database:
            yield database


@pytest.fixture
def real(engine_database: EngineDatabase) -> Iterator[RemoteDatabase]:
    client = D1Client(
        engine_database.account, "any", database_id=engine_database.uuid, base_url=engine_database.base_url
    )
    with closing(RemoteDatabase(client, "real")) as database:
        yield database


VALUES = [
    None,
    0,
    1,
    -1,
    2**53,
    2**53 + 1,
    -(2**63),
    2**63 - 1,
    1.0,
    -0.0,
    1.5,
    0.1,
    1e300,
    5e-324,
    float("inf"),
    float("-inf"),
    "",
    "it's",
    "a\nb\\n",
    "\r\n",
    "a\0b",
    "1",
    "é😀",
    b"",
    b"\x00\xff'",
]


def test_values_arrive_exactly_at_a_real_engine(real: RemoteDatabase, local: RemoteDatabase) -> None:
    """Every kind of value arrives with its type and bits, by query, batch and insert, on both."""
    exact = (
        "typeof(a), CASE typeof(a) WHEN 'text' THEN hex(a) WHEN 'real' THEN (a > 1.7e308) - (a < -1.7e308)"
        " ELSE quote(a) END"
    )
    found = []
    for database in (real, local):
        database.batch([Statement("CREATE TABLE t (a)")])
        for value in VALUES:
            database.query("INSERT INTO t VALUES (?)", [value], write=True)
            database.batch([Statement("INSERT INTO t VALUES (?)", [value])])
        database.insert([("t", ["a"], [(value,) for value in VALUES])])
        found.append(list(database.query(f"SELECT {exact} FROM t ORDER BY rowid")))
        found.append(list(database.query("SELECT a FROM t ORDER BY rowid")))
    assert found[0] == found[2]
    assert found[1] == found[3]
    kinds = {type(None): "null", int: "integer", float: "real", str: "text", bytes: "blob"}
    expected = [kinds[type(value)] for value in VALUES]
    doubled = [kind for kind in expected for _ in range(2)]
    assert [row[0] for row in found[0]] == doubled + expected


@pytest.mark.parametrize(
    "body",
    [
        {"sql": "SELECT typeof(?1), ?1", "params": [1.5]},
        {"sql": "SELECT typeof(?1), ?1", "params": [1e300]},
        {"sql": "SELECT typeof(?1), ?1", "params": ["1"]},
        {"sql": "SELECT typeof(?1), ?1", "params": [[1, 2]]},
        {"sql": "SELECT typeof(?1), ?1", "params": [None]},
        {"sql": "SELECT 9007199254740993, 9223372036854775807, 1.0, 9e999, X'00ff', -0.0, 1e21, 1e20"},
        {"sql": "SELECT 1 AS a, 2 AS a"},
        {"sql": "SELECT 1 WHERE 0"},
        {"sql": "SELECT 1; SELECT 2"},
        {"sql": "SELECT ?; SELECT ?", "params": [1, 2]},
        {"sql": "SELECT * FROM nowhere"},
        {"sql": "SELECT 1 FORM t"},
        {"sql": "BEGIN"},
        {"sql": "PRAGMA user_version"},
        {"sql": "SELECT sqlite_version()"},
        {"sql": "SELECT ?", "params": []},
        {"sql": "SELECT ?", "params": [1, 2]},
        {"batch": [{"sql": "SELECT 1"}, {"sql": "SELECT ?", "params": ["x"]}]},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_the_wire_is_the_same(real: RemoteDatabase, local: RemoteDatabase, body: dict[str, Any]) -> None:
    """The local D1 API answers a request with the results, the code and the message of the real engine.

    Whole numbers as parameters are left out: this engine binds them as REALs, the service was measured to
    bind them as INTEGERs, and the local D1 API follows the service.
    """

    def answer(database: RemoteDatabase) -> Any:
        url = f"{database.client.base_url}/accounts/any/d1/database/{database.client.database_id}/raw"
        response = database.client._http.post(url, json=body)
        data = response.json()
        if not data["success"]:
            message = data["errors"][0]["message"]
            code = data["errors"][0]["code"]
            # Python does not tell the offset; and the real engine may name extended codes.
            return (
                response.status_code,
                code,
                "" if code == 7400 else message.split(" at offset")[0].split(": SQLITE")[0],
            )
        return [each["results"] for each in data["result"]]

    assert answer(local) == answer(real)


def test_units_are_whole_on_a_real_engine(real: RemoteDatabase, local: RemoteDatabase) -> None:
    """A unit that fails at its end has changed nothing, schema included."""
    for database in (real, local):
        database.batch([Statement("CREATE TABLE t (a UNIQUE)"), Statement("INSERT INTO t VALUES (1)")])
        before = database.schema()
        with pytest.raises(StatementError, match="UNIQUE"):
            database.batch(
                [
                    Statement("CREATE TABLE u (a)"),
                    Statement("INSERT INTO t VALUES (2)"),
                    Statement("INSERT INTO t VALUES (1)"),
                ]
            )
        assert database.schema() == before
        assert list(database.query("SELECT a FROM t")) == [(1,)]


class _Unmoved(D1Client):
    """The engine has no Time Travel; nobody else writes to it here."""

    def bookmark(self, timestamp: int | None = None) -> str:
        return "unmoved"


def test_a_real_engine_is_dumped_by_queries(engine_database: EngineDatabase) -> None:
    """The queries that read a ledger exactly run within the real engine's rules."""
    client = _Unmoved(
        engine_database.account, "any", database_id=engine_database.uuid, base_url=engine_database.base_url
    )
    with closing(RemoteDatabase(client, "real")) as real, closing(sqlite3.connect(":memory:")) as loaded:
        columns = [f"c{index}" for index in range(40)]
        real.batch(
            [
                Statement("CREATE VIRTUAL TABLE words USING fts5(a)"),
                Statement(f"CREATE TABLE t (id INTEGER PRIMARY KEY, a, {', '.join(columns)})"),
                Statement("INSERT INTO words VALUES ('some words')"),
            ]
        )
        real.insert([("t", ["a"], [(value,) for value in VALUES])])
        parts: list[bytes] = []
        dump.dump(real, parts.append)
        loaded.executescript(b"".join(parts).decode())
        found = [value for (value,) in loaded.execute("SELECT a FROM t ORDER BY id")]
        assert [(type(value), value) for value in found] == [(type(value), value) for value in VALUES]
        assert loaded.execute("SELECT a FROM words WHERE words MATCH 'words'").fetchall() == [("some words",)]


def test_checksums_are_the_same_on_a_real_engine(real: RemoteDatabase, tmp_path: Path) -> None:
    """The same rows have the same checksum on D1's engine and on the SQLite of this machine."""
    fill = [
        Statement("CREATE TABLE t (a, b, c TEXT)"),
        Statement("CREATE TABLE u (a PRIMARY KEY) WITHOUT ROWID"),
    ]
    with closing(LocalDatabase(tmp_path / "here.sqlite", create=True)) as here:
        for database in (here, real):
            database.batch(fill)
            rows = [(a, b, f"{a!r}{b}") for a in VALUES for b in (None, 0.1, 7, "text")]
            database.insert([("t", ("a", "b", "c"), rows), ("u", ("a",), [("x",), (2,)])])
        with here.snapshot() as snapshot:
            tables = read_tables(snapshot)
        found = checksums(here, tables)
        assert checksums(real, tables) == found
        assert found["t"].rows == len(rows)
        real.query("UPDATE t SET b = 8 WHERE b = 7 AND a = 1.5", write=True)
        assert checksums(real, tables)["t"] != found["t"]


def checksums_of(database: LocalDatabase | RemoteDatabase, rows: Sequence[tuple[Cell, ...]]) -> Checksum:
    """The checksum of a table with these rows."""
    fill = [Statement("DROP TABLE IF EXISTS cells"), Statement("CREATE TABLE cells (a, b)")]
    fill += [Statement(f"INSERT INTO cells VALUES ({', '.join(map(literal, row))})") for row in rows]
    database.batch(fill)
    table = Table("cells", "", "table", ("a", "b"), frozenset(), False, "rowid", (), frozenset())
    return checksums(database, [table])["cells"]


def test_cells_that_look_alike_have_different_checksums_on_a_real_engine(
    real: RemoteDatabase, tmp_path: Path
) -> None:
    """D1's engine tells alike cells apart, and has the same checksums as the SQLite of this machine."""
    with closing(LocalDatabase(tmp_path / "here.sqlite", create=True)) as here:
        for pair in ALIKE:
            first, second = (checksums_of(real, [(cell, 1)]) for cell in pair)
            assert first != second, pair
            assert [first, second] == [checksums_of(here, [(cell, 1)]) for cell in pair]


@given(st.lists(st.tuples(anything, anything), max_size=4))
@examples(25)
def test_any_rows_have_the_same_checksum_on_a_real_engine(
    real: RemoteDatabase, tmp_path: Path, rows: list[tuple[Cell, ...]]
) -> None:
    """Whatever rows hold, D1's engine has the checksum that the SQLite of this machine has."""
    with closing(LocalDatabase(tmp_path / "here.sqlite", create=True)) as here:
        assert checksums_of(real, rows) == checksums_of(here, rows)


def test_searches_and_the_widest_rows_have_checksums_on_a_real_engine(
    real: RemoteDatabase, tmp_path: Path
) -> None:
    """A row of an FTS5 table counts on D1's engine, and a table of 100 columns is within its limits."""
    names = ", ".join(f"column_{number}_with_a_name_of_forty_characters"[:40] for number in range(100))
    fill = [
        Statement("CREATE VIRTUAL TABLE words USING fts5(a, b)"),
        Statement("INSERT INTO words VALUES ('FILLED', 1), ('other', 2)"),
        Statement(f"CREATE TABLE wide ({names})"),
        Statement(f"INSERT INTO wide VALUES ({', '.join(map(str, range(100)))})"),
    ]
    real.batch(fill)
    with closing(LocalDatabase(tmp_path / "here.sqlite", create=True)) as here:
        here.batch(fill)
        with here.snapshot() as snapshot:
            tables = read_tables(snapshot)
        before = checksums(real, tables)
        assert before == checksums(here, tables)
    assert {name: found.rows for name, found in before.items()} == {"words": 2, "wide": 1}
    last = names.rpartition(" ")[2]
    real.batch(
        [Statement("UPDATE words SET a = 'FAILED' WHERE b = 1"), Statement(f"UPDATE wide SET {last} = 9")]
    )
    after = checksums(real, tables)
    assert after["words"] != before["words"]
    assert after["wide"] != before["wide"]


def test_a_change_is_made_of_a_moment_on_a_real_engine(engine_database: EngineDatabase) -> None:
    """A change that somebody else was ahead of fails on a real engine as a whole, and is made anew."""
    client = _Unmoved(
        engine_database.account, "any", database_id=engine_database.uuid, base_url=engine_database.base_url
    )
    seen: list[dict[str, int]] = []
    with closing(RemoteDatabase(client, "real")) as real:
        real.batch([Statement("CREATE TABLE t (a, b TEXT)"), Statement("CREATE INDEX i ON t (a)")])
        real.insert([("t", ["a"], [(value,) for value in VALUES])])

    def interfere(moment: Moment) -> None:
        seen.append(dict(moment.tables))
        if len(seen) == 1:
            engine_database.raw("INSERT INTO t VALUES (1, 'others')")

    with closing(RemoteDatabase(client.for_database(engine_database.uuid), "real")) as real:
        real.before_first_change = interfere
        real.batch([Statement("UPDATE t SET b = 'ours'"), Statement("CREATE TABLE u (a)")])
        assert list(real.query("SELECT count(*), sum(b = 'ours') FROM t")) == [(len(VALUES) + 1,) * 2]
    assert seen == [{"t": len(VALUES)}, {"t": len(VALUES) + 1}]
