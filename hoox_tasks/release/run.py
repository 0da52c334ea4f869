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
from hoox_tasks.errors import HooxError, Refused, RemoteError
from hoox_tasks.files import digest, scratch_folder
from hoox_tasks.migrations import NO_CONSENT, Applied, Consent, Migration, Migrations, Status
from hoox_tasks.release.checks import check, smoke
from hoox_tasks.release.receipt import Backup, Receipt, Step
from hoox_tasks.release.rehearsal import rehearse_on

_READINGS = (0.0, 0.5, 1.0, 1.0, 1.0)
"""Seconds before each reading of the history after an interruption. A runner on GitHub that cancels a job
sends a second signal after 7.5 seconds, and ends everything 2.5 seconds later."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a release may do.

    `folder` is where the backup is saved, None to save none; to `recipients` (age) it is encrypted. `smoke`
    are queries that must run beside the runbook's, `consent` is what the migrations may lose or change. With
    `dry` it ends with the rehearsal and saves nothing; it then reads the ledger by queries only, for which D1
    stops nobody and a token that may only read is enough. With `prepare` it ends with the rehearsal as well,
    and its receipt is what a later release goes on from, as `prepared`.
    `timeout` is how many seconds one of the queries may take.
    """

    folder: Path | None
    smoke: Sequence[str] = ()
    consent: Consent = NO_CONSENT
    allow_out_of_order: bool = False
    dry: bool = False
    recipients: Sequence[str] = ()
    prepare: bool = False
    prepared: Receipt | None = None
    timeout: float | None = None


