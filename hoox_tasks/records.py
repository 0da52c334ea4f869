"""Small JSON files that we write beside a user's: manifests of backups, recovery points.

They lie where people and other programs can change them, so they are read with suspicion: whatever one of
them says, it is a value of the expected kind, or the file is damaged.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

_BYTES = 32 * 1024 * 1024
"""More than a record of a hundred thousand tables takes."""
_NUMBER = 2**63
T = TypeVar("T")


class Damaged(ValueError):
    """A record does not say what a record of its kind says; the text says why, for a sentence."""


class Record:
    """What a file says, field by field; every method raises `Damaged` where the field is of another kind."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def value(self, name: str, kind: type[T], default: T | None = None) -> T:
        """A field of this very type; `default` where there is none."""
        found = self._fields.get(name, default)
        if type(found) is not kind:
            raise Damaged(f"its {name} is missing" if found is None else f"its {name} makes no sense")
        return found

    def text(self, name: str, default: str | None = None) -> str:
        """Text, which may have lone surrogates in it: the names of files do."""
        return self.value(name, str, default)

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number from 0 on, below 2^63."""
        found = self.value(name, int, default)
        if not 0 <= found < _NUMBER:
            raise Damaged(f"its {name} makes no sense")
        return found

    def moment(self, name: str) -> datetime:
        """A time in ISO 8601 with its zone; in UTC."""
        try:
            found = datetime.fromisoformat(self.text(name))
            moment = found.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Damaged(f"its {name} is no time") from None
        if found.tzinfo is None:
            raise Damaged(f"its {name} has no time zone")
        return moment

    def fields(self, name: str) -> Record:
        """An object within the object."""
        return Record(self.value(name, dict))

    def objects(self, name: str) -> list[Record]:
        """The objects of an array."""
        found = self.value(name, list)
        if any(type(item) is not dict for item in found):
            raise Damaged(f"its {name} makes no sense")
        return [Record(item) for item in found]

    def texts(self, name: str) -> list[str]:
        """The texts of an array."""
        found = self.value(name, list)
        if any(type(item) is not str for item in found):
            raise Damaged(f"its {name} makes no sense")
        return found

    def has(self, name: str) -> bool:
        """Whether there is a field of this name that is not null."""
        return self._fields.get(name) is not None

    def names(self) -> list[str]:
        """The names of all fields."""
        return list(self._fields)


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return what the file of a record has in it."""
    return json.dumps(fields, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe, which would let wait for somebody who writes, is opened at once."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read(path: Path) -> Record:
    """Read a record; raises `Damaged` where the file is none.

    Raises `FileNotFoundError` where there is none, and `PermissionError` where we may not look: it may be a
    good one.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Damaged("it is no regular file")
            content = file.read(_BYTES + 1)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise Damaged(f"it cannot be read ({error.strerror or error})") from None
    if len(content) > _BYTES:
        raise Damaged(f"it has more than {_BYTES:,} bytes")
    return decode(content)


def decode(content: bytes) -> Record:
    """Read what the file of a record has in it; raises `Damaged` where that is none."""
    try:
        found = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError, MemoryError):
        raise Damaged("it is no JSON that was written by this program") from None
    if not isinstance(found, dict):
        raise Damaged("it is no JSON that was written by this program")
    return Record(found)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
