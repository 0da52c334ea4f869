"""The manifest: a small JSON file beside each export that says what is in it, and proves it.

Its fields are those of `Manifest`, and `format`, which is 1. It is written after the file it speaks of.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hoox_tasks import files
from hoox_tasks.errors import Refused

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds: the number of rows, and a fingerprint of all of them (see `fingerprint`)."""

    rows: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of one export.

    `tool` is the version that wrote it, `source` the ledger it is of, `created_at` UTC in ISO 8601, `bytes`
    and `sha256` the file's size and digest. `schema_version` is the migration applied last (empty where
    there is no history), `schema` the digest of the schema. `whole` is false for some tables only, or only
    rows or only definitions. `verified` says that the file was loaded and compared with its source.
    `bookmark` is D1's, where the source has one. `one_moment` is false where
    somebody wrote while the rows were fetched. `tables` are those whose rows are in the file.
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

    @property
    def rows(self) -> int:
        """All rows together."""
        return sum(content.rows for content in self.tables.values())


def manifest_path(export: Path) -> Path:
    """Give the path of an export's manifest: its name, and .json behind it."""
    return export.with_name(f"{export.name}.json")


def write_manifest(export: Path, manifest: Manifest) -> None:
    """Write the manifest beside its export, whole or not at all."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=2, ensure_ascii=False)
    with files.written_whole(manifest_path(export)) as output:
        output.write(text.encode() + b"\n")


def read_manifest(export: Path) -> Manifest | None:
    """Read an export's manifest; None where it has none.

    Raises `Refused` where it cannot be understood.
    """
    path = manifest_path(export)
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if found.pop("format") != FORMAT:
            raise ValueError("a newer format")
        tables = {name: Content(**content) for name, content in found.pop("tables").items()}
        return Manifest(**found, tables=tables)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(
            f"The manifest {path} cannot be read: {error}.",
            "Update hoox-tasks if a newer one wrote it; without the manifest the file can only be loaded.",
        ) from error
