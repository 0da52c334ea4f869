"""Applying migrations: one atomic unit for each, with guards, and a look at what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hoox_tasks import sql
from hoox_tasks.database.interface import Database, SchemaObject, Statement
from hoox_tasks.database.lost_answers import confirm
from hoox_tasks.errors import HooxError, RemoteError, StatementError
from hoox_tasks.migrations.files import Migration
from hoox_tasks.migrations.guards import GUARD_WORDS, explain_loss, fail_when, loss_guards
from hoox_tasks.migrations.history import CHECKSUMS, Status, history_tables, plan, record, status
from hoox_tasks.migrations.model import Model

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that was applied, and how long it took in seconds."""

    name: str
    seconds: float


class MigrationFailed(HooxError):
    """A migration failed; the ledger is as it was before it. `applied` are those before it, which stay.

    Where D1 could not be reached any more, the message says what is known.

    `file` is the migration, `line` where in it the failing statement stumbled (0 where no single one did).
    """

    def __init__(
        self,
        problem: str,
        remedy: str,
        file: Path,
        line: int = 0,
        applied: Sequence[Applied] = (),
        detail: str = "",
    ) -> None:
        super().__init__(problem, remedy, detail=detail)
        self.file = file
        self.line = line
        self.applied = list(applied)


def apply(
    database: Database,
    migrations: Sequence[Migration],
    table: str,
    *,
    to: str | None = None,
    allow_out_of_order: bool = False,
    allow_data_loss: bool = False,
    strict: bool = True,
) -> tuple[list[Applied], Status]:
    """Apply what is pending, one transaction for each migration; gives what was applied and the status after.

    Raises `Refused` where `plan` does, and `MigrationFailed` where a migration fails: it has left nothing
    behind, those before it stay.
    """
    current = status(database, migrations, table)
    applied: list[Applied] = []
    # Each time that another run is ahead of this one, less is left to do.
    attempts = len(migrations) + _ATTEMPTS
    for _ in range(attempts):
        pending = plan(current, migrations, to=to, allow_out_of_order=allow_out_of_order)
        overtaken = False
        for migration in pending:
            model = Model(current.schema, strict=strict)
            with closing(model):
                unit = _unit(migration, model, current, table, allow_data_loss, applied)
            started = time.perf_counter()
            try:
                database.batch(statement for statement, _ in unit)
            except StatementError as error:
                words = GUARD_WORDS.search(error.message)
                if words is None:
                    raise _failure(migration, unit, error, applied) from error
                if words.group(1) == "history":
                    overtaken = True
                    break
                raise MigrationFailed(
                    *explain_loss(migration, *words.groups()), migration.path, 0, applied
                ) from error
            except RemoteError as error:
                _look(database, migrations, table, migration, error, applied)
            applied.append(Applied(migration.name, time.perf_counter() - started))
            current = _advanced(current, migration, model.after)
        if pending or overtaken:
            try:
                current = _verified(database, migrations, table, current, overtaken)
            except RemoteError as error:
                raise MigrationFailed(
                    f"What was applied could not be looked at again: {error.problem}",
                    "Look with `inv db.migrate.status`.",
                    pending[-1].path,
                    0,
                    applied,
                ) from error
        if not overtaken:
            return applied, current
    raise HooxError(
        f"The history of {database.name} changed {attempts} times while migrations were applied.",
        "Let the other runs end, then look with `inv db.migrate.status`.",
    )


def _look(
    database: Database,
    migrations: Sequence[Migration],
    table: str,
    migration: Migration,
    error: RemoteError,
    applied: Sequence[Applied],
) -> None:
    """Look whether a migration whose answer was lost is in the history; raises `MigrationFailed` if not."""

    def recorded() -> bool:
        return migration.name in dict(status(database, migrations, table).history)

    try:
        confirm(
            error,
            f"{migration.name} was applied",
            recorded,
            "Run this again: what was applied is not applied twice.",
        )
    except RemoteError as failure:
        problem = failure.problem
        if not failure.ambiguous:
            problem = f"Migration {migration.name} was not applied: {problem}"
        raise MigrationFailed(problem, failure.remedy, migration.path, 0, applied) from failure


def _advanced(current: Status, migration: Migration, schema: Sequence[SchemaObject]) -> Status:
    """The status as it should be once `migration` is applied."""
    history = (*current.history, (migration.name, ""))
    return Status(current.entries, tuple(schema), history, True)


def _verified(
    database: Database, migrations: Sequence[Migration], table: str, expected: Status, overtaken: bool
) -> Status:
    """Read the ledger again, and compare it with what applying should have made of it."""
    actual = status(database, migrations, table)
    missing = [name for name, _ in expected.history if name not in dict(actual.history)]
    if overtaken or (len(actual.history) > len(expected.history) and not missing):
        return actual  # Another run has gone on from there.
    objects = {(item.type, item.name) for item in actual.schema}
    lacking = [
        f"{item.type} {item.name}" for item in expected.schema if (item.type, item.name) not in objects
    ]
    if missing or lacking:
        raise HooxError(
            f"The migrations were accepted, but {database.name} lacks {', '.join(missing + lacking)}.",
            "Look with `inv db.migrate.status` and `inv db.schema` before anything else is done.",
        )
    return actual


_Unit = list[tuple[Statement, sql.Piece | None]]


def _unit(
    migration: Migration,
    model: Model,
    current: Status,
    table: str,
    allow_data_loss: bool,
    applied: list[Applied],
) -> _Unit:
    """Write a migration, its guards and its rows in the history as the statements of one transaction."""
    history = sql.quote_name(table)
    model.run(history_tables(table))
    before = model.tables()
    keys = model.keys
    keys_checkable = model.checks_keys
    try_on(model, migration, applied)
    statements = [
        fail_when(
            f"coalesce((SELECT group_concat(name, '/') FROM (SELECT name FROM {history} ORDER BY id)), '')"
            f" <> {sql.quote_text('/'.join(name for name, _ in current.history))}",
            "history",
            "''",
        ),
    ]
    closing_statements: list[str] = []
    if not allow_data_loss:
        own = {table, CHECKSUMS}
        opening, closing_statements = loss_guards(
            model, [name for name in before if name not in own], keys, keys_checkable
        )
        statements += opening
    unit: _Unit = [(statement, None) for statement in history_tables(table)]
    unit += [(Statement(text), None) for text in statements]
    unit += [(Statement(piece.sql), piece) for piece in migration.pieces]
    unit += [(Statement(text), None) for text in closing_statements]
    unit += [(statement, None) for statement in record(migration, table)]
    return unit


def try_on(model: Model, migration: Migration, applied: Sequence[Applied] = ()) -> None:
    """Run a migration on a model; raises `MigrationFailed` where a statement of it does not run."""
    pieces = migration.pieces
    try:
        model.run_pieces(pieces)
    except StatementError as error:
        raise _failure(
            migration, [(Statement(piece.sql), piece) for piece in pieces], error, applied
        ) from error


def _failure(
    migration: Migration, unit: _Unit, error: StatementError, applied: Sequence[Applied]
) -> MigrationFailed:
    piece = unit[error.index][1] if error.index is not None and error.index < len(unit) else None
    line, where, shown = 0, "", ""
    if piece is not None:
        line = piece.line + piece.sql.count("\n", 0, error.offset or 0)
        where = f" in line {line}"
        shown = sql.excerpt(piece.sql, error.offset)
    return MigrationFailed(
        f"Migration {migration.name} failed{where}: {error.message.rstrip('.')}.",
        error.remedy or "It left nothing behind; correct the file and run this again.",
        migration.path,
        line,
        applied,
        shown,
    )
