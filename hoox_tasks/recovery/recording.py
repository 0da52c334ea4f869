"""The recovery point that is taken before a ledger is first changed.

Every task that opens a ledger comes through here, and most of them only read: what points are is imported
when the first one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks.recovery import points

if TYPE_CHECKING:
    from hoox_tasks.database.interface import Database, Moment
    from hoox_tasks.files import Number


class Recorder:
    """Takes the recovery point of one task, before its first change; to be called with the moment of it.

    `point` is the point, None where there is none: nothing was changed, or the ledger was empty. A point
    before a change that did not happen is dropped again, since it would only push out others. `cause` is
    what the point will say that it was taken before.
    """

    def __init__(self, database: Database, folder: Path, cause: str) -> None:
        self.point: points.RecoveryPoint | None = None
        self.cause = cause
        self._database = database
        self._folder = folder
        self._number: Number | None = None

    def __call__(self, moment: Moment) -> None:
        """Take the point; raises `HooxError` where that is not possible, which prevents the change."""
        if self.point is None and moment.tables:
            self._number = points.reserve(self._folder)
            try:
                self.point = points.save(self._database, self._folder, self._number.value, self.cause, moment)
            except BaseException:
                self.close()
                raise
            moment.when_ended(self._ended)

    def prune(self, keep: int, note: Callable[[str], None] | None = None) -> None:
        """Remove the ledger's points that are too many, now that its task has ended well.

        `keep` of them stay, and those of the day before the last change (see `points.prune`). `note` is told
        where young ones have to go, and of what cannot be removed.
        """
        if self.point is not None:
            points.prune(self._database, self._folder, keep, spare=self.point.id, note=note)

    def close(self) -> None:
        """Say that the task has ended: from now on its point is one among others."""
        if self._number is not None:
            self._number.close()
            self._number = None

    def _ended(self, changed: bool) -> None:
        if not changed and self.point is not None:
            with suppress(OSError):  # Then it stays listed, which does no harm.
                points.forget(self._folder, self.point)
            self.point = None
            self.close()


@contextmanager
def recording(
    database: Database, folder: Path, cause: str, *, keep: int, note: Callable[[str], None] | None = None
) -> Iterator[Recorder]:
    """Take a recovery point of `database` before it is first changed in a block; none with a `keep` of 0.

    When the block has ended well, points that are too many are removed, see `Recorder.prune`.
    """
    recorder = Recorder(database, folder, cause)
    if keep > 0:
        database.before_first_change = recorder
    try:
        yield recorder
        recorder.prune(keep, note)
    finally:
        database.before_first_change = None
        recorder.close()
