"""The receipt of a release: what was planned, done and kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from hoox_tasks.migrations import Applied, Effect
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

    `outcome` is released, rehearsed (a dry run), nothing pending, or failed; then `failed_in` is the step,
    and `problem`, `detail` and `remedy` are its error. `version` is the migration applied last. `pending`
    are the migrations that were planned, `applied` those of them that are in the ledger now, `not_applied`
    the others; `uncertain` says that the ledger could not be asked for them. `rehearsal` is what became of
    each table of the copy, `changes` what became of rows and values that were there. `extra` is what the
    ledger has besides what the migrations make; `tables` are its row counts after it all. `way_back` are
    commands.
    """

    database: str
    outcome: str
    version: str = ""
    pending: tuple[str, ...] = ()
    applied: tuple[Applied, ...] = ()
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
        """Where it failed, as a sentence, and whether the ledger was spared."""
        spared = self.failed_in in {"plan", "backup", "rehearsal"}
        return f"Failed in {self.failed_in}{', so the ledger was not touched' if spared else ''}."
