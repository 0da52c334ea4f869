"""Wrangler's config as we read it; `tests/engine/test_wrangler_local.py` asks wrangler itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hoox_tasks.config.settings import find_config
from hoox_tasks.config.wrangler import Binding, object_id, read_config
from hoox_tasks.errors import Refused

ONE = '[{"binding": "DB", "database_name": "ledger", "database_id": "id"}]'


def written(folder: Path, text: str, name: str = "wrangler.jsonc") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("local_id", "expected"),
    [
        (
            "a682f084-594e-4bd8-be2d-40ea5f8cf42e",
            "43d96c62a3b539707cc797ec03921fdd29b37d817dfdf38145958debc81f9156",
        ),
        ("DB", "e7352547963de7050bd7d94658afc4fe78b61811b7815da12d90be8e863abf4d"),
    ],
)
def test_the_local_files_name_is_miniflares(local_id: str, expected: str) -> None:
    """Names that miniflare was seen to give."""
    assert object_id(local_id) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"preview_database_id": "p", "database_id": "d"}, "p"),
        ({"database_id": "d"}, "d"),
        ({}, "DB"),
    ],
)
def test_the_local_id_falls_back(entry: dict[str, str], expected: str) -> None:
    """The preview's id, else the database's, else the binding."""
    texts = dict.fromkeys(
        [
            "database_name",
            "database_id",
            "preview_database_id",
            "migrations_dir",
            "migrations_table",
            "migrations_pattern",
        ],
        "",
    )
    assert Binding(binding="DB", **{**texts, **entry}).local_id == expected


def test_a_parents_json_wins_over_the_toml_beside_one(tmp_path: Path) -> None:
    """Names are searched upwards one after the other, wrangler.json before all."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    toml = written(below, "", "wrangler.toml")
    assert find_config(below) == toml
    jsonc = written(tmp_path / "a", "{}", "wrangler.jsonc")
    assert find_config(below) == jsonc
    json = written(tmp_path, "{}", "wrangler.json")
    assert find_config(below) == json


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wrangler.json", f'{{"d1_databases": {ONE}}}'),
        ("wrangler.jsonc", f'\ufeff{{ // the ledger\n "d1_databases": {ONE}, /* and\n no more */ }}'),
        (
            "wrangler.toml",
            '[[d1_databases]]\nbinding = "DB"\ndatabase_name = "ledger"\ndatabase_id = "id"\n',
        ),
    ],
)
def test_all_three_kinds_of_file_are_read(tmp_path: Path, name: str, text: str) -> None:
    """JSON, JSON with comments and trailing commas and a byte order mark, and TOML."""
    (binding,) = read_config(written(tmp_path, text, name), environ={}).bindings
    assert (binding.name, binding.binding, binding.database_id) == ("ledger", "DB", "id")
    assert binding.migrations_table == "", "what is left out is empty"


def test_environments_do_not_inherit_databases(tmp_path: Path) -> None:
    """An environment has its own databases or none; the account is inherited."""
    path = written(
        tmp_path,
        f'{{"account_id": "acc", "d1_databases": {ONE}, "env": {{"bare": {{}},'
        ' "full": {"d1_databases": [{"binding": "X"}]}}}',
    )
    assert [b.binding for b in read_config(path, environ={}).bindings] == ["DB"]
    assert [b.binding for b in read_config(path, environ={"CLOUDFLARE_ENV": "full"}).bindings] == ["X"]
    bare = read_config(path, "bare", environ={"CLOUDFLARE_ENV": "full"})
    assert (bare.bindings, bare.account_id) == ((), "acc")
    with pytest.raises(Refused, match=r"environment bare has no D1 database\. Add one"):
        bare.choose(None)
    with pytest.raises(Refused, match=r"no environment ful\. Did you mean full\? It has: bare, full"):
        read_config(path, "ful")


def test_a_variable_is_not_heeded_where_there_are_no_environments(tmp_path: Path) -> None:
    """As in wrangler; but who names one by flag is told that there is none."""
    path = written(tmp_path, f'{{"d1_databases": {ONE}}}')
    config = read_config(path, environ={"CLOUDFLARE_ENV": "production"})
    assert (config.environment, len(config.bindings)) == ("", 1)
    with pytest.raises(Refused, match="no environment production"):
        read_config(path, "production", environ={})


def test_a_database_is_chosen_by_name_or_binding(tmp_path: Path) -> None:
    """Of several one has to be chosen, and a near miss is helped with."""
    path = written(
        tmp_path,
        '{"d1_databases": [{"binding": "A", "database_name": "ledger"}, {"binding": "B"}]}',
    )
    config = read_config(path, environ={})
    assert config.choose("ledger") is config.choose("A")
    assert config.choose("B").binding == "B"
    with pytest.raises(Refused, match=r"several D1 databases .* ledger \(A\), B\."):
        config.choose(None)
    with pytest.raises(Refused, match=r"Did you mean ledger\?"):
        config.choose("leger")
    with pytest.raises(Refused, match=r"It has: ledger \(A\), B\."):
        config.choose("zzz")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "does not parse"),
        ("[" * 100_000, "does not parse"),
        ("3", "does not hold an object"),
        ('{"d1_databases": {}, "env": 3}', "env in .* is not a table"),
        ('{"d1_databases": "x"}', "is not a list"),
        ('{"d1_databases": [{"binding": "A", "database_id": 3}]}', "database_id .* is not text"),
        ('{"d1_databases": [{"database_name": "a"}]}', "has no binding"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """The file is named, and what is wrong in it."""
    path = written(tmp_path, text)
    with pytest.raises(Refused, match=says) as caught:
        read_config(path, environ={"CLOUDFLARE_ENV": "x"})
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wrangler.toml", "a" + ".a" * 50_000 + " = 1"),
        ("wrangler.toml", "a = " + "[" * 100_000),
        ("wrangler.toml", "#" * 1_100_000),
        ("wrangler.jsonc", "[" * 100_000),
        ("wrangler.jsonc", "{" * 100_000),
        ("wrangler.jsonc", "//" * 600_000),
    ],
)
def test_a_config_that_means_harm_is_refused_soon(tmp_path: Path, name: str, text: str) -> None:
    """Deep, endless or oversized settings of a checkout cost less than a second, and get a sentence."""
    path = tmp_path / name
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(Refused, match="does not parse"):
        read_config(path)
    assert time.process_time() - started < 1
