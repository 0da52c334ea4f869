"""Records tried on a table of the same definition, in a scratch file, before the ledger hears of them.

That table judges them as the ledger's would: what must not be empty, what must be unique, what a CHECK says.
However many there are, they lie on the disk.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, groupby
from typing import Any

from hoox_tasks import sql
from hoox_tasks.database.interface import Batch, SchemaObject
from hoox_tasks.database.load import connect
from hoox_tasks.errors import Refused
from hoox_tasks.files import scratch_folder
from hoox_tasks.inserting.cells import BadCell, Column, affinity, convert
from hoox_tasks.inserting.reading import Reading, Record
from hoox_tasks.suggestions import suggestion
from hoox_tasks.values import Progress, Row, Value

_BLOCK = 1000
"""Rows that are held at once."""
_REPORT = 1000
_CONSTRAINT = re.compile(r"(UNIQUE|NOT NULL|CHECK) constraint failed: (.*)", re.DOTALL)
_PRESENT_ONLY = re.compile(r'.*\sWHERE\s+["`\[]?(\w+)["`\]]?\s+IS\s+NOT\s+NULL\s*', re.DOTALL | re.IGNORECASE)
"""A partial index over the rows that have a value: NULL is never equal to anything anyway."""


@dataclass(frozen=True, slots=True)
class Target:
    """The table that the rows are for.

    `key` is its primary key, `numbered` whether SQLite gives it by itself (INTEGER PRIMARY KEY), `unique` are
    the lists of columns in which no two rows may agree, the key first.
    """

    name: str
    columns: dict[str, Column]
    computed: frozenset[str]
    key: tuple[str, ...]
    numbered: bool
    unique: tuple[tuple[str, ...], ...]


class Staging:
    """Rows that have been tried; made by `staged`."""

    def __init__(self, connection: sqlite3.Connection, target: Target, reading: Reading) -> None:
        self.target = target
        self.reading = reading
        self.rows: int = 0
        self.columns: tuple[str, ...] = ()
        self._connection = connection
        taken = {name.lower() for name in target.columns}
        self._line = next(name for number in count() if (name := f"line{number or ''}") not in taken)
        self._table = sql.quote_name(target.name)
        self._current: tuple[Record, Row] | None = None

    def fill(
        self,
        records: Iterable[Record],
        mapping: Mapping[str, str],
        *,
        whole_seconds: bool,
        upsert: bool,
        progress: Progress | None,
    ) -> None:
        """Take all records; raises `Refused` at the first that does not go in."""
        self._connection.execute(f"ALTER TABLE {self._table} ADD COLUMN {sql.quote_name(self._line)} INTEGER")
        self._connection.execute("BEGIN")
        found: dict[str, None] = {}
        for names, group in groupby(records, key=lambda record: record.names):
            alike = _Peek(group)
            line = self.reading.header_line or alike.first.line
            columns = self._choose(names, mapping, line)
            if found and upsert and set(found) != {column.name for column in columns if column}:
                raise self.reading.refuse(
                    line,
                    "it has other fields than the record before it",
                    "With --upsert all have to have the same.",
                )
            filled = [column.name for column in columns if column]
            found |= dict.fromkeys(filled)
            into = [sql.quote_name(name) for name in (*filled, self._line)]
            marks = ", ".join("?" * len(into))
            statement = f"INSERT INTO {self._table} ({', '.join(into)}) VALUES ({marks})"
            try:
                self._connection.executemany(statement, self._values(alike, columns, whole_seconds, progress))
            except sqlite3.Error as error:
                raise self._explained(error, filled) from error
        if not self.rows and self.reading.header:
            self._choose(self.reading.header, mapping, self.reading.header_line)
        self._connection.execute("COMMIT")
        self.columns = tuple(found)
        if self.rows and not found:
            raise Refused(f"No field of {self.reading.label} is for a column.", "Leave fewer of them out.")
        (kept,) = self._connection.execute(f"SELECT count(*) FROM {self._table}").fetchone()
        if kept != self.rows:
            raise Refused(
                f"Of {self.rows:,} rows {self.target.name} would keep {kept:,}, because its definition says"
                " what happens where two are equal (ON CONFLICT).",
                "Nothing was changed. Take out of the file what is in it twice.",
            )

    def _choose(self, names: Sequence[str], mapping: Mapping[str, str], line: int) -> list[Column | None]:
        """Find the columns for the fields of some records; None for one that is left out."""
        target = self.target
        chosen: list[Column | None] = []
        known = {name.lower(): column for name, column in target.columns.items()}
        for name in names:
            wanted = mapping.get(name, name)
            if not wanted:
                chosen.append(None)
                continue
            column = known.get(wanted.lower())
            if column is None and wanted.lower() in target.computed:
                raise self.reading.refuse(
                    line, f"{wanted} is computed by the ledger", f'Leave it out with --map "{name}=".'
                )
            if column is None:
                near = suggestion(wanted, target.columns)
                raise self.reading.refuse(
                    line,
                    f"{target.name} has no column {wanted!r}",
                    f'{near or "See them with `inv db.schema`."} --map "{name}=COLUMN" says which is meant,'
                    f' --map "{name}=" leaves it out.',
                )
            if column in chosen:
                raise self.reading.refuse(line, f"two fields are for the column {column.name}")
            chosen.append(column)
        present = {column.name for column in chosen if column}
        missing = [name for name in target.key if name not in present]
        if missing and not target.numbered:
            raise self.reading.refuse(
                line,
                f"it has no field for {missing[0]}, which is the key of {target.name}",
                f'Give it one, or say which is meant with --map "FIELD={missing[0]}".',
            )
        return chosen

    def _values(
        self,
        records: Iterable[Record],
        columns: Sequence[Column | None],
        whole_seconds: bool,
        progress: Progress | None,
    ) -> Iterator[Row]:
        for record in records:
            values: list[Value] = []
            for column, name, cell in zip(columns, record.names, record.cells, strict=True):
                if column is None:
                    continue
                try:
                    values.append(convert(column, cell, whole_seconds=whole_seconds))
                except BadCell as error:
                    where = column.name if name == column.name else f"{name} ({column.name})"
                    raise Refused(
                        f"{self.reading.label}, line {record.line:,}, {where}: {error}.",
                        "Nothing was changed. Correct the file.",
                    ) from None
            row = (*values, record.line)
            self._current = record, row
            self.rows += 1
            if progress and self.rows % _REPORT == 0:
                progress("rows", self.rows, None)
            yield row

    def _explained(self, error: sqlite3.Error, columns: Sequence[str]) -> Refused:
        """Say which record the table did not take, and why."""
        assert self._current is not None
        record, row = self._current
        match = _CONSTRAINT.match(str(error))
        if match is None or match[1] == "CHECK":
            return self.reading.refuse(record.line, f"{self.target.name} does not take it: {error}")
        names = [part.rpartition(".")[2] for part in match[2].split(", ")]
        if match[1] == "NOT NULL":
            return self.reading.refuse(record.line, f"it has no {names[0]}, and {self.target.name} needs one")
        values = dict(zip(columns, row, strict=False))
        problem = f"its {' and '.join(names)} is there already"
        if all(name in values for name in names):
            condition = " AND ".join(f"{sql.quote_name(name)} = ?" for name in names)
            query = f"SELECT min({sql.quote_name(self._line)}) FROM {self._table} WHERE {condition}"
            (line,) = self._connection.execute(query, [values[name] for name in names]).fetchone()
            shown = ", ".join(str(values[name]) for name in names)
            problem = f"its {' and '.join(names)} {shown} is that of line {line or 0:,}"
        return self.reading.refuse(record.line, problem, "Take out one of the two.")

    # ------------------------------------------------------------------------------------------ what is in it

    def batches(self) -> Iterator[Batch]:
        """Yield all rows as they go into the ledger."""
        for block in self.blocks(self.columns):
            yield self.target.name, self.columns, block

    def blocks(self, columns: Sequence[str], *, lines: bool = False) -> Iterator[list[Row]]:
        """Yield these columns of all rows, in blocks, in the file's order; with `lines`, the line last."""
        wanted = [*columns, self._line] if lines else columns
        cursor = self._connection.execute(
            f"SELECT {', '.join(map(sql.quote_name, wanted))} FROM {self._table}"
        )
        while block := cursor.fetchmany(_BLOCK):
            yield block

    @cached_property
    def unique(self) -> list[tuple[str, ...]]:
        """The lists of columns in which rows of the file can be equal to rows of the ledger."""
        given = set(self.columns)
        return [columns for columns in self.target.unique if given.issuperset(columns)]