class Reporter(Protocol):
    """Is told how a release goes, and knows the commands that take it back."""

    def say(self, text: str) -> None:
        """Take note of the end of a step, as a sentence."""

    def save(self, receipt: Receipt) -> None:
        """Save what is to be said of the release if it is killed in the step that begins."""

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
        self._receipt = Receipt(database.label, "failed", identity=database.identity)

    @property
    def receipt(self) -> Receipt:
        """What has become of it so far."""
        receipt = self._receipt
        done = {applied.name for applied in self._applied} | set(receipt.elsewhere)
        return replace(
            receipt,
            applied=tuple(self._applied),
            not_applied=tuple(name for name in receipt.pending if name not in done),
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
            checksums = {migration.name: migration.checksum for migration in self._pending}
            self._note(pending=tuple(checksums), checksums=checksums)
            if self._policy.prepared:
                self._go_on(self._policy.prepared, current)
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
        if not self._policy.prepared:
            self._prepare()
        if self._policy.dry:
            return self._ended("rehearsed")
        if self._policy.prepare:
            return self._ended("prepared")
        self._note(way_back=self._restoring)
        with self._taking("migrate"):
            self._migrate()
        self._look(self._database)
        return self._ended("released" if self._applied else "nothing pending")

    def _go_on(self, prepared: Receipt, current: Status) -> None:
        """Take over what another run has prepared, if that is what would be prepared now.

        Raises `Refused` where ledger, migrations or backup are not what they were; that another run has
        applied some of the migrations since is no harm.
        """
        planned = prepared.checksums
        elsewhere = tuple(name for name, _ in current.history if name in planned)
        before = [name for name, _ in current.history if name not in planned]
        backup = Path(prepared.backup.path) if prepared.backup else None
        problem = ""
        if prepared.identity != self._database.identity:
            problem = f"it is of another ledger, {prepared.database}"
        elif prepared.version != (before[-1] if before else ""):
            problem = "the history of the ledger has changed otherwise"
        for name, checksum in self._receipt.checksums.items():
            if planned.get(name) != checksum:
                problem = f"{name} {'has changed' if name in planned else 'is new'}"
        if prepared.backup and backup:
            if not backup.is_file():
                problem = f"the backup {backup} is gone"
            elif digest(backup) != prepared.backup.sha256:
                problem = f"the backup {backup} has changed"
        if problem:
            raise Refused(
                f"The release was prepared for something else: {problem}.",
                "Prepare it again, with --prepare.",
            )
        self._steps += prepared.steps
        self._note(
            pending=prepared.pending,
            checksums=planned,
            elsewhere=elsewhere,
            backup=prepared.backup,
            rehearsal=prepared.rehearsal,
            changes=prepared.changes,
        )
        if prepared.backup and backup and prepared.backup.rows:
            self._restoring = tuple(self._reporter.restore_commands(backup))
        if elsewhere:
            self._reporter.say(f"Applied by another run meanwhile: {', '.join(elsewhere)}.")

    def _prepare(self) -> None:
        """Save a backup, and try on a copy made from it all that is going to be done."""
        with scratch_folder() as scratch, ExitStack() as rehearsing:
            with self._taking("backup"):
                copy = rehearsing.enter_context(self._back_up(scratch))
            with self._taking("rehearsal"):
                self._rehearse(copy)

    @contextmanager
    def _back_up(self, scratch: Path) -> Iterator[LocalDatabase]:
        """Save a verified backup, and give the copy that was loaded from it."""
        folder = None if self._policy.dry else self._policy.folder
        recipients = self._policy.recipients
        exported = backups.export(
            self._database,
            backups.default_path(scratch if recipients or folder is None else folder, compressed=True),
            reserve=True,
            compressed=True,
            online=self._policy.dry,
            migrations_table=self._migrations.table,
        )
        path = exported.path
        assert path is not None
        if folder:
            rows = ledger.count_rows(exported.tables, self._migrations.own_tables)
            saved = backups.seal(path, folder / path.name, recipients, reserve=True) if recipients else path
            backup = Backup(str(saved), saved.stat().st_size, digest(saved), rows)
            self._note(backup=backup)
            # What is empty cannot be restored.
            self._restoring = tuple(self._reporter.restore_commands(saved)) if exported.tables else ()
            encrypted = ", encrypted" if recipients else ""
            self._reporter.say(
                f"Kept {saved.name}: {rows:,} rows, {backup.bytes:,} bytes, verified{encrypted}."
            )
        elif not exported.one_moment:
            self._reporter.say(f"{self._database.label} was written to while it was read.")
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
        """Apply what is pending; whatever happens, the receipt says what of it is in the ledger, and by whom.

        Where nothing was applied for certain, there is no way back: it would only lose what others wrote.
        """

        def report(applied: Applied) -> None:
            self._applied.append(applied)
            self._reporter.did(f"applied {applied.name}")

        try:
            _, status = self._migrations.apply(
                self._database,
                allow_out_of_order=self._policy.allow_out_of_order,
                consent=self._policy.consent,
                report=report,
            )
            self._compare(status)
        except HooxError as error:
            causes = (error, error.__cause__)
            self._read_again(lost=any(isinstance(cause, RemoteError) and cause.ambiguous for cause in causes))
            raise
        except BaseException:
            self._read_again(lost=True)
            raise
        finally:
            changed = self._applied or self._receipt.uncertain
            commands = (*self._reporter.recovery_commands(), *self._restoring) if changed else ()
            self._note(way_back=commands)
            if self._applied:
                self._reporter.say(f"Applied {', '.join(applied.name for applied in self._applied)}.")

    def _compare(self, status: Status) -> None:
        """Note what of the plan is in the history now, and was not applied by this release."""
        history = [name for name, _ in status.history]
        own = {applied.name for applied in self._applied}
        elsewhere = tuple(name for name in self._receipt.pending if name in history and name not in own)
        self._note(elsewhere=elsewhere, version=status.version)

    def _read_again(self, *, lost: bool) -> None:
        """Read the history after a failure, to say which of the planned migrations are in it, and by whom.

        With `lost`, nobody has answered whether the next one was applied. A remote ledger may still be at it:
        it is asked a few times, and as long as the history does not show the migration that is uncertain.
        """
        asked = next(iter(self.receipt.not_applied), "")
        self._note(uncertain=lost and bool(asked))
        end = time.monotonic() + sum(_READINGS)
        for pause in _READINGS:
            time.sleep(pause)
            try:
                status = self._migrations.status(self._database)
            except HooxError:
                if not lost or time.monotonic() > end:
                    return
                continue
            if lost and asked in dict(status.history):
                self._applied.append(Applied(asked, 0.0, None))
                self._reporter.did(f"applied {asked}")
                self._note(uncertain=False)
            self._compare(status)
            if not lost or not self._receipt.uncertain or not self._database.settles_late:
                self._note(uncertain=False)
                return

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
        self._reporter.save(self.receipt)
        return self.receipt

    def _note(self, **fields: Any) -> None:
        self._receipt = replace(self._receipt, **fields)

    @contextmanager
    def _taking(self, name: str) -> Iterator[None]:
        """Remember how long a step takes, or that it failed. Only a plan is refused; the rest fails."""
        started = time.perf_counter()
        self._note(failed_in=name)
        killed = "It was ended from outside before it was done."
        self._reporter.save(replace(self.receipt, problem=killed, uncertain=name == "migrate"))
        try:
            yield
        except Refused as error:
            if name == "plan":
                raise
            raise HooxError(error.problem, error.remedy, detail=error.detail) from error
        self._steps.append(Step(name, time.perf_counter() - started))
