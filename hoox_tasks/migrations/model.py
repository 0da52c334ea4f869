"""An empty ledger in memory, on which migrations are tried before they touch a real one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from hoox_tasks import sql
from hoox_tasks.database.interface import SCHEMA_QUERY, SchemaObject
from hoox_tasks.errors import StatementError
from hoox_tasks.rules.authorizer import enforce, lift
from hoox_tasks.rules.functions import supply_functions
from hoox_tasks.rules.messages import explain_error, find_remedy, shape_refusal


class Model:
    """An empty ledger in memory with a given schema, on which a migration is tried before it is sent.

    `before` and `after` are the schema's objects; `lineage` says what each table is called afterwards
    (None where it was dropped), following ALTER TABLE ... RENAME.
    """

    def __init__(self, schema: Iterable[SchemaObject], *, strict: bool = True) -> None:
        self._strict = strict
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        # Lets Python see Ctrl-C while SQLite is busy with one long statement.
        self._connection.set_progress_handler(lambda: 0, 100_000)
        # Rows that a migration inserts may refer to rows that only the real ledger has.
        self._connection.execute("PRAGMA foreign_keys = OFF")
        self.before = build_schema(self._connection, schema)
        self.after: list[SchemaObject] = list(self.before)
        self.lineage: dict[str, str | None] = {name: name for name in self.tables()}
        self.checks_keys = self._has_foreign_keys()
        self.keys = self._key_columns()

    def run(self, pieces: Iterable[sql.Piece]) -> None:
        """Run a migration's statements; raises `StatementError`, whose `index` is the piece's place.

        That a constraint fails is no error here, where the rows are not there that might satisfy it.
        """
        connection = self._connection
        authorizer = enforce(connection, read_only=False, strict=self._strict)
        with authorizer.trusted():
            connection.execute("BEGIN")
        try:
            for index, piece in enumerate(pieces):
                before = self.tables()
                refusal = shape_refusal(piece.sql) if self._strict else None
                if refusal:
                    raise StatementError(refusal, sql=piece.sql, index=index)
                try:
                    connection.execute(piece.sql).fetchall()
                except sqlite3.IntegrityError as error:
                    if not connection.in_transaction:  # As by INSERT OR ROLLBACK.
                        raise StatementError(
                            explain_error(error, authorizer), sql=piece.sql, index=index
                        ) from error
                except (sqlite3.Error, sqlite3.Warning, MemoryError) as error:
                    message, remedy = str(error), ""
                    if message == "interrupted":
                        raise KeyboardInterrupt from error
                    if not isinstance(error, sqlite3.Warning):
                        message = explain_error(error, authorizer)
                    if isinstance(error, sqlite3.Error):
                        remedy = find_remedy(error)
                    raise StatementError(
                        message,
                        sql=piece.sql,
                        offset=sql.locate_error(piece.sql, str(error)),
                        index=index,
                        remedy=remedy,
                    ) from error
                self._follow(before)
        finally:
            lift(connection)
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
        query = (
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')"
            r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name"
        )
        return [row[0] for row in self._connection.execute(query)]

    def of_kind(self, kind: str) -> set[str]:
        """Give the names of the tables that are `virtual`, or the `shadow` of a virtual one."""
        query = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = ?"
        return {row[0] for row in self._connection.execute(query, (kind,))}

    def parents(self) -> dict[str, set[str]]:
        """Give, for every table, the tables that its foreign keys refer to."""
        return {
            name: {
                row[2] for row in self._connection.execute(f"PRAGMA foreign_key_list({sql.quote_name(name)})")
            }
            for name in self.tables()
        }

    def cascades(self) -> dict[str, set[str]]:
        """Give, for every table, those of its `parents` whose deletions change its rows."""
        return {
            name: {
                row[2]
                for row in self._connection.execute(f"PRAGMA foreign_key_list({sql.quote_name(name)})")
                if row[6] != "NO ACTION"
            }
            for name in self.tables()
        }

    def _follow(self, before: list[str]) -> None:
        """Note what a statement made of the tables; it drops, makes or renames one of them."""
        now = self.tables()
        vanished = set(before) - set(now)
        appeared = next(iter(set(now) - set(before)), None)
        for former, last in self.lineage.items():
            if last in vanished:
                self.lineage[former] = appeared

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
        for table in self.tables():
            quoted = sql.quote_name(table)
            defaults = {row[1]: row[4] for row in self._connection.execute(f"PRAGMA table_xinfo({quoted})")}
            for row in self._connection.execute(f"PRAGMA foreign_key_list({quoted})").fetchall():
                column, actions = row[3], row[5:7]
                found.append((table, column, defaults.get(column) if "SET DEFAULT" in actions else None))
        return sorted(set(found), key=str)


def build_schema(connection: sqlite3.Connection, schema: Iterable[SchemaObject]) -> list[SchemaObject]:
    """Make the objects of `schema` in an empty database; virtual tables make their shadow tables."""
    supply_functions(connection)
    for item in sorted(schema, key=_rank):
        exists = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (item.name,)).fetchone()
        if not exists:
            connection.execute(item.sql)
    return read_schema(connection)


def _rank(item: SchemaObject) -> int:
    # A virtual table must find none of its shadow tables, which come before it in a ledger after VACUUM.
    virtual = item.sql.startswith("CREATE VIRTUAL")
    return -1 if virtual else ("table", "index", "view", "trigger").index(item.type)


def read_schema(connection: sqlite3.Connection) -> list[SchemaObject]:
    """Give the objects of a SQLite database, as `Database.schema` does."""
    return [SchemaObject(*row) for row in connection.execute(SCHEMA_QUERY).fetchall()]
