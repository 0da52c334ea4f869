"""The history corrected by hand: a migration recorded, accepted as it is, renamed, or forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from hoox_tasks import sql
from hoox_tasks.database.interface import Statement
from hoox_tasks.errors import Refused
from hoox_tasks.migrations.files import Migration
from hoox_tasks.migrations.history import CHECKSUMS, State, Status, history_tables, remember


@dataclass(frozen=True, slots=True)
class Correction:
    """The statements of a correction, and what they do, as a sentence."""

    statements: list[Statement]
    done: str


def record_by_hand(current: Status, migration: Migration, table: str) -> Correction:
    """Record a migration as applied without running it.

    A pending one gets its row; an edited one is accepted as its file is now; a renamed one is recorded under
    its new name.
    """
    (entry,) = (entry for entry in current.entries if entry.name == migration.name)
    history, name = sql.quote_name(table), sql.quote_text(migration.name)
    rows: list[str] = []
    if entry.state is State.RENAMED:
        former = sql.quote_text(entry.former)
        rows.append(f"UPDATE {history} SET name = {name} WHERE name = {former}")
        rows.append(f"DELETE FROM {CHECKSUMS} WHERE name = {former}")
        done = f"Recorded {migration.name} under its new name."
    elif entry.state in {State.PENDING, State.OUT_OF_ORDER}:
        rows.append(f"INSERT INTO {history} (name) VALUES ({name})")
        done = f"Recorded {migration.name} as applied, without running it."
    elif entry.state is State.EDITED:
        done = f"Accepted {migration.name} as its file is now."
    else:
        done = f"{migration.name} was recorded as applied already."
    return Correction([*history_tables(table), *map(Statement, rows), remember(migration)], done)


def forget(current: Status, name: str, table: str) -> Correction:
    """Take a recorded migration whose file is gone out of the history; raises `Refused` for any other."""
    gone = [entry.name for entry in current.named(State.MISSING)]
    if name not in gone:
        raise Refused(
            f"{name} is not a recorded migration whose file is gone.",
            f"Those are: {', '.join(gone) or 'none'}.",
        )
    statements = [f"DELETE FROM {sql.quote_name(table)} WHERE name = {sql.quote_text(name)}"]
    if current.has_checksums:
        statements.append(f"DELETE FROM {CHECKSUMS} WHERE name = {sql.quote_text(name)}")
    return Correction([Statement(text) for text in statements], f"Forgot {name}.")
