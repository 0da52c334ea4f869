"""The ledger's data dictionary: what every table and column means, and in which unit.

It is `dictionary.toml` beside the migrations, the one place for these words; the browser and the schema
reference take them from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoox_tasks.config.settings import bundled
from hoox_tasks.errors import Refused
from hoox_tasks.toml import read_toml

TIME = "Unix seconds"
"""The unit of columns that hold a time."""

FILE = "dictionary.toml"


@dataclass(frozen=True, slots=True)
class Column:
    """What a column means; `unit` is empty where it has none, `refers` names `table.column` or nothing."""

    description: str
    unit: str = ""
    refers: str = ""

    @property
    def is_amount(self) -> bool:
        """Whether the column holds money or goods: its unit is a currency or an asset, or a rate of them."""
        return "currency" in self.unit or "asset" in self.unit

    @property
    def sentence(self) -> str:
        """The description with the unit behind it."""
        return f"{self.description} Unit: {self.unit}." if self.unit else self.description


@dataclass(frozen=True, slots=True)
class Table:
    """What a table means, and its columns by name."""

    description: str
    columns: dict[str, Column]


def read_dictionary(folder: Path | None = None) -> dict[str, Table]:
    """Read the dictionary beside the migrations in `folder`, or ours where it has none; tables by name.

    Raises `Refused` where the file is no such dictionary.
    """
    path = folder / FILE if folder else bundled("migrations") / FILE
    if not path.is_file():
        path = bundled("migrations") / FILE
    try:
        content = read_toml(path.read_text("utf-8"))
        return {name: _table(table) for name, table in content.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(
            f"{path} is no data dictionary: {error}.", "See the comment at the top of the bundled one."
        ) from error


def amounts(dictionary: dict[str, Table]) -> frozenset[str]:
    """Give the columns that hold amounts, as `table.column`."""
    return frozenset(
        f"{name}.{column}"
        for name, table in dictionary.items()
        for column, meaning in table.columns.items()
        if meaning.is_amount
    )


def _table(table: dict[str, Any]) -> Table:
    columns = {
        name: Column(column) if isinstance(column, str) else Column(**column)
        for name, column in table["columns"].items()
    }
    return Table(table["description"], columns)
