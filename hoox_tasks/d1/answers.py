"""What D1's calls give, and how it is read from JSON: what is missing is tolerated, nothing is guessed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hoox_tasks.values import Approximate, Value


@dataclass(frozen=True, slots=True)
class ResultMeta:
    """What D1 says about a statement: seconds inside the engine, and the rows it bills."""

    duration: float = 0.0
    changes: int = 0
    rows_read: int | None = None
    rows_written: int | None = None
    last_row_id: int | None = None
    size_after: int | None = None


@dataclass(slots=True)
class Result:
    """What one statement gave. `rows` can be consumed once; after its last row `meta` is complete.

    Numbers are as the wire has them: an integer beyond 2**53 may have been rounded, a REAL that is
    whole comes as an int, an infinity as None.
    """

    columns: tuple[str, ...]
    rows: Iterable[tuple[Value, ...]]
    meta: ResultMeta = field(default_factory=ResultMeta)


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export: where to download it for an hour, and the bookmark that it shows."""

    filename: str
    bookmark: str
    signed_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Import:
    """A finished import: how many statements ran, what D1 bills, and the bookmark right after."""

    queries: int
    bookmark: str
    meta: ResultMeta


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """A database as the control plane describes it. `file_size` is in bytes; None where not told."""

    uuid: str
    name: str
    version: str = ""
    created_at: str = ""
    file_size: int | None = None
    num_tables: int | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """A Time Travel restore: where the database is now, and the bookmark that undoes it."""

    bookmark: str
    previous_bookmark: str


def read_row(cells: Iterable[Any]) -> tuple[Value, ...]:
    """A row as SQLite has it. Raises `TypeError` or `ValueError` where it is none."""
    return tuple([cell if cell is None or type(cell) in _PLAIN else _cell(cell) for cell in cells])


_PLAIN = frozenset((str, float))


def _cell(cell: Any) -> Value:
    """A cell as SQLite has it: blobs come as lists of bytes, and a whole REAL in plain digits."""
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, int):
        if -(2**53) < cell < 2**53:
            return cell
        # As doubles the largest integers are 2^63, which no integer is; 1024 further on the next one begins.
        if abs(cell) <= 2**63 + 1024:
            return Approximate(min(max(cell, -(2**63)), 2**63 - 1))
        return float(cell)
    if isinstance(cell, list):
        return bytes(cell)
    return json.dumps(cell)


def read_meta(data: Any) -> ResultMeta:
    """What a statement's or an import's `meta` says."""
    found = as_dict(data)
    milliseconds = found.get("duration")
    return ResultMeta(
        duration=milliseconds / 1000 if isinstance(milliseconds, int | float) else 0.0,
        changes=as_int(found.get("changes")) or 0,
        rows_read=as_int(found.get("rows_read")),
        rows_written=as_int(found.get("rows_written")),
        last_row_id=as_int(found.get("last_row_id")),
        size_after=as_int(found.get("size_after")),
    )


def read_info(data: Any) -> DatabaseInfo:
    """What the control plane says about a database."""
    found = as_dict(data)
    return DatabaseInfo(
        uuid=as_text(found.get("uuid")),
        name=as_text(found.get("name")),
        version=as_text(found.get("version")),
        created_at=as_text(found.get("created_at")),
        file_size=as_int(found.get("file_size")),
        num_tables=as_int(found.get("num_tables")),
    )


def read_messages(state: Mapping[str, Any]) -> list[str]:
    """What an export or an import says about how far it is."""
    return [message for message in as_list(state.get("messages")) if isinstance(message, str)]


def as_dict(data: Any) -> dict[str, Any]:
    """The object, or an empty one where it is something else."""
    return data if isinstance(data, dict) else {}


def as_list(data: Any) -> list[Any]:
    """The array, or an empty one where it is something else."""
    return data if isinstance(data, list) else []


def as_text(data: Any) -> str:
    """The text, or an empty one where it is something else."""
    return data if isinstance(data, str) else ""


def as_int(data: Any) -> int | None:
    """The number as an integer, or None where it is something else."""
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return int(data) if isinstance(data, int | float) else None
