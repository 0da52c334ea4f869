"""Migrations: find the files, compare them with the history, apply what is pending, look again.

The history is wrangler's own table with wrangler's names and order, so a team may mix both tools on one
ledger. What wrangler does not do is in a table beside it and in guards: a checksum for every migration,
and statements inside each migration's own transaction that make all of it fail when the history is not
what was planned against, or when rows would be lost (a table rebuild fires ON DELETE CASCADE, and on D1
nothing can switch that off).
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from hoox_tasks import rules, sql
from hoox_tasks.database import SCHEMA_QUERY, Database, SchemaObject, Statement
from hoox_tasks.errors import HooxError, Refused, RemoteError, StatementError

CHECKSUMS = "hoox_checksums"
"""The table beside the history that remembers what each applied file said."""

_GUARD = "hoox_guard"
_GUARD_WORDS = re.compile(r"hoox guard (history|loss|keys): ?((?s:.*?))'?(?:: SQLITE_\w+.*)?\Z")
_LEADING_NUMBER = re.compile(r"\s*([+-]?[0-9]+)")
_ATTEMPTS = 5


class State(Enum):
    """What a migration is, comparing its file with the history."""

    APPLIED = "applied"
    PENDING = "pending"
    EDITED = "edited"
    RENAMED = "renamed"
    MISSING = "missing"
    OUT_OF_ORDER = "out of order"


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file. `text` has LF line ends and no byte order mark; `checksum` is its SHA-256."""

    name: str
    path: Path
    text: str

    @property
    def checksum(self) -> str:
        """Changes when a statement of the file may have changed; line ends do not count."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def pieces(self) -> list[sql.Piece]:
        """The file's statements, with their lines."""
        return sql.split(self.text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the status: a migration, what it is, and what to do where something is wrong.

    `applied_at` is as the history has it, UTC `YYYY-MM-DD HH:MM:SS`, empty where it was not applied.
    """

    name: str
    state: State
    applied_at: str = ""
    advice: str = ""


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

    @property
    def version(self) -> str:
        """The name of the migration applied last; empty for a ledger without history."""
        return self.history[-1][0] if self.history else ""


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that was applied, and how long it took in seconds."""

    name: str
    seconds: float


class MigrationFailed(HooxError):
    """A migration failed; the ledger is as it was before it. `applied` are those before it, which stay.

    `file` is the migration, `line` where in it the failing statement stumbled (0 where no single one did).
    """

    def __init__(
        self,
        problem: str,
        remedy: str,
        file: Path,
        line: int = 0,
        applied: Sequence[Applied] = (),
        detail: str = "",
    ) -> None:
        super().__init__(problem, remedy, detail=detail)
        self.file = file
        self.line = line
        self.applied = list(applied)


def discover(folder: Path, pattern: str = "*.sql") -> list[Migration]:
    """Read the migrations below `folder`, in wrangler's order.

    Raises `Refused` where the folder is missing, a file is not UTF-8, or two files have one number.
    """
    if not folder.is_dir():
        raise Refused(f"There is no migrations folder {folder}.", "Make it, or run this in the workspace.")
    found = []
    for path in folder.glob(pattern):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and not any(part[0] == "." for part in name.split("/")):
            found.append(Migration(name, path, _read(path)))
    found.sort(key=lambda migration: order(migration.name))
    numbers: dict[int, str] = {}
    for migration in found:
        number = _number(PurePosixPath(migration.name).parts[0])
        if number is not None and number in numbers:
            raise Refused(
                f"Migrations {numbers[number]} and {migration.name} have one number.",
                "Give the newer one the next free number, so that everybody applies them in one order.",
            )
        if number is not None:
            numbers[number] = migration.name
    return found


def order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Give a key that sorts migration names as wrangler does: segment by segment, by leading number."""
    keys = []
    for segment in name.split("/"):
        number = _number(segment)
        # JavaScript compares UTF-16 code units; surrogates are the only place where that differs.
        text = segment.encode("utf-16-be", "surrogatepass").hex()
        keys.append((0, number, text) if number is not None else (1, 0, text))
    return tuple(keys)


def _number(segment: str) -> int | None:
    match = _LEADING_NUMBER.match(segment.split("_", 1)[0])
    return int(match.group(1)) if match else None


def _read(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(
            f"Migration {path.name} is not UTF-8 (byte {error.start}).", "Save it as UTF-8."
        ) from error
    except OSError as error:
        raise Refused(
            f"Migration {path} cannot be read: {error.strerror}.", "Check its permissions."
        ) from error
    return text.replace("\r\n", "\n")


def status(database: Database, migrations: Sequence[Migration], table: str) -> Status:
    """Compare migrations with the ledger's history; writes nothing, not even the history table."""
    schema, history, checksums = _read_history(database, table)
    files = {migration.name: migration for migration in migrations}
    recorded = dict(history)
    known = checksums or {}
    last = max((order(name) for name in recorded), default=())
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
            entries.append(Entry(migration.name, State.RENAMED, recorded[former], advice))
        elif order(migration.name) < last:
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
    """Read schema, history and checksums at one moment: one request where both tables exist."""
    wanted = {
        table: f"SELECT name, applied_at FROM {sql.quote_name(table)} ORDER BY id",
        CHECKSUMS: f"SELECT name, sha256 FROM {CHECKSUMS}",
    }
    while True:
        try:
            results = database.batch(
                [Statement(SCHEMA_QUERY), *(Statement(query) for query in wanted.values())], write=False
            )
        except StatementError as error:
            match = re.search(r"no such table: (?:main\.)?(\S+?)(?:[\s:]|\Z)", error.message)
            if match is None or match.group(1) not in wanted:
                raise
            if match.group(1) == table:
                wanted.clear()
            wanted.pop(match.group(1), None)
            continue
        break
    schema = [SchemaObject(*(str(value) for value in row)) for row in results[0].rows]
    found = {name: list(rows.rows) for name, rows in zip(wanted, results[1:], strict=True)}
    history = [(str(name), str(applied_at)) for name, applied_at in found.get(table, [])]
    checksums = {str(name): str(digest) for name, digest in found[CHECKSUMS]} if CHECKSUMS in found else None
    return schema, history, checksums


def plan(
    current: Status,
    migrations: Sequence[Migration],
    *,
    to: str | None = None,
    allow_out_of_order: bool = False,
) -> list[Migration]:
    """Give the migrations to apply, in order; `to` names the last one (its name or number).

    Raises `Refused` where the history and the files do not fit together, naming every misfit, and where
    a pending file controls transactions.
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
    for migration in pending:
        for piece in migration.pieces:
            if sql.is_transaction_control(piece.sql):
                raise Refused(
                    f"Migration {migration.name} says {sql.first_word(piece.sql)} in line {piece.line}.",
                    "Remove it: each migration runs in a transaction of its own, together with its history.",
                )
    return pending


def find(migrations: Sequence[Migration], wanted: str) -> Migration:
    """Give the migration that is called `wanted`: its file name, with or without .sql, or its number."""
    for migration in migrations:
        if wanted in {migration.name, migration.name.removesuffix(".sql"), migration.name.split("/")[0]}:
            return migration
    if wanted.isdigit():
        for migration in migrations:
            if _number(migration.name.split("/")[0]) == int(wanted):
                return migration
    names = ", ".join(migration.name for migration in migrations) or "none"
    raise Refused(f"There is no migration {wanted}.", f"There are: {names}.")


def apply(
    database: Database,
    migrations: Sequence[Migration],
    table: str,
    *,
    to: str | None = None,
    allow_out_of_order: bool = False,
    allow_data_loss: bool = False,
    strict: bool = True,
) -> tuple[list[Applied], Status]:
    """Apply what is pending, one transaction for each migration; gives what was applied and the status after.

    Raises `Refused` where `plan` does, and `MigrationFailed` where a migration fails: it has left nothing
    behind, those before it stay.
    """
    current = status(database, migrations, table)
    applied: list[Applied] = []
    for _ in range(_ATTEMPTS):
        pending = plan(current, migrations, to=to, allow_out_of_order=allow_out_of_order)
        overtaken = False
        for migration in pending:
            model = Model(current.schema, strict=strict)
            with closing(model):
                unit = _unit(migration, model, current, table, allow_data_loss, applied)
            started = time.perf_counter()
            try:
                database.batch(statement for statement, _ in unit)
            except StatementError as error:
                words = _GUARD_WORDS.search(error.message)
                if words is None:
                    raise _failure(migration, unit, error, applied) from error
                if words.group(1) == "history":
                    overtaken = True
                    break
                raise MigrationFailed(
                    *_loss(migration, *words.groups()), migration.path, 0, applied
                ) from error
            except RemoteError as error:
                if not error.ambiguous:
                    raise
                # The answer was lost. The history tells whether the unit happened: it is part of it.
                after = status(database, migrations, table)
                if migration.name not in dict(after.history):
                    raise
            applied.append(Applied(migration.name, time.perf_counter() - started))
            current = _advanced(current, migration, model.after)
        if pending or overtaken:
            current = _verified(database, migrations, table, current, overtaken)
        if not overtaken:
            return applied, current
    raise HooxError(
        f"The history of {database.name} changed {_ATTEMPTS} times while migrations were applied.",
        "Let the other runs end, then look with `inv db.migrate.status`.",
    )


def _advanced(current: Status, migration: Migration, schema: Sequence[SchemaObject]) -> Status:
    """The status as it should be once `migration` is applied."""
    history = (*current.history, (migration.name, ""))
    return Status(current.entries, tuple(schema), history, True)


def _verified(
    database: Database, migrations: Sequence[Migration], table: str, expected: Status, overtaken: bool
) -> Status:
    """Read the ledger again, and compare it with what applying should have made of it."""
    actual = status(database, migrations, table)
    if overtaken:
        return actual
    missing = [name for name, _ in expected.history if name not in dict(actual.history)]
    objects = {(item.type, item.name) for item in actual.schema}
    lacking = [
        f"{item.type} {item.name}" for item in expected.schema if (item.type, item.name) not in objects
    ]
    if missing or lacking:
        raise HooxError(
            f"The migrations were accepted, but {database.name} lacks {', '.join(missing + lacking)}.",
            "Look with `inv db.migrate.status` and `inv db.schema` before anything else is done.",
        )
    return actual


# ------------------------------------------------------------------------------ one migration as a unit


class Model:
    """An empty ledger in memory with a given schema, on which a migration is tried before it is sent.

    `before` and `after` are the schema's objects; `lineage` says what each table is called afterwards
    (None where it was dropped), following ALTER TABLE ... RENAME.
    """

    def __init__(self, schema: Iterable[SchemaObject], *, strict: bool = True) -> None:
        self._strict = strict
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.execute("PRAGMA foreign_keys = ON")
        self.before = build_schema(self._connection, schema)
        self.after: list[SchemaObject] = list(self.before)
        self.lineage: dict[str, str | None] = {name: name for name in self._roots()}
        self.checks_keys = self._has_foreign_keys()
        self.keys = self._key_columns()

    def run(self, pieces: Iterable[sql.Piece]) -> None:
        """Run a migration's statements; raises `StatementError`, whose `index` is the piece's place."""
        connection = self._connection
        authorizer = rules.enforce(connection, read_only=False, strict=self._strict)
        with authorizer.trusted():
            connection.execute("BEGIN")
        try:
            for index, piece in enumerate(pieces):
                roots = self._roots()
                refusal = rules.shape_refusal(piece.sql) if self._strict else None
                if refusal:
                    raise StatementError(refusal, sql=piece.sql, index=index)
                try:
                    connection.execute(piece.sql).fetchall()
                except (sqlite3.Error, sqlite3.Warning) as error:
                    message = str(error)
                    if isinstance(error, sqlite3.Error):
                        message = rules.explain(error, authorizer)
                    raise StatementError(
                        message,
                        sql=piece.sql,
                        offset=sql.locate_error(piece.sql, str(error)),
                        index=index,
                        remedy=rules.remedy(error) if isinstance(error, sqlite3.Error) else "",
                    ) from error
                self._follow(roots)
        finally:
            rules.release(connection)
        connection.execute("COMMIT")
        self.after = read_schema(self._connection)
        self.checks_keys = self.checks_keys or self._has_foreign_keys()

    def columns(self, table: str) -> list[str]:
        """Give the names of a table's columns as they are now."""
        return [row[1] for row in self._connection.execute(f"PRAGMA table_xinfo({sql.quote_name(table)})")]

    def close(self) -> None:
        """Forget the ledger."""
        self._connection.close()

    def tables(self) -> list[str]:
        """Give the names of all tables that hold rows of their own, as they are now."""
        return list(self._roots())

    def virtual(self) -> set[str]:
        """Give the names of the virtual tables."""
        query = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'virtual'"
        return {row[0] for row in self._connection.execute(query)}

    def parents(self) -> dict[str, set[str]]:
        """Give, for every table, the tables that its foreign keys refer to."""
        return {
            name: {
                row[2] for row in self._connection.execute(f"PRAGMA foreign_key_list({sql.quote_name(name)})")
            }
            for name in self._roots()
        }

    def _roots(self) -> dict[str, int]:
        query = (
            "SELECT s.name, s.rootpage FROM sqlite_schema s JOIN pragma_table_list l ON l.name = s.name"
            r" WHERE s.type = 'table' AND l.schema = 'main' AND l.type IN ('table', 'virtual')"
            r" AND s.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY s.name"
        )
        return dict(self._connection.execute(query).fetchall())

    def _follow(self, roots: dict[str, int]) -> None:
        now = self._roots()
        vanished = {name: root for name, root in roots.items() if name not in now}
        appeared = {root: name for name, root in now.items() if name not in roots and root}
        for former, last in list(self.lineage.items()):
            if last in vanished:
                self.lineage[former] = appeared.get(vanished[last])

    def _has_foreign_keys(self) -> bool:
        """Tell whether there are foreign keys that SQLite can check."""
        keys = any(self.parents().values())
        if keys:
            try:
                self._connection.execute("PRAGMA foreign_key_check").fetchall()
            except sqlite3.Error:  # A key that refers to something that cannot be referred to.
                return False
        return keys

    def _key_columns(self) -> list[tuple[str, str, str | None]]:
        """Give (table, column, default) of every foreign key column; the default for SET DEFAULT only."""
        found = []
        for table in self._roots():
            quoted = sql.quote_name(table)
            defaults = {row[1]: row[4] for row in self._connection.execute(f"PRAGMA table_xinfo({quoted})")}
            for row in self._connection.execute(f"PRAGMA foreign_key_list({quoted})").fetchall():
                column, actions = row[3], row[5:7]
                found.append((table, column, defaults.get(column) if "SET DEFAULT" in actions else None))
        return sorted(set(found), key=str)


def build_schema(connection: sqlite3.Connection, schema: Iterable[SchemaObject]) -> list[SchemaObject]:
    """Make the objects of `schema` in an empty database; virtual tables make their shadow tables."""
    objects = list(schema)
    rules.supply_functions(connection)
    for item in sorted(objects, key=lambda item: ("table", "index", "view", "trigger").index(item.type)):
        exists = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (item.name,)).fetchone()
        if not exists:
            connection.execute(item.sql)
    return read_schema(connection)


