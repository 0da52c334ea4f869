"""What the tables of an empty ledger are: their columns, keys, rowids, and what follows their parents."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger

REPLACES = re.compile(r"\bREPLACE\b(?!\s*\()", re.IGNORECASE)
"""INSERT OR REPLACE, REPLACE INTO, ON CONFLICT REPLACE; not the function."""

_INDEX = re.compile(r"\bcontent\s*=|\bfts5vocab\b", re.IGNORECASE)
_ALONE = re.compile(r"\bcontent\s*=\s*(?:''|\"\")(?!.*\bcolumnsize\b)", re.IGNORECASE | re.DOTALL)
"""A search table without content: what it was filled from may be gone, but its rows can be counted."""

_DEFINITIONS = (
    "SELECT name, sql FROM sqlite_schema WHERE type = 'table'"
    r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND sql IS NOT NULL"
)
_LISTED = 50
"""Tables that are asked for by name; of more, all are."""

_OWN_ROWS = (
    "FROM pragma_table_list AS l WHERE l.schema = 'main' AND l.type IN ('table', 'virtual')"
    r" AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\'"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A column of a foreign key whose rows follow the parent's: `actions` are ON UPDATE and ON DELETE.

    `target` is the parent's column, empty for its primary key.
    """

    column: str
    parent: str
    target: str
    actions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stored:
    """A table of an empty ledger, as a migration finds or leaves it.

    `names` are all its columns, `columns` those with values of their own (generated ones have none). `key` is
    its primary key. `rowid` is a name by which its rowid can be asked for, empty where it has none. `index`
    says of a virtual table that its rows are made from another table's. `nullable` says that its key may hold
    NULL, which SQLite allows in any but INTEGER PRIMARY KEY. `refers` says that it has foreign keys.
    """

    name: str
    virtual: bool
    index: bool
    names: tuple[str, ...]
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rowid: str
    references: tuple[Reference, ...]
    nullable: bool
    refers: bool


_described: WeakKeyDictionary[EmptyLedger, dict[str, tuple[str, Stored]]] = WeakKeyDictionary()
"""What is known of the tables of each ledger, by name, with the definition that it follows from."""


def table_names(ledger: EmptyLedger) -> list[str]:
    """Give the names of the tables that hold rows of their own, virtual ones among them."""
    return [name for (name,) in _ask(ledger, f"SELECT l.name {_OWN_ROWS}")]


def read_tables(ledger: EmptyLedger, name: str | None = None) -> dict[str, Stored]:
    """Read all tables that hold rows of their own, or one; by their names in small letters."""
    if name is not None:
        return _read(ledger, [name])
    known = _described.setdefault(ledger, {})
    texts = dict(_ask(ledger, _DEFINITIONS))
    changed = [each for each, text in texts.items() if known.get(each, ("", None))[0] != text]
    fresh = _read(ledger, changed) if changed else {}
    found = {}
    for each, text in texts.items():
        table = fresh.get(each.lower()) or (known[each][1] if each in known else None)
        if table is None:
            continue  # It is inside of a virtual one.
        found[each.lower()] = table
        # Whether a virtual one is an index depends on triggers as well.
        if not table.virtual:
            known[each] = (text, table)
    return found


def _read(ledger: EmptyLedger, names: Sequence[str]) -> dict[str, Stored]:
    source = _OWN_ROWS
    if len(names) <= _LISTED:
        source += f" AND l.name COLLATE NOCASE IN ({', '.join(map(sql.quote_text, names))})"
    columns: defaultdict[tuple[str, bool, bool], list[tuple[str, int, int]]] = defaultdict(list)
    loose: defaultdict[str, list[str]] = defaultdict(list)
    for table, kind, without_rowid, column, place, hidden, needed, of in _ask(
        ledger,
        'SELECT l.name, l.type, l.wr, x.name, x.pk, x.hidden, x."notnull", x.type'
        f" {_joined(source, 'pragma_table_xinfo')} ORDER BY l.name, x.cid",
    ):
        columns[table, kind == "virtual", bool(without_rowid)].append((column, place, hidden))
        if place and not needed and not without_rowid:
            loose[table].append(of.upper())
    references: defaultdict[str, list[Reference]] = defaultdict(list)
    refers = set()
    for table, column, parent, target, *actions in _ask(
        ledger,
        'SELECT l.name, x."from", x."table", x."to", x.on_update, x.on_delete '
        + _joined(source, "pragma_foreign_key_list"),
    ):
        refers.add(table)
        if not set(actions) <= {"NO ACTION", "RESTRICT"}:
            references[table].append(Reference(column, parent, target or "", frozenset(actions)))
    found = {}
    for (table, virtual, without_rowid), described in columns.items():
        names = tuple(column for column, _, _ in described)
        taken = {column.lower() for column in names}
        free = [word for word in ("rowid", "_rowid_", "oid") if word not in taken]
        found[table.lower()] = Stored(
            table,
            virtual,
            virtual and _is_index(ledger, table),
            names,
            tuple(column for column, _, hidden in described if hidden == 0),
            tuple(
                column for place, column in sorted((place, column) for column, place, _ in described) if place
            ),
            "" if without_rowid or not free else free[0],
            tuple(references[table]),
            bool(loose[table]) and loose[table] != ["INTEGER"],
            table in refers,
        )
    return found


def _joined(source: str, pragma: str) -> str:
    return source.replace("AS l", f"AS l JOIN {pragma}(l.name) AS x", 1)


def checks_keys(ledger: EmptyLedger, tables: Mapping[str, Stored] | None = None) -> bool:
    """Whether there are foreign keys that SQLite can check; `tables` are those of the ledger, if known."""
    if not any(table.refers for table in (tables or read_tables(ledger)).values()):
        return False
    try:
        _ask(ledger, "PRAGMA foreign_key_check")
    except sqlite3.Error:  # A key that refers to something that cannot be referred to.
        return False
    return True


def _ask(ledger: EmptyLedger, query: str) -> list[tuple[Any, ...]]:
    return ledger.connection.execute(query).fetchall()


def _is_index(ledger: EmptyLedger, name: str) -> bool:
    """Whether a search table holds nothing of its own: by its definition it refers to its content.

    That triggers fill one proves nothing: others may write to it as well, and it may be the only copy.
    """
    found = _ask(ledger, "SELECT tbl_name, sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL")
    return any(
        bool(_INDEX.search(text)) and not _ALONE.search(text)
        for table, text in found
        if table.lower() == name.lower()
    )


def replaced_tables(ledger: EmptyLedger) -> set[str]:
    """Give the tables into which an INSERT may replace rows, by their definition or by a trigger."""
    found = _ask(
        ledger, "SELECT lower(name), type, sql FROM sqlite_schema WHERE type IN ('table', 'trigger')"
    )
    suspects = [(name, kind, text) for name, kind, text in found if text and REPLACES.search(text)]
    if any(kind == "trigger" for _, kind, _ in suspects):
        return {name for name, kind, _ in found if kind == "table"}
    return {name for name, _, _ in suspects}
