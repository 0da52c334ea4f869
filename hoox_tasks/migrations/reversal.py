"""How migrations are taken back: by statements derived from the schemas before and after, or by a down file.

Only what was added can be taken back by derived statements. Which ones do it is not proven by rules: they are
run on an empty ledger, and hold only if the schema before comes out of it, object by object.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from hoox_tasks import sql
from hoox_tasks.database.drop_order import children_first
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject, Statement
from hoox_tasks.database.schema import content_table
from hoox_tasks.errors import StatementError
from hoox_tasks.migrations.consent import Consent
from hoox_tasks.migrations.drift import Difference, compare_schemas
from hoox_tasks.migrations.effects import Own
from hoox_tasks.migrations.files import Migration
from hoox_tasks.migrations.seeds import MADE_ANEW
from hoox_tasks.migrations.tables import Stored, read_tables
from hoox_tasks.migrations.trial import Again
from hoox_tasks.values import Value

_SEEDED_ROWS = 1_000
_SEEDED_TEXT = 80_000
"""Rows that migrations put into a table of theirs, and the SQL that names them; of more none is known."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """What takes back migrations that were applied one after the other.

    `names` are theirs, the newest first. `file` is the down file that `pieces` are from; None for derived
    ones. `differences` are what the migrations made of the schema `before`, which was `after` then; `inner`
    names the tables inside of virtual ones. `own` are the rows that the migrations put into tables of theirs;
    `defaults` gives for columns of theirs the value, as a literal, that rows have in which nobody wrote one.
    `again` tells rows and values that the migrations put into what they made from what was written since;
    None where they put in none, or the statements that take them back are not derived.
    `reasons` say what the statements do not take back, in a few words each.
    """

    names: tuple[str, ...]
    pieces: tuple[sql.Piece, ...]
    file: Path | None
    consent: Consent
    before: tuple[SchemaObject, ...]
    after: tuple[SchemaObject, ...]
    differences: tuple[Difference, ...]
    inner: frozenset[str]
    own: Mapping[str, Own]
    defaults: Mapping[tuple[str, str], str]
    again: Again | None
    reasons: tuple[str, ...]

    @property
    def touched(self) -> set[tuple[str, str]]:
        """Types and names of the objects that the migrations made, changed or dropped."""
        return {(difference.type, difference.name) for difference in self.differences}

    def earlier(self, schema: Sequence[SchemaObject]) -> list[SchemaObject]:
        """Give what a schema should be once the migrations are taken back."""
        touched = self.touched
        return [item for item in schema if (item.type, item.name) not in touched] + [
            item for item in self.before if (item.type, item.name) in touched
        ]


def reverse(
    ledger: EmptyLedger,
    group: Sequence[Migration],
    down: Migration | None,
    own: Collection[str],
    *,
    strict: bool,
) -> Reversal:
    """Run migrations on an empty ledger that has all before them, and find out what takes them back.

    `own` are tables of the tools. Raises `StatementError` where a migration does not run.
    """
    before = ledger.schema()
    inner = ledger.of_kind("shadow")
    followed = _Followed(ledger, own)
    for migration in group:
        followed.run(migration)
    after = ledger.schema()
    inner |= ledger.of_kind("shadow")
    differences = compare_schemas(before, after, own)
    tables = read_tables(ledger)
    made = [difference.name.lower() for difference in differences if _is_made(difference, inner)]
    grown = {
        name: columns
        for name, columns in followed.columns.items()
        if name in tables and not tables[name].virtual and len(tables[name].names) > len(columns)
    }
    pieces: list[sql.Piece] = []
    reasons: list[str] = []
    if down is None:
        texts, reasons = _derive(ledger, before, after, differences, inner, grown, own, strict=strict)
        reasons = [*dict.fromkeys([*followed.reasons, *reasons])]
        pieces = [sql.Piece(text, 0, 0) for text in texts]
    return Reversal(
        names=tuple(migration.name for migration in reversed(group)),
        pieces=tuple(down.pieces if down else pieces),
        file=down.path if down else None,
        consent=down.consent if down else Consent(),
        before=tuple(before),
        after=tuple(after),
        differences=tuple(differences),
        inner=frozenset(inner),
        own={name: Own(rows=text) for name in made if (text := _rows(ledger, tables[name]))},
        defaults=_defaults(ledger, grown),
        again=_again(ledger, group, pieces, made, grown) if followed.writes and not reasons else None,
        reasons=tuple(reasons),
    )


def _again(
    ledger: EmptyLedger,
    group: Sequence[Migration],
    pieces: Sequence[sql.Piece],
    made: Collection[str],
    grown: Mapping[str, Sequence[str]],
) -> Again | None:
    """Give what tells rows and values of migrations from what was written since; None without a way back."""
    if not pieces:
        return None
    tables = read_tables(ledger)
    return Again(
        back=tuple(piece.sql for piece in pieces),
        forth=tuple(piece.sql for migration in group for piece in migration.pieces),
        made=tuple((tables[name], _constant(ledger, name)) for name in made if not tables[name].index),
        grown=tuple(
            (
                tables[name],
                tuple(
                    column
                    for column in _constant(ledger, name)
                    if column.lower() not in grown[name] and column in tables[name].columns
                ),
            )
            for name in grown
        ),
    )


def _constant(ledger: EmptyLedger, name: str) -> tuple[str, ...]:
    """Give the columns of a table but those whose default is made anew for each row, as the time of day."""
    query = "SELECT name, dflt_value FROM pragma_table_xinfo(?) WHERE hidden = 0"
    described = ledger.connection.execute(query, (name,)).fetchall()
    return tuple(column for column, default in described if not (default and MADE_ANEW.search(default)))


def _is_made(difference: Difference, inner: Collection[str]) -> bool:
    """Whether a difference is a table that the migrations made, and not one inside of a virtual table."""
    return difference.type == "table" and difference.what == "extra" and difference.name not in inner


class _Followed:
    """Notes what migrations do to rows and tables that were there before them.

    `columns` are the columns of those tables, by name in small letters; `reasons` what cannot be taken back.
    """

    def __init__(self, ledger: EmptyLedger, own: Collection[str]) -> None:
        self._ledger = ledger
        self.reasons: list[str] = []
        self.columns = {
            name: tuple(column.lower() for column in table.names)
            for name, table in read_tables(ledger).items()
            if name not in {each.lower() for each in own}
        }
        self._indexes = {item.name.lower() for item in ledger.schema() if content_table(item.sql)}
        self._now = dict(self.columns)
        self._reshaped = False
        self.writes = False
        """Whether the migrations write any rows or values."""

    def run(self, migration: Migration) -> None:
        """Run a migration on the empty ledger."""
        self.writes |= any(_copies(piece.sql) for piece in migration.pieces)
        for _ in self._ledger.steps([Statement(piece.sql) for piece in migration.pieces], self._acted):
            if self._reshaped:
                self._reshaped = False
                self._look()

    def _acted(self, action: int, first: str | None, second: str | None) -> None:
        name = (first or "").lower()
        if action in (sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_VTABLE, sqlite3.SQLITE_ALTER_TABLE):
            self._reshaped = True
        elif name not in self.columns:
            self.writes |= action == sqlite3.SQLITE_INSERT and not name.startswith("sqlite_")
        elif action == sqlite3.SQLITE_INSERT and name not in self._indexes:
            self.reasons.append(f"it puts rows into {first}")
        elif action == sqlite3.SQLITE_DELETE:
            self.reasons.append(f"it removes rows from {first}")
        elif action == sqlite3.SQLITE_UPDATE:
            self.writes = True
            if (second or "").lower() in self.columns[name]:
                self.reasons.append(f"it changes {first}.{second}")

    def _look(self) -> None:
        """Look whether each table is still there, with the columns that it had."""
        tables = read_tables(self._ledger)
        for name, columns in self._now.items():
            if name not in tables:
                self.reasons.append(f"it drops or renames {name}")
                continue
            now = tuple(column.lower() for column in tables[name].names)
            if now[: len(columns)] != columns:
                self.reasons.append(f"it drops or renames columns of {name}")
            self._now[name] = now


def _copies(statement: str) -> bool:
    """Whether a statement is CREATE TABLE ... AS SELECT."""
    words = [token.text.upper() for token in sql.tokens(statement)]
    return words[:1] == ["CREATE"] and "TABLE" in words[:3] and "SELECT" in words


# ------------------------------------------------------------------------------------ derived statements


def _derive(
    ledger: EmptyLedger,
    before: Sequence[SchemaObject],
    after: Sequence[SchemaObject],
    differences: Sequence[Difference],
    inner: Collection[str],
    grown: Mapping[str, Sequence[str]],
    own: Collection[str],
    *,
    strict: bool,
) -> tuple[list[str], list[str]]:
    """Give statements that lead from one schema to the one before, and why they do not do so wholly."""
    for thorough in (False, True):
        # SQLite alters no table while a view or a trigger speaks of something that is not there.
        texts, reasons = _write(ledger, before, after, differences, inner, grown, thorough=thorough)
        wrong = _tried(before, after, texts, own, strict=strict)
        if not wrong:
            return texts, reasons
        if not thorough:
            first = texts, [*reasons, *([] if reasons else wrong)]
    return first


def _write(
    ledger: EmptyLedger,
    before: Sequence[SchemaObject],
    after: Sequence[SchemaObject],
    differences: Sequence[Difference],
    inner: Collection[str],
    grown: Mapping[str, Sequence[str]],
    *,
    thorough: bool,
) -> tuple[list[str], list[str]]:
    reasons: list[str] = []
    what = {(difference.type, difference.name): difference.what for difference in differences}
    if thorough:
        what = {(item.type, item.name): "different" for item in after if item.type in _SET_ASIDE} | what
    dropped = {key for key, state in what.items() if state != "missing"}
    # What lies on a view, or on a table that goes, goes with it; on a view that comes back it comes back.
    gone = {name for kind, name in dropped if kind == "view" or what[kind, name] == "extra"}
    following = {
        (item.type, item.name) for item in after if item.table in gone and item.type in {"trigger", "index"}
    }
    texts = [
        f"DROP {kind.upper()} {sql.quote_name(item.name)}"
        for kind in ("trigger", "view", "index")
        for item in reversed(after)
        if item.type == kind and (kind, item.name) in dropped - following
    ]
    for difference in differences:
        if difference.type != "table" or difference.what == "extra" or difference.name in inner:
            continue
        name = difference.name.lower()
        if difference.what == "missing":
            reasons.append(f"it drops {difference.name}")
        elif name in grown:
            added = read_tables(ledger, difference.name)[name].names[len(grown[name]) :]
            texts += [
                f"ALTER TABLE {sql.quote_name(difference.name)} DROP COLUMN {sql.quote_name(column)}"
                for column in reversed(added)
            ]
        else:
            reasons.append(f"it changes the definition of {difference.name}")
    made = [difference.name for difference in differences if _is_made(difference, inner)]
    virtual = ledger.of_kind("virtual")
    order = [name for name in children_first(ledger.parents(), ledger.cascades()) if name in made]
    order.sort(key=lambda name: name not in virtual)  # They may read the others.
    texts += [f"DROP TABLE {sql.quote_name(name)}" for name in order]
    texts += [
        item.sql
        for item in sorted(before, key=lambda item: item.type == "trigger")
        if item.type != "table"
        and ((item.type, item.name) in following or what.get((item.type, item.name), "extra") != "extra")
    ]
    return texts, reasons


_SET_ASIDE = ("view", "trigger")


def _tried(
    before: Sequence[SchemaObject],
    after: Sequence[SchemaObject],
    texts: Sequence[str],
    own: Collection[str],
    *,
    strict: bool,
) -> list[str]:
    """Run statements on an empty ledger; gives what is wrong with the schema that comes out of it."""
    with closing(EmptyLedger(after, strict=strict)) as trial:
        try:
            trial.run(map(Statement, texts))
        except StatementError as error:
            return [f"SQLite says of `{error.sql}`: {error.message}"]
        return [
            f"{difference.type} {difference.name} would be {difference.what}"
            for difference in compare_schemas(before, trial.schema(), own)
        ]


# ------------------------------------------------------------------------------------- values of their own


def _rows(ledger: EmptyLedger, table: Stored) -> str:
    """Write the condition that is true of the rows in an empty ledger's table; empty where none are known."""
    if table.virtual:
        return ""
    names = [table.rowid] * bool(table.rowid) + [sql.quote_name(column) for column in table.columns]
    query = f"SELECT {', '.join(names)} FROM {sql.quote_name(table.name)} LIMIT {_SEEDED_ROWS + 1}"
    rows = ledger.connection.execute(query).fetchall()
    conditions = [_paired(list(map(_is, names, row)), "AND") for row in rows]
    text = _paired(conditions, "OR") if 0 < len(rows) <= _SEEDED_ROWS else ""
    return f"({text})" if 0 < len(text) <= _SEEDED_TEXT else ""