def read_schema(connection: sqlite3.Connection) -> list[SchemaObject]:
    """Give the objects of a SQLite database, as `Database.schema` does."""
    return [SchemaObject(*row) for row in connection.execute(SCHEMA_QUERY).fetchall()]


_Unit = list[tuple[Statement, sql.Piece | None]]


def _unit(
    migration: Migration,
    model: Model,
    current: Status,
    table: str,
    allow_data_loss: bool,
    applied: list[Applied],
) -> _Unit:
    """Write a migration, its guards and its rows in the history as the statements of one transaction."""
    history = sql.quote_name(table)
    before = model.tables()
    keys = model.keys
    keys_checkable = model.checks_keys
    try_on(model, migration, applied)
    statements = [
        _fail_when(
            f"coalesce((SELECT group_concat(name, '/') FROM (SELECT name FROM {history} ORDER BY id)), '')"
            f" <> {sql.quote_text('/'.join(name for name, _ in current.history))}",
            "history",
            "''",
        ),
    ]
    closing_statements: list[str] = []
    if not allow_data_loss:
        own = {table, CHECKSUMS}
        opening, closing_statements = _loss_guards(
            model, [name for name in before if name not in own], keys, keys_checkable
        )
        statements += opening
    unit: _Unit = [(statement, None) for statement in history_tables(table)]
    unit += [(Statement(text), None) for text in statements]
    unit += [(Statement(piece.sql), piece) for piece in migration.pieces]
    unit += [(Statement(text), None) for text in closing_statements]
    unit += [(statement, None) for statement in record(migration, table)]
    return unit


