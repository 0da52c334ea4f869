"""What a ledger of a test is to be made of."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.version import __version__

with lazy_imports():
    from hoox_tasks import seeding


@dataclass(frozen=True, slots=True)
class Recipe:
    """What somebody asks for. `scenario` is None for a ledger without rows, `migrate_to` for all migrations.

    `seed` and `start` are the scenario's own where they are None. A `backup` takes the place of a scenario;
    `anonymize` is called with its ledger before anybody sees it. `named` tells whether the folder of the
    migrations was named for us; one that was only found may be of something else.
    """

    migrations_dir: Path
    migrations_pattern: str
    migrations_table: str
    fixtures_dirs: tuple[Path, ...]
    scenario: str | None
    seed: int | None = None
    scale: float = 1
    start: datetime | None = None
    migrate_to: str | None = None
    backup: Path | None = None
    anonymize: Callable[..., object] | None = None
    now: bool = False
    named: bool = True

    @property
    def kind(self) -> str:
        """The same for recipes that ask for the same; the contents of their files may differ."""
        folders = (self.migrations_dir, self.migrations_pattern, self.migrations_table, self.fixtures_dirs)
        rows = (self.scenario, self.seed, self.scale, self.start, self.migrate_to, self.backup)
        return digest(repr((folders, rows)).encode())

    def words(self) -> str:
        """Say it to people: `scenario quiet, seed 7, scale 2`."""
        choices = {"seed": self.seed, "start": self.start, "migrate_to": self.migrate_to}
        words = ["no scenario" if self.scenario is None else f"scenario {self.scenario}"]
        if self.backup is not None:
            words, choices = [f"backup {self.backup.name}"], {"migrate_to": self.migrate_to}
        words += [f"{name} {value}" for name, value in choices.items() if value is not None]
        words += [f"scale {self.scale:g}"] if self.scale != 1 else []
        return ", ".join([*words, "now"] if self.now else words)

    def parts(self) -> dict[str, str]:
        """Everything that the template's rows depend on, by the name that people know it by.

        Raises `Refused` where there is no such migrations folder, scenario or backup.
        """
        if not self.migrations_dir.is_dir():
            raise Refused(
                f"There is no migrations folder {self.migrations_dir}.", "Make it, or correct its name."
            )
        parts = {
            path.relative_to(self.migrations_dir).as_posix(): digest(path.read_bytes())
            for path in sorted(self.migrations_dir.glob(self.migrations_pattern))
            if path.is_file()
        }
        if self.backup is not None:
            if not self.backup.is_file():
                raise Refused(f"There is no backup {self.backup}.", "Correct its name.")
            parts[f"backup {self.backup.name}"] = digest(self.backup.read_bytes())
            parts["anonymize"] = _source(self.anonymize)
        elif self.scenario is not None:
            parts[f"scenario {self.scenario}"] = digest(self._scenario_file(self.scenario).read_bytes())
            parts["seed"] = str(self.seed)
            parts["scale"] = str(float(self.scale))
            parts["start"] = str(self.start)
            parts["generator"] = seeding.GENERATOR_VERSION
        parts["migrate_to"] = str(self.migrate_to)
        parts["migrations table"] = self.migrations_table
        parts["hoox_tasks"] = __version__
        return parts

    def _scenario_file(self, name: str) -> Path:
        # Reading a scenario takes longer than all the rest of a test; a template that is there needs none.
        for folder in self.fixtures_dirs:
            if (folder / f"{name}.toml").is_file():
                return folder / f"{name}.toml"
        seeding.load_scenario(name, self.fixtures_dirs)
        return seeding.find_scenarios(self.fixtures_dirs)[name]


def digest(data: bytes) -> str:
    """A checksum that tells contents apart."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


_UNKNOWN = "unknown"


def _source(function: Callable[..., object] | None) -> str:
    """What a function does, as far as that can be told: the content of the file that it is written in."""
    if function is None:
        return "nothing"
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
        return f"{digest(Path(file).read_bytes())} {function.__qualname__}" if file else _UNKNOWN
    except (OSError, TypeError, AttributeError):
        return _UNKNOWN
