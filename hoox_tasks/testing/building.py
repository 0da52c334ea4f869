"""How the ledger of a template is made: migrated and seeded, or loaded from a backup."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from hoox_tasks import ledger, seeding, sql
from hoox_tasks.backups import verification
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import Migrations

if TYPE_CHECKING:
    from hoox_tasks.testing.recipe import Recipe

APPLIED_AT = "2026-01-01 00:00:00"
"""When the migrations of a template were applied: it must be the same ledger on any day."""
TIMES = ("timestamp", "processed_at", "created_at", "updated_at")
"""The columns that hold moments, in Unix seconds."""


def build(recipe: Recipe, path: Path) -> bytes:
    """Make a new ledger at `path`; returns the file's content, and leaves no file behind.

    Raises `HooxError` where a migration, the scenario or the backup does not work.
    """
    migrations = read_migrations(recipe)
    try:
        if recipe.backup is not None:
            with verification.loaded(recipe.backup) as copy:
                shutil.copyfile(copy.path, path)
        with closing(LocalDatabase(path, create=recipe.backup is None)) as database:
            # Nobody else uses it yet. A ledger in WAL mode could not be deserialized.
            database.connection.execute("PRAGMA journal_mode = MEMORY").fetchall()
            database.connection.execute("PRAGMA synchronous = OFF")
            migrations.apply(database, to=recipe.migrate_to)
            if recipe.backup is not None:
                _anonymize(database, recipe)
                return _content(database)
            if migrations.files:
                history = sql.quote_name(migrations.table)
                database.connection.execute(f"UPDATE {history} SET applied_at = ?", [APPLIED_AT])
            _check_schema(database, recipe)
            if recipe.scenario is not None:
                ledger.seed(
                    database,
                    seeding.load_scenario(recipe.scenario, recipe.fixtures_dirs),
                    seed=recipe.seed,
                    start=recipe.start,
                    scale=recipe.scale,
                )
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def read_migrations(recipe: Recipe) -> Migrations:
    """The migrations that a recipe names; raises `Refused` where they cannot be told apart."""
    return Migrations.read(recipe.migrations_dir, recipe.migrations_pattern, table=recipe.migrations_table)


def move_in_time(data: bytes, newest: int) -> bytes:
    """Move all rows of a ledger by one length of time, so that the newest is of the moment `newest`.

    What is written inside of texts stays as it is.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(data)
        columns = list(_times(connection))
        latest = max(
            (
                connection.execute(f"SELECT max({column}) FROM {table}").fetchone()[0] or 0
                for table, column in columns
            ),
            default=0,
        )
        connection.execute("BEGIN")
        for table, column in columns if latest else ():
            connection.execute(f"UPDATE {table} SET {column} = {column} + ?", [newest - latest])
        connection.execute("COMMIT")
        return connection.serialize()


def _times(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for table in seeding.TABLES:
        for _, column, *_ in connection.execute(f"PRAGMA table_info({sql.quote_name(table)})").fetchall():
            if column in TIMES:
                yield sql.quote_name(table), sql.quote_name(column)


def _anonymize(database: LocalDatabase, recipe: Recipe) -> None:
    if recipe.anonymize is not None:
        import sqlite_utils

        recipe.anonymize(sqlite_utils.Database(database.connection, execute_plugins=False))
        if database.connection.in_transaction:
            database.connection.execute("COMMIT")


def _content(database: LocalDatabase) -> bytes:
    # What was overwritten would otherwise still stand on the pages that are free now.
    database.connection.execute("VACUUM")
    return database.path.read_bytes()


def _check_schema(database: LocalDatabase, recipe: Recipe) -> None:
    """Refuse a folder of migrations that nobody named and that makes no ledger."""
    made = {item.name for item in database.schema()}
    if recipe.named or made & set(seeding.TABLES):
        return
    if recipe.scenario is not None:
        scenario = seeding.load_scenario(recipe.scenario, recipe.fixtures_dirs)
        if not any(seeding.counts(scenario).values()):
            return
    raise Refused(
        f"The migrations in {recipe.migrations_dir} make no table of a trade ledger.",
        "Name the folder of its migrations with the ini option hoox_migrations_dir; name this one if it is"
        " meant.",
    )