class _Peek:
    """Records, of which the first can be looked at before they are taken."""

    def __init__(self, records: Iterator[Record]) -> None:
        self.first = next(records)
        self._others = records

    def __iter__(self) -> Iterator[Record]:
        yield self.first
        yield from self._others


@contextmanager
def staged(
    schema: Sequence[SchemaObject],
    table: str,
    records: Iterable[Record],
    reading: Reading,
    *,
    times: Collection[str] = (),
    mapping: Mapping[str, str] | None = None,
    whole_seconds: bool = False,
    upsert: bool = False,
    progress: Progress | None = None,
) -> Iterator[Staging]:
    """Try records on a table of the same definition as that of a ledger, for the length of a block.

    `times` are columns that hold Unix seconds, `mapping` says which column a field of another name is for
    (none for an empty text). Raises `Refused`, with line and column, where a record does not go in.
    """
    definition = find_table(schema, table)
    with scratch_folder() as folder, closing(connect(folder / "staged.sqlite")) as connection:
        try:
            connection.execute(definition.sql)
            for item in schema:
                words = sql.tokens(item.sql) if item.type == "index" and item.table == definition.name else ()
                if "UNIQUE" in [word.text.upper() for word, _ in zip(words, range(2), strict=False)]:
                    connection.execute(item.sql)
        except sqlite3.Error as error:
            raise Refused(
                f"This machine's SQLite cannot make the table {definition.name}: {error}.",
                "Insert into it with `inv db.query --write`.",
            ) from error
        staging = Staging(connection, _target(connection, definition.name, times), reading)
        known = mapping or {}
        staging.fill(
            _noted(records, known, reading),
            known,
            whole_seconds=whole_seconds,
            upsert=upsert,
            progress=progress,
        )
        yield staging


