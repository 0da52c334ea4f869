"""A SQLite ledger's content replaced by that of an attached file, by statements of one transaction.

Only user objects are touched: D1's own tables (`_cf_*`) belong to the engine that may have the file open.
The transaction and foreign keys (off: the order of tables does not matter then) are up to the caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from hoox_tasks import sql
from hoox_tasks.database.drop_order import drop_statements
from hoox_tasks.database.interface import SCHEMA_QUERY, SchemaObject
from hoox_tasks.errors import HooxError, Refused

COPY = "hoox_copy"
"""The name under which the file is attached."""

_TABLES = r"""
SELECT s.name, l.type FROM {0}.sqlite_schema s
  JOIN pragma_table_list l ON l.name = s.name AND l.schema = '{0}'
 WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND s.name NOT LIKE '\_cf\_%' ESCAPE '\'
 ORDER BY s.rowid
"""


def replace_all(connection: sqlite3.Connection) -> None:
    """Drop every user object, and make and fill those of the copy."""
    _drop(connection)
    schema = [
        SchemaObject(*row)
        for row in connection.execute(SCHEMA_QUERY.replace("sqlite_schema", f"{COPY}.sqlite_schema"))
    ]
    kinds = dict(connection.execute(_TABLES.format(COPY)).fetchall())
    for item in schema:
        if item.type == "table" and kinds[item.name] != "virtual":
            connection.execute(item.sql)
    for item in schema:
        # With the same indexes in place SQLite copies whole records and index entries, in order.
        if item.type == "index":
            connection.execute(item.sql)
    for name, kind in kinds.items():
        if kind != "virtual":
            _fill(connection, name, _columns(connection, COPY, name))
    # A virtual table is its shadow tables and this row; making it by CREATE would make them anew.
    virtual = [item for item in schema if item.type == "table" and kinds[item.name] == "virtual"]
    if virtual:
        connection.execute("PRAGMA writable_schema = ON")
        for item in virtual:
            connection.execute(
                "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)"
                " VALUES ('table', ?, ?, 0, ?)",
                (item.name, item.name, item.sql),
            )
        connection.execute("PRAGMA writable_schema = RESET")
    for kind in ("view", "trigger"):
        for item in schema:
            if item.type == kind:
                connection.execute(item.sql)
    _copy_own(connection, "sqlite_sequence")
    _copy_own(connection, "sqlite_stat1")


def replace_rows(connection: sqlite3.Connection, tables: Collection[str]) -> None:
    """Replace the rows of some tables; raises `Refused` where copy and ledger do not fit together."""
    here = dict(connection.execute(_TABLES.format("main")).fetchall())
    there = dict(connection.execute(_TABLES.format(COPY)).fetchall())
    for name in tables:
        for where, known in (("The file", there), ("The ledger", here)):
            if name not in known:
                has = ", ".join(sorted(known)) or "none"
                raise Refused(f"{where} has no table {name}.", f"It has: {has}.")
        if "virtual" in {here[name], there[name]}:
            raise Refused(f"{name} is a virtual table.", "Restore the whole file.")
        lacking = set(_columns(connection, COPY, name)) - set(_columns(connection, "main", name))
        if lacking:
            raise Refused(
                f"The table {name} of the ledger lacks the columns {', '.join(sorted(lacking))} of the file.",
                "Migrate the ledger first, or restore the whole file.",
            )
    dangling = _dangling(connection)
    for name in tables:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?", (name,)
        ).fetchall()
        for trigger, _ in triggers:
            connection.execute(f"DROP TRIGGER {sql.quote_name(trigger)}")
        connection.execute(f"DELETE FROM main.{sql.quote_name(name)}")
        _fill(connection, name, _columns(connection, COPY, name))
        for _, ddl in triggers:
            connection.execute(ddl)
    if _dangling(connection) > dangling:
        raise Refused(
            f"With the rows of {', '.join(tables)} alone, rows would refer to others that are not there.",
            "Restore the tables that refer to each other together, or the whole file.",
        )


def _dangling(connection: sqlite3.Connection) -> int:
    """Count the rows that refer to nothing; 0 where the keys themselves are wrong."""
    try:
        return len(connection.execute("PRAGMA main.foreign_key_check").fetchall())
    except sqlite3.OperationalError:
        return 0


def _drop(connection: sqlite3.Connection) -> None:
    schema = [SchemaObject(*row) for row in connection.execute(SCHEMA_QUERY).fetchall()]
    kinds = dict(connection.execute(_TABLES.format("main")).fetchall())
    virtual = {name for name, kind in kinds.items() if kind == "virtual"}
    # The copy may have a table of the same name.
    for statement in drop_statements(schema, list(kinds), virtual, database="main"):
        connection.execute(statement)


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> list[str]:
    query = f"PRAGMA {schema}.table_xinfo({sql.quote_name(table)})"
    return [row[1] for row in connection.execute(query) if not row[6]]


def _fill(connection: sqlite3.Connection, name: str, columns: list[str]) -> None:
    quoted = sql.quote_name(name)
    all_columns = [row[1] for row in connection.execute(f"PRAGMA main.table_xinfo({quoted})")]
    if columns == all_columns:
        into, chosen = "", "*"
    else:
        chosen = ", ".join(map(sql.quote_name, columns))
        into = f" ({chosen})"
    connection.execute(f"INSERT INTO main.{quoted}{into} SELECT {chosen} FROM {COPY}.{quoted}")
    (there,) = connection.execute(f"SELECT count(*) FROM {COPY}.{quoted}").fetchone()
    (here,) = connection.execute(f"SELECT count(*) FROM main.{quoted}").fetchone()
    if here != there:
        raise HooxError(f"{here:,} of {there:,} rows of {name} arrived.", "The ledger is as it was.")


def _copy_own(connection: sqlite3.Connection, table: str) -> None:
    """Copy a table of SQLite's own where both files have it."""
    query = "SELECT 1 FROM {}.sqlite_schema WHERE name = ?"
    if not connection.execute(query.format("main"), (table,)).fetchone():
        return
    connection.execute(f"DELETE FROM main.{table}")
    if connection.execute(query.format(COPY), (table,)).fetchone():
        connection.execute(f"INSERT INTO main.{table} SELECT * FROM {COPY}.{table}")
