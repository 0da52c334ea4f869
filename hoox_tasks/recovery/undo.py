"""Going back to a recovery point."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hoox_tasks.database.interface import Database
from hoox_tasks.errors import RemoteError
from hoox_tasks.recovery.points import RecoveryPoint, check


@dataclass(frozen=True, slots=True)
class Change:
    """How many rows a table has now, and had at a recovery point (None: there is no such table)."""

    table: str
    now: int | None
    then: int | None


def find_changes(database: Database, point: RecoveryPoint) -> list[Change]:
    """Compare the ledger's tables, by their numbers of rows, with a recovery point."""
    now = {table.name: table.rows for table in database.list_tables() if table.kind in {"table", "virtual"}}
    names = [name for name in {**now, **point.tables} if now.get(name) != point.tables.get(name)]
    return [Change(name, now.get(name), point.tables.get(name)) for name in sorted(names)]


def undo_to(database: Database, folder: Path, point: RecoveryPoint) -> None:
    """Bring the ledger back to a recovery point; whatever happens, it is as it was or as it was then, whole.

    The point by which this is undone is taken by the ledger's recorder (see `recording`). Raises `Refused`
    where the point's file is gone or was changed.
    """
    check(folder, point)
    try:
        database.recover(folder, point.mark)
    except RemoteError as error:
        if not error.ambiguous:
            raise
        raise RemoteError(
            f"It is not known whether {database.label} was brought back to {point.created_at}:"
            f" {error.problem}",
            f"Run it again with `--to {point.id}`: to go back twice does no harm.",
            ambiguous=True,
        ) from None
