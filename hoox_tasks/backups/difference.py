"""Which rows differ between two ledgers, whatever each of them is kept in.

Both sides are read in the order of the key and held against each other as they come, so that few rows are in
memory at once. A table without a key is compared as a multiset: how often each row is there.
"""

from __future__ import annotations

import marshal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hoox_tasks import sql
from hoox_tasks.backups.verification import check_file
from hoox_tasks.database.interface import Database, SchemaObject, Snapshot, Statement, Table
from hoox_tasks.database.load import load
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.schema import as_text, read_schema, read_tables, with_rows
from hoox_tasks.errors import Refused
from hoox_tasks.files import scratch_folder
from hoox_tasks.values import Progress, Row, Value

_REPORT = 10_000
_DEFINED = "defined otherwise"
_PLACES = {"a": 0, "b": 1}


class Difference(NamedTuple):
    """Something that is not the same: `what` says how, `column` where, `a` and `b` what each side has."""

    table: str
    key: Value
    what: str
    column: str = ""
    a: Value = ""
    b: Value = ""

    @property
    def defines(self) -> bool:
        """Whether it is about how something is defined, and `a` and `b` are definitions."""
        return self.what.endswith(_DEFINED)


@dataclass(slots=True)
class Compared:
    """A table that both sides have: the rows of each, and how many of them differ.

    `by` says by what rows were found: the columns of the key, or nothing where they are a multiset.
    `columns` are those that were compared, `left_out` those that only one side has.
    """

    name: str
    by: tuple[str, ...]
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    rows: list[int] = field(default_factory=lambda: [0, 0])
    changed: int = 0
    only: list[int] = field(default_factory=lambda: [0, 0])


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: what to call it, and a moment of it."""

    label: str
    snapshot: Snapshot
    tables: dict[str, tuple[Table, tuple[str, ...]]]
    schema: dict[tuple[str, str], SchemaObject]


@contextmanager
def side_of(database: Database, *, online: bool = False, progress: Progress | None = None) -> Iterator[Side]:
    """Give a ledger as a side, for the length of a block; with `online` D1 goes on answering meanwhile."""
    with database.snapshot(online=online, progress=progress) as snapshot:
        yield _side(database.label, snapshot)


@contextmanager
def side_of_file(path: Path, label: str, *, progress: Progress | None = None) -> Iterator[Side]:
    """Give a backup, a dump or a SQLite file as a side; nothing is written but a scratch file.

    Raises `Refused` where it does not load, or does not fit its manifest.
    """
    check_file(path)
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder()) / "side.sqlite"
        load(path, scratch, progress=progress)
        database = stack.enter_context(closing(LocalDatabase(scratch, strict=False)))
        snapshot = stack.enter_context(database.snapshot())
        yield _side(label, snapshot)


def _side(label: str, snapshot: Snapshot) -> Side:
    ((encoding,),) = snapshot.stream(Statement("PRAGMA encoding"))
    if as_text(encoding) != "UTF-8":
        raise Refused(
            f"The texts of {label} are in {as_text(encoding)}, in an order of their own.",
            "Compare a backup of it with it: `inv db.verify FILE --exact`.",
        )
    tables = {table.name: (table, columns) for table, columns in with_rows(read_tables(snapshot))}
    return Side(label, snapshot, tables, {(item.type, item.name): item for item in read_schema(snapshot)})


class Comparison:
    """Two sides held against each other; `differences` can be taken once, and fills in the rest.

    `tables` are those that were compared, `beside` counts what else differs: tables, indexes, definitions.
    """

    def __init__(
        self, a: Side, b: Side, *, without: frozenset[str] = frozenset(), progress: Progress | None = None
    ) -> None:
        self.sides: tuple[Side, Side] = (a, b)
        self.tables: list[Compared] = []
        self.beside: int = 0
        self._without = without
        self._progress = progress
        self._read = 0

    @property
    def equal(self) -> bool:
        """Whether nothing differs, once all differences have been taken."""
        return not self.beside and not any(table.changed or any(table.only) for table in self.tables)

    def differences(self) -> Iterator[Difference]:
        """Yield what differs: definitions first, then the rows of each table by its key."""
        for found in self._definitions():
            self.beside += 1
            yield found
        a, b = (side.tables for side in self.sides)
        for name in sorted(a.keys() & b.keys() - self._without):
            (table, columns), (other, others) = a[name], b[name]
            same = tuple(column for column in columns if column in others)
            left_out = tuple(sorted(set(columns) ^ set(others)))
            by = _key(table) if _key(table) == _key(other) else ()
            compared = Compared(name, by, same, left_out)
            self.tables.append(compared)
            if same:
                yield from self._rows(compared, table, other)

    def _definitions(self) -> Iterator[Difference]:
        a, b = (side.schema for side in self.sides)
        for kind, name in sorted(a.keys() | b.keys()):
            here, there = a.get((kind, name)), b.get((kind, name))
            if self._without & {item.table for item in (here, there) if item}:
                continue
            if here is None or there is None:
                yield Difference(name, "", f"{kind} only in {'b' if here is None else 'a'}")
                continue
            texts = sql.format_ddl(here.sql), sql.format_ddl(there.sql)
            if texts[0] != texts[1]:
                yield Difference(name, "", f"{kind} {_DEFINED}", "", *texts)

    def _rows(self, compared: Compared, table: Table, other: Table) -> Iterator[Difference]:
        order = compared.by or compared.columns
        wanted = (*order, *(column for column in compared.columns if column not in order))
        width = len(order)
        streams = [
            self._counted(side.snapshot, of_side, wanted, order, compared, place)
            for place, (side, of_side) in enumerate(zip(self.sides, (table, other), strict=True))
        ]
        a, b = streams
        row, match = next(a, None), next(b, None)
        while row is not None or match is not None:
            if row is not None and match is not None and _bits(row) == _bits(match):
                row, match = next(a, None), next(b, None)
                continue
            here, there = _rank(row, width), _rank(match, width)
            groups: list[Counter[bytes]] = [Counter(), Counter()]
            lowest = min(key for key in (here, there) if key is not None)
            while row is not None and _rank(row, width) == lowest:
                groups[0][_bits(row)] += 1
                row = next(a, None)
            while match is not None and _rank(match, width) == lowest:
                groups[1][_bits(match)] += 1
                match = next(b, None)
            yield from _told(compared, wanted, width, groups)

    def _counted(
        self,
        snapshot: Snapshot,
        table: Table,
        wanted: Sequence[str],
        order: Sequence[str],
        compared: Compared,
        place: int,
    ) -> Iterator[Row]:
        for block in snapshot.exact(table, wanted, order=order):
            compared.rows[place] += len(block)
            self._read += len(block)
            if self._progress and self._read % _REPORT < len(block):
                self._progress("rows", self._read, None)
            yield from block


def _key(table: Table) -> tuple[str, ...]:
    """By what rows of a table are found: hidden rowids are not kept by a dump, and do not count."""
    return ("rowid",) if table.kind == "virtual" and not table.key else table.key


def _bits(row: Row) -> bytes:
    """Give a row in a form that is equal where every cell is, in type and in bits."""
    return marshal.dumps(row, 2)


def _rank(row: Row | None, width: int) -> tuple[tuple[int, int | float | bytes], ...] | None:
    """Give a row's place among others, as SQLite sorts by bytes; None for no row."""
    return None if row is None else tuple(map(_place, row[:width]))


