"""What test authors get: the types of what the fixtures hand out, for annotations.

    def test_fees(hoox_db: Database, hoox_db_diff: Callable[..., LedgerDifference]) -> None: ...

Importing this package costs nothing: every test run of an environment loads the pytest plugin in it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoox_tasks.testing.difference import LedgerDifference, TableDifference
    from hoox_tasks.testing.ledgers import LedgerFactory
    from hoox_tasks.testing.local_d1 import LocalD1
    from hoox_tasks.testing.options import Choices
    from hoox_tasks.testing.queries import Queries, QueryRecorder
    from hoox_tasks.testing.rows import RowFactory

__all__ = [
    "Choices",
    "LedgerDifference",
    "LedgerFactory",
    "LocalD1",
    "Queries",
    "QueryRecorder",
    "RowFactory",
    "TableDifference",
]

_MODULES = {
    "Choices": "options",
    "LedgerDifference": "difference",
    "LedgerFactory": "ledgers",
    "LocalD1": "local_d1",
    "Queries": "queries",
    "QueryRecorder": "queries",
    "RowFactory": "rows",
    "TableDifference": "difference",
}

if not TYPE_CHECKING:  # A misspelt import is an error of a type checker.

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