def try_on(model: Model, migration: Migration, applied: Sequence[Applied] = ()) -> None:
    """Run a migration on a model; raises `MigrationFailed` where a statement of it does not run."""
    pieces = migration.pieces
    try:
        model.run(pieces)
    except StatementError as error:
        raise _failure(
            migration, [(Statement(piece.sql), piece) for piece in pieces], error, applied
        ) from error


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
        _remember(migration),
    ]


def _remember(migration: Migration) -> Statement:
    name = sql.quote_text(migration.name)
    return Statement(
        f"INSERT OR REPLACE INTO {CHECKSUMS} (name, sha256) VALUES ({name}, '{migration.checksum}')"
    )


def _loss_guards(
    model: Model, before: list[str], keys: list[tuple[str, str, str | None]], keys_checkable: bool
) -> tuple[list[str], list[str]]:
    """Write the statements that count rows before a migration, and those that compare after it."""
    after = set(model.tables())
    opening = [f"CREATE TABLE {_GUARD} (what TEXT PRIMARY KEY, was INTEGER, now INTEGER)"]
    ending = []

    def watch(what: str, was: str, now: str) -> None:
        opening.append(f"INSERT INTO {_GUARD} VALUES ({sql.quote_text(what)}, {was}, 0)")
        ending.append(f"UPDATE {_GUARD} SET now = {now} WHERE what = {sql.quote_text(what)}")

    def home(name: str) -> list[str]:
        """Where a table's rows may be afterwards: under its name, or where a renaming took them."""
        places = [name] if name in after else []
        moved = model.lineage.get(name)
        return places + ([moved] if moved and moved != name and moved in after else [])

    def most(queries: list[str]) -> str:
        return queries[0] if len(queries) == 1 else f"max({', '.join(queries)})" if queries else "0"

    for name in before:
        count = f"(SELECT count(*) FROM {sql.quote_name(name)})"
        watch(
            f"table {name}", count, most([f"(SELECT count(*) FROM {sql.quote_name(t)})" for t in home(name)])
        )
    for name, column, default in keys:
        kept = [place for place in home(name) if column in model.columns(place)]
        if not kept:
            continue
        counted = sql.quote_name(column)
        if default is not None:
            counted = f"nullif({counted}, {default})"
        was = f"(SELECT count({counted}) FROM {sql.quote_name(name)})"
        now = most([f"(SELECT count({counted}) FROM {sql.quote_name(place)})" for place in kept])
        watch(f"column {name}.{column}", was, now)
    ending.append(
        "SELECT CASE WHEN count(*) THEN json_extract('{}', 'hoox guard loss: ' ||"
        f" group_concat(what || ' had ' || was || ' and would have ' || now, '; ')) END"
        f" FROM {_GUARD} WHERE now < was"
    )
    if model.checks_keys:
        violations = "(SELECT count(*) FROM pragma_foreign_key_check)"
        was = violations if keys_checkable else "0"
        opening.append(f"INSERT INTO {_GUARD} VALUES ('keys', {was}, 0)")
        ending.append(
            _fail_when(
                f"{violations} > (SELECT was FROM {_GUARD} WHERE what = 'keys')",
                "keys",
                "(SELECT group_concat(DISTINCT \"table\" || ' to ' || parent) FROM pragma_foreign_key_check)",
            )
        )
        ending[-2] += " AND what <> 'keys'"
    ending.append(f"DROP TABLE {_GUARD}")
    return opening, ending