def _place(value: Value) -> tuple[int, int | float | bytes]:
    if value is None:
        return 0, 0
    if isinstance(value, str):
        return 2, value.encode("utf-8", "surrogateescape")
    return (3, value) if isinstance(value, bytes) else (1, value)


def _told(
    compared: Compared, columns: Sequence[str], width: int, groups: Sequence[Counter[bytes]]
) -> Iterator[Difference]:
    """Tell the differences between rows of one key."""
    left = [[*(groups[0] - groups[1]).elements()], [*(groups[1] - groups[0]).elements()]]
    pairs = min(map(len, left)) if compared.by else 0
    for here, there in zip(left[0][:pairs], left[1][:pairs], strict=True):
        compared.changed += 1
        rows: tuple[Row, Row] = marshal.loads(here), marshal.loads(there)
        for column, a, b in zip(columns, *rows, strict=True):
            if _bits((a,)) != _bits((b,)):
                alike = str(a) == str(b)  # As 1 and '1' are.
                shown = (sql.quote_value(a), sql.quote_value(b)) if alike else (a, b)
                yield Difference(compared.name, _named(rows[0][:width]), "changed", column, *shown)
    for side, place in _PLACES.items():
        for bits in left[place][pairs:]:
            compared.only[place] += 1
            key: Row = marshal.loads(bits)[:width]
            yield Difference(compared.name, _named(key), f"only in {side}")


def _named(key: Row) -> Value:
    return key[0] if len(key) == 1 else ", ".join("NULL" if cell is None else str(cell) for cell in key)
