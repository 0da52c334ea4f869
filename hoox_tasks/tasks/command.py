"""One task being run: its settings, its ledger, its recovery point and its receipt."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from invoke.context import Context

from hoox_tasks.config.settings import PATHS, Settings, Target, load_settings
from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_document
from hoox_tasks.database.interface import Database
from hoox_tasks.database.opening import open_database
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks import migrations
    from hoox_tasks.config import section
    from hoox_tasks.recovery import points


class Command:
    """One task being run: its flags, its settings, and how it speaks."""

    def __init__(self, context: Context, target: Target, *, json: bool = False) -> None:
        self.json = json
        self.dry = bool(context.config.run.dry)
        self._target = target
        self._configured = dict(context.config.get("hoox", {}))
        if any(self._configured.get(name) for name in PATHS):
            self._configured = section.resolve_paths(context.config, self._configured)
        self._settings: Settings | None = None
        self._migrations: migrations.Migrations | None = None
        self.way_back: points.RecoveryPoint | None = None
        self._way_back_kept = False
        self._started = time.perf_counter()

    @property
    def settings(self) -> Settings:
        """The settings, from flags, environment and config files; raises `Refused` where they do not fit."""
        if self._settings is None:
            self._settings = load_settings(self._target, self._configured)
        return self._settings

    @property
    def migrations(self) -> migrations.Migrations:
        """The migrations of the workspace; raises `Refused` where their files cannot be read."""
        if self._migrations is None:
            self._migrations = migrations.Migrations.of(self.settings)
        return self._migrations

    def settings_of(self, **flags: Any) -> Settings:
        """The settings of another ledger than the flags name: with some of them changed."""
        return load_settings(self._target._replace(**flags), self._configured)

    @contextmanager
    def ledger(self, *, create: bool = False) -> Iterator[Database]:
        """Open the ledger for a block."""
        database = open_database(self.settings, create=create)
        try:
            if self.settings.remote:
                terminal.note(f"On {database.address}:")
            yield database
            self.prune_ways_back(database)
        except Refused:
            self._drop_way_back()
            raise
        finally:
            database.close()

    @property
    def flags(self) -> list[str]:
        """The flags that chose this ledger, for a command that means the same one."""
        words = []
        for flag, value in self._target._asdict().items():
            words += [f"--{flag}"] if value is True else [f"--{flag}", value] if value else []
        return words

    @property
    def seconds(self) -> float:
        """The time since the task began."""
        return time.perf_counter() - self._started

    def say(self, text: str) -> None:
        """Print a line for people; with --json there is only the document."""
        if not self.json:
            sys.stdout.write(f"{text}\n")

    def keep_way_back(self, database: Database, cause: str) -> None:
        """Take a recovery point before this task first changes the ledger; the receipt will name it."""
        if self.settings.keep_snapshots > 0 and not self._way_back_kept:
            self.way_back = points.take(database, self.settings.snapshots_dir, cause)
        self._way_back_kept = True

    def prune_ways_back(self, database: Database) -> None:
        """Let go of the oldest recovery points, now that the change has gone well."""
        if self.way_back:
            points.prune(database, self.settings.snapshots_dir, max(1, self.settings.keep_snapshots))

    def _drop_way_back(self) -> None:
        """Forget the recovery point of a change that was refused: it would only push out others."""
        if self.way_back:
            points.forget(self.settings.snapshots_dir, self.way_back)
            self.way_back = None

    def done(self, text: str, **fields: Any) -> None:
        """End with the receipt: what was done, to which ledger, in what time, and how it is taken back."""
        if self.json:
            point = {"recovery_point": self.way_back.id} if self.way_back else {}
            print_document({**fields, **point, "seconds": round(self.seconds, 6)})
            return
        self.say(f"{text} ({terminal.duration(self.seconds)}).")
        if self.way_back:
            self.say(self.advice)

    @property
    def advice(self) -> str:
        """How the change is taken back that this task has made."""
        return f"Take it back with `{self.undo}`."

    @property
    def undo(self) -> str:
        """The command that takes the change back that this task has made."""
        assert self.way_back is not None
        flags = [flag for flag in self.flags if flag != "--preview" or self.settings.remote]
        return shlex.join(["inv", "db.undo", "--to", self.way_back.id, *flags])

    def shown(self, path: Path) -> str:
        """Give a path as people read it: short where it lies below the current folder."""
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
