"""A ledger on D1 through the interface, on the local D1 API with D1's own splitter."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoox_tasks.config.settings import Target, load_settings
from hoox_tasks.database import dump
from hoox_tasks.database.interface import Database, Statement
from hoox_tasks.database.remote.database import RemoteDatabase, open_remote
from hoox_tasks.errors import Refused, RemoteError, StatementError
from hoox_tasks.server import Api
from tests.support.d1_api import ACCOUNT, DATABASE, TRIGGER, listening
from tests.support.remote import Counting, connect


def cells(database: Database, sql: str) -> list[tuple[Any, ...]]:
    return list(database.query(sql))


def test_a_unit_is_one_request(remote: RemoteDatabase, wire: Counting) -> None:
    """Statements with values travel as one request, all or none, and answer in order."""
    results = remote.batch(
        [
            Statement("CREATE TABLE t (a, b)"),
            Statement("INSERT INTO t VALUES (?, ?)", ["it's; ? --", 1.0]),
            Statement("SELECT a, typeof(b) FROM t -- '?"),
        ]
    )
    assert wire.asked == ["raw"]
    assert [list(result) for result in results] == [[], [], [("it's; ? --", "real")]]
    with pytest.raises(StatementError, match="no such table: x"):
        remote.batch([Statement("DROP TABLE t"), Statement("INSERT INTO x VALUES (1)")])
    assert cells(remote, "SELECT count(*) FROM t") == [(1,)]
    assert remote.batch([]) == []


def test_triggers_and_large_units_are_imported(remote: RemoteDatabase, wire: Counting) -> None:
    """What D1's splitter would break, and what is large, goes through the import, as one unit too."""
    remote.batch([Statement("CREATE TABLE t (a)"), Statement("CREATE TABLE log (a)"), Statement(TRIGGER)])
    assert set(wire.asked) == {"import", f"{DATABASE}.{wire.asked[1].split('.')[1]}.sql"}
    with pytest.raises(StatementError, match="already exists"):
        remote.batch([Statement("INSERT INTO t VALUES (2)"), Statement(TRIGGER)])
    wire.asked.clear()
    remote.batch([Statement("INSERT INTO t VALUES (?)", ["x" * 90_000])] * 12)
    assert "raw" not in wire.asked
    assert cells(remote, "SELECT count(*) FROM t") == [(12,)]
    remote.query("DROP TRIGGER t_log", write=True)
    remote.query(TRIGGER, write=True)


def test_values_too_long_for_a_literal_are_bound(remote: RemoteDatabase) -> None:
    """A value of more than a statement's length travels as a parameter."""
    remote.batch(
        [Statement("CREATE TABLE t (a)"), Statement("INSERT INTO t VALUES (?1 || ?1)", ["é" * 90_000])]
    )
    assert cells(remote, "SELECT length(a) FROM t") == [(180_000,)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("INSERT INTO t VALUES (1)", "it would insert into t"),
        ("WITH x AS (SELECT 1) DELETE FROM t", "it would delete from t"),
        ("DROP TABLE t", "it would"),
        ("PRAGMA foreign_keys = OFF", "it would"),
    ],
)
def test_what_would_change_is_not_sent(remote: RemoteDatabase, wire: Counting, sql: str, words: str) -> None:
    """Without `write`, a statement that would change anything is refused before it is sent."""
    remote.batch([Statement("CREATE TABLE t (a)")])
    wire.asked.clear()
    with pytest.raises(Refused, match=words):
        remote.query(sql)
    assert wire.asked == ["raw"], "only the schema was asked for"
    with pytest.raises(Refused, match=words):
        remote.query(sql)
    assert wire.asked == ["raw"], "and only once"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELECT sqlite_version()", "not authorized to use function: sqlite_version"),
        ("SELECT 1 FORM t", 'near "t": syntax error'),
        ("-- nothing", "did not contain a statement"),
    ],
)
def test_what_d1_would_refuse_is_not_sent(
    remote: RemoteDatabase, wire: Counting, sql: str, words: str
) -> None:
    """A statement that does not compile fails in the words that a local ledger has for it."""
    with pytest.raises(StatementError, match=words) as caught:
        remote.query(sql)
    assert caught.value.sql == sql
    assert len(wire.asked) == 1
    if "FORM" in sql:
        assert caught.value.offset == sql.index("t")


