"""The history of a ledger: what was applied, compared with the files, and corrected by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hoox_tasks import sql
from hoox_tasks.database.interface import SCHEMA_QUERY, Database, SchemaObject, Statement
from hoox_tasks.errors import HooxError, Refused, StatementError
from hoox_tasks.migrations.consent import read_consent
from hoox_tasks.migrations.files import Migration, find, order, precedes

CHECKSUMS = "hoox_checksums"
"""The table beside the history that remembers what each applied file said."""

_READINGS = 5
"""How often the history is read anew, where other runs make its tables meanwhile."""


class State(Enum):
    """What a migration is, comparing its file with the history."""

    APPLIED = "applied"
    PENDING = "pending"
    EDITED = "edited"
    RENAMED = "renamed"
    MISSING = "missing"
    OUT_OF_ORDER = "out of order"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the status: a migration, what it is, and what to do where something is wrong.

    `applied_at` is as the history has it, UTC `YYYY-MM-DD HH:MM:SS`, empty where it was not applied.
    `former` is the name under which a renamed one is recorded.
    """

    name: str
    state: State
    applied_at: str = ""
    advice: str = ""
    former: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """All migrations of a ledger, in the order in which they apply; what the ledger consists of."""

    entries: tuple[Entry, ...]
    schema: tuple[SchemaObject, ...]
    history: tuple[tuple[str, str], ...]
    has_checksums: bool

    def named(self, *states: State) -> list[Entry]:
        """Give the entries that are in one of `states`."""
        return [entry for entry in self.entries if entry.state in states]

    def with_applied(self, name: str, schema: Sequence[SchemaObject]) -> Status:
        """Give what the status should be once a migration is applied that leads to `schema`."""
        return Status(self.entries, tuple(schema), (*self.history, (name, "")), True)

    @property
    def version(self) -> str:
        """The name of the migration applied last; empty for a ledger without history."""
        return self.history[-1][0] if self.history else ""


def own_tables(table: str) -> frozenset[str]:
    """Give the tables that serve the migrations themselves: the history, and the checksums beside it."""
    return frozenset({table, CHECKSUMS})


def status(database: Database, migrations: Sequence[Migration], table: str) -> Status:
    """Compare migrations with the ledger's history; writes nothing, not even the history table."""
    schema, history, checksums = _read_history(database, table)
    files = {migration.name: migration for migration in migrations}
    recorded = dict(history)
    known = checksums or {}
    last = max(recorded, key=order, default="")
    lost = {known[name]: name for name in recorded if name not in files and name in known}
    entries = []
    for name, applied_at in history:
        if name not in files:
            continue
        if name in known and known[name] != files[name].checksum:
            advice = (
                f"Restore {name}, and write the change as a new migration; or accept the file as it is "
                f"with `inv db.migrate.mark {name}`."
            )
            entries.append(Entry(name, State.EDITED, applied_at, advice))
        else:
            entries.append(Entry(name, State.APPLIED, applied_at))
    renamed = {}
    for migration in migrations:
        if migration.name in recorded:
            continue
        former = lost.get(migration.checksum)
        if former is not None:
            renamed[former] = migration.name
            advice = (
                f"It was applied as {former}: name it so again, or record the new name "
                f"with `inv db.migrate.mark {migration.name}`."
            )
            entries.append(Entry(migration.name, State.RENAMED, recorded[former], advice, former))
        elif last and precedes(migration.name, last):
            advice = "Give it the next free number, or insist with --allow-out-of-order."
            entries.append(Entry(migration.name, State.OUT_OF_ORDER, "", advice))
        else:
            entries.append(Entry(migration.name, State.PENDING))
    for name, applied_at in history:
        if name not in files and name not in renamed:
            advice = (
                f"Bring {name} back from version control; if it is gone for good, forget it "
                f"with `inv db.migrate.mark {name} --forget`."
            )
            entries.append(Entry(name, State.MISSING, applied_at, advice))
    entries.sort(key=lambda entry: order(entry.name))
    return Status(tuple(entries), tuple(schema), tuple(history), checksums is not None)


