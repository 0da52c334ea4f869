"""The receipt of a release: what was planned, done and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hoox_tasks import records
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import Applied, Effect
from hoox_tasks.records import Damaged, Record
from hoox_tasks.release.rehearsal import TableEffect
from hoox_tasks.values import Value


@dataclass(frozen=True, slots=True)
class Backup:
    """The export that was kept, with the number of rows in it; `bytes` and `sha256` are of the file."""

    path: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Smoke:
    """A query that ran, how many rows it gave, and its value where that is a single one."""

    sql: str
    rows: int
    value: Value = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step that ended well, and how long it took in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a release.

    `outcome` is released, rehearsed (a dry run), prepared (all but the migrations themselves), nothing
    pending, failed or cancelled; of the last two `failed_in` is the step, and `problem`, `detail` and
    `remedy` are the error. `version` is the migration applied last. `pending` are the migrations that were
    planned, `checksums` those of their files; `applied` are those of them that this release applied,
    `elsewhere` those that another run has applied meanwhile, `not_applied` the others. `uncertain` says that
    the first of the others may have been applied, or may still be. `rehearsal` is what became of each table
    of the copy, `changes` what became of rows and values that were there. `extra` is what the ledger has
    besides what the migrations make; `tables` are its row counts after it all. `way_back` are commands.
    """

    database: str
    outcome: str
    identity: str = ""
    version: str = ""
    pending: tuple[str, ...] = ()
    checksums: dict[str, str] = field(default_factory=dict)
    applied: tuple[Applied, ...] = ()
    elsewhere: tuple[str, ...] = ()
    not_applied: tuple[str, ...] = ()
    uncertain: bool = False
    backup: Backup | None = None
    artifact: str = ""
    rehearsal: tuple[TableEffect, ...] = ()
    changes: tuple[Effect, ...] = ()
    extra: tuple[str, ...] = ()
    tables: dict[str, int | None] = field(default_factory=dict)
    smoke: tuple[Smoke, ...] = ()
    way_back: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    failed_in: str = ""
    problem: str = ""
    detail: str = ""
    remedy: str = ""

    @property
    def failure(self) -> str:
        """Where it ended too early, as a sentence, and whether the ledger was spared."""
        did = "Cancelled" if self.outcome == "cancelled" else "Failed"
        spared = ""
        if self.failed_in in {"plan", "backup", "rehearsal"}:
            spared = ", so the ledger was not touched"
        elif self.failed_in == "migrate" and not self.applied and not self.uncertain:
            spared = ", and nothing was applied"
        return f"{did} in {self.failed_in}{spared}."


def read_receipt(path: Path) -> Receipt:
    """Read what a release that prepared another has written; raises `Refused` where it is no such receipt."""
    try:
        found = records.read(path)
        if found.text("outcome") != "prepared":
            raise Damaged(f"its outcome is {found.text('outcome')}, not prepared")
        checksums, backup = found.fields("checksums"), None
        if found.has("backup"):
            kept = found.fields("backup")
            backup = Backup(kept.text("path"), kept.number("bytes"), kept.text("sha256"), kept.number("rows"))
        return Receipt(
            database=found.text("database"),
            outcome="prepared",
            identity=found.text("identity"),
            version=found.text("version"),
            pending=tuple(checksums.names()),
            checksums={name: checksums.text(name) for name in checksums.names()},
            backup=backup,
            rehearsal=tuple(_table_effect(item) for item in found.objects("rehearsal")),
            changes=tuple(
                Effect(item.text("table"), item.text("column"), item.text("what"), item.number("rows"))
                for item in found.objects("changes")
            ),
            steps=tuple(
                Step(item.text("name"), item.value("seconds", float)) for item in found.objects("steps")
            ),
        )
    except FileNotFoundError:
        raise Refused(f"There is no receipt {path}.", "Prepare the release with --prepare first.") from None
    except Damaged as error:
        raise Refused(
            f"{path} is not the receipt of a prepared release: {error}.",
            "Prepare the release again, with --prepare.",
        ) from error


def _table_effect(item: Record) -> TableEffect:
    before, after = (item.number(name) if item.has(name) else None for name in ("before", "after"))
    return TableEffect(item.text("table"), before, after, tuple(item.texts("schema")))
