"""The history of a ledger: what was applied, compared with the files, and corrected by hand."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from hoox_tasks import sql
from hoox_tasks.database.interface import SCHEMA_QUERY, Database, SchemaObject, Statement
from hoox_tasks.errors import HooxError, Refused, StatementError
from hoox_tasks.migrations.consent import read_consent
from hoox_tasks.migrations.files import EMPTY, Migration, find, order, precedes, same_name
from hoox_tasks.suggestions import option

CHECKSUMS = "hoox_checksums"
"""The table beside the history that remembers what each applied file said."""

NOTHING_APPLIED = ""
"""A name among the checksums that says: of what the ledger has, no migration has made anything."""

_BY_HAND = " by-hand"
"""Behind a fingerprint: nobody has seen the migration run, it was recorded only."""

_SHOWN = 100
"""Characters of a statement that are shown."""

_READINGS = 5
"""How often the history is read anew, where other runs make its tables meanwhile."""


class State(Enum):
    """What a migration is, comparing its file with the history."""

    APPLIED = "applied"
    PENDING = "pending"
    EDITED = "edited"
    RENAMED = "renamed"
    RENAMED_AND_EDITED = "renamed and edited"
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
    """All migrations of a ledger, in the order in which they apply; what the ledger consists of.

    `history` are the recorded names, each with its time; `checksums` what is known of their files, None where
    there is no table for it. `is_foreign` says that the ledger has tables and no history: somebody else has
    made it, and did not say yet what is there (see `adopt`).
    """

    entries: tuple[Entry, ...]
    schema: tuple[SchemaObject, ...]
    history: tuple[tuple[str, str], ...]
    checksums: Mapping[str, str] | None
    is_foreign: bool = False

    @property
    def has_checksums(self) -> bool:
        """Whether the table of checksums is there."""
        return self.checksums is not None

    def named(self, *states: State) -> list[Entry]:
        """Give the entries that are in one of `states`."""
        return [entry for entry in self.entries if entry.state in states]

    def with_applied(self, name: str, schema: Sequence[SchemaObject]) -> Status:
        """Give what the status should be once a migration is applied that leads to `schema`."""
        return replace(
            self,
            schema=tuple(schema),
            history=(*self.history, (name, "")),
            checksums=self.checksums or {},
            is_foreign=False,
        )

    def recorded_by_hand(self, name: str) -> bool:
        """Whether a migration was recorded without anybody seeing it run."""
        kept = (self.checksums or {}).items()
        return any(same_name(each) == same_name(name) and text.endswith(_BY_HAND) for each, text in kept)

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
    known = {same_name(name): fingerprint for name, fingerprint in (checksums or {}).items()}
    files = {same_name(migration.name): migration for migration in migrations}
    recorded = {same_name(name): (name, applied_at) for name, applied_at in history}
    last = max((name for name, _ in history), key=order, default="")
    former = _former_names(files, recorded, known)
    added = _added(files, recorded, known, former)
    former |= {key: old for key, (old, _) in added.items()}
    present = {old: new for new, old in former.items()}
    entries = []
    for key, migration in files.items():
        name = migration.name
        if key in added:
            entries.append(as_edited(name, *recorded[former[key]], added[key][1]))
        elif key in former:
            entries.append(as_renamed(name, *recorded[former[key]]))
        elif key in recorded and key not in present:
            entries.append(_compared(migration, known.get(key), recorded[key][1]))
        elif migration.refusal is not None:
            advice = f"{migration.refusal.problem} {migration.refusal.remedy}"
            entries.append(Entry(name, State.PENDING, "", advice))
        else:
            state, advice = State.PENDING, "Apply it with `inv db.migrate`."
            if last and precedes(name, last):
                state = State.OUT_OF_ORDER
                advice = "Give it the next free number, or insist with `inv db.migrate --allow-out-of-order`."
            if key in present:
                moved = files[present[key]].name
                advice = f"{moved} ran under its name: record that first with `{mark_command(moved)}`."
            entries.append(Entry(name, state, "", advice))
    for key, (name, applied_at) in recorded.items():
        if key not in files and key not in present:
            advice = (
                f"Bring {name} back from version control; if it is gone for good, forget it "
                f"with `{mark_command(name)} --forget`."
            )
            entries.append(Entry(name, State.MISSING, applied_at, advice))
    entries.sort(key=lambda entry: order(entry.name))
    own = own_tables(table)
    foreign = (
        not history
        and NOTHING_APPLIED not in known
        and any(item.type == "table" and item.name not in own for item in schema)
    )
    return Status(tuple(entries), tuple(schema), tuple(history), checksums, foreign)


def _former_names(
    files: Mapping[str, Migration], recorded: Mapping[str, tuple[str, str]], known: Mapping[str, str]
) -> dict[str, str]:
    """Give the recorded names of files whose content ran under another name, where it is known.

    Under that name there may be another file by now, which in turn may have run under yet another.
    """
    lost = {
        key: known[key]
        for key in recorded
        if key in known and (key not in files or not (known[key] == EMPTY or files[key].does(known[key])))
    }
    former: dict[str, str] = {}
    waiting = [key for key in files if key not in recorded]
    while waiting and lost:
        key = waiting.pop(0)
        for same in (files[key].matches, files[key].does):
            found = next((name for name, fingerprint in lost.items() if same(fingerprint)), None)
            if found is not None:
                del lost[found]
                former[key] = found
                if found in files:
                    waiting.append(found)
                break
    return former


def _added(
    files: Mapping[str, Migration],
    recorded: Mapping[str, tuple[str, str]],
    known: Mapping[str, str],
    former: Mapping[str, str],
) -> dict[str, tuple[str, list[str]]]:
    """Give the files that have all statements of one that is gone, and more; with its name, and what is new.

    A file that has nothing but the statements of several ones was made of them, and is not among these.
    """
    lost = [key for key in recorded if key in known and key not in files and key not in former.values()]
    found: dict[str, tuple[str, list[str]]] = {}
    for key in [key for key in files if key not in recorded and key not in former] if lost else []:
        more = [(old, files[key].beyond(known[old])) for old in lost]
        first = next(((old, new) for old, new in more if new), None)
        if first is None:
            continue
        others = [new for _, new in more if new is not None]
        if len(others) > 1 and not set.intersection(*map(set, others)):
            continue
        found[key] = first
        lost.remove(first[0])
    return found


def as_edited(name: str, former: str, applied_at: str, new: Sequence[str] = ()) -> Entry:
    """Give the entry of a migration that was applied under another name, and says more or something else now.

    `new` are the statements that it did not have then, as far as that is known.
    """
    what = "what was changed in it"
    if new:
        text = " ".join(new[0].split())
        what = f"`{text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'}`"
        what += f" and {len(new) - 1:,} more" * (len(new) > 1)
    advice = (
        f"It was applied as {former}, which said something else: take out {what}, and write that as a"
        f" migration of its own. Then record the new name with `{mark_command(name)}`."
    )
    if not new:
        advice += f" If it is another migration than {former}, give it a name of its own."
    return Entry(name, State.RENAMED_AND_EDITED, applied_at, advice, former)


def as_renamed(name: str, former: str, applied_at: str) -> Entry:
    """Give the entry of a migration that was applied under another name."""
    advice = (
        f"It was applied as {former}: name it so again, or record the new name with `{mark_command(name)}`."
    )
    return Entry(name, State.RENAMED, applied_at, advice, former)


def _compared(migration: Migration, fingerprint: str | None, applied_at: str) -> Entry:
    """Give the entry of a recorded migration; `fingerprint` is that of its file then, where it is known."""
    name = migration.name
    if migration.refusal is not None:
        advice = f"{migration.refusal.problem} {migration.refusal.remedy}"
    elif fingerprint is None or migration.matches(fingerprint):
        return Entry(name, State.APPLIED, applied_at)
    elif fingerprint.split(" ")[0] == EMPTY:
        advice = (
            "It held no statement when it was applied, so what it says now never ran: forget it with"
            f" `{mark_command(name)} --forget`, then apply it with `inv db.migrate`; or write it as a new"
            " migration."
        )
    else:
        advice = (
            f"Restore {name}, and write the change as a new migration; or accept the file as it is "
            f"with `{mark_command(name)}`."
        )
    return Entry(name, State.EDITED, applied_at, advice)


def mark_command(name: str) -> str:
    """Give the command that records a migration by hand."""
    return f"inv db.migrate.mark {option('name', name) if name.startswith('-') else shlex.quote(name)}"


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


def refuse_own(migrations: Sequence[Migration], table: str) -> None:
    """Raise `Refused` where a migration writes, changes or drops the tables of the history itself."""
    for migration in migrations:
        for name in sorted(own_tables(table)):
            if name.lower() not in migration.text.lower():
                continue
            for piece in migration.pieces:
                if name.lower() in written_names(piece.sql):
                    raise own_refusal(migration, name, f" in line {piece.line}")


def own_refusal(migration: Migration, table: str, where: str = "") -> Refused:
    """Give the error for a migration that meddles with a table of the history."""
    return Refused(
        f"Migration {migration.name} changes {table}{where}, which says what was applied.",
        "Leave that out; the history is corrected with `inv db.migrate.mark`.",
    )


def written_names(statement: str) -> set[str]:
    """Give the names, in small letters, of what a statement writes, changes or drops, also in a trigger."""
    found = list(sql.tokens(statement))
    words = [token.text.upper() for token in found]
    triggers = sql.is_trigger(statement)
    names = set()
    for place, word in enumerate(words):
        after = place + 1
        if word == "UPDATE":
            after += 2 if words[after : after + 1] == ["OR"] else 0
        elif word in {"FROM", "TABLE"}:
            if words[place - 1] not in ({"DELETE"} if word == "FROM" else {"DROP", "ALTER"}):
                continue
            after += 2 if words[after : after + 2] == ["IF", "EXISTS"] else 0
        elif word != "INTO" and not (word == "ON" and triggers):
            continue
        if words[after + 1 : after + 2] == ["."]:
            after += 2
        if after < len(words):
            names.add(sql.unquote_name(found[after].text).lower())
    return names


def refuse_transactions(migrations: Sequence[Migration]) -> None:
    """Raise `Refused` where a migration opens or closes a transaction."""
    for migration in migrations:
        for piece in migration.pieces:
            if sql.is_transaction_control(piece.sql):
                raise Refused(
                    f"Migration {migration.name} says {sql.first_word(piece.sql)} in line {piece.line}.",
                    "Remove it: each migration runs in a transaction of its own, together with its history."
                    " Only one `BEGIN TRANSACTION;` with one `COMMIT;` is passed over.",
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


def record(migration: Migration, table: str, *, by_hand: bool = False) -> list[Statement]:
    """Write the statements that put a migration into the history, with its fingerprint.

    `by_hand` says that nobody has seen it run.
    """
    name = sql.quote_text(migration.name)
    return [
        Statement(f"INSERT INTO {sql.quote_name(table)} (name) VALUES ({name})"),
        remember(migration, by_hand=by_hand),
    ]


def remember(migration: Migration, *, by_hand: bool = False) -> Statement:
    """Write the statement that keeps what a migration's file says now."""
    name, kept = sql.quote_text(migration.name), f"{migration.fingerprint}{_BY_HAND * by_hand}"
    return Statement(f"INSERT OR REPLACE INTO {CHECKSUMS} (name, sha256) VALUES ({name}, '{kept}')")
