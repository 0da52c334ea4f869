"""A ledger's content replaced by that of an attached file, by statements of one transaction.

Only user objects are touched: D1's own tables (`_cf_*`) belong to the engine that may have the file open.
The transaction and foreign keys (off: the order of tables does not matter then) are up to the caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from hoox_tasks import sql
from hoox_tasks.database.drop_order import drop_statements
from hoox_tasks.database.interface import SCHEMA_QUERY, SchemaObject
from hoox_tasks.database.schema import content_table
from hoox_tasks.errors import HooxError, Refused

if TYPE_CHECKING:
    import sqlite_utils

COPY = "hoox_copy"
"""The name under which the file is attached."""
_KEPT = "temp.hoox_kept"
"""Where values wait that the file does not have."""

_TABLES = r"""
SELECT s.name, l.type FROM {0}.sqlite_schema s
  JOIN pragma_table_list l ON l.name = s.name AND l.schema = '{0}'
 WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND s.name NOT LIKE '\_cf\_%' ESCAPE '\'
 ORDER BY s.rowid
"""
_NUMBERS = ("user_version", "application_id")


# --------------------------------------------------------------------------------------- the whole ledger


def replace_all(connection: sqlite3.Connection, *, numbers: bool = False) -> None:
    """Drop every user object, and make and fill those of the copy; rowids stay as they are there.

    With `numbers` those that SQLite keeps for users in a file's head come from the copy as well.
    """
    _drop_all(connection)
    schema = _schema(connection, COPY)
    kinds = _kinds(connection, COPY)
    tables = [item for item in schema if item.type == "table" and kinds[item.name] != "virtual"]
    # With the same indexes in place SQLite copies whole records and index entries, in order.
    _make([*tables, *(item for item in schema if item.type == "index")], connection)
    for item in tables:
        _fill(connection, item.name)
    _make_virtual([item for item in schema if kinds.get(item.name) == "virtual"], connection)
    _make([item for item in schema if item.type == "view"], connection)
    _make([item for item in schema if item.type == "trigger"], connection)
    _copy_own(connection, "sqlite_sequence")
    _copy_own(connection, "sqlite_stat1")
    for pragma in _NUMBERS if numbers else ():
        (number,) = connection.execute(f"PRAGMA {COPY}.{pragma}").fetchone()
        connection.execute(f"PRAGMA main.{pragma} = {number}")


def _drop_all(connection: sqlite3.Connection) -> None:
    kinds = _kinds(connection, "main")
    virtual = {name for name, kind in kinds.items() if kind == "virtual"}
    # The copy may have a table of the same name.
    for statement in drop_statements(_schema(connection, "main"), list(kinds), virtual, database="main"):
        connection.execute(statement)


def _schema(connection: sqlite3.Connection, database: str) -> list[SchemaObject]:
    query = SCHEMA_QUERY.replace("sqlite_schema", f"{database}.sqlite_schema")
    return [SchemaObject(*row) for row in connection.execute(query).fetchall()]


def _kinds(connection: sqlite3.Connection, database: str) -> dict[str, str]:
    return dict(connection.execute(_TABLES.format(database)).fetchall())


def _make(objects: Iterable[SchemaObject], connection: sqlite3.Connection) -> None:
    for item in objects:
        connection.execute(item.sql)


def _make_virtual(objects: Collection[SchemaObject], connection: sqlite3.Connection) -> None:
    """Make virtual tables whose shadow tables are there already; CREATE would make those anew."""
    if not objects:
        return
    connection.execute("PRAGMA writable_schema = ON")
    for item in objects:
        connection.execute(
            "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', ?, ?, 0, ?)",
            (item.name, item.name, item.sql),
        )
    connection.execute("PRAGMA writable_schema = RESET")


def _fill(connection: sqlite3.Connection, name: str) -> None:
    """Copy all rows of a table, with their rowids."""
    described = connection.execute(f"PRAGMA main.table_xinfo({sql.quote_name(name)})").fetchall()
    stored = [row[1] for row in described if not row[6]]
    rowid = _rowid(connection, name)
    indexed = connection.execute(f"PRAGMA main.index_list({sql.quote_name(name)})").fetchone()
    # SQLite copies whole records only by `SELECT *`, and gives them new rowids where there is no index.
    if len(stored) == len(described) and (indexed or not rowid):
        _insert(connection, name, (), f"{COPY}.{sql.quote_name(name)}")
        if not rowid or _range(connection, "main", name, rowid) == _range(connection, COPY, name, rowid):
            return
        connection.execute(f"DELETE FROM main.{sql.quote_name(name)}")
    columns = [rowid, *stored] if rowid else stored
    _insert(connection, name, columns, f"{COPY}.{sql.quote_name(name)}")


def _range(connection: sqlite3.Connection, database: str, name: str, rowid: str) -> tuple[int, int]:
    """The first and last rowid: those of two copies are all the same where these are.

    For new ones count from 1, and as many different numbers with the same ends are the same numbers.
    """
    query = f"SELECT min({rowid}), max({rowid}) FROM {database}.{sql.quote_name(name)}"
    return connection.execute(query).fetchone()  # type: ignore[no-any-return]


def _rowid(connection: sqlite3.Connection, name: str) -> str:
    """A name by which the rowid of a table can be asked for; empty where it has none, or it is a column."""
    quoted = sql.quote_name(name)
    query = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
    if connection.execute(query, (name,)).fetchone()[0]:
        return ""
    described = connection.execute(f"PRAGMA main.table_xinfo({quoted})").fetchall()
    keys = [row for row in described if row[5]]
    if len(keys) == 1 and keys[0][2].upper() == "INTEGER":
        # Perhaps no rowid all the same, as with DESC; then to give the rowid a value of its own is right.
        indexes = connection.execute(f"PRAGMA main.index_list({quoted})").fetchall()
        if not any(origin == "pk" for _, _, _, origin, _ in indexes):
            return ""
    taken = {row[1].lower() for row in described}
    return next((alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken), "")


def _insert(connection: sqlite3.Connection, name: str, columns: Sequence[str], source: str) -> None:
    """Insert all rows of `source`, all columns where none are named.

    Raises `HooxError` where not all of them arrived.
    """
    listed = ", ".join(map(sql.quote_name, columns))
    into = f"main.{sql.quote_name(name)}" + (f" ({listed})" if columns else "")
    connection.execute(f"INSERT INTO {into} SELECT {listed or '*'} FROM {source}")
    _check_count(connection, name)


def _check_count(connection: sqlite3.Connection, name: str) -> None:
    (there,) = connection.execute(f"SELECT count(*) FROM {COPY}.{sql.quote_name(name)}").fetchone()
    (here,) = connection.execute(f"SELECT count(*) FROM main.{sql.quote_name(name)}").fetchone()
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


# --------------------------------------------------------------------------------------------- some tables


def replace_rows(database: sqlite_utils.Database, tables: Collection[str]) -> None:
    """Replace the rows of some tables; each keeps the definition that it has.

    Columns that the file lacks keep their values in rows whose key is in the file, and have their defaults in
    others. Raises `Refused` where copy and ledger do not fit together.
    """
    connection = database.conn
    here, there = _kinds(connection, "main"), _kinds(connection, COPY)
    for name in tables:
        _check_fits(database, name, here, there)
    dangling = _dangling(connection)
    for name in tables:
        triggers = database.table(name).triggers
        for trigger in triggers:
            connection.execute(f"DROP TRIGGER main.{sql.quote_name(trigger.name)}")
        _replace_rows_of(database, name)
        for trigger in triggers:
            connection.execute(trigger.sql)
    _rebuild_indexes_of(connection, tables)
    if _dangling(connection) > dangling:
        raise Refused(
            f"With the rows of {', '.join(tables)} alone, rows would refer to others that are not there.",
            "Restore the tables that refer to each other together, or the whole file.",
        )


def _check_fits(
    database: sqlite_utils.Database, name: str, here: dict[str, str], there: dict[str, str]
) -> None:
    """Raise `Refused` where the rows that the file has of a table cannot take the place of the ledger's."""
    for where, known in (("The file", there), ("The ledger", here)):
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise Refused(f"{where} has no table {name}.", f"It has: {has}.")
    if "virtual" in {here[name], there[name]}:
        raise Refused(f"{name} is a virtual table.", "Restore the whole file.")
    columns = _Columns(database, name)
    if columns.lacking:
        raise Refused(
            f"The table {name} of the ledger lacks the columns {', '.join(columns.lacking)} of the file.",
            "Migrate the ledger first, or restore the whole file.",
        )
    if columns.newer and not columns.same_key and database.table(name).count:
        raise Refused(
            f"The file's table {name} lacks the columns {', '.join(columns.newer)}, and has no key by which"
            " the values that the ledger has in them could be kept.",
            "Restore the whole file, and migrate the ledger then.",
        )


