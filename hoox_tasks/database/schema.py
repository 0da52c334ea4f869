"""A ledger's tables and objects, in an order in which their rows can go in."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing

from hoox_tasks import sql
from hoox_tasks.database.drop_order import children_first
from hoox_tasks.database.interface import SCHEMA_QUERY, Reader, SchemaObject, Statement, Table
from hoox_tasks.errors import Refused
from hoox_tasks.values import Value

SEQUENCES = Table(
    "sqlite_sequence", "", "table", ("name", "seq"), frozenset(), False, "rowid", (), frozenset()
)
"""Where SQLite keeps the last numbers of AUTOINCREMENT, in a ledger that has such a column."""


def read_tables(snapshot: Reader) -> list[Table]:
    """Give the ledger's tables in the order in which their rows can be inserted, parents first."""
    query = (
        "SELECT s.name, s.sql, l.type, l.wr FROM sqlite_schema s JOIN pragma_table_list l"
        " ON l.name = s.name AND l.schema = 'main' WHERE s.type = 'table'"
        r" AND s.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND s.name NOT LIKE '\_cf\_%' ESCAPE '\'"
        " ORDER BY s.rowid"
    )
    found = {}
    rows = list(snapshot.stream(Statement(query)))
    shadows = _shadow_tables([as_text(ddl) for _, ddl, kind, _ in rows if as_text(kind) == "virtual"])
    for name, ddl, kind, without_rowid in rows:
        label, sort = as_text(name), as_text(kind)
        if sort == "shadow" and shadows is not None and label.lower() not in shadows:
            sort = "table"
        found[label] = _table(snapshot, label, as_text(ddl), sort, bool(without_rowid))
    graph = {name: table.parents for name, table in found.items()}
    cascades = {name: table.cascades for name, table in found.items()}
    ordered = [found[name] for name in reversed(children_first(graph, cascades))]
    return sorted(ordered, key=lambda table: table.kind == "virtual")


def read_schema(snapshot: Reader) -> list[SchemaObject]:
    """Give all objects but the engine's own, as `Database.schema` does, at the snapshot's moment."""
    return [SchemaObject(*map(as_text, row)) for row in snapshot.stream(Statement(SCHEMA_QUERY))]


def _shadow_tables(definitions: list[str]) -> set[str] | None:
    """The tables that virtual tables make, in lower case; None where this SQLite lacks a module.

    SQLite goes by names: to it, a user's table `notes_content` is a shadow table of a full-text table `notes`
    even where that keeps its text elsewhere, and does not make it.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            for definition in definitions:
                connection.execute(definition)
        except sqlite3.Error:
            return None
        query = "SELECT lower(name) FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow'"
        return {row[0] for row in connection.execute(query)}


def _table(snapshot: Reader, name: str, ddl: str, kind: str, without_rowid: bool) -> Table:
    columns, textual, key, taken, hidden = [], set(), {}, set(), False
    described = snapshot.stream(
        Statement("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid", (name,))
    )
    for column, declared, pk, concealed in described:
        label = as_text(column)
        taken.add(label.lower())
        if pk:
            key[int(str(pk))] = label
        if concealed:
            hidden = hidden or kind != "virtual"
            continue
        columns.append(label)
        if any(word in as_text(declared).upper() for word in ("CHAR", "CLOB", "TEXT")) and (
            "INT" not in as_text(declared).upper()
        ):
            textual.add(label)
    keys = [
        (as_text(parent), as_text(action))
        for parent, action in snapshot.stream(
            Statement('SELECT "table", on_delete FROM pragma_foreign_key_list(?)', (name,))
        )
    ]
    free = [alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken]
    return Table(
        name=name,
        sql=ddl,
        kind=kind,
        columns=tuple(columns),
        textual=frozenset(textual),
        partial=hidden,
        rowid=free[0] if free and not without_rowid else "",
        key=tuple(key[place] for place in sorted(key)),
        parents=frozenset(parent for parent, _ in keys),
        cascades=frozenset(parent for parent, action in keys if action != "NO ACTION"),
    )


def as_text(value: Value) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def choose_tables(found: list[Table], names: Collection[str]) -> list[Table]:
    """Give the tables that are meant, with their shadow tables; raises `Refused` for an unknown one."""
    if not names:
        return found
    known = {table.name.lower(): table for table in found if table.kind != "shadow"}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise Refused(
            f"There is no table {unknown[0]}.", f"The ledger has: {', '.join(sorted(known)) or 'none'}."
        )
    wanted = {name.lower() for name in names}
    return [
        table
        for table in found
        if table.name.lower() in wanted
        or (table.kind == "shadow" and any(table.name.lower().startswith(f"{name}_") for name in wanted))
    ]


def is_contentless(table: Table) -> bool:
    """Tell whether a full-text table keeps its index only, and no text."""
    option = _content_option(table.sql)
    return option is not None and not sql.unquote_name(option).strip("'")


def content_table(ddl: str) -> str:
    """The table whose rows a full-text table indexes, from its definition; empty where it has its own."""
    option = _content_option(ddl)
    return sql.unquote_name(option).strip("'") if option else ""


def _content_option(ddl: str) -> str | None:
    words = [token.text for token in sql.tokens(ddl)]
    if [word.upper() for word in words[:2]] != ["CREATE", "VIRTUAL"]:
        return None
    return next(
        (
            words[place + 2]
            for place in range(len(words) - 2)
            if words[place].lower() == "content" and words[place + 1] == "="
        ),
        None,
    )
