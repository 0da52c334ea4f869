"""What ends a run between two migrations: those before are told as applied, and nothing is called refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.database.interface import Rows, Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import Applied, MigrationFailed
from tests.support.losses import files

TWO = files("CREATE TABLE a (x);", "CREATE TABLE b (x); INSERT INTO b SELECT hex(zeroblob(100000));")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[LocalDatabase]:
    """An empty ledger that waits for nobody for long."""
    with closing(LocalDatabase(path, create=True, busy_timeout=0.1)) as database:
        yield database


def test_a_lock_at_the_second_migration(ledger: LocalDatabase, path: Path) -> None:
    """Where another writer comes between two migrations, the first is named and the second was not applied."""
    holder = sqlite3.connect(path, isolation_level=None)
    named: list[str] = []

    def hold(applied: Applied) -> None:
        named.append(applied.name)
        holder.execute("BEGIN IMMEDIATE")

    with (
        closing(holder),
        pytest.raises(MigrationFailed, match=r"0002_step\.sql was not applied: .*locked") as failure,
    ):
        TWO.apply(ledger, report=hold)
    assert failure.value.exit_code == 1
    assert named == [applied.name for applied in failure.value.applied] == ["0001_step.sql"]
    assert TWO.status(ledger).version == "0001_step.sql"


def test_a_full_disk_at_the_second_migration(ledger: LocalDatabase) -> None:
    """Where the disk is full at the second migration, the first is named, and all of the second is undone."""

    def fill(applied: Applied) -> None:
        (pages,) = ledger.connection.execute("PRAGMA page_count").fetchone()
        ledger.connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()

    with pytest.raises(MigrationFailed, match=r"0002_step\.sql was not applied: There is no room") as failure:
        TWO.apply(ledger, report=fill)
    assert (failure.value.exit_code, len(failure.value.applied)) == (1, 1)
    assert [item.name for item in ledger.schema() if item.name in "ab"] == ["a"]


def test_a_lock_at_the_first_migration_is_a_refusal(ledger: LocalDatabase, path: Path) -> None:
    """Where nothing was applied yet, a lock is a refusal: nothing was changed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused, match=r"0001_step\.sql was not applied: .*locked") as failure:
            TWO.apply(ledger)
    assert failure.value.exit_code == 2
    assert ledger.schema() == []


@pytest.mark.parametrize("committed", [True, False])
def test_an_interruption_looks_at_the_history(path: Path, committed: bool) -> None:
    """Whoever interrupts while a migration runs is told of it where it is in the ledger, and only then."""

    class Interrupted(LocalDatabase):
        """Interrupts the second migration, before or after its transaction."""

        written = 0

        def batch(
            self, statements: Iterable[Statement], *, write: bool = True, timeout: float | None = None
        ) -> list[Rows]:
            self.written += write
            if self.written == 2 and write and not committed:
                raise KeyboardInterrupt
            results = super().batch(statements, write=write, timeout=timeout)
            if self.written == 2 and write:
                raise KeyboardInterrupt
            return results

    named: list[str] = []
    with closing(Interrupted(path, create=True)) as ledger:
        with pytest.raises(KeyboardInterrupt):
            TWO.apply(ledger, report=lambda applied: named.append(applied.name))
        assert named == [name for name, _ in TWO.status(ledger).history]
    assert len(named) == 1 + committed