_TYPES = {type(None): "null", int: "integer", float: "real", str: "text", bytes: "blob"}


def _is(name: str, value: Value) -> str:
    literal, kind = sql.quote_value(value), _TYPES[type(value)]
    return f"({name} IS {literal} COLLATE BINARY AND typeof({name}) = '{kind}')"


def _paired(conditions: Sequence[str], operator: str) -> str:
    """Join conditions in pairs: an expression may be 100 levels deep."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({_paired(conditions[:half], operator)} {operator} {_paired(conditions[half:], operator)})"


def _defaults(ledger: EmptyLedger, grown: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], str]:
    """Give for each column that was added the value that rows have in which nobody wrote one."""
    found = {}
    for name in grown:
        query = "SELECT name, type, dflt_value FROM pragma_table_xinfo(?)"
        for column, kind, default in ledger.connection.execute(query, (name,)).fetchall():
            if default is not None:
                found[name, column.lower()] = _literal(kind, default)
    return found


def _literal(kind: str, default: str) -> str:
    """Write a column's default as a literal of what is stored; NULL for what is not the same each time."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for text in (default, f"({default})"):
            with suppress(sqlite3.Error):
                connection.execute(f"CREATE TABLE x (c {kind} DEFAULT {text})")
                connection.execute("INSERT INTO x DEFAULT VALUES")
                value = connection.execute("SELECT c FROM x").fetchone()[0]
                return f"({sql.quote_value(value)})"
    return "NULL"
