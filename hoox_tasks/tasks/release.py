"""`inv db.release` and `inv db.pull`."""

from __future__ import annotations

import os
import shlex
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hoox_tasks import interruptions
from hoox_tasks.console import gate, terminal
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task
from hoox_tasks.tasks.migrate import read_consent

with lazy_imports():
    from hoox_tasks import backups as backing_up
    from hoox_tasks import files, records
    from hoox_tasks.release import github
    from hoox_tasks.release import receipt as receipts
    from hoox_tasks.release import run as releasing
    from hoox_tasks.release import summary as summaries


@ledger_task(
    {
        "backup": "Keep a backup; without, there is only the copy that it is tried on.",
        "backups": "Keep the backup in this folder instead of backups/.",
        "encrypt-to": "Encrypt the backup to this age or SSH public key (repeatable).",
        "smoke": "A query that must run on the migrated copy and afterwards (repeatable).",
        "prepare": "End after the rehearsal; --prepared goes on from the receipt.",
        "prepared": "Go on from this receipt of a --prepare, if nothing has changed since.",
        "receipt": "Write the receipt to this file, as JSON; what is in it is true at every moment.",
        "summary": "Append the receipt as Markdown to this file; to $GITHUB_STEP_SUMMARY it is anyway.",
        "artifact": "What a workflow calls the place where it keeps the backup, for the receipt.",
        "allow-out-of-order": "Apply pending migrations that sort before one that was applied.",
        "allow-data-loss": "Let migrations lose rows and values: of the tables named, or of any.",
        "allow-value-changes": "Let migrations change these amounts: trades.price, or all of a table.",
    },
    iterable=("smoke", "encrypt_to"),
    optional=("allow_data_loss",),
    asks=True,
)
def release(
    command: Command,
    backup: bool = True,
    backups: str | None = None,
    encrypt_to: list[str] | None = None,
    smoke: list[str] | None = None,
    prepare: bool = False,
    prepared: str | None = None,
    receipt: str | None = None,
    summary: str | None = None,
    artifact: str = "",
    allow_out_of_order: bool = False,
    allow_data_loss: bool | str = False,
    allow_value_changes: str | None = None,
) -> None:
    """Migrate as a release does: back up, rehearse on a copy, apply, check, query.

    Nothing is touched before the rehearsal went well. Where nothing is
    pending, the ledger is only checked and queried. With Invoke's own --dry
    (`inv --dry db.release`) it ends with the rehearsal, keeps no backup, and
    only queries the ledger: D1 stops nobody for it.

    JSON: the receipt: database, outcome (released, rehearsed, prepared,
    nothing pending, failed, cancelled), identity, version, pending [name],
    checksums {name: sha256}, applied [{name, seconds, effects [{table,
    column, what, rows}]}], elsewhere [name] (applied by another run
    meanwhile), not_applied [name], uncertain, backup {path, bytes, sha256,
    rows}, artifact, rehearsal [{table, before, after (rows; null: no such
    table), schema [change]}], changes [{table, column, what, rows}], extra
    [object], tables {name: rows}, smoke [{sql, rows, value}], way_back
    [command], steps [{name, seconds}], failed_in, problem, detail, remedy,
    seconds.
    """
    course: releasing.Release | None = None
    error: BaseException | None = None
    places = _Places(receipt, summary, artifact)
    try:
        if prepared and (prepare or command.dry):
            raise Refused("--prepared does not go with --prepare or --dry.", "Give one of them.")
        backing_up.check_recipients(encrypt_to or ())
        settings = command.settings
        folder = Path(backups).expanduser().absolute() if backups else settings.backups_dir
        begun = receipts.read_receipt(Path(prepared).expanduser()) if prepared else None
        with command.ledger() as database:
            policy = releasing.Policy(
                folder if backup else None,
                tuple(smoke or ()),
                read_consent(command, allow_data_loss, allow_value_changes),
                allow_out_of_order,
                command.dry,
                recipients=tuple(encrypt_to or ()),
                prepare=prepare,
                prepared=begun,
                timeout=settings.query_timeout or None,
            )
            reporter = _Reporter(command, database, places)
            command.intention = "apply what is pending, as it was rehearsed,"
            course = releasing.Release(database, command.migrations, policy, reporter)
            course.run()
    except BaseException as raised:
        error = raised
        raise
    finally:
        with interruptions.dropped():
            refused = receipts.Receipt("the ledger", "failed", failed_in="plan")
            _tell(command, _with(course.receipt if course else refused, artifact, error), error, places)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a release is told of: the files of its receipt and its summary, and its artifact's name."""

    receipt: str | None
    summary: str | None
    artifact: str

    def save(self, receipt: receipts.Receipt, seconds: float) -> None:
        """Write the receipt to its file; raises `Refused` where that cannot be written."""
        if self.receipt:
            document = {**asdict(receipt), "artifact": self.artifact, "seconds": round(seconds, 6)}
            with files.written_whole(Path(self.receipt).expanduser()) as output:
                output.write(records.encode(document))


def _with(receipt: receipts.Receipt, artifact: str, error: BaseException | None) -> receipts.Receipt:
    """Give the receipt with the artifact's name, and with what ended the release."""
    receipt = replace(receipt, artifact=artifact)
    if error is None:
        return receipt
    if isinstance(error, HooxError):
        problem, remedy = terminal.worded(error.problem), terminal.worded(error.remedy)
        return replace(receipt, problem=problem, detail=error.detail, remedy=remedy)
    if isinstance(error, KeyboardInterrupt):
        remedy = "Run it again: what was applied is not applied twice."
        return replace(receipt, outcome="cancelled", problem="Somebody ended it.", remedy=remedy)
    return replace(receipt, problem=f"Something went wrong that should not: {error}.")