def _read_history(
    database: Database, table: str
) -> tuple[list[SchemaObject], list[tuple[str, str]], dict[str, str] | None]:
    """Read schema, history and checksums of one moment: one request, or two where a table is missing."""
    queries = {
        table: f"SELECT name, applied_at FROM {sql.quote_name(table)} ORDER BY id",
        CHECKSUMS: f"SELECT name, sha256 FROM {CHECKSUMS}",
    }
    asked = list(queries)
    for _ in range(_READINGS):
        try:
            answers = database.batch(
                [Statement(SCHEMA_QUERY), *(Statement(queries[name]) for name in asked)], write=False
            )
        except StatementError as error:
            if error.missing_table not in asked:
                raise
            # Whoever has no history has no checksums either, but for one whose history was taken away.
            asked = [table] if error.missing_table == CHECKSUMS else []
            continue
        schema = [SchemaObject(*(str(value) for value in row)) for row in answers[0].rows]
        present = {item.name for item in schema if item.type == "table"}
        needed = [name for name in queries if name in present] if table in present else []
        if asked == needed:
            break
        asked = needed  # Another run has made them meanwhile.
    else:
        raise HooxError(
            f"The history of {database.name} comes and goes while it is read.",
            "Let the other runs end, then run this again.",
        )
    rows = {name: list(answer.rows) for name, answer in zip(asked, answers[1:], strict=True)}
    history = [(str(name), str(applied_at)) for name, applied_at in rows.get(table, [])]
    checksums = rows.get(CHECKSUMS)
    known = {str(name): str(digest) for name, digest in checksums} if checksums is not None else None
    return schema, history, known


def plan(
    current: Status,
    migrations: Sequence[Migration],
    *,
    to: str | None = None,
    allow_out_of_order: bool = False,
) -> list[Migration]:
    """Give the migrations to apply, in order; `to` names the last one (its name or number).

    Raises `Refused` where the history and the files do not fit together, naming every misfit, and where
    a pending file controls transactions, or consents to something in words that are not known.
    """
    accepted = [State.APPLIED, State.PENDING]
    if allow_out_of_order:
        accepted.append(State.OUT_OF_ORDER)
    misfits = [entry for entry in current.entries if entry.state not in accepted]
    if misfits:
        raise Refused(
            "The history does not fit the migrations, so nothing was applied.",
            "Look at all of them with `inv db.migrate.status`.",
            detail="\n".join(f"  {entry.name} is {entry.state.value}. {entry.advice}" for entry in misfits),
        )
    names = {entry.name for entry in current.named(State.PENDING, State.OUT_OF_ORDER)}
    pending = [migration for migration in migrations if migration.name in names]
    if to is not None:
        last = find(migrations, to)
        pending = [migration for migration in pending if order(migration.name) <= order(last.name)]
    refuse_transactions(pending)
    for migration in pending:
        read_consent(migration.name, migration.text)
    return pending


def refuse_transactions(migrations: Sequence[Migration]) -> None:
    """Raise `Refused` where a migration opens or closes a transaction."""
    for migration in migrations:
        for piece in migration.pieces:
            if sql.is_transaction_control(piece.sql):
                raise Refused(
                    f"Migration {migration.name} says {sql.first_word(piece.sql)} in line {piece.line}.",
                    "Remove it: each migration runs in a transaction of its own, together with its history.",
                )


def history_tables(table: str) -> list[Statement]:
    """Write the statements that make the history, as wrangler makes it, and the checksums beside it."""
    return [
        Statement(
            f"CREATE TABLE IF NOT EXISTS {sql.quote_name(table)} (id INTEGER PRIMARY KEY AUTOINCREMENT,"
            " name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)"
        ),
        Statement(f"CREATE TABLE IF NOT EXISTS {CHECKSUMS} (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL)"),
    ]


def record(migration: Migration, table: str) -> list[Statement]:
    """Write the statements that put a migration into the history, with its checksum."""
    name = sql.quote_text(migration.name)
    return [
        Statement(f"INSERT INTO {sql.quote_name(table)} (name) VALUES ({name})"),
        remember(migration),
    ]


def remember(migration: Migration) -> Statement:
    """Write the statement that keeps what a migration's file says now."""
    name = sql.quote_text(migration.name)
    return Statement(
        f"INSERT OR REPLACE INTO {CHECKSUMS} (name, sha256) VALUES ({name}, '{migration.checksum}')"
    )