class _Columns:
    """The columns of a table of the ledger, compared with those that the file has of it.

    `shared` are in both, `newer` only in the ledger, `lacking` only in the file. `key` are those of the
    primary key, each with its collation; `same_key` says that the file has the same.
    """

    def __init__(self, database: sqlite_utils.Database, name: str) -> None:
        quoted = sql.quote_name(name)
        described = database.execute(f"PRAGMA {COPY}.table_info({quoted})").fetchall()
        there = {row[1].lower(): row for row in described}
        here = database.table(name).columns
        self.shared = [column.name for column in here if column.name.lower() in there]
        self.newer = [column.name for column in here if column.name.lower() not in there]
        self.lacking = [row[1] for row in described if row[1].lower() not in {c.name.lower() for c in here}]
        collations = _key_collations(database, name)
        keys = [column for column in here if column.is_pk]
        self.key = [(column.name, collations.get(column.name, "BINARY")) for column in keys]
        self.same_key = bool(keys) and all(
            column.name.lower() in there and there[column.name.lower()][2].upper() == column.type.upper()
            for column in keys
        )


def _key_collations(database: sqlite_utils.Database, name: str) -> dict[str, str]:
    indexes = database.execute(f"PRAGMA main.index_list({sql.quote_name(name)})").fetchall()
    for _, index, _, origin, _ in indexes:
        if origin == "pk":
            query = f"PRAGMA main.index_xinfo({sql.quote_name(index)})"
            return {row[2]: row[4] for row in database.execute(query).fetchall() if row[5]}
    return {}


