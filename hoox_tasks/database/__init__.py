"""The one interface to a ledger, wherever it lives: in a SQLite file or on Cloudflare D1.

Operations (migrations, backups, seeding) are written against `Database` and never ask which kind
they were given. When one of them would have to, this interface is missing something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

Value: TypeAlias = None | int | float | str | bytes
"""What a cell of SQLite or D1 can hold."""

Row: TypeAlias = tuple[Value, ...]

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called as `progress(what, done, total)`: rows or bytes so far, and of how many where known."""


class Statement(NamedTuple):
    """One SQL statement and the values bound to it."""

    sql: str
    params: Sequence[Value] = ()


@dataclass(frozen=True, slots=True)
class Meta:
    """What the engine tells about a statement that it ran.

    `duration` is in seconds, inside the engine. `rows_read` and `rows_written` are what D1 bills; None
    where the engine does not count them. `changes` counts rows inserted, updated or deleted.
    """

    duration: float = 0.0
    changes: int = 0
    rows_read: int | None = None
    rows_written: int | None = None


@dataclass(slots=True)
class Rows:
    """The result of one statement: column names and the rows, which may still be streaming.

    `rows` can be consumed once. `meta` is complete when the last row has been taken.
    """

    columns: tuple[str, ...]
    rows: Iterable[Row]
    meta: Meta = field(default_factory=Meta)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """One table, index, view or trigger, as `sqlite_schema` has it; `sql` is its stored DDL."""

    type: str
    name: str
    table: str
    sql: str


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """A moment that a ledger can be taken back to: a snapshot file, or a Time Travel bookmark.

    `id` names it to people and to `recover`; `taken_at` is Unix seconds; `cause` the task that took it.
    """

    id: str
    taken_at: int
    cause: str


class Database(Protocol):
    """A ledger that can be asked and changed, the same in both of its homes.

    Every method raises `StatementError` where the engine refuses a statement, and `RemoteError` where a
    remote ledger cannot be reached.
    """

    @property
    def name(self) -> str:
        """What people call it, and what they type to confirm: a file's or a database's name."""

    @property
    def label(self) -> str:
        """Which ledger this is, in full: a path; or an account and a database."""

    def query(self, sql: str, params: Sequence[Value] = (), *, write: bool = False) -> Rows:
        """Run one statement under D1's rules; only reading is let through unless `write`.

        Raises `Refused` when the statement would change anything and `write` is false; nothing has
        been run (or sent) then.
        """

    def batch(self, statements: Iterable[Statement]) -> list[Rows]:
        """Run statements in one transaction: all of them happen, or none does."""

    def schema(self) -> list[SchemaObject]:
        """All objects but the engine's own (`_cf_*`, `sqlite_*`), in the order they were made."""

    def recovery_point(self, cause: str) -> RecoveryPoint:
        """Note this moment, so that `recover` can come back to it."""

    def recover(self, point: RecoveryPoint) -> None:
        """Take the whole ledger back to `point`; other users of it see the old or the new state."""

    def close(self) -> None:
        """Let go of files and connections."""
