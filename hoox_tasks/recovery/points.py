"""Recovery points: moments that a ledger can be brought back to, taken before it is changed.

A point is a JSON file in a folder of the workspace; beside it, for a local ledger, lies a copy of the ledger.
D1 keeps its own moments, and the JSON remembers the bookmark. The JSON is written last, so that a point that
is listed is whole.

The id of a point is its number in a sequence that is kept in the folder. Numbers are reserved, never given
twice, and order the points, whatever the clock says. The number is in use until the task that took the point
has ended: until then nobody removes the point. Older versions called points by their second; those are
listed before the others, and can be gone back to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path, PurePath

from hoox_tasks import files, records
from hoox_tasks.config.moments import write_moment
from hoox_tasks.database.interface import Database, Moment
from hoox_tasks.errors import Refused
from hoox_tasks.files import Number
from hoox_tasks.records import Damaged, Record

Note = Callable[[str], None]
"""Tells the user something, in a sentence."""

FORMAT = 2
YOUNG = timedelta(days=1)
"""How long points stay beside the last ones that are kept."""
YOUNG_BYTES = 1024**3
"""How much room those may take."""
_ID = re.compile(r"[1-9][0-9]{0,17}")
_OLD_ID = re.compile(r"([0-9]{8}-[0-9]{6})(?:-([1-9][0-9]{0,8}))?")
_BOOKMARK = re.compile(r"[0-9A-Za-z-]{1,200}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_COPY = ".sqlite"
_GAP = 10**6
"""How many numbers lie between two points of a folder at most."""
_ENDS = ("", "-journal", "-wal", "-shm")
"""Of the names of a copy, and of what SQLite makes beside it."""


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """A moment that a ledger can be brought back to.

    `created_at` is UTC in ISO 8601. `cause` is the task before which it was taken. `ledger` says which ledger
    it is of to people, `identity` to programs (empty for points of older versions). `mark` is a file's name
    or a Time Travel bookmark. `tables` are the numbers of rows at that moment, `sha256` is the file's digest.
    """

    id: str
    created_at: str
    cause: str
    ledger: str
    mark: str
    tables: dict[str, int]
    sha256: str = ""
    identity: str = ""

    @property
    def time(self) -> str:
        """When it was taken, in UTC, for people."""
        return write_moment(datetime.fromisoformat(self.created_at))

    @property
    def order(self) -> tuple[int, str, int]:
        """What points are sorted by: the later ones have the greater."""
        old = _OLD_ID.fullmatch(self.id)
        return (0, old.group(1), int(old.group(2) or 1)) if old else (int(self.id), "", 0)

    @property
    def has_copy(self) -> bool:
        """Whether there is a file of it: D1's moments have none."""
        return self.mark.endswith(_COPY)


# --------------------------------------------------------------------------------------------- taking


def reserve(folder: Path) -> Number:
    """Reserve the number of a point; raises `Refused` where the folder cannot be written."""
    try:
        files.make_ignored_folder(folder)
        number = files.next_number(folder, above=_last_id(folder))
        while any((folder / name).exists() for name in _names(str(number.value))):
            number.close()  # Somebody's file has this name, whatever it is.
            number = files.next_number(folder)
        return number
    except OSError as error:
        raise Refused(
            f"The recovery point cannot be written to {folder}: {error.strerror}.",
            "Make room for it, or switch recovery points off with hoox.keep_snapshots: 0.",
        ) from error


def save(database: Database, folder: Path, number: int, cause: str, moment: Moment) -> RecoveryPoint:
    """Save a moment as the point of this number, or leave nothing."""
    name = str(number)
    try:
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        saved = moment.save(folder, name)
        point = RecoveryPoint(
            id=name,
            created_at=created_at,
            cause=cause,
            ledger=database.address,
            mark=saved.mark,
            tables=dict(moment.tables),
            sha256=saved.sha256,
            identity=database.identity_in(folder),
        )
        with files.written_whole(folder / f"{name}.json") as output:
            output.write(records.encode({"format": FORMAT, **asdict(point)}))
    except BaseException:
        _remove(folder, name)
        raise
    return point


# ------------------------------------------------------------------------------------------- listing


