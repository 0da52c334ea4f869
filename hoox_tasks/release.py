"""A release: every pending migration on a ledger, tried on a copy first, with a receipt and a way back.

The steps are plan, backup, rehearsal, migrate, check and smoke. Nothing real is touched before the
rehearsal has gone well from its first statement to its last query, on a copy made from the backup itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hoox_tasks import backups, ledger, migrations, sql
from hoox_tasks.backups import verification
from hoox_tasks.database import Database
from hoox_tasks.database.local import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.files import digest, scratch_folder
from hoox_tasks.migrations import Applied, Migration, MigrationFailed, State
from hoox_tasks.rehearsal import TableEffect, rehearse_on
from hoox_tasks.values import Value

RUNBOOK = {
    "trades": (
        "SELECT COUNT(*) FROM trades",
        "SELECT created_at, symbol, action, price, quantity FROM trades ORDER BY created_at DESC LIMIT 5",
    ),
    "positions": ("SELECT symbol, side, size, entry_price FROM positions WHERE size > 0",),
}
"""The runbook's queries by the table that they ask; one that a ledger does not have is not asked."""


@dataclass(frozen=True, slots=True)
class Backup:
    """The export that was kept, with the number of rows in it; `bytes` and `sha256` are of the file."""

    path: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Smoke:
    """A query that ran, how many rows it gave, and its value where that is a single one."""

    sql: str
    rows: int
    value: Value = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step that ended well, and how long it took in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a release.

    `outcome` is released, rehearsed (a dry run), nothing pending, or failed; then `failed_in` is the step,
    and `problem`, `detail` and `remedy` are its error. `version` is the migration applied last. `pending`
    are the migrations that were planned, `applied` those of them that are in the ledger now, `not_applied`
    the others; `uncertain` says that the ledger could not be asked for them. `rehearsal` is what became of
    each table of the copy; `extra` is what the ledger has besides what the migrations make; `tables` are its
    row counts after it all. `way_back` are commands.
    """

    database: str
    outcome: str
    version: str = ""
    pending: tuple[str, ...] = ()
    applied: tuple[Applied, ...] = ()
    not_applied: tuple[str, ...] = ()
    uncertain: bool = False
    backup: Backup | None = None
    artifact: str = ""
    rehearsal: tuple[TableEffect, ...] = ()
    extra: tuple[str, ...] = ()
    tables: dict[str, int | None] = field(default_factory=dict)
    smoke: tuple[Smoke, ...] = ()
    way_back: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    failed_in: str = ""
    problem: str = ""
    detail: str = ""
    remedy: str = ""

    @property
    def failure(self) -> str:
        """Where it failed, as a sentence, and whether the ledger was spared."""
        spared = self.failed_in in {"plan", "backup", "rehearsal"}
        return f"Failed in {self.failed_in}{', so the ledger was not touched' if spared else ''}."


class Release:
    """One release: what is to be done, and, as it goes on, what has been."""

    def __init__(
        self,
        database: Database,
        files: Sequence[Migration],
        table: str,
        folder: Path,
        *,
        smoke: Sequence[str] = (),
        restore: Callable[[Path], Sequence[str]] = lambda path: (),
        keep_way_back: Callable[[], Sequence[str]] = tuple,
        tell: Callable[[str], None] = lambda text: None,
        dry: bool = False,
        allow_out_of_order: bool = False,
        allow_data_loss: bool = False,
        strict: bool = True,
    ) -> None:
        """`table` is the migrations table, `folder` where the backup is kept, `smoke` queries of one's own.

        `restore` makes the commands of the way back from the backup's path; `keep_way_back` takes a recovery
        point, just before the ledger is touched, and gives those to it. `tell` is told each step's end.
        With `dry` it ends with the rehearsal and keeps nothing.
        """
        self._database = database
        self._files = files
        self._table = table
        self._folder = folder
        self._queries = smoke
        self._restore = restore
        self._keep_way_back = keep_way_back
        self._tell = tell
        self._dry = dry
        self._allow_out_of_order = allow_out_of_order
        self._allow_data_loss = allow_data_loss
        self._strict = strict
        self._steps: list[Step] = []
        self._restoring: tuple[str, ...] = ()
        self._pending: list[Migration] = []
        self._applied: list[Applied] = []
        self._receipt = Receipt(database.label, "failed")

    @property
    def receipt(self) -> Receipt:
        """What has become of it so far."""
        done = {one.name for one in self._applied}
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
            current = migrations.status(self._database, self._files, self._table)
            self._note(version=current.version)
            self._pending = migrations.plan(current, self._files, allow_out_of_order=self._allow_out_of_order)
        if not self._pending:
            self._tell(f"Nothing is pending on {self._database.label}.")
            self._look(self._database)
            return self._ended("nothing pending")
        self._tell(f"Pending: {', '.join(migration.name for migration in self._pending)}.")
        with scratch_folder() as scratch, ExitStack() as rehearsing:
            folder = scratch if self._dry else self._folder
            with self._taking("backup"):
                copy = rehearsing.enter_context(self._back_up(folder))
            with self._taking("rehearsal"):
                self._rehearse(copy)
        if self._dry:
            return self._ended("rehearsed")
        with self._taking("migrate"):
            self._note(way_back=(*self._keep_way_back(), *self._restoring))
            self._migrate()
        self._look(self._database)
        return self._ended("released")

    @contextmanager
    def _back_up(self, folder: Path) -> Iterator[LocalDatabase]:
        """Keep a verified backup, and give the copy that was loaded from it."""
        path = backups.default_path(folder, compressed=True)
        exported = backups.export(self._database, path, compressed=True, history=self._table)
        if not self._dry:
            backup = Backup(str(path), path.stat().st_size, digest(path), exported.total)
            self._note(backup=backup)
            # What is empty cannot be restored.
            self._restoring = tuple(self._restore(path)) if exported.tables else ()
            self._tell(f"Kept {path.name}: {exported.total:,} rows, {backup.bytes:,} bytes, verified.")
        with (
            verification.loaded(path) as loaded,
            closing(LocalDatabase(loaded.path, strict=self._strict)) as copy,
        ):
            yield copy

    def _rehearse(self, copy: LocalDatabase) -> None:
        """Do on the copy all that is going to be done, to the last query."""
        found = rehearse_on(
            copy,
            self._files,
            self._table,
            allow_out_of_order=self._allow_out_of_order,
            allow_data_loss=self._allow_data_loss,
            strict=self._strict,
        )
        self._note(rehearsal=tuple(found.effects))
        check(copy, self._files, self._table, "The migrated copy", strict=self._strict)
        smoke(copy, self._queries)
        took = sum(one.seconds for one in found.applied)
        self._tell(f"Rehearsed on a copy: {len(found.applied)} applied in {took:.2f} s, checked and queried.")

    def _migrate(self) -> None:
        try:
            self._applied, _ = migrations.apply(
                self._database,
                self._files,
                self._table,
                allow_out_of_order=self._allow_out_of_order,
                allow_data_loss=self._allow_data_loss,
                strict=self._strict,
            )
        except BaseException as error:
            self._applied = error.applied if isinstance(error, MigrationFailed) else self._found_applied()
            raise
        finally:
            if self._applied:
                self._note(version=self._applied[-1].name)
                self._tell(f"Applied {', '.join(one.name for one in self._applied)}.")

    def _found_applied(self) -> list[Applied]:
        """Ask the ledger which of the planned migrations are in its history, after a failure of the way."""
        try:
            history = migrations.status(self._database, self._files, self._table).history
        except HooxError:
            self._note(uncertain=True)
            return []
        names = {name for name, _ in history}
        return [Applied(migration.name, 0.0) for migration in self._pending if migration.name in names]

    def _look(self, database: Database) -> None:
        """Check the ledger and query it, as it is in the end."""
        with self._taking("check"):
            extra = check(database, self._files, self._table, database.label, strict=self._strict)
            self._note(extra=extra)
            also = f"; it has besides: {', '.join(extra)}" if extra else ""
            self._tell(f"Checked: {database.label} is what the migrations say{also}.")
        with self._taking("smoke"):
            tables = {table.name: table.rows for table in ledger.list_tables(database, self._table)}
            self._note(tables=tables, smoke=smoke(database, self._queries))
            self._tell(f"Queried: {len(self._receipt.smoke)} queries ran.")

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


def check(
    database: Database, files: Sequence[Migration], history: str, what: str, *, strict: bool = True
) -> tuple[str, ...]:
    """Look whether a ledger, called `what`, is what its migrations say; gives the objects it has besides.

    Raises `HooxError` that tells of every migration that is not applied, and of every object that is missing
    or different.
    """
    current = migrations.status(database, files, history)
    drift = migrations.find_drift(current, files, history, strict=strict)
    wrong = [
        f"{entry.name} is {entry.state.value}"
        for entry in current.entries
        if entry.state is not State.APPLIED
    ]
    wrong += [str(one) for one in drift if one.what != "extra"]
    if wrong:
        raise HooxError(
            f"{what} is not what its migrations say.",
            "Write a migration that brings it there; `inv db.check` compares the ledger itself.",
            detail="\n".join(wrong),
        )
    return tuple(f"{one.type} {one.name}" for one in drift)


def smoke(database: Database, queries: Sequence[str]) -> tuple[Smoke, ...]:
    """Run the runbook's queries on a ledger, and then `queries`; none of them may write."""
    tables = {item.name for item in database.schema() if item.type == "table"}
    chosen = [query for table, own in RUNBOOK.items() if table in tables for query in own]
    results = []
    for query in [*chosen, *queries]:
        try:
            rows = list(database.query(query))
        except HooxError as error:
            raise HooxError(f"The query {query} does not run: {error.problem}", error.remedy) from error
        single = len(rows) == 1 and len(rows[0]) == 1
        results.append(Smoke(query, len(rows), _shown(rows[0][0]) if single else None))
    return tuple(results)


