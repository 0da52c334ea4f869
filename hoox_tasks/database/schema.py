"""A ledger's tables and objects, in an order in which their rows can go in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

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
    for name, ddl, kind, without_rowid in list(snapshot.stream(Statement(query))):
        table = _table(snapshot, as_text(name), as_text(ddl), as_text(kind), bool(without_rowid))
        found[table.name] = table
    graph = {name: table.parents for name, table in found.items()}
    cascades = {name: table.cascades for name, table in found.items()}
    ordered = [found[name] for name in reversed(children_first(graph, cascades))]
    return sorted(ordered, key=lambda table: table.kind == "virtual")


def read_schema(snapshot: Reader) -> list[SchemaObject]:
    """Give all objects but the engine's own, as `Database.schema` does, at the snapshot's moment."""
    return [SchemaObject(*map(as_text, row)) for row in snapshot.stream(Statement(SCHEMA_QUERY))]


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
    """Tell whether an FTS5 table keeps its index only, and no text."""
    words = [token.text for token in sql.tokens(table.sql)]
    return any(
        words[place].lower() == "content" and words[place + 1] == "=" and words[place + 2] in {"''", '""'}
        for place in range(len(words) - 2)
    )


def with_rows(tables: Sequence[Table]) -> Iterator[tuple[Table, tuple[str, ...]]]:
    """Give the tables that keep rows of their own, and the columns by which these are told apart.

    A virtual table keeps rows if it is an R*Tree or has a content of its own; its rowids count as well, as
    searches give them back. Of an FTS5 table without content the tables of its index stand for it.
    """
    shadows = {table.name for table in tables if table.kind == "shadow"}
    kept: set[str] = set()
    for table in tables:
        if table.kind == "virtual" and table.module == "fts5" and is_contentless(table):
            kept |= {f"{table.name}_{part}" for part in ("data", "idx", "docsize", "config")}
    for table in tables:
        if table.kind == "virtual" and f"{table.name}_content" in shadows:
            yield table, ("rowid", *table.columns)
        elif (
            table.kind == "table"
            or (table.kind == "virtual" and table.module in {"rtree", "rtree_i32"})
            or (table.kind == "shadow" and table.name in kept)
        ):
            yield table, table.columns
