"""Which views, triggers and search tables of an empty ledger do not work, as they lack what they speak of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject
from hoox_tasks.database.schema import content_table


def find_broken(ledger: EmptyLedger, schema: Iterable[SchemaObject]) -> set[tuple[str, str]]:
    """Give types and names of those objects of a schema that SQLite cannot use."""
    return {
        (item.type, item.name)
        for item in schema
        if (
            item.type in {"view", "trigger"}
            and not all(_compiles(ledger, text) for text in _probes(ledger, item))
        )
        or (item.type == "table" and content_table(item.sql) and not _reads(ledger, item.name))
    }


def _reads(ledger: EmptyLedger, table: str) -> bool:
    """Whether a search table finds the columns that it indexes; it looks for them when it is read."""
    try:
        ledger.connection.execute(f"SELECT * FROM {sql.quote_name(table)}").fetchall()
    except sqlite3.Error:
        return False
    return True


def _probes(ledger: EmptyLedger, item: SchemaObject) -> Iterator[str]:
    """Write statements that SQLite cannot compile where a view or a trigger is broken."""
    name = sql.quote_name(item.table)
    if item.type == "view":
        yield f"SELECT * FROM {name}"
        return
    words = [token.text.upper() for token in sql.tokens(item.sql)]
    event = next((word for word in words if word in {"DELETE", "INSERT", "UPDATE"}), "")
    if event == "DELETE":
        yield f"DELETE FROM {name}"
    elif event == "INSERT":
        yield f"INSERT INTO {name} DEFAULT VALUES"
    else:
        for column in ledger.columns(item.table):
            yield f"UPDATE {name} SET {sql.quote_name(column)} = NULL"


def _compiles(ledger: EmptyLedger, text: str) -> bool:
    try:
        ledger.connection.execute(f"EXPLAIN {text}").fetchall()
    except sqlite3.OperationalError as error:
        return not str(error).startswith(("no such table", "no such column", "error in"))
    return True