class _Reporter:
    """Says how a release goes, and words the commands that take it back, for the ledger of this task."""

    def __init__(self, command: Command, database: Database, places: _Places) -> None:
        self._command = command
        self._database = database
        self._places = places
        self._artifact = places.artifact

    def say(self, text: str) -> None:
        if self._command.json:
            terminal.note(text)
        else:
            self._command.say(text)

    def save(self, receipt: receipts.Receipt) -> None:
        self._places.save(receipt, self._command.seconds)

    def did(self, deed: str) -> None:
        self._command.did(deed)

    def restore_commands(self, backup: Path) -> list[str]:
        # The folder of a runner is gone with it; who restores has the artifact's file at hand.
        file = backup.name if self._artifact else self._command.shown(backup)
        identity = ["--identity", "KEYFILE"] if backing_up.is_encrypted(backup) else []
        return [terminal.worded(shlex.join(["inv", "db.restore", file, *identity, *self._command.flags]))]

    def recovery_commands(self) -> list[str]:
        """Word the command that goes back to this release's recovery point, from here or from anywhere."""
        command = self._command
        point = command.point
        if point is None:
            return []
        if not self._artifact:
            return [command.undo]
        # The file that undo reads is gone with the runner; D1 itself knows the bookmark, for 30 days.
        words = ["npx", "wrangler", "d1", "time-travel", "restore", self._database.name]
        words.append(f"--bookmark={point.mark}")
        if "--env" in command.flags:
            words.append(f"--env={command.flags[command.flags.index('--env') + 1]}")
        return [shlex.join(words)] if command.settings.remote else []


def _tell(command: Command, receipt: receipts.Receipt, error: BaseException | None, places: _Places) -> None:
    """Give the receipt to everybody who reads it: people, programs, GitHub."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        if isinstance(error, HooxError):
            workspace = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
            gate.command(terminal.worded(github.annotation(error, workspace)))
        _append("outputs", os.environ.get("GITHUB_OUTPUT"), github.outputs(receipt))
    for path in (places.summary, os.environ.get("GITHUB_STEP_SUMMARY")):
        _append("summary", path, summaries.markdown(receipt))
    try:
        places.save(receipt, command.seconds)
    except HooxError as problem:
        terminal.note(str(problem))
    if command.json:
        command.print({**asdict(receipt), "seconds": round(command.seconds, 6)})
        return
    if error is not None:
        applied = ", ".join(migration.name for migration in receipt.applied) or "nothing"
        command.say(f"{receipt.failure} Applied: {applied}.")
        if receipt.uncertain:
            command.say(f"Not known: whether {receipt.not_applied[0]} was applied.")
        if receipt.not_applied[receipt.uncertain :]:
            command.say(f"Not applied: {', '.join(receipt.not_applied[receipt.uncertain :])}.")
    if receipt.backup:
        kept = f" (artifact {receipt.artifact})" if receipt.artifact else ""
        command.say(f"Backup: {command.shown(Path(receipt.backup.path))}{kept}.")
    for line in receipt.way_back:
        command.say(f"The way back, which loses what was written since: {line}")
    if error is None:
        did = {
            "rehearsed": "Rehearsed a release of",
            "prepared": "Prepared a release of",
            "nothing pending": "Nothing to release on",
        }
        seconds = terminal.duration(command.seconds)
        command.say(f"{did.get(receipt.outcome, 'Released')} {receipt.database} ({seconds}).")


def _append(what: str, path: str | None, text: str) -> None:
    """Add to a file that others write to as well; where that fails, the work was done all the same."""
    if path:
        try:
            with Path(path).open("a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
        except OSError as problem:
            terminal.note(f"The {what} {path} cannot be written: {problem.strerror}.")


@ledger_task({}, without=("remote",), asks=True)
def pull(command: Command) -> None:
    """Fill the local ledger from the remote one, so that `wrangler dev` has its rows.

    The remote ledger is exported and verified, then brought in by one
    transaction; the local one as it was becomes a recovery point. A remote
    ledger without tables is refused, and nothing is changed.

    JSON: database, source, rows, version (the last migration's name),
    recovery_point (absent where there was nothing to keep), seconds.
    """
    there = command.settings_of(remote=True, path=None)
    here = command.settings_of(preview=False)
    with files.scratch_folder() as folder, closing(command.open(there)) as source:
        terminal.note(f"From {source.address}:")
        if command.dry:
            label = command.shown(here.path)
            command.done(f"Would fill {label} from {source.label}", database=label, source=source.label)
            return
        path = folder / "pulled.sql"
        ours = command.known_migrations_of(here)
        if not {item.name for item in source.schema()} - ours.own_tables:
            raise Refused(
                f"{source.label} is empty: it has no tables to pull.",
                "Name another with --database or --env, or fill it with `inv db.migrate --remote`.",
            )
        with terminal.progress("Exporting") as progress:
            backing_up.export(source, path, migrations_table=ours.table, progress=progress)
        checked = backing_up.checked(path, ours, label=source.label)
        with (
            checked as backup,
            closing(command.open(here, create=True)) as database,
            command.guarded(database),
        ):
            # What can be undone is only asked about where somebody sits at a terminal.
            if (not here.keep_snapshots or terminal.somebody_is_there()) and database.schema():
                kept = "" if here.keep_snapshots else " for good"
                command.confirm(database, f"This replaces {database.label} by {source.label}{kept}.")
            backing_up.restore(database, backup)
            rows = command.rows(backup.scratch.counts)
            command.done(
                f"Filled {database.label} with {terminal.count(rows, 'row')} of {source.label}",
                database=database.label,
                source=source.label,
                rows=rows,
                version=backup.version,
            )