def history(database: Database, folder: Path, *, note: Note | None = None) -> list[RecoveryPoint]:
    """Return the recovery points of a ledger, the newest first; `note` is told of damaged ones.

    Raises `Refused` where the folder cannot be looked into, `PermissionError` for a point that cannot.
    """
    found = []
    for path in files.listed(folder, "[0-9]*.json"):
        try:
            point = _point(path.stem, records.read(path))
        except FileNotFoundError:  # Removed meanwhile, by another task.
            continue
        except Damaged as error:
            if note:
                note(f"The recovery point {path} is left out: {error}.")
            continue
        if _is_of(point, database, folder):
            found.append(point)
    return sorted(found, key=lambda point: point.order, reverse=True)


def find(
    database: Database, folder: Path, wanted: str | None = None, *, note: Note | None = None
) -> RecoveryPoint:
    """Return the recovery point `wanted`, or the last one; raises `Refused` where there is none."""
    points = history(database, folder, note=note)
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
    if not point.has_copy:
        return
    copy = folder / point.mark
    try:
        unchanged = not copy.is_symlink() and files.digest(copy) == point.sha256
    except OSError:
        raise Refused(
            f"The file of the recovery point {point.id}, {copy}, is gone.",
            "See the others with `inv db.history`.",
        ) from None
    if not unchanged:
        raise Refused(
            f"The file of the recovery point {point.id}, {copy}, was changed or is damaged.",
            "Go back to another one: `inv db.history` lists them.",
        )


# ----------------------------------------------------------------------------------------- retention


def prune(database: Database, folder: Path, keep: int, *, spare: str = "", note: Note | None = None) -> None:
    """Remove the recovery points of a ledger that are too many, and what killed tasks left of points.

    The last `keep` stay, and those of the day before the last change, up to 1 GiB; so do the point `spare`,
    and those of tasks that are still at work. `note` is told where young ones have to go, and of whatever
    cannot be removed: this is done after a change, and fails no task.
    """
    try:
        found = history(database, folder)
        chosen, young = surplus(folder, found, keep, now=_now(found, spare))
        for point in chosen:
            if point.id != spare and not _in_use(folder, point.id):
                forget(folder, point)
        _remove_abandoned(folder)
    except (Refused, OSError) as error:
        if note:
            reason = error.strerror if isinstance(error, OSError) else error.problem.rstrip(".")
            note(f"Old recovery points in {folder} could not be removed: {reason}.")
        return
    if young and note:
        note(
            f"Recovery points of {database.label} from the last 24 hours were removed, because those beyond"
            f" the last {keep} take more than {YOUNG_BYTES // 1024**3} GiB."
        )


def _now(points: Sequence[RecoveryPoint], spare: str) -> datetime:
    """The time that ages are reckoned from: when the last point before `spare` was taken, at the latest.

    A clock that is ahead for one run then makes nothing old.
    """
    former = (datetime.fromisoformat(point.created_at) for point in points if point.id != spare)
    return min([datetime.now(UTC), *islice(former, 1)])


def surplus(
    folder: Path, points: Sequence[RecoveryPoint], keep: int, *, now: datetime
) -> tuple[list[RecoveryPoint], bool]:
    """Choose which points of a ledger may go, of all of them, newest first.

    Returns them, and whether young ones are among them, for want of room.
    """
    chosen, room, young = [], YOUNG_BYTES, False
    for point in points[keep:]:
        if now - datetime.fromisoformat(point.created_at) >= YOUNG:
            chosen.append(point)
            continue
        room -= _size(folder, point)
        if room < 0:
            chosen.append(point)
            young = True
    return chosen, young


def forget(folder: Path, point: RecoveryPoint) -> None:
    """Remove a recovery point."""
    _remove(folder, point.id)


def _remove(folder: Path, name: str) -> None:
    # First out of the list, so that what is listed is there.
    for file in _names(name):
        (folder / file).unlink(missing_ok=True)


def _names(name: str) -> list[str]:
    """Give the names of a point's files."""
    return [f"{name}.json", *(f"{name}{_COPY}{end}" for end in _ENDS)]


