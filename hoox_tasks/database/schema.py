"""A ledger's tables and objects, in an order in which their rows can go in."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing

from hoox_tasks import sql
from hoox_tasks.database.drop_order import children_first
from hoox_tasks.database.interface import SCHEMA_QUERY, Reader, SchemaObject, Statement, Table
from hoox_tasks.errors import Refused
from hoox_tasks.values import Row, Value

SEQUENCES = Table(
    "sqlite_sequence", "", "table", ("name", "seq"), frozenset(), False, "rowid", (), frozenset()
)
"""Where SQLite keeps the last numbers of AUTOINCREMENT, in a ledger that has such a column."""


_TABLES_QUERY = (
    # Names are chosen first: nobody may ask about D1's own tables.
    "WITH listed AS MATERIALIZED (SELECT s.rowid AS place, s.name, s.sql, l.type, l.wr"
    " FROM sqlite_schema s JOIN pragma_table_list l ON l.name = s.name AND l.schema = 'main'"
    r" WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\_%' ESCAPE '\'"
    r" AND s.name NOT LIKE '\_cf\_%' ESCAPE '\')"
    " SELECT place, 'table', 0, name, sql, type, wr FROM listed"
    " UNION ALL SELECT place, 'column', c.cid, c.name, c.type, c.pk, c.hidden"
    " FROM listed JOIN pragma_table_xinfo(listed.name) c"
    " UNION ALL SELECT place, 'key', k.id, k.\"table\", k.on_delete, 0, 0"
    " FROM listed JOIN pragma_foreign_key_list(listed.name) k"
    " ORDER BY 1, 3"
)
"""Asks for every table, its columns and its foreign keys at once."""


def read_tables(reader: Reader) -> list[Table]:
    """Give the ledger's tables in the order in which their rows can be inserted, parents first."""
    return _ordered(reader.stream(Statement(_TABLES_QUERY)))


def read_schema(reader: Reader) -> list[SchemaObject]:
    """Give all objects but the engine's own, as `Database.schema` does, at the reader's moment."""
    return [SchemaObject(*map(as_text, row)) for row in reader.stream(Statement(SCHEMA_QUERY))]


def read_tables_and_schema(
    reader: Reader, *others: Statement
) -> tuple[list[Table], list[SchemaObject], list[list[Row]]]:
    """Give what `read_tables` and `read_schema` do, and the rows of other queries; one request on D1."""
    statements = [Statement(_TABLES_QUERY), Statement(SCHEMA_QUERY), *others]
    answers = zip(statements, reader.map(statements), strict=True)
    # None stands for what is too large to be held at once.
    tables, objects, *rest = [
        list(reader.stream(statement)) if rows is None else rows for statement, rows in answers
    ]
    return _ordered(tables), [SchemaObject(*map(as_text, row)) for row in objects], rest


def _ordered(rows: Iterable[Row]) -> list[Table]:
    """Make tables of the rows that the query for them gave, parents first."""
    described: dict[Value, dict[str, list[tuple[Value, ...]]]] = {}
    for place, kind, _, *details in rows:
        described.setdefault(place, {"table": [], "column": [], "key": []})[as_text(kind)].append(
            tuple(details)
        )
    found = {}
    tables = [parts["table"][0] for parts in described.values()]
    shadows = shadow_tables([as_text(ddl) for _, ddl, kind, _ in tables if as_text(kind) == "virtual"])
    for parts in described.values():
        ((name, ddl, kind, without_rowid),) = parts["table"]
        if as_text(kind) == "shadow" and shadows is not None and as_text(name).lower() not in shadows:
            kind = "table"
        table = _table(name, ddl, kind, without_rowid, parts["column"], parts["key"])
        found[table.name] = table
    graph = {name: table.parents for name, table in found.items()}
    cascades = {name: table.cascades for name, table in found.items()}
    ordered = [found[name] for name in reversed(children_first(graph, cascades))]
    return sorted(ordered, key=lambda table: table.kind == "virtual")


def shadow_tables(definitions: list[str]) -> set[str] | None:
    """The tables that virtual tables make, in lower case; None where this SQLite lacks a module.

    SQLite goes by names: to it, a user's table `notes_content` is a shadow table of a full-text table `notes`
    even where that keeps its text elsewhere, and does not make it.
    """
    if not definitions:
        return set()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            for definition in definitions:
                connection.execute(definition)
        except sqlite3.Error:
            return None
        query = "SELECT lower(name) FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow'"
        return {row[0] for row in connection.execute(query)}


def _table(
    name: Value,
    ddl: Value,
    kind: Value,
    without_rowid: Value,
    described: Sequence[Row],
    foreign_keys: Sequence[Row],
) -> Table:
    kind = as_text(kind)
    columns, textual, untyped, key, taken, hidden = [], set(), set(), {}, set(), False
    for column, declared, pk, concealed in described:
        label, type_name = as_text(column), as_text(declared).upper()
        taken.add(label.lower())
        if pk:
            key[int(str(pk))] = label
        if concealed:
            hidden = hidden or kind != "virtual"
            continue
        columns.append(label)
        if any(word in type_name for word in ("CHAR", "CLOB", "TEXT")) and "INT" not in type_name:
            textual.add(label)
        if not type_name or "BLOB" in type_name:
            untyped.add(label)
    keys = [(as_text(parent), as_text(action)) for parent, action, *_ in foreign_keys]
    free = [alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken]
    return Table(
        name=as_text(name),
        sql=as_text(ddl),
        kind=kind,
        columns=tuple(columns),
        textual=frozenset(textual),
        partial=hidden,
        rowid=free[0] if free and not without_rowid else "",
        key=tuple(key[place] for place in sorted(key)),
        parents=frozenset(parent for parent, _ in keys),
        cascades=frozenset(parent for parent, action in keys if action != "NO ACTION"),
        untyped=frozenset(untyped),
    )


def as_text(value: Value) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def check_definitions(schema: Iterable[SchemaObject]) -> None:
    """Raise `Refused` where what a file has as an object's definition is more than that.

    SQLite reads the first statement of a definition; whoever runs all of it runs what others put there.
    """
    for item in schema:
        # A comment that ends with its line is part of what SQLite keeps.
        ended = sqlite3.complete_statement(f"{item.sql}\n;")
        if len(sql.split(item.sql)) != 1 or not ended or sql.first_word(item.sql) != "CREATE":
            raise Refused(
                f"The definition of the {item.type} {item.name} is not one CREATE statement.",
                "Do not rely on this backup: somebody has tampered with its schema.",
            )


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


def is_index_only(table: Table, tables: Sequence[Table]) -> bool:
    """Tell whether only the index of a full-text table is among some tables, and not its text."""
    if table.module != "fts5":
        return False
    content = content_table(table.sql).lower()
    gone = content != "" and not any(content == other.name.lower() for other in tables)
    return is_contentless(table) or gone


def is_countable(table: Table, tables: Sequence[Table]) -> bool:
    """Tell whether rows can be counted: not inside of another, nor of an index without their sizes."""
    if table.kind == "shadow" or not is_index_only(table, tables):
        return table.kind != "shadow"
    return is_contentless(table) and any(other.name == f"{table.name}_docsize" for other in tables)


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


def with_counted_rows(tables: Sequence[Table]) -> set[str]:
    """Name the tables whose rows are counted for people: none is counted twice, as an index of others' is."""
    return {table.name for table, _ in with_rows(tables) if table.kind != "shadow"}
