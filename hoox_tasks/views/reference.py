"""The schema reference: a Markdown document written from a ledger's migrations and its dictionary."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from hoox_tasks.config.dictionary import Column, Table
from hoox_tasks.migrations import Migration
from hoox_tasks.sql import format_ddl, quote_name


@dataclass(frozen=True, slots=True)
class _Stored:
    """A column as the engine has it; `key` is its place in the primary key, from 1, else 0."""

    name: str
    type: str
    required: bool
    default: str
    key: int


def write_reference(migrations: Sequence[Migration], dictionary: dict[str, Table]) -> str:
    """Write the reference of the ledger that `migrations` make, in Markdown.

    Raises `KeyError` with the name of a table or `table.column` that the dictionary does not have.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for migration in migrations:
            for piece in migration.pieces:
                connection.execute(piece.sql)
        names = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table'"
                r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY rowid"
            )
        ]
        tables = {name: _columns(connection, name) for name in names}
        indexes = {name: _indexes(connection, name) for name in names}
    for name in names:
        if name not in dictionary:
            raise KeyError(name)
        for column in tables[name]:
            if column.name not in dictionary[name].columns:
                raise KeyError(f"{name}.{column.name}")
    lines = [
        "# The ledger's schema",
        "",
        "Written by `inv docs` from the migrations and `migrations/dictionary.toml`; change those instead.",
        f"It is what {len(migrations)} migrations make: {', '.join(f'`{m.name}`' for m in migrations)}.",
        "",
        "Times are Unix seconds in UTC. Amounts are doubles in the quote currency of their symbol, or in the"
        " asset of a balance. Ids are text; SQLite would take a NULL for one, and nothing writes it.",
        "",
        *_diagram(tables, dictionary),
    ]
    for name in names:
        lines += _section(name, tables[name], indexes[name], dictionary[name])
    return "\n".join(lines)


def _columns(connection: sqlite3.Connection, table: str) -> list[_Stored]:
    rows = connection.execute(
        "SELECT name, type, [notnull], coalesce(dflt_value, ''), pk FROM pragma_table_xinfo(?) ORDER BY cid",
        (table,),
    )
    return [_Stored(name, kind, bool(required), default, key) for name, kind, required, default, key in rows]


def _indexes(connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
        " ORDER BY name",
        (table,),
    ).fetchall()


def _diagram(tables: dict[str, list[_Stored]], dictionary: dict[str, Table]) -> list[str]:
    """Draw tables and what refers to what, as Mermaid's entity diagram."""
    lines = ["```mermaid", "erDiagram"]
    for name, columns in tables.items():
        for column in columns:
            refers = dictionary[name].columns[column.name].refers
            if refers:
                parent = refers.partition(".")[0]
                lines.append(f'  {parent} |o..o{{ {name} : "{column.name}"')
    for name, columns in tables.items():
        lines.append(f"  {name} {{")
        for column in columns:
            described = dictionary[name].columns[column.name]
            mark = " PK" if column.key else " FK" if described.refers else ""
            unit = f' "{described.unit}"' if described.unit else ""
            lines.append(f"    {column.type or 'ANY'} {column.name}{mark}{unit}")
        lines.append("  }")
    return [*lines, "```", ""]


def _section(
    name: str, columns: Iterable[_Stored], indexes: Iterable[tuple[str, str]], described: Table
) -> list[str]:
    lines = [
        f"## {name}",
        "",
        described.description,
        "",
        "| column | type | may be NULL | default | unit | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for column in columns:
        meaning = described.columns[column.name]
        cells = (
            f"`{column.name}`",
            column.type,
            "no" if column.required else "yes",
            f"`{column.default}`" if column.default else "",
            meaning.unit,
            _meaning(column, meaning),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    found = list(indexes)
    if found:
        lines += ["", "Indexes:", ""]
        lines += [f"- `{index}`: `{_index_terms(ddl, name)}`" for index, ddl in found]
    return [*lines, ""]


def _meaning(column: _Stored, meaning: Column) -> str:
    refers = f" Refers to `{meaning.refers}`; nothing enforces it." if meaning.refers else ""
    return f"{'Primary key. ' if column.key else ''}{meaning.description}{refers}"


def _index_terms(ddl: str, table: str) -> str:
    """Give what an index is on: `(exchange, order_id) WHERE ...`, with UNIQUE where it is."""
    text = format_ddl(ddl)
    _, _, terms = text.partition(f" ON {quote_name(table)} ")
    return f"UNIQUE {terms}" if text.upper().startswith("CREATE UNIQUE") else terms