def _remove_abandoned(folder: Path) -> None:
    """Remove copies of points whose task was killed before they were listed, or after they no longer were.

    A file whose number was not drawn here is somebody else's.
    """
    files.remove_abandoned(folder, *"123456789")
    for number in files.numbers(folder):
        name = str(number)
        listed = folder / f"{name}.json"
        # A task that ends meanwhile lists its point before.
        if not listed.exists() and not _in_use(folder, name) and not listed.exists():
            _remove(folder, name)


def _in_use(folder: Path, name: str) -> bool:
    """Whether the task that took a point is still at work."""
    return _ID.fullmatch(name) is not None and files.number_in_use(folder, int(name))


def _size(folder: Path, point: RecoveryPoint) -> int:
    size = 0
    for name in (f"{point.id}.json", point.mark if point.has_copy else f"{point.id}.json"):
        with suppress(OSError):
            size += (folder / name).stat().st_size
    return size


# ---------------------------------------------------------------------------------------------- files


def _point(name: str, found: Record) -> RecoveryPoint:
    """Read a point from its file, which lies in the folder as `name`.json; raises `Damaged`."""
    tables = found.fields("tables")
    point = RecoveryPoint(
        id=found.text("id"),
        created_at=found.moment("created_at").isoformat(timespec="seconds"),
        cause=found.text("cause"),
        ledger=found.text("ledger"),
        mark=found.text("mark"),
        tables={table: tables.number(table) for table in tables.names()},
        sha256=found.text("sha256", ""),
        identity=found.text("identity", ""),
    )
    if not point.cause.isprintable():
        raise Damaged("its cause is not one line of text")
    if point.id != name or not _is_id(name):
        raise Damaged("its id is not its name")
    if found.number("format", 1) not in (1, FORMAT):
        raise Damaged("a newer version of this program wrote it")
    if point.has_copy:
        # What it says must not reach any other file than its own.
        if point.mark != f"{name}{_COPY}":
            raise Damaged("its mark is not its file")
        if not _DIGEST.fullmatch(point.sha256):
            raise Damaged("its sha256 is no digest")
    elif not _BOOKMARK.fullmatch(point.mark):
        raise Damaged("its mark is no bookmark")
    return point


def _is_id(name: str) -> bool:
    return _ID.fullmatch(name) is not None or _OLD_ID.fullmatch(name) is not None


def _is_of(point: RecoveryPoint, database: Database, folder: Path) -> bool:
    """Whether a point is of this ledger; older versions knew it by its address, with the name of then."""
    if point.identity:
        return point.identity == database.identity_in(folder)
    account, _, database_id = database.identity.removeprefix("d1:").partition("/")
    renamed = database.identity.startswith("d1:") and point.ledger.endswith(
        f" ({database_id}) of account {account}"
    )
    return renamed or point.ledger == database.address or _has_moved(point, database)


def _has_moved(point: RecoveryPoint, database: Database) -> bool:
    """Whether a point without an identity is of this file, as it was called before its workspace was moved.

    Of the old path, the longest end that is a file of the workspace now tells which file it was.
    """
    path, here = PurePath(database.identity.removeprefix("file:")), Path(database.address)
    if path.is_absolute() or not here.is_absolute() or here.parts[-len(path.parts) :] != path.parts:
        return False
    workspace = here.parents[len(path.parts) - 1]
    with suppress(OSError, ValueError):
        former = PurePath(point.ledger)
        if former.is_absolute() and not Path(former).exists():
            ends = (workspace.joinpath(*former.parts[start:]) for start in range(1, len(former.parts)))
            return next((end for end in ends if end.is_file()), None) == here
    return False


def _last_id(folder: Path) -> int:
    """Return the highest number of a point in the folder; 0 where there is none.

    A file that is no point, or damaged, counts where it may have been one by its number: all later numbers
    are above it.
    """
    names = {path.name.split(".")[0] for path in folder.glob("[1-9]*.*")}
    numbers = sorted((int(name) for name in names if _ID.fullmatch(name)), reverse=True)
    numbers = [number for number in numbers if number < files.HIGHEST_NUMBER]
    last = next((number for number in numbers if _is_point(folder, number)), 0)
    return max((number for number in numbers if number <= last + _GAP), default=0)


def _is_point(folder: Path, number: int) -> bool:
    with suppress(OSError, Damaged):
        _point(str(number), records.read(folder / f"{number}.json"))
        return True
    return False