def _fail_when(condition: str, kind: str, detail: str) -> str:
    # Plain SQL has no RAISE outside triggers; an invalid JSON path is an error that carries any text.
    return f"SELECT CASE WHEN {condition} THEN json_extract('{{}}', 'hoox guard {kind}: ' || {detail}) END"


def _loss(migration: Migration, kind: str, detail: str) -> tuple[str, str]:
    if kind == "keys":
        return (
            f"Migration {migration.name} would leave rows that refer to nothing ({detail}); it was undone.",
            "Copy the parents before their children, or correct the keys in the same migration.",
        )
    return (
        f"Migration {migration.name} would lose rows, so it was undone: {detail}.",
        "Dropping or rebuilding a table fires ON DELETE CASCADE and SET NULL of the tables that refer to it:"
        " copy those aside and back in the same migration; or give --allow-data-loss if the rows may go.",
    )


def _failure(
    migration: Migration, unit: _Unit, error: StatementError, applied: Sequence[Applied]
) -> MigrationFailed:
    piece = unit[error.index][1] if error.index is not None and error.index < len(unit) else None
    line, where, shown = 0, "", ""
    if piece is not None:
        line = piece.line + piece.sql.count("\n", 0, error.offset or 0)
        where = f" in line {line}"
        shown = sql.excerpt(piece.sql, error.offset)
    return MigrationFailed(
        f"Migration {migration.name} failed{where}: {error.message.rstrip('.')}.",
        error.remedy or "It left nothing behind; correct the file and run this again.",
        migration.path,
        line,
        applied,
        shown,
    )


