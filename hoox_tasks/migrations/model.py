"""What each migration makes: run on an empty ledger, one after the other, and looked at in between.

What is made is told in facts, such as a table, a column of it, or an index. They are compared by name, as
people write one definition in many ways.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject, Statement
from hoox_tasks.errors import HooxError, StatementError
from hoox_tasks.migrations.drift import normal_definition
from hoox_tasks.migrations.files import Migration
from hoox_tasks.migrations.history import State, Status, history_tables, own_tables
from hoox_tasks.migrations.lineage import Lineage

Fact: TypeAlias = tuple[str, ...]
"""Something that a ledger has: `("table", "trades")`, `("column", "trades", "fee")`, `("index", "i")`."""

_COLUMNS = (
    "SELECT l.name, x.name FROM pragma_table_list AS l JOIN pragma_table_xinfo(l.name) AS x"
    r" WHERE l.schema = 'main' AND l.type IN ('table', 'virtual') AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\'"
)


@dataclass(slots=True)
class Made:
    """What a migration makes of the ledger that those before it leave.

    `statements` make the objects among `made` that are no columns. `changed` gives for an object the
    definitions before and after, where it is there before and after.
    `filled` are tables that get rows, `touched` those whose rows it may write at all. `unknown` says that
    some statement of it cannot be tried, as it needs what no migration makes.
    """

    migration: Migration
    made: frozenset[Fact] = frozenset()
    gone: frozenset[Fact] = frozenset()
    statements: dict[Fact, str] = field(default_factory=dict)
    changed: dict[Fact, tuple[list[str], list[str]]] = field(default_factory=dict)
    filled: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()
    unknown: bool = False


class Model:
    """An empty ledger on which migrations run, whatever fails, to see what they make.

    `base` is the schema of the real ledger: tables of it that no migration makes, and that one needs, are
    taken from there as they are. `taken` are their names.
    """

    def __init__(self, table: str, *, strict: bool, base: Iterable[SchemaObject] = ()) -> None:
        self.ledger: EmptyLedger = EmptyLedger(strict=strict)
        self.taken: list[str] = []
        self._own = {name.lower() for name in own_tables(table)}
        self._base = {item.name.lower(): item for item in base if item.type == "table"}
        self._strict = strict
        self.ledger.run(history_tables(table))
        self._facts = facts(self.ledger, self._own)
        self._definitions = definitions(self.ledger.schema())

    def close(self) -> None:
        """Forget the ledger."""
        self.ledger.close()

    def run(self, migration: Migration) -> Made:
        """Run a migration, and give what it makes."""
        made = Made(migration)
        there: set[Fact] = set()
        try:
            statements = [Statement(piece.sql) for piece in migration.pieces]
        except HooxError:
            made.unknown = True
            return made
        written = [Lineage(self.ledger, self._own)]
        try:
            written[0].follow(statements)
        except HooxError:
            for statement in statements:
                made.unknown |= not self._try(statement, written, there)
        before, after = self._facts, facts(self.ledger, self._own)
        schema = self.ledger.schema()
        was, now = self._definitions, definitions(schema)
        made.made = frozenset((after - before) | there)
        made.gone = before - after
        texts = {(item.type, item.name.lower()): item.sql for item in schema}
        made.statements = {fact: texts[fact] for fact in made.made if fact in texts}
        made.changed = {
            fact: (was[fact], now[fact]) for fact in was.keys() & now.keys() if was[fact] != now[fact]
        }
        made.filled = frozenset().union(*(lineage.filled_names for lineage in written))
        made.touched = frozenset().union(*(lineage.touched_names for lineage in written))
        self._facts, self._definitions = after, now
        return made

    def holds_rows(self, table: str) -> bool:
        """Whether the migrations have left rows in a table."""
        with suppress(Exception):
            query = f"SELECT 1 FROM {sql.quote_name(table)} LIMIT 1"
            return self.ledger.connection.execute(query).fetchone() is not None
        return False

    def _try(self, statement: Statement, written: list[Lineage], there: set[Fact]) -> bool:
        """Run one statement of a migration that does not run as a whole; tells whether it could be tried."""
        for _ in range(len(self._base) + 1):
            lineage = Lineage(self.ledger, self._own)
            try:
                lineage.follow([statement])
                written.append(lineage)
                return True
            except StatementError as error:
                if not self._take(error.missing_table):
                    words = [sql.unquote_name(token.text) for token in sql.tokens(statement.sql)]
                    if "duplicate column name" not in error.message or len(words) < 3:
                        return False
                    # The table was taken as it is, with what the migration adds.
                    column = error.message.split("duplicate column name: ")[1].split(":")[0]
                    there.add(("column", words[2].lower(), column.lower()))
                    return True
            except HooxError:
                return False
        return False

    def _take(self, name: str) -> bool:
        """Make a table as the real ledger has it; tells whether it could be made."""
        item = self._base.get(sql.unquote_name(name).lower())
        if item is None or item.name in self.taken:
            return False
        try:
            self.ledger.run([Statement(item.sql)])
        except HooxError:
            return False
        self.taken.append(item.name)
        self._facts = self._facts | {
            fact for fact in facts(self.ledger, self._own) if fact[1] == item.name.lower()
        }
        self._definitions[item.type, item.name.lower()] = normal_definition(item.sql)
        return True


def what_is_made(
    migrations: Sequence[Migration], current: Status, names: Collection[str], *, table: str, strict: bool
) -> dict[str, Made]:
    """Give what some migrations make beside the applied ones, but for what those take away again."""
    applied = {entry.name for entry in current.named(State.APPLIED, State.EDITED)}
    found: dict[str, Made] = {}
    with closing(Model(table, strict=strict, base=current.schema)) as model:
        for migration in migrations:
            if migration.name not in applied and migration.name not in names:
                continue
            made = model.run(migration)
            for each in found.values():
                each.made -= made.gone
                each.gone -= made.made
            if migration.name in names:
                found[migration.name] = made
    return found


def lacking(made: Made, schema: Sequence[SchemaObject], table: str) -> frozenset[Fact]:
    """Give what a ledger with `schema` does not have of what a migration makes."""
    with closing(EmptyLedger(schema, strict=False)) as actual:
        return made.made - facts(actual, {name.lower() for name in own_tables(table)})


def facts(ledger: EmptyLedger, skipped: Collection[str]) -> frozenset[Fact]:
    """Give what an empty ledger has, but for the tables `skipped`; names are in small letters."""
    found: set[Fact] = set()
    for table, column in ledger.connection.execute(_COLUMNS).fetchall():
        if table.lower() not in skipped:
            found |= {("table", table.lower()), ("column", table.lower(), column.lower())}
    shadows = ledger.of_kind("shadow")
    for item in (*ledger.schema(), *ledger.missing):
        if item.table.lower() not in skipped and item.name not in shadows:
            found.add((item.type, item.name.lower()))
    return frozenset(found)


def definitions(schema: Iterable[SchemaObject]) -> dict[Fact, list[str]]:
    """Give the definition of every object, in the form in which definitions are compared."""
    return {(item.type, item.name.lower()): normal_definition(item.sql) for item in schema}


def told(found: Iterable[Fact]) -> str:
    """Say facts in words: `table fills, column trades.fee`; columns of a table that is told are left out."""
    listed = sorted(found, key=lambda fact: (fact[0] != "table", fact))
    tables = {fact[1] for fact in listed if fact[0] in {"table", "view"}}
    words = [
        f"{fact[0]} {'.'.join(fact[1:])}" for fact in listed if fact[0] != "column" or fact[1] not in tables
    ]
    return ", ".join(words)


def missing_statements(made: Made, lacking: Collection[Fact]) -> list[str]:
    """Give statements that make what a ledger lacks of a migration; columns only if it adds them."""
    found = []
    tables = {fact[1] for fact in lacking if fact[0] == "table"}
    for fact in sorted(lacking, key=lambda fact: (fact[0] != "table", fact)):
        if fact[0] != "column":
            found += [made.statements[fact]] if fact in made.statements else []
        elif fact[1] not in tables:
            adding = [piece.sql for piece in made.migration.pieces if _adds(piece.sql, fact)]
            found += adding or _column(made, fact)
    return found


def _column(made: Made, fact: Fact) -> list[str]:
    """Give the statement that adds a column as the migration's CREATE TABLE defines it.

    None for one that rows need a value of.
    """
    definition = sql.format_ddl(made.statements.get(("table", fact[1]), ""))
    for line in definition.splitlines()[1:-1]:
        text = line.strip().removesuffix(",")
        first = next((sql.unquote_name(token.text).lower() for token in sql.tokens(text)), "")
        words = {token.text.upper() for token in sql.tokens(text)}
        if first == fact[2] and ("NULL" not in words or "DEFAULT" in words):
            return [f"ALTER TABLE {sql.quote_name(fact[1])} ADD COLUMN {text}"]
    return []


def _adds(statement: str, fact: Fact) -> bool:
    words = [sql.unquote_name(token.text).lower() for token in sql.tokens(statement)]
    return words[:1] == ["alter"] and words[2:3] == [fact[1]] and "add" in words and fact[2] in words
