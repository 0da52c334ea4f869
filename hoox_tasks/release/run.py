"""A release: every pending migration on a ledger, tried on a copy first, with a receipt and a way back.

The steps are plan, backup, rehearsal, migrate, check and smoke. Nothing real is touched before the
rehearsal has gone well from its first statement to its last query, on a copy made from the backup itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from hoox_tasks import backups, ledger
from hoox_tasks.backups import verification
from hoox_tasks.database.interface import Database
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.files import digest, scratch_folder
from hoox_tasks.migrations import NO_CONSENT, Applied, Consent, Migration, MigrationFailed, Migrations
from hoox_tasks.release.checks import check, smoke
from hoox_tasks.release.receipt import Backup, Receipt, Step
from hoox_tasks.release.rehearsal import rehearse_on


@dataclass(frozen=True, slots=True)
class Policy:
    """What a release may do.

    `folder` is where the backup is kept, `smoke` are queries that must run beside the runbook's, `consent`
    is what the migrations may lose or change. With `dry` it ends with the rehearsal and keeps nothing.
    `timeout` is how many seconds one of the queries may take.
    """

    folder: Path
    smoke: Sequence[str] = ()
    consent: Consent = NO_CONSENT
    allow_out_of_order: bool = False
    dry: bool = False
    timeout: float | None = None


class Reporter(Protocol):
    """Is told how a release goes, and knows the commands that take it back."""

    def say(self, text: str) -> None:
        """Take note of the end of a step, as a sentence."""

    def did(self, deed: str) -> None:
        """Take note of what has been done to the ledger, in a few words, as soon as it has been."""

    def restore_commands(self, backup: Path) -> Sequence[str]:
        """Give the commands that restore the backup at a path."""

    def recovery_commands(self) -> Sequence[str]:
        """Give the commands that go back to the recovery point, which the first change has taken."""


class Release:
    """One release: what is to be done, and, as it goes on, what has been."""

    def __init__(
        self, database: Database, migrations: Migrations, policy: Policy, reporter: Reporter
    ) -> None:
        self._database = database
        self._migrations = migrations
        self._policy = policy
        self._reporter = reporter
        self._steps: list[Step] = []
        self._restoring: tuple[str, ...] = ()
        self._pending: list[Migration] = []
        self._applied: list[Applied] = []
        self._receipt = Receipt(database.label, "failed")

    @property
    def receipt(self) -> Receipt:
        """What has become of it so far."""
        done = {applied.name for applied in self._applied}
        pending = tuple(migration.name for migration in self._pending)
        return replace(
            self._receipt,
            pending=pending,
            applied=tuple(self._applied),
            not_applied=tuple(name for name in pending if name not in done),
            steps=tuple(self._steps),
        )

    def run(self) -> Receipt:
        """Do it all; raises `Refused` where the plan does not fit, and `HooxError` where a step fails.

        `receipt` tells what became of it in either case. Where nothing is pending, the ledger is only
        looked at.
        """
        with self._taking("plan"):
            current = self._migrations.status(self._database)
            self._note(version=current.version)
            out_of_order = self._policy.allow_out_of_order
            self._pending = self._migrations.plan(current, allow_out_of_order=out_of_order)
            adoption = self._migrations.adoption(self._database, current) if self._pending else None
            if adoption is not None:
                adoption.refuse_doubts()
                self._reporter.say(f"{self._database.label} has no history; what it has of the migrations:")
                for line in adoption.lines:
                    self._reporter.say(line)
        if not self._pending:
            self._reporter.say(f"Nothing is pending on {self._database.label}.")
            self._look(self._database)
            return self._ended("nothing pending")
        self._reporter.say(f"Pending: {', '.join(migration.name for migration in self._pending)}.")
        with scratch_folder() as scratch, ExitStack() as rehearsing:
            folder = scratch if self._policy.dry else self._policy.folder
            with self._taking("backup"):
                copy = rehearsing.enter_context(self._back_up(folder))
            with self._taking("rehearsal"):
                self._rehearse(copy)
        if self._policy.dry:
            return self._ended("rehearsed")
        with self._taking("migrate"):
            self._note(way_back=self._restoring)
            try:
                self._migrate()
            finally:
                self._note(way_back=(*self._reporter.recovery_commands(), *self._restoring))
        self._look(self._database)
        return self._ended("released")

    @contextmanager
    def _back_up(self, folder: Path) -> Iterator[LocalDatabase]:
        """Keep a verified backup, and give the copy that was loaded from it."""
        exported = backups.export(
            self._database,
            backups.default_path(folder, compressed=True),
            reserve=True,
            compressed=True,
            migrations_table=self._migrations.table,
        )
        path = exported.path
        assert path is not None
        if not self._policy.dry:
            backup = Backup(str(path), path.stat().st_size, digest(path), exported.total)
            self._note(backup=backup)
            # What is empty cannot be restored.
            self._restoring = tuple(self._reporter.restore_commands(path)) if exported.tables else ()
            self._reporter.say(
                f"Kept {path.name}: {exported.total:,} rows, {backup.bytes:,} bytes, verified."
            )
        with (
            verification.loaded(path, own=True) as loaded,
            closing(LocalDatabase(loaded.path, strict=self._migrations.strict)) as copy,
        ):
            yield copy

    def _rehearse(self, copy: LocalDatabase) -> None:
        """Do on the copy all that is going to be done, to the last query."""
        found = rehearse_on(
            copy,
            self._migrations,
            allow_out_of_order=self._policy.allow_out_of_order,
            consent=self._policy.consent,
        )
        self._note(rehearsal=tuple(found.effects), changes=tuple(found.changes))
        check(copy, self._migrations, "The migrated copy")
        smoke(copy, self._policy.smoke, timeout=self._policy.timeout)
        took = sum(applied.seconds for applied in found.applied)
        self._reporter.say(
            f"Rehearsed on a copy: {len(found.applied)} applied in {took:.2f} s, checked and queried."
        )
        for change in found.changes:
            self._reporter.say(f"  {change}")

    def _migrate(self) -> None:
        def report(applied: Applied) -> None:
            self._applied.append(applied)
            self._reporter.did(f"applied {applied.name}")

        try:
            self._migrations.apply(
                self._database,
                allow_out_of_order=self._policy.allow_out_of_order,
                consent=self._policy.consent,
                report=report,
            )
        except BaseException as error:
            if not isinstance(error, MigrationFailed):
                self._find_applied()
            raise
        finally:
            if self._applied:
                self._note(version=self._applied[-1].name)
                self._reporter.say(f"Applied {', '.join(applied.name for applied in self._applied)}.")

    def _find_applied(self) -> None:
        """Ask the ledger which others of the planned migrations it has, after a failure of the way."""
        try:
            names = dict(self._migrations.status(self._database).history)
        except HooxError:
            self._note(uncertain=True)
            return
        reported = {applied.name for applied in self._applied}
        for migration in self._pending:
            if migration.name in names and migration.name not in reported:
                self._applied.append(Applied(migration.name, 0.0, None))
                self._reporter.did(f"applied {migration.name}")

    def _look(self, database: Database) -> None:
        """Check the ledger and query it, as it is in the end."""
        with self._taking("check"):
            extra = check(database, self._migrations, database.label)
            self._note(extra=extra)
            also = f"; it has besides: {', '.join(extra)}" if extra else ""
            self._reporter.say(f"Checked: {database.label} is what the migrations say{also}.")
        with self._taking("smoke"):
            tables = {
                table.name: table.rows for table in ledger.list_tables(database, self._migrations.table)
            }
            queries = smoke(database, self._policy.smoke, timeout=self._policy.timeout)
            self._note(tables=tables, smoke=queries)
            self._reporter.say(f"Queried: {len(self._receipt.smoke)} queries ran.")

    def _ended(self, outcome: str) -> Receipt:
        self._note(outcome=outcome, failed_in="")
        return self.receipt

    def _note(self, **fields: Any) -> None:
        self._receipt = replace(self._receipt, **fields)

    @contextmanager
    def _taking(self, name: str) -> Iterator[None]:
        """Remember how long a step takes, or that it failed. Only a plan is refused; the rest fails."""
        started = time.perf_counter()
        self._note(failed_in=name)
        try:
            yield
        except Refused as error:
            if name == "plan":
                raise
            raise HooxError(error.problem, error.remedy, detail=error.detail) from error
        self._steps.append(Step(name, time.perf_counter() - started))