@pytest.mark.parametrize("sql", ["SELECT 1", "EXPLAIN SELECT 1", "PRAGMA table_info(t)", "VALUES (1)"])
def test_what_reads_is_sent(remote: RemoteDatabase, wire: Counting, sql: str) -> None:
    """Reading statements of all kinds pass, and tell what D1 bills."""
    remote.batch([Statement("CREATE TABLE t (a)")])
    rows = remote.query(sql)
    assert list(rows)
    assert rows.meta.rows_read is not None
    assert json.loads(wire.bodies[-1])["sql"] == sql


def test_reading_needs_no_right_to_write(remote: RemoteDatabase, wire: Counting) -> None:
    """With a token that may only read, schema, queries and reading units work, and nothing else."""
    remote.batch([Statement("CREATE TABLE t (a)"), Statement("CREATE INDEX i ON t (a)")])
    with closing(connect(wire, "look")) as reader:
        assert [(item.type, item.name, item.table) for item in reader.schema()] == [
            ("table", "t", "t"),
            ("index", "i", "t"),
        ]
        assert cells(reader, "SELECT count(*) FROM t") == [(0,)]
        assert len(reader.batch([Statement("SELECT 1"), Statement("SELECT 2")], write=False)) == 2
        with pytest.raises(StatementError, match="D1 Edit"):
            reader.query("INSERT INTO t VALUES (1)", write=True)


values = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.sampled_from([1.0, -0.5, 2**53 + 1, float("inf"), "?", "'", "\r\n", "\0"])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, values), min_size=1, max_size=4))
def test_values_arrive_exactly(remote: RemoteDatabase, tmp_path: Path, rows: list[tuple[Any, Any]]) -> None:
    """Whatever SQLite can hold arrives with its type and its bits, by a query, a batch and an insert."""
    remote.batch([Statement("DROP TABLE IF EXISTS t"), Statement("CREATE TABLE t (a, b)")])
    remote.query("INSERT INTO t VALUES (?, ?)", rows[0], write=True)
    remote.batch([Statement("INSERT INTO t VALUES (?, ?)", rows[0])])
    assert remote.insert([("t", ("b", "a"), [(b, a) for a, b in rows])]) == {"t": len(rows)}
    with closing(sqlite3.connect(tmp_path / "l.sqlite")) as file:
        found = file.execute("SELECT a, b FROM t ORDER BY rowid").fetchall()
    # repr tells 1 from 1.0, and 0.0 from -0.0.
    assert list(map(repr, found)) == list(map(repr, [rows[0], rows[0], *rows]))


