"""Changes of a ledger on D1 by statements, as they are sent behind a guard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from hoox_tasks import sql
from hoox_tasks.d1 import D1Client
from hoox_tasks.database.interface import Batch, Rows, Statement
from hoox_tasks.database.remote.inserts import bind_long_values, pack_inserts
from hoox_tasks.database.remote.statements import SCRIPT_BYTES, carried, rows_of, send
from hoox_tasks.database.upserts import on_conflict
from hoox_tasks.errors import Refused, StatementError

T_co = TypeVar("T_co", covariant=True)

_BATCH_BYTES = 8_000_000
"""What goes as one request where a value has to be bound, because it is too long for a literal."""
_ROWS_ONLY = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "SELECT", "VALUES"})
"""What a statement begins with that changes nothing where it changes no row."""

Guard: TypeAlias = Sequence[Statement]
"""Statements that fail, and all behind them, where the ledger is not what it was."""


class Change(Protocol[T_co]):
    """A change of the ledger that can be sent behind a guard."""

    @property
    def statements(self) -> Sequence[Statement]:
        """What it runs, or statements that take away from the same tables."""

    def send(self, guard: Guard) -> tuple[T_co, bool]:
        """Send it; returns what it gave, and whether it may have changed anything."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Statements that happen together."""

    client: D1Client
    statements: Sequence[Statement]

    def send(self, guard: Guard) -> tuple[list[Rows], bool]:
        """Run them behind a guard; returns their rows, and whether they may have changed anything."""
        try:
            results, imported = send(self.client, [*guard, *self.statements])
        except StatementError as error:
            if error.index is not None:
                error.index -= len(guard)
                error.index = error.index if error.index >= 0 else None
            raise
        results = results[len(guard) :]
        # An import does not say what its statements changed.
        return results, imported or any(map(_may_have_changed, self.statements, results))


@dataclass(frozen=True, slots=True)
class OneStatement:
    """One statement, whose rows may be many."""

    client: D1Client
    statement: Statement

    @property
    def statements(self) -> Sequence[Statement]:
        """The statement."""
        return [self.statement]

    def send(self, guard: Guard) -> tuple[Rows, bool]:
        """Run it behind a guard; returns its rows, and whether it may have changed anything."""
        if guard or sql.is_trigger(self.statement.sql):
            results, changed = Unit(self.client, [self.statement]).send(guard)
            return results[0], changed
        rows = rows_of(self.client.raw(*carried(self.statement), write=True))
        # Of rows that are still streaming, nobody knows yet.
        changed = not isinstance(rows.rows, list) or _may_have_changed(self.statement, rows)
        return rows, changed


def _may_have_changed(statement: Statement, result: Rows) -> bool:
    rows_only = sql.first_word(statement.sql).upper() in _ROWS_ONLY
    return not rows_only or bool(result.meta.changes or result.meta.rows_written)


@dataclass(slots=True)
class RowsToInsert:
    """Rows on their way into a ledger, written to a script: all of them go in, or none."""

    client: D1Client
    script: Path
    key: Sequence[str] = ()
    """Columns by which a row is known that is there already, and gets the new values."""
    counts: dict[str, int] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    """An INSERT into each table."""
    _held: list[Statement] = field(default_factory=list)
    _binds: bool = False

    def write(self, batches: Iterable[Batch]) -> None:
        """Write the script; raises `Refused` where a long row makes the rest too much for one request."""
        size = longest = 0
        with self.script.open("w", encoding="utf-8", newline="\n") as file:
            for table, columns, rows in batches:
                end = on_conflict(columns, self.key)
                if table not in self.counts:
                    self.statements += pack_inserts(
                        table, columns, [(None,) * len(columns)], bind_long_values, end
                    )
                for insert in pack_inserts(table, columns, rows, bind_long_values, end):
                    length = sum(len(str(text).encode()) for text in (insert.sql, *insert.params))
                    size += length
                    longest = max(longest, length) if insert.params else longest
                    if size <= _BATCH_BYTES:
                        self._held.append(insert)
                    file.write(f"{insert.sql};\n")
                self.counts[table] = self.counts.get(table, 0) + len(rows)
        if longest and size > _BATCH_BYTES:
            raise Refused(
                f"A row is {longest:,} bytes long, which D1's import does not take, and all rows together"
                f" are {size:,}, which is too much for one request.",
                "Insert such rows by themselves.",
            )
        self._binds = longest > 0

    @property
    def empty(self) -> bool:
        """Whether there is no row at all."""
        return not any(self.counts.values())

    def send(self, guard: Guard) -> tuple[None, bool]:
        """Insert them behind a guard."""
        if self._binds:
            self.client.raw_batch(list(map(carried, [*guard, *self._held])), write=True)
            return None, True
        head = sql.join(statement.sql for statement in guard)
        if self.script.stat().st_size > SCRIPT_BYTES:
            self.client.import_file(self.script, head=head.encode())
        else:
            self.client.raw_script(head + self.script.read_text(encoding="utf-8"), write=True)
        return None, True
