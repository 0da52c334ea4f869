"""What can be asked of a ledger as a whole, and done to it: list its tables, show its schema, wipe it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hoox_tasks import seeding, sql
from hoox_tasks.database.drop_order import children_first, drop_statements
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import Batch, Database, Rows, SchemaObject, Statement, Storage
from hoox_tasks.database.lost_answers import confirm
from hoox_tasks.errors import HooxError, RemoteError
from hoox_tasks.migrations import CHECKSUMS, Check, Migrations, Status
from hoox_tasks.suggestions import suggestion
from hoox_tasks.values import Progress

if TYPE_CHECKING:
    from hoox_tasks.seeding import Scenario


@dataclass(frozen=True, slots=True)
class TableCount:
    """A table and its number of rows, None where the engine lets nobody read it."""

    name: str
    rows: int | None
    internal: bool = False


def list_tables(database: Database, migrations_table: str, *, internal: bool = False) -> list[TableCount]:
    """Give the ledger's tables with their row counts, by name.

    With `internal` the tables that serve tools and engine are listed too.
    On D1 it costs two requests, and one more for every further 80 tables.
    """
    tables = []
    for table in database.list_tables():
        serves = table.kind in {"shadow", "internal"} or table.name in {migrations_table, CHECKSUMS}
        if table.name not in {"sqlite_schema", "sqlite_temp_schema"} and (internal or not serves):
            tables.append(TableCount(table.name, table.rows, serves))
    return tables


def count_rows(tables: Mapping[str, int], own_tables: Collection[str]) -> int:
    """Add up the rows of tables as `list_tables` lists them: what serves tools and engine does not count."""
    return sum(
        rows
        for table, rows in tables.items()
        if table not in own_tables and not table.lower().startswith("sqlite_")
    )


@dataclass(frozen=True, slots=True)
class Info:
    """A ledger at a glance: what keeps it, its tables with their rows, and what its migrations say of it."""

    storage: Storage
    tables: list[TableCount]
    check: Check

    @property
    def rows(self) -> int:
        """The rows of all tables together, those of tools left out."""
        return sum(table.rows or 0 for table in self.tables)


def info(database: Database, migrations: Migrations) -> Info:
    """Look at a ledger as a whole and write nothing; on D1 it costs four requests (see `list_tables`)."""
    return Info(database.storage(), list_tables(database, migrations.table), migrations.check(database))


_UNKNOWN = re.compile(r"no such (table|column): (?:\w+\.)*\"?(\w+)|has no (column) named (\w+)")
"""As SQLite says it, in a file and on D1."""


def suggest(database: Database, message: str) -> str:
    """Ask whether the table or column that an engine does not know is a misspelt one of the ledger.

    Empty where the engine complains of something else, or nothing is near.
    """
    match = _UNKNOWN.search(message)
    if match is None:
        return ""
    objects = database.schema()
    names = [item.name for item in objects if item.type in {"table", "view"}]
    if match[1] != "table":
        with closing(EmptyLedger(objects, strict=False)) as model:
            names = [column for name in names for column in model.columns(name)]
    return suggestion(match[2] or match[4], names)


def describe(schema: Iterable[SchemaObject], migrations_table: str) -> str:
    """Write a ledger's schema in one fixed form and order, so that two of them can be compared in a diff.

    Tables come by name, each with its indexes, triggers and views by name; one column to a line. The tables
    that only serve the tools, and those inside of virtual tables, are left out.
    """
    objects = list(schema)
    with closing(EmptyLedger(objects, strict=False)) as model:
        hidden = {migrations_table, CHECKSUMS} | model.of_kind("shadow")
    objects = [item for item in objects if item.table not in hidden and item.name not in hidden]
    ranks = ("table", "index", "trigger", "view")
    objects.sort(key=lambda item: (item.type == "view", item.table, ranks.index(item.type), item.name))
    blocks: list[str] = []
    for item in objects:
        text = f"{sql.format_ddl(item.sql)};\n"
        blocks.append(("\n" if item.type in {"table", "view"} and blocks else "") + text)
    return "".join(blocks)


def reset(database: Database, migrations: Migrations) -> Status:
    """Wipe the ledger and apply every migration anew, all in one transaction; gives the status after.

    The database itself stays, with its id and its bindings. D1's own `_cf_*` tables are not touched. On D1
    it costs three requests, more where a migration has a trigger. Where the answer was lost, the history
    tells whether it happened; raises `RemoteError` where that cannot be told.
    """
    setup = migrations.setup()
    current = migrations.status(database)
    statements = [Statement(text) for text in drop_all(current.schema, strict=migrations.strict)]
    names = [migration.name for migration in migrations.files]

    def wiped() -> bool:
        found = migrations.status(database).history
        return [name for name, _ in found] == names and found != current.history

    try:
        database.batch([*statements, *setup])
    except RemoteError as error:
        confirm(
            error,
            f"{database.name} was wiped",
            wiped,
            "Look with `inv db.list` whether the rows are still there before you repeat it.",
        )
    try:
        after = migrations.status(database)
    except RemoteError as error:
        problem = f"{database.name} was wiped and migrated, but not looked at again: {error.problem}"
    else:
        if [name for name, _ in after.history] == names:
            return after
        problem = f"{database.name} was wiped and migrated, and somebody changed its history since."
    raise HooxError(problem, "Look with `inv db.migrate.status`.")


def drop_all(schema: Sequence[SchemaObject], *, strict: bool = True) -> list[str]:
    """Write the statements that drop every object of a schema, whatever refers to what."""
    with closing(EmptyLedger(schema, strict=strict)) as model:
        tables = children_first(model.parents(), model.cascades())
        virtual = model.of_kind("virtual")
        missing = [item.name for item in model.missing if item.type == "table"]
    return ["PRAGMA defer_foreign_keys = ON", *drop_statements(schema, [*tables, *missing], virtual)]


def audit(database: Database, migrations_table: str) -> int:
    """Note every applied migration in `system_logs`, once; returns how many were new.

    This is what every ledger gets, a remote one as well: no made-up rows, and the same ids each time.
    Where all are noted already, the ledger is only read.
    """
    history = sql.quote_name(migrations_table)
    missing = f"SELECT 1 FROM {history} WHERE 'schema-' || name NOT IN (SELECT id FROM system_logs) LIMIT 1"
    if not list(_read(database, missing)):
        return 0
    insert = (
        "INSERT INTO system_logs (id, timestamp, level, service, message, details)"
        " SELECT 'schema-' || name, unixepoch(applied_at), 'INFO', 'hoox_tasks', 'Schema migrated: ' || name,"
        f" json_object('migration', name) FROM {history} WHERE true"
        " ON CONFLICT DO NOTHING"
    )
    try:
        return database.batch([Statement(insert)])[0].meta.changes
    except RemoteError as error:
        if not error.ambiguous:
            raise
    # What is noted already is left alone, so that repeating it does no harm.
    return database.batch([Statement(insert)])[0].meta.changes


def _read(database: Database, query: str) -> Rows:
    """Run a query of ours, which needs no check before it is sent: one request on D1."""
    return database.batch([Statement(query)], write=False)[0]


def holds_trades(database: Database) -> bool:
    """Tell whether there is any trade in the ledger."""
    return bool(list(_read(database, "SELECT 1 FROM trades LIMIT 1")))


def seed(
    database: Database,
    scenario: Scenario,
    *,
    seed: int | None = None,
    start: datetime | None = None,
    scale: float = 1,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Fill a ledger with the rows of a scenario, all or none; returns how many went into each table.

    Columns that the ledger does not have (yet) are left out. On D1 it costs two requests, or five where
    there are more rows than one request takes. Where the answer was lost, the rows tell whether it
    happened; raises `RemoteError` where that cannot be told.
    """
    tables = list(seeding.TABLES)
    found = database.batch(
        [Statement(f"SELECT name FROM pragma_table_info({sql.quote_text(table)})") for table in tables],
        write=False,
    )
    columns = {table: [str(row[0]) for row in rows] for table, rows in zip(tables, found, strict=True)}
    sent = _Sent(seeding.generate(scenario, seed=seed, start=start, scale=scale, columns=columns), progress)
    try:
        return database.insert(sent)
    except RemoteError as error:
        confirm(
            error,
            "the rows were inserted",
            lambda: bool(list(_read(database, sent.first))),
            "Look with `inv db.list`; where they are not there, run it again: they never go in twice.",
        )
    return sent.counts


class _Sent:
    """Batches on their way to a ledger: how many rows of each table, and how to ask for the first."""

    def __init__(self, batches: Iterable[Batch], progress: Progress | None) -> None:
        self._batches = batches
        self._progress = progress
        self.counts: dict[str, int] = {}
        self.first = "SELECT 1 WHERE 0"

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            table, columns, rows = batch
            if rows and not self.counts:
                # The first column is the table's key.
                key = f"{sql.quote_name(columns[0])} = {sql.quote_value(rows[0][0])}"
                self.first = f"SELECT 1 FROM {sql.quote_name(table)} WHERE {key}"
            yield batch
            self.counts[table] = self.counts.get(table, 0) + len(rows)
            if self._progress:
                self._progress("rows", sum(self.counts.values()), None)
