"""The manifest: a small JSON file beside each export that says what is in it, and proves it.

Its fields are those of `Manifest`, and `format`, which is 2. Format 1, which older versions wrote, has no
`identity` and no `sequence`. The manifest is written before its file gets its name, and named after it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from hoox_tasks import records
from hoox_tasks.errors import Refused
from hoox_tasks.records import Damaged, Record

FORMAT = 2
SUFFIX = ".json"
"""Behind the name of the file that a manifest is of."""
_FORMATS = (1, FORMAT)
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds: the number of rows, and a fingerprint of all of them (see `fingerprint`)."""

    rows: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of one export.

    `tool` is the version that wrote it, `source` the ledger it is of, for people, `created_at` UTC in ISO
    8601, `bytes` and `sha256` the file's size and digest. `schema_version` is the migration applied last
    (empty where there is no history), `schema` the digest of the schema. `whole` is false for some tables
    only, or only rows or only definitions. `verified` says that the file was loaded and compared with its
    source. `bookmark` is D1's, where the source has one. `one_moment` is false where somebody wrote while the
    rows were fetched. `tables` are those whose rows are in the file.

    `identity` is the ledger's (see `Database.identity_in`), empty where it is not known, and `place` where it
    was when the export was written (see `Database.address`). `sequence` orders the
    exports of a folder: milliseconds since 1970, or one more than the highest in the folder where that is
    greater, as after the clock was set back.

    Of an encrypted export `bytes` and `sha256` are the encrypted file's, `tables` is empty, and `sealed` is
    the manifest that it had before, encrypted to the same keys, in base 64.
    """

    tool: str
    source: str
    created_at: str
    bytes: int
    sha256: str
    schema_version: str
    schema: str
    whole: bool
    verified: bool
    bookmark: str | None = None
    one_moment: bool = True
    tables: dict[str, Content] = field(default_factory=dict)
    identity: str = ""
    place: str = ""
    sequence: int = 0
    sealed: str = ""

    @property
    def rows(self) -> int:
        """All rows together."""
        return sum(content.rows for content in self.tables.values())

    @property
    def taken(self) -> datetime:
        """When it was written, in UTC, by the clock of then."""
        return datetime.fromisoformat(self.created_at)


def manifest_path(export: Path) -> Path:
    """Return the path of an export's manifest: its name, and .json behind it."""
    return export.with_name(f"{export.name}{SUFFIX}")


def fields(manifest: Manifest) -> dict[str, object]:
    """Return what the file of a manifest says."""
    found = {"format": FORMAT, **asdict(manifest)}
    return found if manifest.sealed else {name: found[name] for name in found if name != "sealed"}


def read_manifest(export: Path) -> Manifest | None:
    """Read an export's manifest; None where it has none.

    Raises `Refused` where it cannot be understood.
    """
    path = manifest_path(export)
    try:
        return parse(records.read(path))
    except FileNotFoundError:
        # A symbolic link to a backup elsewhere, where its manifest is as well.
        return read_manifest(export.resolve()) if export.is_symlink() else None
    except Damaged as error:
        raise Refused(
            f"The manifest {path} cannot be understood: {error}.",
            "Update hoox-tasks if a newer one wrote it; without the manifest the file can only be loaded.",
        ) from error


def parse(found: Record) -> Manifest:
    """Take what the file of a manifest says; raises `Damaged` where that makes none."""
    if found.number("format") not in _FORMATS:
        raise Damaged(f"its format is {found.number('format')}")
    created_at = found.moment("created_at")
    tables = found.fields("tables")
    digest = found.text("sha256")
    if not _DIGEST.fullmatch(digest):
        raise Damaged("its sha256 is no digest")
    return Manifest(
        tool=found.text("tool"),
        source=found.text("source"),
        created_at=created_at.isoformat(timespec="milliseconds"),
        bytes=found.number("bytes"),
        sha256=digest,
        schema_version=found.text("schema_version"),
        schema=found.text("schema"),
        whole=found.value("whole", bool),
        verified=found.value("verified", bool),
        bookmark=found.text("bookmark", "") if found.has("bookmark") else None,
        one_moment=found.value("one_moment", bool, True),
        tables={name: _content(tables.fields(name)) for name in tables.names()},
        identity=found.text("identity", ""),
        place=found.text("place", ""),
        sequence=found.number("sequence", milliseconds(created_at)),
        sealed=found.text("sealed", ""),
    )


def _content(found: Record) -> Content:
    return Content(found.number("rows"), found.text("fingerprint"))


def milliseconds(moment: datetime) -> int:
    """Return a time as milliseconds since 1970."""
    return max(0, int(moment.timestamp() * 1000))
