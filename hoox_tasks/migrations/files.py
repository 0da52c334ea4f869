"""Migration files: find them, read them, put them in wrangler's order, write the next."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hoox_tasks import sql
from hoox_tasks.errors import Refused
from hoox_tasks.migrations.consent import Consent, read_consent
from hoox_tasks.suggestions import remedy

_LEADING_NUMBER = re.compile(r"\s*([+-]?[0-9]+)")


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file. `text` has LF line ends and no byte order mark; `checksum` is its SHA-256."""

    name: str
    path: Path
    text: str

    @property
    def checksum(self) -> str:
        """Changes when a statement of the file may have changed; line ends do not count."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def consent(self) -> Consent:
        """What the file itself says may be lost or changed; raises `Refused` where it says it wrongly."""
        return read_consent(self.name, self.text)

    @property
    def pieces(self) -> list[sql.Piece]:
        """The file's statements, with their lines."""
        return sql.split(self.text)


def discover(folder: Path, pattern: str = "*.sql") -> list[Migration]:
    """Read the migrations below `folder`, in wrangler's order.

    Two files may have one number, as for wrangler. Raises `Refused` where the folder is missing, or a file is
    not UTF-8.
    """
    if not folder.is_dir():
        raise Refused(
            f"There is no migrations folder {folder}.",
            "Make it with `inv db.migrate.new`, or correct the configuration.",
        )
    found = []
    for path in folder.glob(pattern):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and not any(part[0] == "." for part in name.split("/")):
            found.append(Migration(name, path, _read(path)))
    found.sort(key=lambda migration: order(migration.name))
    return found


def shared_numbers(files: Sequence[Migration]) -> list[tuple[str, ...]]:
    """Give the names of migrations that have one number, as 0002_a.sql and 0002_b.sql; dates are none.

    Wrangler takes them, in the order of their whole names. Two branches that were merged may leave them.
    """
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for migration in files:
        prefix = migration.name.split("/")[0].split("_")[0].removesuffix(".sql")
        if prefix.isdigit():
            groups[int(prefix)].append(migration.name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def precedes(name: str, other: str) -> bool:
    """Whether a migration belongs before another one; of two with one number neither does."""
    numbers = {leading_number(each.split("/")[0]) for each in (name, other)}
    return order(name) < order(other) and not (len(numbers) == 1 and None not in numbers)


def order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Give a key that sorts migration names as wrangler does: segment by segment, by leading number."""
    keys = []
    for segment in name.split("/"):
        number = leading_number(segment)
        # JavaScript compares UTF-16 code units; surrogates are the only place where that differs.
        text = segment.encode("utf-16-be", "surrogatepass").hex()
        keys.append((0, number, text) if number is not None else (1, 0, text))
    return tuple(keys)


def leading_number(segment: str) -> int | None:
    """Give the number that a name begins with, the way JavaScript reads one; None where it has none."""
    match = _LEADING_NUMBER.match(segment.split("_", 1)[0])
    return int(match.group(1)) if match else None


def _read(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(
            f"Migration {path.name} is not UTF-8 (byte {error.start}).", "Save it as UTF-8."
        ) from error
    except OSError as error:
        raise Refused(
            f"Migration {path} cannot be read: {error.strerror}.", "Check its permissions."
        ) from error
    return text.replace("\r\n", "\n")


def find(migrations: Sequence[Migration], wanted: str) -> Migration:
    """Give the migration that is called `wanted`: its file name, with or without .sql, or its number."""
    for migration in migrations:
        if wanted in {migration.name, migration.name.removesuffix(".sql"), migration.name.split("/")[0]}:
            return migration
    if wanted.isdigit():
        numbered = [
            migration
            for migration in migrations
            if leading_number(migration.name.split("/")[0]) == int(wanted)
        ]
        if len(numbered) > 1:
            raise Refused(
                f"Several migrations have the number {wanted}.",
                f"Give the name: {', '.join(migration.name for migration in numbered)}.",
            )
        if numbered:
            return numbered[0]
    names = ", ".join(migration.name for migration in migrations) or "none"
    known = [migration.name for migration in migrations]
    raise Refused(f"There is no migration {wanted}.", remedy(wanted, known, f"There are: {names}."))


def create(folder: Path, message: str) -> Path:
    """Write an empty migration with the next number; returns its path.

    Raises `Refused` where the message makes no file name.
    """
    words = re.sub(r"[^\w.-]+", "_", message.strip()).strip("_.")
    if not words:
        raise Refused("A migration needs a name.", 'Say what it does: `inv db.migrate.new "add fills"`.')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [
            leading_number(path.name) or 0
            for path in folder.iterdir()
            if leading_number(path.name) is not None
        ]
        path = folder / f"{max(numbers, default=0) + 1:04d}_{words}.sql"
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(f"-- {message.strip()}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error.strerror}.", "Check its permissions.") from error
    return path


def copy(files: Sequence[Migration], folder: Path) -> list[Path]:
    """Copy migration files into a folder of the workspace's own; returns their new paths."""
    copied = []
    try:
        for migration in files:
            target = folder / migration.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(migration.path.read_bytes())
            copied.append(target)
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error.strerror}.", "Check its permissions.") from error
    return copied
