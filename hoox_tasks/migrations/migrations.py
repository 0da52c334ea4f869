"""All that a ledger's migrations are, in one value: their files, their history's name, D1's rules or not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hoox_tasks.config.settings import DEFAULT_MIGRATIONS_TABLE, Settings
from hoox_tasks.database.interface import Database, Statement
from hoox_tasks.migrations import apply as applying
from hoox_tasks.migrations import drift as drifting
from hoox_tasks.migrations import history
from hoox_tasks.migrations.apply import Applied
from hoox_tasks.migrations.drift import Difference
from hoox_tasks.migrations.files import Migration, discover, find
from hoox_tasks.migrations.history import CHECKSUMS, Status
from hoox_tasks.migrations.model import Model


@dataclass(frozen=True, slots=True)
class Migrations:
    """The migrations of a ledger, in the order in which they apply.

    `table` is the history, wrangler's `migrations_table`. `strict` holds them to D1's rules where they are
    tried and where a local ledger runs them.
    """

    files: Sequence[Migration]
    table: str = DEFAULT_MIGRATIONS_TABLE
    strict: bool = True

    @classmethod
    def read(
        cls,
        folder: Path,
        pattern: str = "*.sql",
        *,
        table: str = DEFAULT_MIGRATIONS_TABLE,
        strict: bool = True,
    ) -> Migrations:
        """Read the migrations below a folder; raises `Refused` as `discover` does."""
        return cls(tuple(discover(folder, pattern)), table, strict)

    @classmethod
    def of(cls, settings: Settings) -> Migrations:
        """Read the migrations that the settings name; raises `Refused` as `discover` does."""
        return cls.read(
            settings.migrations_dir,
            settings.migrations_pattern,
            table=settings.migrations_table,
            strict=settings.strict,
        )

    @property
    def own_tables(self) -> frozenset[str]:
        """The tables that serve the migrations themselves: the history, and the checksums beside it."""
        return frozenset({self.table, CHECKSUMS})

    def find(self, wanted: str) -> Migration:
        """Give the migration of a name, with or without .sql, or of a number; raises `Refused` for none."""
        return find(self.files, wanted)

    def status(self, database: Database) -> Status:
        """Compare the files with the ledger's history; writes nothing, and costs one request on D1."""
        return history.status(database, self.files, self.table)

    def plan(
        self, current: Status, *, to: str | None = None, allow_out_of_order: bool = False
    ) -> list[Migration]:
        """Give the migrations to apply, in order; `to` names the last one (its name or number).

        Raises `Refused` where the history and the files do not fit together, naming every misfit, and where
        a pending file controls transactions.
        """
        return history.plan(current, self.files, to=to, allow_out_of_order=allow_out_of_order)

    def apply(
        self,
        database: Database,
        *,
        to: str | None = None,
        allow_out_of_order: bool = False,
        allow_data_loss: bool = False,
    ) -> tuple[list[Applied], Status]:
        """Apply what is pending, a transaction for each; returns what was applied, and the status after.

        Raises `Refused` where `plan` does, and `MigrationFailed` where a migration fails: it has left nothing
        behind, those before it stay.
        """
        return applying.apply(
            database,
            self.files,
            self.table,
            to=to,
            allow_out_of_order=allow_out_of_order,
            allow_data_loss=allow_data_loss,
            strict=self.strict,
        )

    def mark(self, database: Database, name: str, *, forget: bool = False) -> str:
        """Record a migration as applied without running it; returns what was done, as a sentence.

        A pending one gets its row; an edited one is accepted as its file is now; a renamed one is recorded
        under its new name. With `forget` a recorded name whose file is gone is taken out of the history.
        """
        return history.mark(database, self.files, self.table, name, forget=forget)

    def drift(self, current: Status) -> list[Difference]:
        """Compare a ledger with what its applied migrations make (all, where it has no history)."""
        return drifting.find_drift(current, self.files, self.table, strict=self.strict)

    def setup(self) -> list[Statement]:
        """Write the statements that apply all of them to an empty ledger, with their history.

        Raises `Refused` where one controls transactions, and `MigrationFailed` where one does not run.
        """
        history.refuse_transactions(self.files)
        with closing(Model([], strict=self.strict)) as model:
            self.run_on(model)
        statements = history.history_tables(self.table)
        for migration in self.files:
            statements += [Statement(piece.sql) for piece in migration.pieces]
            statements += history.record(migration, self.table)
        return statements

    def run_on(self, model: Model) -> None:
        """Run all of them, with their history, on an empty ledger; raises `MigrationFailed`."""
        model.run(history.history_tables(self.table))
        for migration in self.files:
            applying.try_on(model, migration)