# ------------------------------------------------------------------------------- the history by hand


def mark(
    database: Database, migrations: Sequence[Migration], table: str, name: str, *, forget: bool = False
) -> str:
    """Record a migration as applied without running it; says what was done.

    A pending one gets its row; an edited one is accepted as its file is now; a renamed one is recorded
    under its new name. With `forget` a recorded name whose file is gone is taken out of the history.
    """
    current = status(database, migrations, table)
    history = sql.quote_name(table)
    if forget:
        gone = [entry.name for entry in current.named(State.MISSING)]
        if name not in gone:
            raise Refused(
                f"{name} is not a recorded migration whose file is gone.",
                f"Those are: {', '.join(gone) or 'none'}.",
            )
        statements = [f"DELETE FROM {history} WHERE name = {sql.quote_text(name)}"]
        if current.has_checksums:
            statements.append(f"DELETE FROM {CHECKSUMS} WHERE name = {sql.quote_text(name)}")
        database.batch(Statement(text) for text in statements)
        return f"Forgot {name}."
    migration = find(migrations, name)
    entry = next(entry for entry in current.entries if entry.name == migration.name)
    quoted = sql.quote_text(migration.name)
    rows: list[str] = []
    done = f"Recorded {migration.name} as applied, without running it."
    if entry.state is State.RENAMED:
        rows.append(
            f"UPDATE {history} SET name = {quoted} WHERE name ="
            f" (SELECT name FROM {CHECKSUMS} WHERE sha256 = '{migration.checksum}')"
        )
        rows.append(f"DELETE FROM {CHECKSUMS} WHERE sha256 = '{migration.checksum}'")
        done = f"Recorded {migration.name} under its new name."
    elif entry.state in {State.PENDING, State.OUT_OF_ORDER}:
        rows.append(f"INSERT INTO {history} (name) VALUES ({quoted})")
    elif entry.state is State.EDITED:
        done = f"Accepted {migration.name} as its file is now."
    else:
        done = f"{migration.name} was recorded as applied already."
    changes = [Statement(text) for text in rows]
    database.batch([*history_tables(table), *changes, _remember(migration)])
    return done


def create(folder: Path, message: str) -> Path:
    """Write an empty migration with the next number; returns its path.

    Raises `Refused` where the message makes no file name.
    """
    words = re.sub(r"[^\w.-]+", "_", message.strip()).strip("_.")
    if not words:
        raise Refused("A migration needs a name.", 'Say what it does: `inv db.migrate.new "add fills"`.')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [_number(path.name) or 0 for path in folder.iterdir() if _number(path.name) is not None]
        path = folder / f"{max(numbers, default=0) + 1:04d}_{words}.sql"
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(f"-- {message.strip()}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error.strerror}.", "Check its permissions.") from error
    return path


def copy(files: Sequence[Migration], folder: Path) -> list[Path]:
    """Copy migration files into a folder of the workspace's own; returns their new paths."""
    copied = []
    try:
        for migration in files:
            target = folder / migration.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(migration.path.read_bytes())
            copied.append(target)
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error.strerror}.", "Check its permissions.") from error
    return copied
