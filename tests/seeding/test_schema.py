"""The schema that editors check scenario files with says what the reader does."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks.errors import Refused
from hoox_tasks.seeding import find_scenarios, load_scenario
from hoox_tasks.seeding.scenario import Scenario
from tests.support import ROOT

BUNDLED = ROOT / "fixtures"
SCHEMA: dict[str, Any] = json.loads((BUNDLED / "scenario.schema.json").read_text())
MARKET = {"symbol": "BTCUSDT", "price": 100.5, "volatility": 0.02, "tick": 0.5, "lot": 0.001}
EXCHANGE = {"name": "bybit", "taker_fee": 0.00055, "maker_fee": 0.0002, "order_id": "uuid"}
CRASH = {"lasts": 0.1, "drop": 0.1}
TRANSFER = {"exchange": "bybit", "amount": 1.5}
LEAST: dict[str, Any] = {
    "description": "small",
    "markets": [MARKET],
    "exchanges": [EXCHANGE],
    "crashes": [CRASH],
    "transfers": [TRANSFER],
}


def keys() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every key of the schema as its table (empty at the top), its name and what is said about it."""
    for name, said in SCHEMA["properties"].items():
        inner = said.get("items", said)
        if "properties" in inner:
            for key, about in inner["properties"].items():
                yield name, key, about
        else:
            yield "", name, said


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {written(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def load(folder: Path, data: dict[str, Any]) -> Scenario:
    (folder / "mine.toml").write_text("".join(f"{key} = {written(value)}\n" for key, value in data.items()))
    return load_scenario("mine", [folder])


def changed(table: str, key: str, value: Any) -> dict[str, Any]:
    """The smallest scenario with one key of one table set."""
    data = dict(LEAST)
    if not table:
        return {**data, key: value}
    held = data.get(table, {})
    data[table] = [{**held[0], key: value}] if isinstance(held, list) else {**held, key: value}
    return data


def value_of(scenario: Scenario, table: str, key: str) -> Any:
    held = getattr(scenario, table) if table else scenario
    return getattr(held[0] if isinstance(held, tuple) else held, key)


def test_the_schema_has_the_keys_that_the_reader_knows() -> None:
    """No key is missing in the schema, and none is too many: both are what a scenario's values hold."""
    known = {("", field.name) for field in dataclasses.fields(Scenario)} - {("", "name")}
    for table in ("account", "prices", "signals", "desk", "orders", "logs"):
        known -= {("", table)}
    scenario = load_scenario("busy", [BUNDLED])
    for field in dataclasses.fields(Scenario):
        held = getattr(scenario, field.name)
        held = held[0] if isinstance(held, tuple) else held
        if dataclasses.is_dataclass(held):
            known -= {("", field.name)}
            known |= {(field.name, inner.name) for inner in dataclasses.fields(held)}
    assert {(table, key) for table, key, _ in keys()} == known


def test_every_key_is_described() -> None:
    """Each key has a sentence, and each table too."""
    tables = [(name, said) for name, said in SCHEMA["properties"].items()]
    for name, about in [*tables, *((f"{table}.{key}", about) for table, key, about in keys())]:
        assert about["description"].endswith("."), name
        assert len(about["description"]) > 15, name


@pytest.mark.parametrize(
    ("table", "key", "about"),
    [(table, key, about) for table, key, about in keys() if "default" in about and key != "start"],
)
def test_a_default_is_what_the_reader_takes(
    tmp_path: Path, table: str, key: str, about: dict[str, Any]
) -> None:
    """A key that is left out has the value that the schema says."""
    found = value_of(load(tmp_path, LEAST), table, key)
    expected = about["default"]
    if isinstance(found, tuple):
        assert list(found) == expected
    elif isinstance(found, Decimal):
        assert found == Decimal(repr(expected))
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("table", "key", "bound", "step"),
    [
        (table, key, about[name], step)
        for table, key, about in keys()
        for name, step in (("minimum", -1), ("maximum", 1))
        if name in about
    ],
)
def test_what_is_beyond_a_bound_is_refused(
    tmp_path: Path, table: str, key: str, bound: float, step: int
) -> None:
    """The reader refuses what lies beyond the schema's bounds, and names the same bound."""
    with pytest.raises(Refused) as refused:
        load(tmp_path, changed(table, key, bound + step))
    assert f"{key} is " in refused.value.problem
    assert f"{Decimal(repr(bound)):f}" in refused.value.remedy


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (name, key)
        for name, said in (("", SCHEMA), *SCHEMA["properties"].items())
        for key in said.get("items", said).get("required", ())
    ],
)
def test_what_is_required_is_missed(tmp_path: Path, table: str, key: str) -> None:
    """A required key that is left out is told."""
    data = dict(LEAST)
    if table:
        data[table] = [{name: value for name, value in data[table][0].items() if name != key}]
    else:
        del data[key]
    with pytest.raises(Refused, match=f"{key} is missing"):
        load(tmp_path, data)


def test_bundled_scenarios_name_the_schema_and_keep_to_it() -> None:
    """Each bundled file's first line leads an editor to the schema, and has only keys of it."""
    allowed = {(table, key) for table, key, _ in keys()}
    for file in find_scenarios([BUNDLED]).values():
        text = file.read_text(encoding="utf-8")
        assert text.splitlines()[0] == "#:schema ./scenario.schema.json"
        for name, value in tomllib.loads(text).items():
            for table in value if isinstance(value, list) else [value]:
                for key in table if isinstance(table, dict) else [name]:
                    assert (name if isinstance(table, dict) else "", key) in allowed
