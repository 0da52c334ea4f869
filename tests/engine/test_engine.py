"""The real engine behind its adapter keeps what the other engine tests rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engine import Engine, EngineDatabase, EngineError, request
from tests.support.npm import Wrangler


def test_names_of_columns_survive(engine_database: EngineDatabase) -> None:
    """Two columns of one name are both there."""
    (result,) = engine_database.batch("SELECT 1 AS a, 2 AS a")
    assert result["results"] == {"columns": ["a", "a"], "rows": [[1, 2]]}


def test_batch_is_one_transaction(engine_database: EngineDatabase) -> None:
    """A batch whose last statement fails leaves nothing of the first."""
    with pytest.raises(EngineError, match=r"^no such table: nope: SQLITE_ERROR$") as raised:
        engine_database.batch("CREATE TABLE t (a)", "INSERT INTO nope VALUES (1)")
    assert (raised.value.status, raised.value.code) == (400, 7500)
    assert engine_database.raw("SELECT name FROM sqlite_schema WHERE name = 't'") == []


def test_several_statements_in_one_text(engine_database: EngineDatabase) -> None:
    """A text of several statements is one transaction and gives one result for each."""
    url = f"{engine_database.url}/raw"
    results = request("POST", url, {"sql": "CREATE TABLE t (a); INSERT INTO t VALUES (7); SELECT a FROM t;"})
    assert [result["results"]["rows"] for result in results] == [[], [], [[7]]]
    with pytest.raises(EngineError):
        request("POST", url, {"sql": "DELETE FROM t; SELECT nope;"})
    assert engine_database.raw("SELECT a FROM t") == [[7]]


def test_parameters_with_several_statements_are_refused(engine_database: EngineDatabase) -> None:
    """Parameters belong to one statement: with two it is code 7400, and nothing ran."""
    with pytest.raises(EngineError) as raised:
        request("POST", f"{engine_database.url}/raw", {"sql": "SELECT ?; SELECT 2", "params": [1]})
    assert raised.value.code == 7400


def test_databases_are_found_by_name_and_come_back_empty(engine: Engine) -> None:
    """A database can be listed, fetched by name or id while it lives, and is empty when handed out again."""
    for _ in range(2 * 64):
        with engine.database("mine") as database:
            assert database.raw(
                "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '!_cf!_%' ESCAPE '!' "
                "AND name <> 'sqlite_sequence'"
            ) == [[0]]
            database.batch(
                "CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT)",
                "CREATE TABLE child (id INTEGER REFERENCES parent)",
                "INSERT INTO parent VALUES (1)",
                "INSERT INTO child VALUES (1)",
                "CREATE VIRTUAL TABLE words USING fts5(word)",
                "CREATE VIEW both AS SELECT id FROM parent UNION SELECT id FROM child",
                "CREATE INDEX by_id ON child (id)",
                "CREATE TRIGGER gone AFTER DELETE ON parent BEGIN DELETE FROM child; END",
            )
    with engine.database("mine") as database:
        listing = f"{database.base_url}/accounts/any/d1/database"
        assert [database.uuid] == [found["uuid"] for found in request("GET", f"{listing}?name=mine")]
        assert database.uuid == request("GET", f"{listing}/mine")["uuid"]
    with pytest.raises(EngineError) as raised:
        request("GET", f"{listing}/mine")
    assert (raised.value.status, raised.value.code) == (404, 7404)


def test_wrangler_is_the_pinned_one(wrangler: Wrangler, tmp_path: Path) -> None:
    """The wrangler that tests run is the version they were written for."""
    assert wrangler.version == wrangler("--version", cwd=tmp_path).stdout.strip()
