"""Pending migrations tried on a copy of the live ledger, with all of its rows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hoox_tasks import backups, dump, migrations, sql
from hoox_tasks.backups import verification
from hoox_tasks.database import Database, SchemaObject
from hoox_tasks.database.local import LocalDatabase
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations import Applied, Migration
from hoox_tasks.values import Progress


@dataclass(frozen=True, slots=True)
class TableEffect:
    """What migrations do to a table: rows before and after (None: no such table), objects that change."""

    table: str
    before: int | None
    after: int | None
    schema: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How the pending migrations went on the copy: each with its seconds, and what became of each table."""

    applied: list[Applied]
    effects: list[TableEffect]


def rehearse(
    database: Database,
    files: Sequence[Migration],
    history: str,
    *,
    to: str | None = None,
    allow_out_of_order: bool = False,
    allow_data_loss: bool = False,
    online: bool = False,
    progress: Progress | None = None,
) -> Rehearsal:
    """Copy a ledger, apply what is pending to the copy under D1's rules, and check the copy.

    The ledger itself is only read. Raises `MigrationFailed` where a migration fails on the copy, and
    `HooxError` where the copy is not sound afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="hoox-") as folder:
        export = Path(folder) / "live.sql"
        backups.export(database, export, online=online, history=history, progress=progress)
        with (
            verification.loaded(export, progress=progress) as copy,
            closing(LocalDatabase(copy.path, strict=True)) as local,
        ):
            before, schema = _counts(local), local.schema()
            applied, _ = migrations.apply(
                local,
                files,
                history,
                to=to,
                allow_out_of_order=allow_out_of_order,
                allow_data_loss=allow_data_loss,
            )
            complaints = [row[0] for row in local.connection.execute("PRAGMA integrity_check(1)")]
            dangling = verification.violations(local.connection)
            after = _counts(local)
            changed = _changes(schema, local.schema())
    if complaints != ["ok"] or dangling > copy.violations:
        problem = complaints[0] if complaints != ["ok"] else f"{dangling} rows refer to nothing"
        raise HooxError(f"The copy is not sound after the migrations: {problem}.", "Correct them.")
    names = sorted(name for name in {*before, *after} if name not in {history, migrations.CHECKSUMS})
    effects = [TableEffect(name, before.get(name), after.get(name), changed.get(name, ())) for name in names]
    return Rehearsal(applied, effects)


def _counts(database: LocalDatabase) -> dict[str, int]:
    with database.snapshot() as snapshot:
        names = [table.name for table in dump.read_tables(snapshot) if table.kind != "shadow"]
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
