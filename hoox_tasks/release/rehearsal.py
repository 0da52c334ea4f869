"""Pending migrations tried on a copy of the live ledger, with all of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

from hoox_tasks import backups, sql
from hoox_tasks.backups import verification
from hoox_tasks.database.interface import Database, SchemaObject
from hoox_tasks.database.load_program import violations
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.schema import read_tables
from hoox_tasks.errors import HooxError
from hoox_tasks.files import scratch_folder
from hoox_tasks.migrations import NO_CONSENT, Applied, Consent, Effect, Migrations, Status
from hoox_tasks.values import Progress


@dataclass(frozen=True, slots=True)
class TableEffect:
    """What migrations do to a table or view: rows before and after, and what becomes of its objects.

    Rows are None where there is no such table; a view has none.
    """

    table: str
    before: int | None
    after: int | None
    schema: tuple[str, ...]

    @property
    def cells(self) -> tuple[str | int, ...]:
        """The cells of a table under `HEADER`, a dash where there is nothing."""
        before, after = ("-" if rows is None else rows for rows in (self.before, self.after))
        return (self.table, before, after, "; ".join(self.schema) or "-")


HEADER = ("table", "rows before", "rows after", "schema")
"""What stands above the effects on tables."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How the pending migrations went on the copy: each with its seconds, and what became of each table."""

    applied: list[Applied]
    effects: list[TableEffect]

    @property
    def changes(self) -> list[Effect]:
        """What became of rows and values that were there, in the order of the migrations."""
        return [effect for migration in self.applied for effect in migration.effects or ()]


Change: TypeAlias = Callable[[LocalDatabase], tuple[list[Applied], Status]]
"""Changes a copy by migrations; gives what was done, and the status after it."""


def rehearse(
    database: Database,
    migrations: Migrations,
    *,
    to: str | None = None,
    allow_out_of_order: bool = False,
    consent: Consent = NO_CONSENT,
    progress: Progress | None = None,
) -> Rehearsal:
    """Copy a ledger, apply what is pending to the copy under D1's rules, and check the copy.

    The ledger itself is only read. Raises `MigrationFailed` where a migration fails on the copy, and
    `HooxError` where the copy is not sound afterwards.
    """

    def change(copy: LocalDatabase) -> tuple[list[Applied], Status]:
        return migrations.apply(copy, to=to, allow_out_of_order=allow_out_of_order, consent=consent)

    return rehearse_change(database, migrations, change, progress=progress)


def rehearse_change(
    database: Database, migrations: Migrations, change: Change, *, progress: Progress | None = None
) -> Rehearsal:
    """Copy a ledger, make a change by migrations of the copy under D1's rules, and check the copy.

    Raises what `change` does, and `HooxError` where the copy is not sound afterwards.
    """
    with scratch_folder() as folder:
        export = folder / "live.sql"
        backups.export(database, export, migrations_table=migrations.table, progress=progress)
        with (
            verification.loaded(export, own=True, progress=progress) as loaded,
            closing(LocalDatabase(loaded.path, strict=True)) as copy,
        ):
            return _rehearse_on(copy, migrations, change)


def rehearse_on(
    copy: LocalDatabase,
    migrations: Migrations,
    *,
    to: str | None = None,
    allow_out_of_order: bool = False,
    consent: Consent = NO_CONSENT,
) -> Rehearsal:
    """Apply what is pending to a copy that the caller has made, and check the copy; it is left migrated.

    Raises as `rehearse` does.
    """

    def change(ledger: LocalDatabase) -> tuple[list[Applied], Status]:
        return migrations.apply(ledger, to=to, allow_out_of_order=allow_out_of_order, consent=consent)

    return _rehearse_on(copy, migrations, change)


def _rehearse_on(copy: LocalDatabase, migrations: Migrations, change: Change) -> Rehearsal:
    before, schema, loose = _counts(copy), copy.schema(), violations(copy.connection)
    applied, status = change(copy)
    after, changed = _counts(copy), _changes(schema, status.schema)
    (complaint,) = copy.connection.execute("PRAGMA integrity_check(1)").fetchone()
    dangling = violations(copy.connection)
    if complaint != "ok" or dangling > loose:
        problem = complaint if complaint != "ok" else f"{dangling} rows refer to nothing"
        raise HooxError(f"The copy is not sound after the migrations: {problem}.", "Correct them.")
    views = {item.name for item in (*schema, *status.schema) if item.type == "view"}
    names = sorted({*before, *after, *(views & changed.keys())} - migrations.own_tables)
    effects = [TableEffect(name, before.get(name), after.get(name), changed.get(name, ())) for name in names]
    return Rehearsal(applied, effects)


def _counts(database: LocalDatabase) -> dict[str, int]:
    with database.snapshot() as snapshot:
        names = [table.name for table in read_tables(snapshot) if table.kind != "shadow"]
    query = "SELECT count(*) FROM {}"
    return {
        name: database.connection.execute(query.format(sql.quote_name(name))).fetchone()[0] for name in names
    }


def _changes(before: Sequence[SchemaObject], after: Sequence[SchemaObject]) -> dict[str, tuple[str, ...]]:
    """Say for each table which of its objects were made, changed or dropped."""
    was = {(item.table, item.type, item.name): sql.format_ddl(item.sql) for item in before}
    now = {(item.table, item.type, item.name): sql.format_ddl(item.sql) for item in after}
    found: dict[str, list[str]] = {}
    for key in sorted({*was, *now}):
        table, kind, name = key
        if was.get(key) != now.get(key):
            did = "made" if key not in was else "dropped" if key not in now else "changed"
            found.setdefault(table, []).append(did if kind == "table" else f"{kind} {name} {did}")
    return {table: tuple(words) for table, words in found.items()}