def markdown(receipt: Receipt) -> str:
    """Write a receipt as the summary of a job."""
    title = {"released": "Released", "rehearsed": "Rehearsed", "nothing pending": "Nothing to release"}
    lines = [f"## {title.get(receipt.outcome, 'Release failed')}: {_code(receipt.database)}", ""]
    if receipt.problem:
        lines += [
            f"**{receipt.failure}** {_text(receipt.problem)}",
            "",
            _text(receipt.remedy),
            "",
        ]
        if receipt.detail:
            lines += [_fence(receipt.detail), ""]
    if receipt.uncertain:
        lines += ["The history could not be read afterwards. Look with `inv db.migrate.status`.", ""]
    if receipt.pending:
        lines += ["| migration | |", "| --- | --- |"]
        seconds = {one.name: one.seconds for one in receipt.applied}
        for name in receipt.pending:
            rest = "would be applied" if receipt.outcome == "rehearsed" else "not applied"
            took = f"applied ({seconds[name] * 1000:.0f} ms)" if seconds.get(name) else "applied"
            lines.append(f"| {_code(name)} | {took if name in seconds else rest} |")
        lines.append("")
    lines += [f"Version: {_code(receipt.version or 'none')}", ""]
    if receipt.rehearsal:
        lines += ["| rows in the rehearsal | before | after | schema |", "| --- | ---: | ---: | --- |"]
        lines += [
            f"| {_code(one.table)} | {_number(one.before)} | {_number(one.after)}"
            f" | {', '.join(map(_code, one.schema))} |"
            for one in receipt.rehearsal
        ]
        lines.append("")
    if receipt.tables:
        lines += ["| table | rows |", "| --- | ---: |"]
        lines += [f"| {_code(name)} | {_number(rows)} |" for name, rows in receipt.tables.items()]
        lines.append("")
    if receipt.smoke:
        lines += ["| query | rows | value |", "| --- | ---: | --- |"]
        lines += [
            f"| {_code(one.sql)} | {one.rows:,} | {'' if one.value is None else _code(str(one.value))} |"
            for one in receipt.smoke
        ]
        lines.append("")
    if receipt.extra:
        lines += [f"Besides what the migrations make: {', '.join(map(_code, receipt.extra))}", ""]
    if receipt.backup:
        kept = f" (artifact {_code(receipt.artifact)})" if receipt.artifact else ""
        lines += [
            f"Backup: {_code(Path(receipt.backup.path).name)}{kept}, {receipt.backup.rows:,} rows,"
            f" SHA-256 {_code(receipt.backup.sha256)}",
            "",
        ]
    if receipt.way_back:
        lines += [
            "The way back, which loses what was written since:",
            "",
            _fence("\n".join(receipt.way_back)),
            "",
        ]
    lines.append(" · ".join(f"{step.name} {step.seconds:.1f} s" for step in receipt.steps))
    return "\n".join(lines).rstrip() + "\n"


def annotation(error: HooxError, workspace: Path) -> str:
    """Write an error as GitHub's command that puts it beside the line of the file at fault.

    `workspace` is the folder of the checkout
    (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
    """
    place = ""
    if isinstance(error, MigrationFailed):
        file = error.file.resolve()
        if file.is_relative_to(workspace.resolve()):
            place = f" file={_property(file.relative_to(workspace.resolve()).as_posix())}"
            place += f",line={max(error.line, 1)}"
    return f"::error{place}::{_message(str(error))}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _shown(value: Value) -> Value:
    return sql.quote_value(value) if isinstance(value, bytes) else value


def _number(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _code(text: str) -> str:
    """Put a text into a code span of one line, whatever is in it; it may stand in a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    marks = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{marks}{space}{line}{space}{marks}"


def _text(text: str) -> str:
    """Let nothing in a sentence be markup but its own code spans."""
    parts = " ".join(text.split()).split("`")
    spans = len(parts) % 2  # A mark too many would turn them inside out.
    escaped = [
        part if spans and place % 2 else re.sub(r"([\\*\[\]<>|])", r"\\\1", part)
        for place, part in enumerate(parts)
    ]
    return "`".join(escaped)


def _fence(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}text\n{text}\n{marks}"
