"""One table of a TOML file, read key by key: what is missing, wrong or unknown is told with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from hoox_tasks.errors import Refused


class Table:
    """One table of a file: takes its keys one by one, and refuses those that nobody asked for."""

    def __init__(self, file: Path, where: str, data: dict[str, Any]) -> None:
        self.file = file
        self._where = where
        self._data = data
        self._asked: list[str] = []

    def wrong(self, key: str, allowed: str) -> Refused:
        """The error for a value that is not allowed."""
        return Refused(f"{self.file}: {self._where}{key} is {_shown(self._data.get(key))}.", allowed)

    def number(self, key: str, default: Decimal | None = None, *, low: Decimal, high: Decimal) -> Decimal:
        allowed = f"Give a number from {low:f} to {high:f}."
        value = self._take(key, default, allowed)
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        if not isinstance(value, Decimal) or not value.is_finite() or not low <= value <= high:
            raise self.wrong(key, allowed)
        return value

    def part(self, key: str, default: str = "0") -> Decimal:
        return self.number(key, Decimal(default), low=Decimal(0), high=Decimal(1))

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        allowed = f"Give a whole number from {low} to {high}."
        value = self._take(key, default, allowed)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, allowed)
        return value

    def text(self, key: str, default: str | None = None, *, allowed: Sequence[str] = ()) -> str:
        remedy = f"Give one of: {', '.join(allowed)}." if allowed else "Give a text that is not empty."
        value = self._take(key, default, remedy)
        if not isinstance(value, str) or not value.strip() or (allowed and value not in allowed):
            raise self.wrong(key, remedy)
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        allowed = "Give a list of at least one text."
        value = self._take(key, list(default), allowed)
        if (
            not isinstance(value, list)
            or not all(isinstance(text, str) for text in value)
            or (key in self._data and not value)
        ):
            raise self.wrong(key, allowed)
        return tuple(value)

    def numbers(self, key: str, *, low: Decimal, high: Decimal) -> dict[str, Decimal]:
        """Numbers by names that the file chooses; none where the key is not there."""
        table = self.table(key)
        return {name: table.number(name, low=low, high=high) for name in table._data}

    def moment(self, key: str, default: datetime) -> datetime:
        allowed = "Give a date and time, as in 2026-01-01T00:00:00Z, from 1970 to 2089."
        value = self._take(key, default, allowed)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if not isinstance(value, datetime):
            raise self.wrong(key, allowed)
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        if not 1970 <= moment.year < 2090 or moment.timestamp() < 0:
            raise self.wrong(key, allowed)
        return moment

    def table(self, key: str) -> Table:
        value = self._take(key, {}, "")
        if not isinstance(value, dict):
            raise self.wrong(key, f"Give a table, [{key}].")
        return Table(self.file, f"{self._where}{key}.", value)

    def tables(self, key: str) -> Iterator[Table]:
        value = self._take(key, [], "")
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, f"Give tables, [[{key}]].")
        for index, item in enumerate(value, 1):
            yield Table(self.file, f"{self._where}{key}[{index}].", item)

    def close(self) -> None:
        """Refuse the first key that has not been asked for."""
        for key in self._data:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, n=1)
                raise Refused(
                    f"{self.file}: {self._where}{key} is not a key that a scenario has.",
                    (f"Did you mean {near[0]}? " if near else "") + f"Allowed: {', '.join(self._asked)}.",
                )

    def _take(self, key: str, default: Any, allowed: str) -> Any:
        self._asked.append(key)
        value = self._data.get(key, default)
        if value is None:
            raise Refused(f"{self.file}: {self._where}{key} is missing.", allowed)
        return value


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, Decimal | datetime | date) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