def test_many_rows_are_inserted_as_one_unit(remote: RemoteDatabase, wire: Counting) -> None:
    """20,000 rows go in by one import, within D1's limits; when one of them fails, none is there."""
    remote.batch([Statement("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c, d, e, f, g, h, i, j, k)")])
    rows: list[tuple[Any, ...]] = [(index, *(["value"] * 11)) for index in range(20_000)]
    columns = ("id", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k")
    with pytest.raises(StatementError, match="UNIQUE"):
        remote.insert([("t", columns, [*rows, rows[0]])])
    assert cells(remote, "SELECT count(*) FROM t") == [(0,)]
    wire.asked.clear()
    assert remote.insert([("t", columns, rows[:7_000]), ("t", columns, rows[7_000:])]) == {"t": 20_000}
    assert wire.asked.count("import") == 3
    assert cells(remote, "SELECT count(*), sum(id) FROM t") == [(20_000, sum(range(20_000)))]
    assert remote.insert([("t", columns, [])]) == {"t": 0}


def test_the_settings_lead_to_the_database(app: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Account, token and address come from the environment, the database from its id or its name."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    with listening(app) as base_url:
        environ = {
            "CLOUDFLARE_API_BASE_URL": base_url,
            "CLOUDFLARE_API_TOKEN": "right",
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        }

        def opened(configured: dict[str, str], database: str | None = None, **more: str) -> RemoteDatabase:
            target = Target(remote=True, database=database)
            return open_remote(load_settings(target, configured, cwd=tmp_path, environ=environ | more))

        with closing(opened({"database_id": DATABASE})) as by_id:
            assert cells(by_id, "SELECT 1") == [(1,)]
        with closing(opened({}, "ledger")) as by_name:
            assert cells(by_name, "SELECT 1") == [(1,)]
            assert by_name.address == f"D1 database ledger ({DATABASE}) of account {ACCOUNT}"
        with pytest.raises(RemoteError, match="Did you mean ledger"):
            opened({}, "legder")
        with pytest.raises(Refused, match="No D1 database is configured"):
            opened({})
        with pytest.raises(Refused, match="no Cloudflare API token"):
            opened({"database_id": DATABASE}, CLOUDFLARE_API_TOKEN="")
        with pytest.raises(Refused, match="not a D1 database id"):
            opened({"database_id": "ledger"})


def test_the_failing_statement_of_a_unit_is_named(remote: RemoteDatabase) -> None:
    """D1 does not say which statement of a unit failed; an empty ledger with the same schema does."""
    remote.batch([Statement("CREATE TABLE t (a UNIQUE)")])
    unit = [Statement("INSERT INTO t VALUES (1)"), Statement("INSERT INTO t VALUES (1), (nowhere)")]
    with pytest.raises(StatementError, match="no such column: nowhere") as caught:
        remote.batch(unit)
    assert (caught.value.index, caught.value.sql) == (1, unit[1].sql)
    assert caught.value.offset == unit[1].sql.index("nowhere")
    remote.query("INSERT INTO t VALUES (7)", write=True)
    with pytest.raises(StatementError, match="UNIQUE") as caught:
        remote.batch([Statement("SELECT 1"), Statement("INSERT INTO t VALUES (7)")])
    assert caught.value.index is None, "that depends on the rows"


def test_rows_that_d1_cannot_take_are_refused_before_anything_is_sent(
    remote: RemoteDatabase, wire: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is too long for a statement, among more than one request takes, is refused at once."""
    remote.batch([Statement("CREATE TABLE t (a)")])
    wire.asked.clear()
    assert remote.insert([("t", ["a"], [("x",), ("é" * 99_000,), ("y",)])]) == {"t": 3}
    assert wire.asked == ["raw"]
    assert cells(remote, "SELECT length(a) FROM t ORDER BY rowid") == [(1,), (99_000,), (1,)]
    monkeypatch.setattr("hoox_tasks.database.remote.changes._BATCH_BYTES", 300_000)
    wire.asked.clear()
    with pytest.raises(Refused, match=r"A row is 1[0-9]{2},[0-9]{3} bytes long"):
        remote.insert([("t", ["a"], [("x" * 120_000,), ("y" * 50_000,), ("z" * 150_000,)])])
    assert wire.asked == []


def test_rows_too_large_for_one_value_are_read_one_by_one(remote: RemoteDatabase) -> None:
    """Rows that together are more than D1 puts into one value are dumped all the same."""
    remote.batch([Statement("CREATE TABLE t (a TEXT)")])
    remote.insert([("t", ["a"], [("x" * 50_000,)] * 60)])
    parts: list[bytes] = []
    assert dump.dump(remote, parts.append, online=True) == {"t": 60}
    assert b"".join(parts).count(b"x" * 50_000) == 60
