"""An empty ledger in memory, with the schema of a real one: SQL is tried on it before it is sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

from hoox_tasks import sql
from hoox_tasks.database.counts import TABLES_QUERY, table_kinds
from hoox_tasks.database.interface import SCHEMA_QUERY, SchemaObject, Statement
from hoox_tasks.database.local.connection import primary_code, translated
from hoox_tasks.errors import StatementError
from hoox_tasks.rules.authorizer import Authorizer, enforce, lift, shape_refusal
from hoox_tasks.rules.functions import supply_functions
from hoox_tasks.values import Value

_EXPLAIN = "EXPLAIN "

Acted: TypeAlias = Callable[[int, str | None, str | None], None]
"""Is told an action of a statement and what it is done to."""


class EmptyLedger:
    """An empty ledger in memory that has the objects of `schema`.

    `strict` holds statements to D1's rules. `missing` are the objects that this machine's SQLite cannot make,
    as it lacks a module or a function of theirs. Foreign keys are off: what a statement inserts may refer to
    rows that only the real ledger has.
    """

    def __init__(self, schema: Iterable[SchemaObject] = (), *, strict: bool = True) -> None:
        self._strict = strict
        self.connection: sqlite3.Connection = sqlite3.connect(":memory:", isolation_level=None)
        # Lets Python see Ctrl-C while SQLite is busy with one long statement.
        self.connection.set_progress_handler(lambda: 0, 100_000)
        self.connection.execute("PRAGMA foreign_keys = OFF")
        supply_functions(self.connection)
        self.missing: list[SchemaObject] = [
            item for item in sorted(schema, key=_rank) if not self._makes(item)
        ]

    def schema(self) -> list[SchemaObject]:
        """All objects as they are now, in the order they were made."""
        return [SchemaObject(*row) for row in self.connection.execute(SCHEMA_QUERY).fetchall()]

    def tables(self) -> list[str]:
        """The names of all tables that hold rows of their own, virtual ones among them, by name."""
        return sorted(self.of_kind("table") | self.of_kind("virtual"))

    def of_kind(self, kind: str) -> set[str]:
        """The names of the tables of a kind: table, virtual, or shadow (one inside of a virtual one)."""
        kinds = table_kinds(self.connection.execute(TABLES_QUERY))
        return {name for name, found in kinds.items() if found == kind}

    def columns(self, table: str) -> list[str]:
        """The names of a table's columns, generated ones among them."""
        return [row[1] for row in self.connection.execute(f"PRAGMA table_xinfo({sql.quote_name(table)})")]

    def parents(self) -> dict[str, set[str]]:
        """For every table, the tables that its foreign keys refer to."""
        return {table: {parent for parent, _ in self._keys(table)} for table in self.tables()}

    def cascades(self) -> dict[str, set[str]]:
        """For every table, those of its `parents` whose deletions change its rows."""
        return {
            table: {parent for parent, action in self._keys(table) if action != "NO ACTION"}
            for table in self.tables()
        }

    def run(self, unit: Iterable[Statement]) -> None:
        """Run statements in one transaction; raises `StatementError`, whose `index` is the statement's place.

        That a constraint fails is no error here, where the rows are not there that might satisfy it.
        """
        for _ in self.steps(unit):
            pass

    def steps(self, unit: Iterable[Statement], acted: Acted | None = None) -> Iterator[None]:
        """Run statements as `run` does, and pause after each.

        `acted` is told each action of theirs as SQLite's authorizer names it
        (https://sqlite.org/c3ref/c_alter_table.html), with its two arguments.
        """
        connection = self.connection
        authorizer = enforce(connection, read_only=False, strict=self._strict)
        try:
            with authorizer.trusted():
                connection.execute("BEGIN")
            if acted is not None:
                connection.set_authorizer(_told(acted, authorizer))
            for index, statement in enumerate(unit):
                refusal = shape_refusal(statement.sql) if self._strict else None
                if refusal:
                    raise StatementError(refusal, sql=statement.sql, index=index)
                with translated(None, statement.sql, authorizer=authorizer, index=index):
                    self._try(statement)
                yield
            with authorizer.trusted():
                connection.execute("COMMIT")
        finally:
            lift(connection)
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def empty(self, tables: Iterable[str]) -> bool:
        """Take the rows out of some tables; tells whether that went without touching anything else."""
        if self.connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'trigger' LIMIT 1").fetchone():
            return False
        try:
            for table in tables:
                self.connection.execute(f"DELETE FROM {sql.quote_name(table)}")
        except sqlite3.Error:
            return False
        return True

    def compile(self, statement: str, params: Sequence[Value] = ()) -> None:
        """Compile a statement that is to read, and do not run it.

        Raises `Refused` where it would change anything, `StatementError` where an engine would not take it.
        """
        refusal = shape_refusal(statement)
        if refusal is not None:
            raise StatementError(refusal, sql=statement)
        # An EXPLAIN of its own runs in no time.
        prefix = "" if sql.first_word(statement) == "EXPLAIN" else _EXPLAIN
        authorizer = enforce(self.connection, read_only=True, strict=self._strict)
        try:
            with translated(None, prefix + statement, authorizer=authorizer):
                self.connection.execute(prefix + statement, tuple(params)).fetchall()
        except StatementError as error:
            offset = None if error.offset is None else max(0, error.offset - len(prefix))
            raise StatementError(
                error.message, sql=statement, offset=offset, remedy=error.remedy
            ) from error.__cause__
        finally:
            lift(self.connection)

    def close(self) -> None:
        """Forget the ledger."""
        self.connection.close()

    def _makes(self, item: SchemaObject) -> bool:
        # A virtual table has made its shadow tables already.
        exists = "SELECT 1 FROM sqlite_schema WHERE name = ?"
        if self.connection.execute(exists, (item.name,)).fetchone():
            return True
        with suppress(sqlite3.Error):
            self.connection.execute(item.sql)
            return True
        return False

    def _keys(self, table: str) -> list[tuple[str, str]]:
        query = 'SELECT "table", on_delete FROM pragma_foreign_key_list(?)'
        return self.connection.execute(query, (table,)).fetchall()

    def _try(self, statement: Statement) -> None:
        try:
            self.connection.execute(statement.sql, tuple(statement.params)).fetchall()
        except sqlite3.IntegrityError:
            if not self.connection.in_transaction:  # As by INSERT OR ROLLBACK: all of the unit is undone.
                raise
        except sqlite3.DatabaseError as error:
            # A search table is told to forget a row that only the real ledger has.
            if primary_code(error) != sqlite3.SQLITE_CORRUPT or not self.connection.in_transaction:
                raise


def _told(acted: Acted, authorizer: Authorizer) -> Callable[..., int]:
    """Give an authorizer that tells of each action before it answers as another does."""

    def answer(
        action: int, first: str | None, second: str | None, database: str | None, source: str | None
    ) -> int:
        acted(action, first, second)
        return authorizer(action, first, second, database, source)

    return answer


def _rank(item: SchemaObject) -> int:
    # A virtual table must find none of its shadow tables, which come before it in a ledger after VACUUM.
    virtual = item.sql.startswith("CREATE VIRTUAL")
    return -1 if virtual else ("table", "index", "view", "trigger").index(item.type)
