"""Templates: ledgers that are migrated and seeded once, kept in a folder, and copied for every test.

A template is known by what it was made from: the content of the migrations and of the scenario, seed,
scale, start, and the version of the generator and of this package. Processes that want the same one at
the same time build it once. It is written whole or not at all, and its checksum is looked at before use.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path

from hoox_tasks.errors import Refused
from hoox_tasks.version import __version__

_KEPT = 2
"""Templates that are kept of each kind: that of now, and that of before for a run that still uses it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What somebody asks for. `scenario` is None for a ledger without rows, `migrate_to` for all migrations.

    `seed` and `start` are the scenario's own where they are None.
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

    @property
    def kind(self) -> str:
        """The same for recipes that ask for the same; the contents of their files may differ."""
        return _digest(repr(astuple(self)).encode())

    def words(self) -> str:
        """Say it to people: `scenario quiet, seed 7, scale 2`."""
        choices = {"seed": self.seed, "start": self.start, "migrate_to": self.migrate_to}
        words = ["no scenario" if self.scenario is None else f"scenario {self.scenario}"]
        words += [f"{name} {value}" for name, value in choices.items() if value is not None]
        return ", ".join(words + ([f"scale {self.scale:g}"] if self.scale != 1 else []))

    def parts(self) -> dict[str, str]:
        """Everything that the template's rows depend on, by the name that people know it by.

        Raises `Refused` where there is no such migrations folder or scenario.
        """
        parts = {
            path.relative_to(self.migrations_dir).as_posix(): _digest(path.read_bytes())
            for path in sorted(self.migrations_dir.glob(self.migrations_pattern))
            if path.is_file()
        }
        if not self.migrations_dir.is_dir():
            raise Refused(
                f"There is no migrations folder {self.migrations_dir}.", "Make it, or correct its name."
            )
        if self.scenario is not None:
            from hoox_tasks.seeding.rows import GENERATOR_VERSION

            parts[f"scenario {self.scenario}"] = _digest(self._scenario_file(self.scenario).read_bytes())
            parts["seed"] = str(self.seed)
            parts["scale"] = str(float(self.scale))
            parts["start"] = str(self.start)
            parts["generator"] = GENERATOR_VERSION
        parts["migrate_to"] = str(self.migrate_to)
        parts["migrations table"] = self.migrations_table
        parts["hoox_tasks"] = __version__
        return parts

    def _scenario_file(self, name: str) -> Path:
        # Reading a scenario takes longer than all the rest of a test; a template that is there needs none.
        for folder in self.fixtures_dirs:
            if (folder / f"{name}.toml").is_file():
                return folder / f"{name}.toml"
        from hoox_tasks.seeding import find_scenarios, load_scenario

        load_scenario(name, self.fixtures_dirs)
        return find_scenarios(self.fixtures_dirs)[name]


