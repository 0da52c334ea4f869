"""A ledger as SQL text, lossless: what is loaded from it has the same cells, types and bits.

The text has the shape of SQLite's own `.dump`, with what that leaves out: all tables come before any
row, parents' rows before their children's, and indexes, views and triggers last; virtual tables are made
by their module and filled through it. SQLite itself writes the rows, many to a query, so that Python only
passes text on and two connections can work at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hoox_tasks import sql
from hoox_tasks.database.interface import Database, Reader, Statement, Table
from hoox_tasks.database.schema import (
    as_text,
    choose_tables,
    is_countable,
    is_index_only,
    read_tables,
    with_counted_rows,
)
from hoox_tasks.values import Progress, Row

Write = Callable[[bytes], object]

_CHUNK_BYTES = 512 * 1024
"""What one query should give: enough to forget its overhead, little enough for flat memory."""
_CHUNK_ROWS = 2000
_FORMAT_VALUES = 30
"""How many values one call of format() is given; D1's documentation allows a function 32 arguments."""


@dataclass(frozen=True, slots=True)
class _Object:
    type: str
    name: str
    table: str
    sql: str


def dump(
    database: Database,
    write: Write,
    *,
    tables: Collection[str] = (),
    schema: bool = True,
    data: bool = True,
    online: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write a ledger as SQL, at one moment of it; returns the number of rows of each table written.

    With `online` nobody is kept from a remote ledger meanwhile.

    `tables` are the tables to write, all where it is empty. Raises `Refused` for a table that is not there.
    """
    with database.snapshot(online=online, progress=progress) as snapshot:
        chosen = choose_tables(read_tables(snapshot), tables)
        return write_tables(
            snapshot, chosen, write, whole=not tables, schema=schema, data=data, progress=progress
        )


def write_tables(
    snapshot: Reader,
    chosen: list[Table],
    write: Write,
    *,
    whole: bool = True,
    schema: bool = True,
    data: bool = True,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write tables of a snapshot as SQL, `whole` if they are all; returns their numbers of rows."""
    counts = _counts(snapshot, chosen) if data else {}
    write(b"PRAGMA foreign_keys=OFF;\n" + _encoding(snapshot) + b"BEGIN TRANSACTION;\n")
    if schema:
        for table in chosen:
            if table.kind != "shadow":
                write(_closed(table.sql))
    if data:
        _write_rows(snapshot, chosen, counts, write, progress)
        _write_sequences(snapshot, chosen, not whole, write)
    if schema:
        names = {table.name.lower() for table in chosen}
        for item in _rest(snapshot):
            if whole or item.table.lower() in names:
                write(_closed(item.sql))
    write(b"COMMIT;\n")
    counted = with_counted_rows(chosen)
    return {name: rows for name, rows in counts.items() if name in counted}


def write_live_rows(
    reader: Reader, tables: list[Table], write: Write, *, progress: Progress | None = None
) -> None:
    """Write the rows of tables that others may change meanwhile, as INSERT OR REPLACE with their rowids.

    A row that is there from the beginning to the end is written at least once, wherever INSERT OR REPLACE
    moves it meanwhile: new rowids are larger, and reading goes on until none is left. It may be written
    more than once, the last time as it was last.
    """
    counts = _counts(reader, tables)
    done, total = 0, sum(counts.values())
    shadows = {table.name for table in tables if table.kind == "shadow"}
    for table in tables:
        if table.kind == "virtual":
            for text in _virtual_rows(reader, table, tables, shadows):
                write(text)
        elif table.kind == "table" and counts[table.name]:
            for text, rows in _pages(reader, table) if table.rowid else _careful(reader, table, ""):
                write(text)
                done += rows
                if progress:
                    progress("rows", done, max(done, total))
    _write_sequences(reader, tables, False, write)


def write_live_rows_again(reader: Reader, table: Table, rowids: Sequence[int], write: Write) -> None:
    """Write those rows of a table, as `write_live_rows` does, that have these rowids now."""
    for start in range(0, len(rowids), _CHUNK_ROWS):
        listed = ", ".join(map(str, rowids[start : start + _CHUNK_ROWS]))
        for text, _ in _careful(reader, table, f"WHERE {table.rowid} IN ({listed})", live=True):
            write(text)


def _encoding(snapshot: Reader) -> bytes:
    """Write the pragma for a ledger whose text is not UTF-8; it matters where text is given by its bytes."""
    encodings = {b"6100": b"UTF-16le", b"0061": b"UTF-16be"}
    (digits,) = next(iter(snapshot.stream(Statement("SELECT hex('a')"))))
    encoding = encodings.get(digits) if isinstance(digits, bytes) else None
    return b"PRAGMA encoding='%s';\n" % encoding if encoding else b""


def _counts(snapshot: Reader, tables: list[Table]) -> dict[str, int]:
    counted = [table for table in tables if _has_rows(table) and is_countable(table, tables)]
    queries = (Statement(f"SELECT count(*) FROM {sql.quote_name(table.name)}") for table in counted)
    return {
        table.name: int(str(rows[0][0]))
        for table, rows in zip(counted, snapshot.map(queries), strict=True)
        if rows
    }


def _has_rows(table: Table) -> bool:
    """Tell whether a table holds rows that it can be given back (a view on an index holds none)."""
    return table.kind == "table" or table.module in {"fts3", "fts4", "fts5", "rtree", "rtree_i32"}


# ------------------------------------------------------------------------------------------------ rows


def _write_rows(
    snapshot: Reader, tables: list[Table], counts: dict[str, int], write: Write, progress: Progress | None
) -> None:
    done, total = 0, sum(counts.values())
    shadows = {table.name for table in tables if table.kind == "shadow"}
    for table in tables:
        if table.kind == "virtual":
            for text in _virtual_rows(snapshot, table, tables, shadows):
                write(text)
            continue
        if table.kind == "shadow" or not counts[table.name]:
            continue
        for text, rows in _rows(snapshot, table, counts[table.name]):
            write(text)
            done += rows
            if progress:
                progress("rows", done, total)


def _rows(snapshot: Reader, table: Table, count: int) -> Iterator[tuple[bytes, int]]:
    if not table.rowid:
        key = ", ".join(sql.quote_name(column) for column in table.key)
        yield from _careful(snapshot, table, f"ORDER BY {key}" if key else "")
        return
    ranges = _Ranges(snapshot, table, count)
    for rows in snapshot.map(ranges.queries(_chunk_query(table))):
        first, last = ranges.answered()
        text, taken, nul = rows[0] if rows else (None, 0, 0)
        if isinstance(text, bytes) and not nul and b"\r" not in text and _is_plain(text):
            number, size = int(str(taken)), len(text)
            yield text, number
        else:
            # Something in this range needs to be written with care, or all of it is too large to hold: it is
            # read once more, row by row. A range may also be empty.
            number, size = 0, 0
            for line, written in _careful(snapshot, table, f"WHERE {table.rowid} BETWEEN {first} AND {last}"):
                number, size = number + written, size + len(line)
                yield line, written
        if number:
            ranges.learn(number, size)


class _Ranges:
    """Cuts a table into ranges of rowids, each about as much text as one query should give."""

    def __init__(self, snapshot: Reader, table: Table, count: int) -> None:
        name = sql.quote_name(table.name)
        # As texts, because D1 rounds whole numbers.
        query = f"SELECT CAST(min({table.rowid}) AS TEXT), CAST(max({table.rowid}) AS TEXT) FROM {name}"
        first, last = next(iter(snapshot.stream(Statement(query))))
        self._first, self._last = int(as_text(first)), int(as_text(last))
        self._dense = self._last - self._first + 1 == count
        self._snapshot, self._table, self._name = snapshot, table, name
        self._rows = 200
        self._given: deque[tuple[int, int]] = deque()

    def learn(self, rows: int, size: int) -> None:
        """Fit the next ranges to what a row of this table takes."""
        self._rows = max(1, min(_CHUNK_ROWS, rows * _CHUNK_BYTES // max(size, 1)))

    def queries(self, query: str) -> Iterator[Statement]:
        """Yield the statement for one range after the other."""
        start = self._first
        while start <= self._last:
            end = self._end(start)
            self._given.append((start, end))
            yield Statement(query, (start, end))
            start = end + 1

    def answered(self) -> tuple[int, int]:
        """Give the range whose rows came next, in the order in which `queries` gave them out."""
        return self._given.popleft()

    def _end(self, start: int) -> int:
        if self._dense:
            return min(start + self._rows - 1, self._last)
        hop = (
            f"SELECT CAST({self._table.rowid} AS TEXT) FROM {self._name} WHERE {self._table.rowid} >= ?"
            f" ORDER BY {self._table.rowid} LIMIT 1 OFFSET ?"
        )
        found = list(self._snapshot.stream(Statement(hop, (start, self._rows - 1))))
        return int(as_text(found[0][0])) if found else self._last


def _pages(reader: Reader, table: Table) -> Iterator[tuple[bytes, int]]:
    """Yield a table's rows page by page, in the order of their rowids, until a page is not full.

    Whatever is behind the last rowid at that time is in that page: D1 answers a query at one moment.
    """
    after, size = "", _CHUNK_ROWS
    while True:
        where = f"WHERE {table.rowid} > {after}" if after else ""
        page = next(reader.map([Statement(_page_query(table, where, size))]))
        if page is None and size > 1:
            size = max(1, size // 8)
            continue
        if page is None:  # A single row, too long to be put together with anything.
            one = f"SELECT CAST(min({table.rowid}) AS TEXT) FROM {sql.quote_name(table.name)} {where}"
            last, taken = as_text(next(iter(reader.stream(Statement(one))))[0]), 1
            yield from _careful(reader, table, f"WHERE {table.rowid} = {last}", live=True)
        else:
            text, number, care, found = page[0]
            taken = int(str(number))
            if not taken:
                return
            last = as_text(found)
            if isinstance(text, bytes) and not care and b"\r" not in text and _is_plain(text):
                yield text, taken
            else:
                between = f"{where} AND" if where else "WHERE"
                yield from _careful(reader, table, f"{between} {table.rowid} <= {last}", live=True)
            if taken < size:
                return
            size = max(
                1,
                min(_CHUNK_ROWS, taken * _CHUNK_BYTES // max(len(text) if isinstance(text, bytes) else 0, 1)),
            )
        after = last


def _page_query(table: Table, where: str, rows: int) -> str:
    """Ask for some rows as text, how many they are, whether one needs care, and the last rowid."""
    textual = [sql.quote_name(column) for column in table.columns if column in table.textual]
    care = " OR ".join(f"instr({name}, char(0)) OR typeof({name}) = 'blob'" for name in textual) or "0"
    return (
        f"SELECT group_concat(line, ''), count(*), max(care), CAST(max(place) AS TEXT) FROM"
        f" (SELECT {_row(table, None, live=True)} AS line, {care} AS care, {table.rowid} AS place"
        f" FROM {sql.quote_name(table.name)} NOT INDEXED {where} ORDER BY {table.rowid} LIMIT {rows})"
    )


def _careful(
    snapshot: Reader, table: Table, which: str, extra: str = "", *, live: bool = False
) -> Iterator[tuple[bytes, int]]:
    """Yield rows one by one, each in the plainest form that every reader takes back unchanged."""
    query = (
        f"SELECT {_row(table, _guarded_text, extra, live=live)}, {_row(table, _hex_text, extra, live=live)}"
        f" FROM {sql.quote_name(table.name)} {which}"
    )
    for plain, hexadecimal in snapshot.stream(Statement(query)):
        assert isinstance(plain, bytes)
        assert isinstance(hexadecimal, bytes)
        yield (plain if _is_plain(plain) else hexadecimal), 1


def _is_plain(text: bytes) -> bool:
    """Tell whether text is UTF-8, and came as it is stored: JSON puts U+FFFD in the place of what is not."""
    with suppress(UnicodeDecodeError):
        return "\ufffd" not in text.decode()
    return False


def _chunk_query(table: Table) -> str:
    """Ask for a range of rows as text, how many they are, and whether one needs care.

    `%Q` is by far the fastest way to a text's literal, but stops at a NUL and takes a blob for text.
    """
    textual = [sql.quote_name(column) for column in table.columns if column in table.textual]
    nul = " OR ".join(f"instr({name}, char(0))" for name in textual) or "0"
    blob = " OR ".join(f"typeof(max({name})) = 'blob'" for name in textual) or "0"
    return (
        f"SELECT group_concat({_row(table, None)}, ''), count(*), max({nul}) OR {blob}"
        f" FROM {sql.quote_name(table.name)} NOT INDEXED WHERE {table.rowid} BETWEEN ? AND ?"
    )


def _row(table: Table, text: Callable[[str], str] | None, extra: str = "", *, live: bool = False) -> str:
    """Write the SQL expression that makes a row's INSERT statement.

    `text` makes the expression for a text's literal; without it columns of text affinity are trusted to
    hold nothing but plain text. `extra` is a column that is written beside the table's own. With `live` the
    row takes its rowid along, and the place of one that was there before.
    """
    extra = table.rowid if live else extra
    columns = ([extra] if extra else []) + list(table.columns)
    listed = f"({', '.join(map(sql.quote_name, columns))})" if table.partial or extra else ""
    marks, values = [], []
    for column in columns:
        trusted = text is None and column in table.textual
        marks.append("%Q" if trusted else "%s")
        values.append(sql.quote_name(column) if trusted else _literal(column, text or _guarded_text))
    verb = "INSERT OR REPLACE" if live else "INSERT"
    head = f"{verb} INTO {sql.quote_name(table.name)}{listed} VALUES(".replace("%", "%%")
    parts = []
    for start in range(0, len(columns), _FORMAT_VALUES):
        end = start + _FORMAT_VALUES
        template = ("," if start else head) + ",".join(marks[start:end])
        parts.append(f"format({', '.join([sql.quote_text(template), *values[start:end]])})")
    return f"({' || '.join(parts)} || ');' || char(10))"


def _literal(column: str, text: Callable[[str], str]) -> str:
    name = sql.quote_name(column)
    return (
        f"CASE typeof({name}) WHEN 'real' THEN {real_literal(name)}"
        f" WHEN 'text' THEN {text(name)} ELSE quote({name}) END"
    )


def _guarded_text(name: str) -> str:
    # quote() stops at a NUL, and the sqlite3 shell drops a carriage return before a line feed.
    return (
        f"CASE WHEN instr({name}, char(0)) OR instr({name}, char(13))"
        f" THEN {_hex_text(name)} ELSE quote({name}) END"
    )


def _hex_text(name: str) -> str:
    return f"'CAST(X''' || hex({name}) || ''' AS TEXT)'"


def real_literal(name: str) -> str:
    """Write the SQL expression that makes a double's literal, exact for every version of SQLite.

    17 digits name a double, but versions before 3.43 are off by a bit when they read some of them, for
    numbers above 1e280 or below 1e-280 nearly one in forty (measured with 3.40 against 3.53). With 20
    digits none was found to fail between 1e-250 and 1e250; beyond, the number is brought near 1 by powers
    of two, which lose nothing.
    """
    step = "4611686018427387904.0"  # 2^62
    scale = 11
    up, down = f"*{step}" * scale, f"/{step}" * scale
    return (
        # Only its angle tells -0.0 from 0.0.
        f"CASE WHEN {name} = 0 THEN CASE WHEN atan2({name}, -1) < 0 THEN '-0.0' ELSE '0.0' END"
        f" WHEN abs({name}) BETWEEN 1e-100 AND 1e100 THEN format('%!.20g', {name})"
        f" WHEN abs({name}) > 1.7976931348623157e308 THEN CASE WHEN {name} > 0 THEN '9e999' ELSE '-9e999' END"
        f" WHEN abs({name}) > 1 THEN format('%!.20g', {name}{down}) || '{up}'"
        f" ELSE format('%!.20g', {name}{up}) || '{down}' END"
    )


# -------------------------------------------------------------------------- virtual tables, sequences


def _virtual_rows(snapshot: Reader, table: Table, tables: list[Table], shadows: set[str]) -> Iterator[bytes]:
    name = sql.quote_name(table.name)
    if table.module in {"rtree", "rtree_i32"}:
        yield from (text for text, _ in _careful(snapshot, table, ""))
    elif f"{table.name}_content" in shadows:
        yield from (text for text, _ in _careful(snapshot, table, "ORDER BY rowid", "rowid"))
    elif is_index_only(table, tables):
        # Only the index exists: its own tables are the rows.
        for shadow in tables:
            if shadow.name in {f"{table.name}_{part}" for part in ("data", "idx", "docsize", "config")}:
                yield f"DELETE FROM {sql.quote_name(shadow.name)};\n".encode()
                yield from (text for text, _ in _careful(snapshot, shadow, ""))
    elif table.module in {"fts4", "fts5"}:
        yield f"INSERT INTO {name}({name}) VALUES('rebuild');\n".encode()


def _write_sequences(snapshot: Reader, tables: list[Table], partly: bool, write: Write) -> None:
    # The table of sequences comes with the first AUTOINCREMENT, and may outlive the last.
    if not any(token.text.upper() == "AUTOINCREMENT" for table in tables for token in sql.tokens(table.sql)):
        return
    names = {table.name for table in tables}
    rows: list[Row] = list(
        snapshot.stream(Statement("SELECT name, quote(seq) FROM sqlite_sequence ORDER BY rowid"))
    )
    kept = [(as_text(name), as_text(number)) for name, number in rows if as_text(name) in names]
    if not partly:
        write(b"DELETE FROM sqlite_sequence;\n")
    for name, number in kept:
        if partly:
            write(f"DELETE FROM sqlite_sequence WHERE name={sql.quote_text(name)};\n".encode())
        write(f"INSERT INTO sqlite_sequence VALUES({sql.quote_text(name)},{number});\n".encode())


def _rest(snapshot: Reader) -> list[_Object]:
    """Give indexes, then views, then triggers: a trigger may stand on a view."""
    query = (
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL"
        r" AND tbl_name NOT LIKE '\_cf\_%' ESCAPE '\' ORDER BY rowid"
    )
    found = [_Object(*(as_text(value) for value in row)) for row in snapshot.stream(Statement(query))]
    return sorted(found, key=lambda item: ("index", "view", "trigger").index(item.type))


def _closed(ddl: str) -> bytes:
    # SQLite keeps a comment at the end of a view's text; a semicolon right behind it would belong to it.
    comment = ddl[max(token.offset + len(token.text) for token in sql.tokens(ddl)) :]
    end = "\n" if "--" in comment else "*/" if comment.count("/*") > comment.count("*/") else ""
    return f"{with_if_not_exists(ddl)}{end};\n".encode("utf-8", "surrogateescape")


def with_if_not_exists(ddl: str) -> str:
    """Say IF NOT EXISTS in a CREATE statement, as SQLite stores it (without)."""
    for token in sql.tokens(ddl):
        if token.kind == "word" and token.text.upper() in {"TABLE", "INDEX", "VIEW", "TRIGGER"}:
            end = token.offset + len(token.text)
            return f"{ddl[:end]} IF NOT EXISTS{ddl[end:]}"
    return ddl
