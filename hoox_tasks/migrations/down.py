"""Down files: what takes a migration back where that cannot be derived; wrangler does not read them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from hoox_tasks import sql
from hoox_tasks.errors import Refused
from hoox_tasks.files import written_whole
from hoox_tasks.migrations.consent import read_consent
from hoox_tasks.migrations.files import Migration, read
from hoox_tasks.migrations.history import refuse_transactions

DOWN = "down"
"""The folder of down files, inside that of the migrations; each has its migration's name."""
DRAFT = "-- hoox: draft"
"""What a down file says of itself as long as nobody has completed it."""
_MODE = 0o644


def read_down(
    files: Sequence[Migration], migration: Migration, folder: Path, own: Collection[str]
) -> Migration | None:
    """Read the down file of a migration; None where it has none.

    Raises `Refused` where it is a draft, says nothing, controls transactions, speaks of the tables of the
    tools (`own`), or consents in words that are not known; and where it is one of `files` itself.
    """
    path = folder / migration.name
    if not path.is_file():
        return None
    name = f"{DOWN}/{migration.name}"
    if any(other.path == path for other in files):
        raise Refused(
            f"The migrations_pattern takes {name} for a migration.", "Let it leave out the down files."
        )
    file = read(name, path)
    if file.refusal is not None:
        raise Refused(file.refusal.problem, file.refusal.remedy)
    if any(comment.startswith(DRAFT) for _, comment in sql.comments(file.text)):
        raise Refused(f"{name} is a draft.", "Complete it, and remove the line that says so.")
    if not file.pieces:
        raise Refused(f"{name} says nothing.", "Write into it what takes the migration back, or remove it.")
    refuse_transactions([file])
    read_consent(name, file.text)
    for piece in file.pieces:
        spoken = {sql.unquote_name(token.text).lower() for token in sql.tokens(piece.sql)}
        for table in sorted(own):
            if table.lower() in spoken:
                raise Refused(
                    f"{name} speaks of {table} in line {piece.line}.",
                    "Leave that out: what is taken back is taken out of the history anyway.",
                )
    return file


def create_down(path: Path, text: str) -> Path:
    """Write a new down file, whole or not at all; raises `Refused` where there is one, or it cannot be."""
    if path.exists():
        raise Refused(f"There is a down file {path}.", "Correct that, or remove it first.")
    with written_whole(path, mode=_MODE) as file:
        file.write(text.encode())
    return path