@dataclass(frozen=True, slots=True)
class Template:
    """A ledger to copy. `data` is the SQLite file's content, `origin` says how it came about."""

    recipe: Recipe
    path: Path
    data: bytes
    origin: str

    def connect(self) -> sqlite3.Connection:
        """Give a copy in memory, with foreign keys on; the caller closes it."""
        connection = sqlite3.connect(":memory:")
        if self.data:
            connection.deserialize(self.data)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def copy(self, path: Path) -> None:
        """Make a copy in a file, which shares its blocks with the template where the file system can."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _clone(self.path, path, len(self.data))
        except OSError:
            path.write_bytes(self.data)


class Templates:
    """The templates in a folder that several processes may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[Recipe, Template] = {}

    def get(self, recipe: Recipe) -> Template:
        """Give the template of a recipe; it is built where there is none, or where it is damaged.

        Raises `HooxError` where it cannot be built.
        """
        if recipe not in self._found:
            self._found[recipe] = self._find(recipe)
        return self._found[recipe]

    def knows(self, recipe: Recipe) -> bool:
        """Tell whether there was a template of this kind before, whatever its files say now."""
        return bool(self._manifests(recipe.kind))

    def _find(self, recipe: Recipe) -> Template:
        parts = recipe.parts()
        key = _digest(json.dumps(parts).encode())
        data = self._read(key)
        if data is not None:
            return Template(recipe, self._path(key), data, "reused")

        from filelock import FileLock

        with FileLock(self._folder / f"{recipe.kind}.lock"):
            data = self._read(key)
            if data is not None:
                return Template(recipe, self._path(key), data, "reused")
            origin = self._reason(recipe.kind, key, parts)
            data = build(recipe, self._folder / f".{key}.{os.getpid()}.part")
            self._write(recipe.kind, key, parts, data)
        return Template(recipe, self._path(key), data, origin)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.sqlite"

    def _read(self, key: str) -> bytes | None:
        try:
            manifest = json.loads((self._folder / f"{key}.json").read_text("utf-8"))
            data = self._path(key).read_bytes()
        except (OSError, ValueError):
            return None
        return data if isinstance(manifest, dict) and manifest.get("checksum") == _digest(data) else None

    def _write(self, kind: str, key: str, parts: Mapping[str, str], data: bytes) -> None:
        manifest = {"kind": kind, "checksum": _digest(data), "parts": parts}
        # The manifest comes last: without it the other file counts for nothing.
        _replace(self._path(key), data)
        _replace(self._folder / f"{key}.json", json.dumps(manifest, indent=1).encode())
        for path, _ in self._manifests(kind)[_KEPT:]:
            for old in (path, path.with_suffix(".sqlite")):
                with suppress(OSError):
                    old.unlink()

    def _manifests(self, kind: str) -> list[tuple[Path, dict[str, str]]]:
        """The manifests of one kind with their parts, the newest first."""
        found = []
        for path in self._folder.glob("*.json"):
            try:
                manifest = json.loads(path.read_text("utf-8"))
                if manifest["kind"] == kind:
                    found.append((path.stat().st_mtime_ns, path, dict(manifest["parts"])))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return [(path, parts) for _, path, parts in sorted(found, key=lambda each: each[0], reverse=True)]

    def _reason(self, kind: str, key: str, parts: Mapping[str, str]) -> str:
        """Say why a template has to be built."""
        if any((self._folder / f"{key}{suffix}").exists() for suffix in (".json", ".sqlite")):
            return "rebuilt: it was damaged"
        former = self._manifests(kind)
        return f"rebuilt: {_compare(former[0][1], parts)}" if former else "built"


def build(recipe: Recipe, path: Path) -> bytes:
    """Migrate and seed a new ledger at `path`; gives the file's content and leaves no file behind.

    Raises `HooxError` where a migration or the scenario does not work.
    """
    from hoox_tasks import ledger, seeding, sql
    from hoox_tasks.database.local.database import LocalDatabase
    from hoox_tasks.migrations import Migrations

    migrations = Migrations.read(
        recipe.migrations_dir, recipe.migrations_pattern, table=recipe.migrations_table
    )
    try:
        with closing(LocalDatabase(path, create=True)) as database:
            # Nobody else uses it yet. A ledger in WAL mode could not be deserialized.
            database.connection.execute("PRAGMA journal_mode = MEMORY").fetchall()
            database.connection.execute("PRAGMA synchronous = OFF")
            migrations.apply(database, to=recipe.migrate_to)
            if migrations.files:
                # The one thing in a template that would not be the same tomorrow.
                history = sql.quote_name(migrations.table)
                database.connection.execute(f"UPDATE {history} SET applied_at = '2026-01-01 00:00:00'")
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


def _compare(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    changes = [f"{name} changed" for name in now if name in before and before[name] != now[name]]
    changes += [f"{name} added" for name in now if name not in before]
    changes += [f"{name} removed" for name in before if name not in now]
    return ", ".join(changes)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def _clone(source: Path, target: Path, size: int) -> None:
    if not hasattr(os, "copy_file_range"):
        shutil.copyfile(source, target)
        return
    # Linux shares the blocks itself where the file system is able to (Btrfs, XFS), and else copies them.
    with source.open("rb", buffering=0) as origin, target.open("wb", buffering=0) as copy:
        while size > 0:
            done = os.copy_file_range(origin.fileno(), copy.fileno(), size)
            if not done:
                raise OSError(f"{source} became shorter")
            size -= done
