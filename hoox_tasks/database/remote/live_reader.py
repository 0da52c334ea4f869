"""The ledger on D1 itself, read by queries, whatever others do to it meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from hoox_tasks.d1 import D1Client
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.remote.statements import carried, read
from hoox_tasks.errors import StatementError
from hoox_tasks.values import Row, Value

_TOGETHER = 50
"""Statements that go into one request."""


class LiveReader:
    """Reads the ledger by queries; satisfies `Reader`. What one request gives is of one moment."""

    def __init__(self, client: D1Client) -> None:
        self._client = client

    def map(self, statements: Iterable[Statement]) -> Iterator[list[Row] | None]:
        """Run statements, many to a request, and yield their rows; None where D1 gives no value so long."""
        left = iter(statements)
        while unit := list(islice(left, _TOGETHER)):
            yield from self._together(unit)

    def stream(self, statement: Statement) -> Iterator[Row]:
        """Run one statement and yield its rows; text as its bytes."""
        for row in self._client.raw(*carried(statement)).rows:
            yield tuple(map(_as_bytes, row))

    def _together(self, unit: list[Statement]) -> list[list[Row] | None]:
        try:
            results = read(self._client, unit)
        except StatementError as error:
            if "SQLITE_TOOBIG" not in error.message:
                raise
            if len(unit) == 1:
                return [None]
            return [rows for statement in unit for rows in self._together([statement])]
        return [[tuple(map(_as_bytes, row)) for row in result] for result in results]


def _as_bytes(cell: Value) -> Value:
    return cell.encode() if isinstance(cell, str) else cell