def find_table(schema: Sequence[SchemaObject], name: str) -> SchemaObject:
    """Give the definition of a ledger's table; raises `Refused` where there is none that takes rows."""
    found = {item.name.lower(): item for item in schema if item.type in {"table", "view"}}
    item = found.get(name.lower())
    tables = sorted(table.name for table in found.values() if table.type == "table")
    if item is None:
        near = suggestion(name, tables)
        raise Refused(
            f"There is no table {name}.", near or f"The ledger has: {', '.join(tables) or 'none yet'}."
        )
    if item.type == "view" or item.sql.upper().startswith("CREATE VIRTUAL"):
        raise Refused(
            f"{item.name} is a {'view' if item.type == 'view' else 'virtual table'}.",
            "Insert into the table behind it.",
        )
    return item


def _noted(records: Iterable[Record], mapping: Mapping[str, str], reading: Reading) -> Iterator[Record]:
    """Pass records on; raises `Refused` in the end where a name of the mapping was in none of them."""
    unused = set(mapping)
    last: tuple[str, ...] = ()
    seen: list[str] = []
    for record in records:
        if unused and record.names is not last:
            unused -= set(record.names)
            seen = [*record.names]
            last = record.names
        yield record
    if unused and seen:
        name = min(unused)
        raise Refused(
            f"{reading.label} has no field {name!r}, which --map names.",
            suggestion(name, seen) or f"It has: {', '.join(seen)}.",
        )


def _target(connection: sqlite3.Connection, name: str, times: Collection[str]) -> Target:
    columns: dict[str, Column] = {}
    computed, key, types = set(), {}, {}
    (without_rowid,) = connection.execute(
        "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (name,)
    ).fetchone()
    for _, column, declared, required, _, place, hidden in connection.execute(
        f"PRAGMA table_xinfo({sql.quote_name(name)})"
    ).fetchall():
        types[column] = declared.upper()
        if hidden:
            computed.add(column.lower())
            continue
        if place:
            key[place] = column
        columns[column] = Column(
            column,
            affinity(declared),
            required=bool(required),
            is_time=column in times,
            is_date="DATE" in declared.upper() or "TIME" in declared.upper(),
        )
    primary = tuple(key[place] for place in sorted(key))
    # As SQLite gives it: https://sqlite.org/lang_createtable.html#rowid
    numbered = len(primary) == 1 and types[primary[0]] == "INTEGER" and not without_rowid
    if not numbered:  # SQLite itself would let NULL be a key.
        columns |= {column: replace(columns[column], required=True) for column in primary}
    unique = [primary] if primary else []
    for _, index, is_unique, _, partial in connection.execute(
        f"PRAGMA index_list({sql.quote_name(name)})"
    ).fetchall():
        parts = [row[2] for row in connection.execute(f"PRAGMA index_info({sql.quote_name(index)})")]
        if not is_unique or None in parts or tuple(parts) in unique:
            continue
        if partial:
            query = "SELECT sql FROM sqlite_schema WHERE name = ?"
            match = _PRESENT_ONLY.fullmatch(connection.execute(query, (index,)).fetchone()[0])
            if match is None or match[1] not in parts:
                continue
        unique.append(tuple(parts))
    return Target(name, columns, frozenset(computed), primary, numbered, tuple(unique))


def first_rows(staging: Staging, number: int) -> list[tuple[Any, ...]]:
    """Give the first rows as they would go in."""
    return next(staging.blocks(staging.columns), [])[:number]
