"""Templates: ledgers that are made once, kept in a folder, and copied for every test.

A template is known by what it was made from: the content of the migrations and of the scenario (or of the
backup), seed, scale, start, and the version of the generator and of this package. Processes that want the
same one at the same time build it once. It is written whole or not at all, and its checksum is looked at
before use. Where nothing can be kept, each process makes its own.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hoox_tasks.lazy import lazy_imports
from hoox_tasks.testing.recipe import _UNKNOWN, Recipe, digest

with lazy_imports():
    from hoox_tasks.testing import building

_VERSIONS = 2
"""Templates that are kept of one recipe: that of now, and that of before for a run that still uses it."""
_TEMPLATES = 400
_BYTES = 200_000_000
"""What the folder may hold; the templates that were used the longest time ago go first."""
_LOCKS = 8
BEGAN = int(time.time())
"""The moment, in Unix seconds, at which the newest row of a ledger with `now` was made."""


@dataclass(frozen=True, slots=True)
class Template:
    """A ledger to copy. `data` is the SQLite file's content, `origin` says how it came about.

    `path` is the file that it is kept in, if any.
    """

    recipe: Recipe
    path: Path | None
    data: bytes
    origin: str

    def connect(self) -> sqlite3.Connection:
        """Return a copy in memory, with foreign keys on; the caller closes it. Any thread may use it."""
        # SQLite itself takes turns wherever it was built to (3 is "serialized").
        connection = sqlite3.connect(":memory:", check_same_thread=sqlite3.threadsafety < 3)
        if self.data:
            connection.deserialize(self.data)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def copy(self, path: Path) -> None:
        """Make a copy in a new file, which shares its blocks with the template where the file system can.

        Raises `FileExistsError` where there is anything of that name.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb", buffering=0) as target:
            try:
                if self.path is None:
                    raise FileNotFoundError
                _clone(self.path, target.fileno(), len(self.data))
            except OSError:
                target.seek(0)
                target.write(self.data)
                target.truncate(len(self.data))


class Templates:
    """The templates in a folder that several processes may share; without a folder, in memory alone."""

    problem: str
    """Why nothing could be kept, once that is so."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._found: dict[Recipe, Template] = {}
        self.problem = ""

    @property
    def used(self) -> dict[str, str]:
        """How each template came about that was asked for, by what people call it."""
        return {template.recipe.words(): template.origin for template in self._found.values()}

    def get(self, recipe: Recipe) -> Template:
        """Return the template of a recipe; it is built where there is none, or where it is damaged.

        Raises `HooxError` where it cannot be built.
        """
        if recipe not in self._found:
            self._found[recipe] = self._moved(recipe) if recipe.now else self._find(recipe)
        return self._found[recipe]

    def _moved(self, recipe: Recipe) -> Template:
        # Nothing of it is kept: tomorrow it would be another one.
        template = self.get(replace(recipe, now=False))
        data = building.move_in_time(template.data, BEGAN)
        return Template(recipe, None, data, template.origin)

    def _find(self, recipe: Recipe) -> Template:
        parts = recipe.parts()
        key = digest(json.dumps(parts).encode())
        folder = self._folder if parts.get("anonymize") != _UNKNOWN else None
        if folder is not None:
            try:
                return self._kept(folder, recipe, key, parts)
            except OSError as error:
                self.problem = f"templates cannot be kept in {folder}: {error.strerror or error}"
                self._folder = None
        with tempfile.TemporaryDirectory(prefix="hoox-") as scratch:
            return Template(recipe, None, building.build(recipe, Path(scratch) / "ledger.sqlite"), "built")

    def _kept(self, folder: Path, recipe: Recipe, key: str, parts: Mapping[str, str]) -> Template:
        path = folder / f"{key}.sqlite"
        if (data := _read(folder, key)) is not None:
            with suppress(OSError):
                os.utime(path)
            return Template(recipe, path, data, "reused")

        from filelock import FileLock

        # Another run may clear the cache at any time, and with it a lock that is held: then two may build.
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{int(recipe.kind, 16) % _LOCKS}.lock"):
            if (data := _read(folder, key)) is not None:
                return Template(recipe, path, data, "reused")
            origin = _reason(folder, recipe.kind, key, parts)
            for left in folder.glob(f".{recipe.kind}-*"):  # By a build that was killed.
                with suppress(OSError):
                    left.unlink()
            scratch = folder / f".{recipe.kind}-{secrets.token_hex(8)}"
            data = building.build(recipe, scratch)
            folder.mkdir(parents=True, exist_ok=True)
            manifest = {"kind": recipe.kind, "checksum": digest(data), "parts": parts}
            # The manifest comes last: without it the other file counts for nothing.
            _replace(scratch, path, data)
            _replace(scratch, folder / f"{key}.json", json.dumps(manifest, indent=1).encode())
            _prune(folder, recipe.kind)
        return Template(recipe, path, data, origin)


def _read(folder: Path, key: str) -> bytes | None:
    try:
        manifest = json.loads((folder / f"{key}.json").read_text("utf-8"))
        data = (folder / f"{key}.sqlite").read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return data if isinstance(manifest, dict) and manifest.get("checksum") == digest(data) else None


def _manifests(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The manifests, that of the template used last first."""
    found = []
    for path in folder.glob("*.json"):
        try:
            manifest = json.loads(path.read_text("utf-8"))
            if isinstance(manifest["parts"], dict):
                used = path.with_suffix(".sqlite").stat()
                found.append((used.st_mtime_ns, path, {**manifest, "size": used.st_size}))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [(path, manifest) for _, path, manifest in sorted(found, key=lambda each: each[0], reverse=True)]


def _reason(folder: Path, kind: str, key: str, parts: Mapping[str, str]) -> str:
    """Say why a template has to be built."""
    if any((folder / f"{key}{suffix}").exists() for suffix in (".json", ".sqlite")):
        return "rebuilt: it was damaged"
    former = next((manifest["parts"] for _, manifest in _manifests(folder) if manifest["kind"] == kind), None)
    return "built" if former is None else f"rebuilt: {_compare(former, parts)}"


def _prune(folder: Path, kind: str) -> None:
    manifests = _manifests(folder)
    old = [path for path, manifest in manifests if manifest["kind"] == kind][_VERSIONS:]
    size = 0
    for place, (path, manifest) in enumerate(manifests, 1):
        size += manifest["size"]
        if place > _TEMPLATES or (size > _BYTES and place > 1):
            old.append(path)
    for path in old:
        for file in (path, path.with_suffix(".sqlite")):
            with suppress(OSError):
                file.unlink()


def _compare(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    changes = [f"{name} changed" for name in now if name in before and before[name] != now[name]]
    changes += [f"{name} added" for name in now if name not in before]
    changes += [f"{name} removed" for name in before if name not in now]
    return ", ".join(changes)


def _replace(scratch: Path, path: Path, data: bytes) -> None:
    scratch.write_bytes(data)
    scratch.replace(path)


def _clone(source: Path, target: int, size: int) -> None:
    with source.open("rb", buffering=0) as origin:
        if not hasattr(os, "copy_file_range"):
            with os.fdopen(os.dup(target), "wb", buffering=0) as copy:
                shutil.copyfileobj(origin, copy)
            return
        # Linux shares the blocks itself where the file system is able to (Btrfs, XFS), and else copies them.
        while size > 0:
            done = os.copy_file_range(origin.fileno(), target, size)
            if not done:
                raise OSError(f"{source} became shorter")
            size -= done
