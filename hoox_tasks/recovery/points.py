"""The way back: recovery points taken before a ledger is changed, their history, and undo.

A point is a JSON file in a folder of the workspace; beside it, for a local ledger, lies a copy of it. D1
keeps its own moments, and the file remembers the bookmark. The JSON is written last, so that a point that
is listed is whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hoox_tasks import files, ledger
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import Refused


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """A moment that a ledger can be brought back to.

    `created_at` is UTC in ISO 8601. `cause` is the task before which it was taken. `mark` is a file's name
    or a Time Travel bookmark. `tables` are the numbers of rows at that moment, `sha256` is the file's digest.
    """

    id: str
    created_at: str
    cause: str
    ledger: str
    mark: str
    tables: dict[str, int]
    sha256: str = ""


def take(database: Database, folder: Path, cause: str) -> RecoveryPoint | None:
    """Take a recovery point before `cause` changes the ledger; None where that is empty."""
    if not database.schema():
        return None
    moment = datetime.now(UTC)
    name = _free_name(folder, f"{moment:%Y%m%d-%H%M%S}")
    mark = database.recovery_point(folder, name)
    tables = {table.name: table.rows or 0 for table in ledger.list_tables(database, "")}
    created_at = moment.isoformat(timespec="seconds")
    digest = files.digest(folder / mark) if (folder / mark).is_file() else ""
    point = RecoveryPoint(name, created_at, cause, database.address, mark, tables, digest)
    with files.written_whole(folder / f"{name}.json") as output:
        output.write(json.dumps(asdict(point), indent=2).encode() + b"\n")
    return point


def prune(database: Database, folder: Path, keep: int) -> None:
    """Let go of all recovery points of a ledger but the last `keep`: after a change, for it may fail."""
    for old in history(database, folder)[keep:]:
        forget(folder, old)
    # A killed task may have left a copy whose JSON was never written, or was removed already.
    files.remove_stale(copy for copy in folder.glob("[0-9]*.sqlite*") if not _described(copy))


def history(database: Database, folder: Path) -> list[RecoveryPoint]:
    """Give the recovery points of a ledger, the newest first."""
    found = []
    for path in folder.glob("[0-9]*.json"):
        try:
            point = RecoveryPoint(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # Not one of ours.
        if point.ledger == database.address:
            found.append(point)
    return sorted(found, key=lambda point: _order(point.id), reverse=True)


def find(database: Database, folder: Path, wanted: str | None = None) -> RecoveryPoint:
    """Give the recovery point `wanted`, or the last one; raises `Refused` where there is none."""
    points = history(database, folder)
    if not points:
        raise Refused(
            f"There is no recovery point of {database.label}.", "They are taken before a task changes it."
        )
    if wanted is None:
        return points[0]
    for point in points:
        if point.id == wanted:
            return point
    raise Refused(
        f"There is no recovery point {wanted} of {database.label}.", "See them with `inv db.history`."
    )


def check(folder: Path, point: RecoveryPoint) -> None:
    """Raise `Refused` where the file of a recovery point is gone, or is not what it was."""
    if not point.sha256:
        return
    try:
        unchanged = files.digest(folder / point.mark) == point.sha256
    except OSError:
        raise Refused(
            f"The file of the recovery point {point.id}, {folder / point.mark}, is gone.",
            "See the others with `inv db.history`.",
        ) from None
    if not unchanged:
        raise Refused(
            f"The file of the recovery point {point.id}, {folder / point.mark}, was changed or is damaged.",
            "Go back to another one: `inv db.history` lists them.",
        )


def _described(copy: Path) -> bool:
    return copy.with_name(f"{copy.name.split('.')[0]}.json").exists()


def _free_name(folder: Path, name: str) -> str:
    """Give the name that sorts behind all others of its second, whichever of them were pruned."""
    taken = [_order(path.name.split(".")[0]) for path in folder.glob(f"{name}*")]
    last = max((number for second, number in taken if second == name), default=0)
    return f"{name}-{last + 1}" if last else name


def _order(name: str) -> tuple[str, int]:
    day, time, *number = name.split("-")
    return f"{day}-{time}", int(number[0]) if number else 1


def forget(folder: Path, point: RecoveryPoint) -> None:
    """Let go of a recovery point."""
    # First out of the list, so that what is listed is there.
    (folder / f"{point.id}.json").unlink(missing_ok=True)
    if point.mark.endswith(".sqlite"):
        (folder / Path(point.mark).name).unlink(missing_ok=True)
