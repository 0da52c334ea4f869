"""Made-up ledgers that look like trading: scenarios in TOML, and the generator of their rows.

    scenario = load_scenario("demo", [folder])
    for batch in generate(scenario, seed=7, scale=2):
        ...  # batch.table, batch.columns, batch.rows

Importing this package costs nothing: its modules, Faker and the TOML reader come with the first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoox_tasks.seeding.generator import counts, generate
    from hoox_tasks.seeding.provider import TradeProvider
    from hoox_tasks.seeding.rows import GENERATOR_VERSION, TABLES, Batch
    from hoox_tasks.seeding.scenario import Scenario, find_scenarios, load_scenario

__all__ = [
    "GENERATOR_VERSION",
    "TABLES",
    "Batch",
    "Scenario",
    "TradeProvider",
    "counts",
    "find_scenarios",
    "generate",
    "load_scenario",
]

_MODULES = {
    "GENERATOR_VERSION": "rows",
    "TABLES": "rows",
    "Batch": "rows",
    "Scenario": "scenario",
    "TradeProvider": "provider",
    "counts": "generator",
    "find_scenarios": "scenario",
    "generate": "generator",
    "load_scenario": "scenario",
}


def __getattr__(name: str) -> Any:
    # A test run that only loads the pytest plugin must not pay for any of them.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
