"""The moment of a remote ledger from which it is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hoox_tasks.database.interface import Snapshot
from hoox_tasks.values import Progress

if TYPE_CHECKING:
    from hoox_tasks.database.remote.database import RemoteDatabase


class RemoteMoment:
    """The moment of a remote ledger from which it is changed; satisfies `Moment`."""

    def __init__(self, database: RemoteDatabase) -> None:
        self._database = database
        self._listeners: list[Callable[[bool], None]] = []

    @cached_property
    def tables(self) -> Mapping[str, int]:
        """Rows of every table; the engine's own and shadow tables are left out."""
        found = self._database.list_tables()
        return {table.name: table.rows or 0 for table in found if table.kind in {"table", "virtual"}}

    def save(self, folder: Path, name: str) -> str:
        """Return the Time Travel bookmark of this moment; nothing needs to be kept here."""
        return self._database.client.bookmark()

    def snapshot(self, *, progress: Progress | None = None) -> AbstractContextManager[Snapshot]:
        """Read the ledger."""
        return self._database.snapshot(progress=progress)

    def when_ended(self, tell: Callable[[bool], None]) -> None:
        """Have `tell(changed)` called once the change has ended."""
        self._listeners.append(tell)

    def end(self, changed: bool) -> None:
        """Tell those who asked whether the ledger was changed, as far as is known."""
        for tell in self._listeners:
            tell(changed)
