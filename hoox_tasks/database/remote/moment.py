"""The moment of a ledger on D1 from which it is changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

from hoox_tasks.d1 import D1Client
from hoox_tasks.database.interface import (
    SCHEMA_QUERY,
    Database,
    Saved,
    SchemaObject,
    Snapshot,
    Statement,
    Table,
)
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote.guard import Answer, ask_content, ask_schema, check_guards
from hoox_tasks.database.remote.live_reader import LiveReader
from hoox_tasks.database.remote.snapshot import copy_ledger
from hoox_tasks.database.schema import read_tables_and_schema
from hoox_tasks.errors import ChangedMeanwhile
from hoox_tasks.values import Progress

Choose: TypeAlias = Callable[[Sequence[SchemaObject], Sequence[Table]], Collection[str]]
"""Names tables of a ledger, which is described by its objects and tables."""


class RemoteMoment:
    """What a ledger on D1 held when it was looked at; satisfies `Moment`.

    The bookmark is asked for last: what was written before it and after the looking makes the guard fail,
    so that a change never takes away a row which is not behind the bookmark.
    """

    found: list[Table]
    objects: list[SchemaObject]

    def __init__(self, database: Database, client: D1Client, choose: Choose | None = None) -> None:
        """Look at the ledger; `choose` names the tables of which every row counts, without it all do.

        Of the others the rows are only counted: to weigh each of them costs time, and rows read.
        """
        self._database = database
        self._client = client
        clock = Statement("SELECT unixepoch()")
        self.found, self.objects, ((now,),) = read_tables_and_schema(LiveReader(client), clock)
        self.seconds: int = int(str(now[0]))
        """D1's own time, in Unix seconds."""
        self.weighed: Collection[str] | None = None if choose is None else choose(self.objects, self.found)
        self._content = ask_content(database, self.found, self.weighed)
        self.tables: Mapping[str, int] = self._content.counts
        self.bookmark: str = client.bookmark()
        self.announced = False
        self.spent = False
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def answers(self) -> list[Answer]:
        """What the ledger answered about its schema and its rows."""
        return [*ask_schema(self.objects, SCHEMA_QUERY), *self._content.answers]

    def guard(self, tables: Collection[str] | None = None) -> list[Statement]:
        """Write the statements that fail where the ledger is not any more what it was at this moment.

        With `tables` only the rows of those count, and the schema. After the first change of one's own there
        is no guard.
        """
        if self.spent:
            return []
        wanted = [
            answer for answer in self.answers if tables is None or answer.about in {*tables, "the schema"}
        ]
        return check_guards(answer.guard("changed") for answer in wanted)

    def save(self, folder: Path, name: str) -> Saved:
        """Return the Time Travel bookmark of this moment; D1 keeps it."""
        return Saved(self.bookmark)

    @contextmanager
    def snapshot(self, *, progress: Progress | None = None) -> Iterator[Snapshot]:
        """Read exactly this moment; raises `ChangedMeanwhile` where the ledger is not that any more."""
        with ExitStack() as stack:
            copying = copy_ledger(self._database, self._client, online=False, progress=progress)
            try:
                ledger = stack.enter_context(copying).ledger
            except ChangedMeanwhile:
                raise self._is_gone() from None
            self._compare(ledger)
            with ledger.snapshot() as snapshot:
                snapshot.bookmark = self.bookmark
                yield snapshot

    def _compare(self, ledger: LocalDatabase) -> None:
        answers = self._content.answers
        # Read by queries, views are made before triggers, wherever they stood.
        same = sorted(ledger.schema()) == sorted(self.objects)
        if same:
            results = ledger.batch([Statement(answer.sql) for answer in answers], write=False)
            # An answer begins with the number of rows and the sums over them. What may follow is the last
            # rowid, which is another in a copy: D1's export does not tell rowids.
            same = all(
                [row[:3] for row in rows] == [row[:3] for row in answer.rows]
                for rows, answer in zip(results, answers, strict=True)
            )
        if not same:
            raise self._is_gone()

    def _is_gone(self) -> ChangedMeanwhile:
        return ChangedMeanwhile(
            f"{self._database.name} was changed while it was read.",
            "Run it again, when nobody writes to it if it happens again.",
        )

    def twin(self) -> RemoteMoment:
        """Give this moment once more, for others to save: with its own listeners."""
        twin = copy.copy(self)
        twin._listeners = []
        return twin

    def take_listeners(self, twin: RemoteMoment) -> None:
        """Tell the listeners of a twin, in the place of those that were told already."""
        self._listeners = twin._listeners

    def when_ended(self, tell: Callable[[bool], None]) -> None:
        """Have `tell(changed)` called once the change has ended."""
        self._listeners.append(tell)

    def end(self, changed: bool) -> None:
        """Tell those who asked whether the ledger was changed, as far as is known."""
        for tell in self._listeners:
            tell(changed)