def _replace_rows_of(database: sqlite_utils.Database, name: str) -> None:
    columns = _Columns(database, name)
    connection, rowid = database.conn, _rowid(database.conn, name)
    into = [rowid, *columns.shared] if rowid else columns.shared
    table, source = f"main.{sql.quote_name(name)}", f"{COPY}.{sql.quote_name(name)}"
    if not columns.newer or not columns.same_key:
        connection.execute(f"DELETE FROM {table}")
        _insert(connection, name, into, source)
        return
    same = _set_values_aside(connection, table, columns)
    connection.execute(f"DELETE FROM {table}")
    named = ", ".join(map(sql.quote_name, into))
    theirs = ", ".join(f"f.{sql.quote_name(column)}" for column in into)
    newer = ", ".join(map(sql.quote_name, columns.newer))
    kept = ", ".join(f"k.v{place}" for place in range(len(columns.newer)))
    connection.execute(
        f"INSERT INTO {table} ({named}, {newer}) SELECT {theirs}, {kept}"
        f" FROM {source} f JOIN {_KEPT} k ON {same}"
    )
    connection.execute(
        f"INSERT INTO {table} ({named}) SELECT {theirs} FROM {source} f"
        f" WHERE NOT EXISTS (SELECT 1 FROM {_KEPT} k WHERE {same})"
    )
    connection.execute(f"DROP TABLE {_KEPT}")
    _check_count(connection, name)


def _set_values_aside(connection: sqlite3.Connection, table: str, columns: _Columns) -> str:
    """Keep what the ledger has in newer columns; returns the condition that finds it again.

    It joins rows `k` of what was kept with rows `f` of the file. The columns that keep it have no type, so
    that they hold every value as it is.
    """
    keys = [f"k{place}" for place in range(len(columns.key))]
    values = [f"v{place}" for place in range(len(columns.newer))]
    connection.execute(f"CREATE TEMP TABLE hoox_kept ({', '.join(keys + values)})")
    chosen = ", ".join(map(sql.quote_name, [*(column for column, _ in columns.key), *columns.newer]))
    connection.execute(f"INSERT INTO {_KEPT} SELECT {chosen} FROM {table}")
    collated = [f"{key} COLLATE {collation}" for key, (_, collation) in zip(keys, columns.key, strict=True)]
    connection.execute(f"CREATE INDEX temp.hoox_kept_key ON hoox_kept ({', '.join(collated)})")
    # The sign keeps SQLite from comparing by the type of the column, which would pass the index by.
    return " AND ".join(
        f"k.{each} IS +f.{sql.quote_name(column)}"
        for each, (column, _) in zip(collated, columns.key, strict=True)
    )


def _rebuild_indexes_of(connection: sqlite3.Connection, tables: Collection[str]) -> None:
    """Index anew what full-text tables keep of rows that are in other tables; their triggers did not fire."""
    names = {name.lower() for name in tables}
    for item in _schema(connection, "main"):
        if item.type == "table" and content_table(item.sql).lower() in names:
            quoted = sql.quote_name(item.name)
            connection.execute(f"INSERT INTO main.{quoted}({quoted}) VALUES ('rebuild')")


def _dangling(connection: sqlite3.Connection) -> int:
    """Count the rows that refer to nothing; 0 where the keys themselves are wrong."""
    try:
        return len(connection.execute("PRAGMA main.foreign_key_check").fetchall())
    except sqlite3.OperationalError:
        return 0
