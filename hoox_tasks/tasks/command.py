"""One task being run: its settings, its ledger, its recovery point and its receipt."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from hoox_tasks.config.settings import PATHS, Settings, Target, load_settings
from hoox_tasks.console import gate, terminal
from hoox_tasks.console.formats import print_document
from hoox_tasks.database.opening import open_database
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks import ledger, migrations
    from hoox_tasks.config import dictionary, section
    from hoox_tasks.recovery import recording

if TYPE_CHECKING:
    from hoox_tasks.database.interface import Database, Moment
    from hoox_tasks.recovery import points
    from hoox_tasks.recovery.recording import Recorder


class Command:
    """One task being run: its flags, its settings, what it has done, and how it speaks.

    `confirmed` says that nobody need be asked any more, `intention` what somebody is asked about before a
    remote ledger is changed: "apply 0003_fills.sql".
    """

    def __init__(
        self,
        context: Context,
        target: Target,
        cause: str,
        *,
        json: bool = False,
        confirmed: bool = False,
    ) -> None:
        self.cause = cause
        """What recovery points and their history call it."""
        self.json = json
        self.confirmed: bool = confirmed
        self.intention: str = f"go on with {cause}"
        self.dry: bool = bool(context.config.run.dry)
        self.remote: bool = target.remote
        self.printed: bool = False
        """Whether standard output has something of a result already."""
        self._target = target
        self._config = context.config
        self._settings: Settings | None = None
        self._migrations: migrations.Migrations | None = None
        self._times: dict[str, frozenset[str]] | None = None
        self._recorder: Recorder | None = None
        self._changing: list[Database] = []
        self._deeds: list[str] = []
        self._unwritten: OSError | None = None
        self._started = time.perf_counter()

    # --------------------------------------------------------------------------------- what it is given

    @property
    def settings(self) -> Settings:
        """The settings, from flags, environment and config files; raises `Refused` where they do not fit."""
        if self._settings is None:
            self._settings = self.settings_of()
        return self._settings

    @property
    def known_migrations(self) -> migrations.Migrations:
        """The migrations of the workspace, none where there is no folder of them: backups need none."""
        return self.known_migrations_of(self.settings)

    def known_migrations_of(self, settings: Settings) -> migrations.Migrations:
        """The migrations of other settings; none where there is no folder of them."""
        try:
            return migrations.Migrations.of(settings)
        except Refused:
            return migrations.Migrations((), settings.migrations_table, settings.strict)

    @property
    def migrations(self) -> migrations.Migrations:
        """The migrations of the workspace; raises `Refused` where their files cannot be read."""
        if self._migrations is None:
            self._migrations = migrations.Migrations.of(self.settings)
        return self._migrations

    @property
    def times(self) -> dict[str, frozenset[str]]:
        """The columns of each table that hold Unix seconds, by the data dictionary."""
        if self._times is None:
            self._times = dictionary.times(dictionary.read_dictionary(self.settings.migrations_dir))
        return self._times

    def time_columns(self) -> frozenset[str]:
        """Give the names of all columns that hold Unix seconds; none where the dictionary cannot be read."""
        try:
            return frozenset().union(*self.times.values())
        except Refused as error:
            terminal.note(f"Times are shown as they are stored. {error}")
            self._times = {}
            return frozenset()

    def settings_of(self, **flags: Any) -> Settings:
        """The settings of another ledger than the flags name: with some of them changed."""
        configured = dict(self._config.get("hoox") or {})
        if any(configured.get(name) for name in PATHS):
            configured = section.resolve_paths(self._config, configured)
        return load_settings(self._target._replace(**flags), configured)

    @property
    def flags(self) -> list[str]:
        """The flags that chose this ledger, as words of a command that means the same one."""
        words = []
        for flag in self.chosen:
            name, _, value = flag.partition("=")
            # A value that looks like a flag must not stand by itself.
            words += [flag] if not value or value.startswith("-") else [name, value]
        return words

    @property
    def chosen(self) -> list[str]:
        """The flags that chose this ledger, each with its value: `--path=x`, `--remote`."""
        given = self._target._asdict().items()
        return [f"--{flag}" if value is True else f"--{flag}={value}" for flag, value in given if value]

    @property
    def seconds(self) -> float:
        """The time since the task began."""
        return time.perf_counter() - self._started

    # ------------------------------------------------------------------------------- the ledger it changes

    @contextmanager
    def ledger(self, *, create: bool = False) -> Iterator[Database]:
        """Open the ledger for a block; its first change goes through a recovery point.

        With `create` a local one is made where there is none.
        """
        with closing(self.open(self.settings, create=create)) as database:
            if self.settings.remote:
                terminal.note(f"On {database.address}:")
            with self.guarded(database):
                yield database

    def open(self, settings: Settings, *, create: bool = False) -> Database:
        """Open a ledger; tells before anything is sent where the token goes, if not to Cloudflare."""
        if settings.remote and (host := settings.foreign_host):
            terminal.note(f"CLOUDFLARE_API_BASE_URL sends this, and the API token, to {host}.")
        return open_database(settings, create=create)

    @contextmanager
    def guarded(self, database: Database) -> Iterator[None]:
        """Let the first change in a block go through a recovery point; with --dry let none pass at all."""
        self._changing.append(database)
        if self.dry:
            database.before_first_change = _refuse_change
            yield
            return
        keep = self.settings.keep_snapshots
        recorders: list[Recorder] = []

        def before_change(moment: Moment) -> None:
            if self.asks:
                self.confirm(database, f"This will {self.intention} on {database.label}.")
            if keep > 0:
                if not recorders:
                    recorders.append(recording.Recorder(database, self.settings.snapshots_dir, self.cause))
                    self._recorder = recorders[0]
                recorders[0].cause = self.cause
                recorders[0](moment)

        if keep > 0 or self.asks:
            database.before_first_change = before_change
        try:
            yield
            for recorder in recorders:
                recorder.prune(keep, terminal.note)
        finally:
            database.before_first_change = None
            for recorder in recorders:
                recorder.close()

    @property
    def asks(self) -> bool:
        """Whether somebody is asked before the ledger is changed: it is remote, and they sit at a terminal.

        In CI nobody does, and a task goes on.
        """
        return self.settings.remote and not self.confirmed and terminal.somebody_is_there()

    def confirm(self, database: Database, question: str) -> None:
        """Go on only with --confirm, or if somebody types the ledger's name; raises `Refused` otherwise."""
        terminal.confirm(database.name, question, confirmed=self.confirmed)
        self.confirmed = True

    @property
    def point(self) -> points.RecoveryPoint | None:
        """The recovery point that was taken before this task first changed the ledger."""
        return self._recorder.point if self._recorder else None

    @property
    def undo(self) -> str:
        """The command that takes back what this task has changed; empty where there is no recovery point."""
        if self.point is None:
            return ""
        flags = [flag for flag in self.flags if flag != "--preview" or self.settings.remote]
        return terminal.worded(shlex.join(["inv", "db.undo", "--to", self.point.id, *flags]))

    @property
    def advice(self) -> str:
        """How this task's changes are taken back, as a sentence; empty where there is no recovery point."""
        return f"Take it back with `{self.undo}`." if self.undo else ""

    # --------------------------------------------------------------------------------------- what it says

    def say(self, text: str) -> None:
        """Print a line for people; with --json there is only the document.

        A full disk or a closed pipe does not stop the work: it is told when that has ended.
        """
        if not self.json:
            self._write(lambda: gate.write(f"{terminal.worded(text)}\n"))

    def print(self, document: Any) -> None:
        """Print the JSON document of this task, as `say` prints a line."""
        self.begin()
        self._write(lambda: print_document(document))

    def begin(self) -> None:
        """Remember that something of a result has been written to standard output."""
        self.printed = True

    def did(self, deed: str) -> None:
        """Remember what has been done, in a few words, for what is said if the task ends badly later."""
        self._deeds.append(deed)

    def done(self, text: str, **fields: Any) -> None:
        """End with the receipt: what was done, to which ledger, in what time, and how it is taken back."""
        if self.changed and not self.dry:
            self._deeds = [text[0].lower() + text[1:]]
        if self.json:
            point = {"recovery_point": self.point.id} if self.point else {}
            self.print({**fields, **point, "seconds": round(self.seconds, 6)})
            return
        self.say(f"{text} ({terminal.duration(self.seconds)}).")
        if self.point:
            self.say(self.advice)

    def rows(self, tables: Mapping[str, int]) -> int:
        """Add up the rows of a ledger's tables as `inv db.list` shows them."""
        return ledger.count_rows(tables, migrations.history.own_tables(self.settings.migrations_table))

    def shown(self, path: Path) -> str:
        """Give a path as people read it: short where it lies below the current folder."""
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

    def _write(self, write: Callable[[], object]) -> None:
        if self._unwritten is None:
            try:
                write()
            except OSError as error:
                self._unwritten = error

    # ------------------------------------------------------------------------------------ how it has ended

    @property
    def changed(self) -> bool:
        """Whether anything has been changed by now that stays, whatever happens next."""
        return bool(self._deeds) or any(database.changes for database in self._changing)

    @property
    def account(self) -> str:
        """What has been done by now, and how that is taken back, as sentences; empty where nothing was."""
        if not self.changed:
            return ""
        done = "The ledger was changed before that."
        if self._deeds:
            done = f"Done before that: {'; '.join(self._deeds)}."
        return "\n".join(filter(None, (done, self.advice)))

    def finish(self) -> None:
        """Write what is still held of the output; raises `OSError` where some of it could not be written."""
        if self._unwritten is not None:
            raise self._unwritten
        sys.stdout.flush()


def _refuse_change(moment: Moment) -> None:
    raise Refused("With --dry nothing is changed.", "Leave --dry out.")
