"""D1's own export, read into a SQLite file: its rows only, value by value.

D1's dumps often do not load again (https://developers.cloudflare.com/d1/best-practices/import-export-data/
and its format's habits): a table may follow rows that refer to it, infinities are bare words, and line
breaks in text are written by way of `replace`. So the rows are read as values, and the schema comes from
the database itself. What a dump cannot carry at all, `inexact_queries` find beforehand.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

from hoox_tasks import sql
from hoox_tasks.database.interface import SchemaObject, Table
from hoox_tasks.errors import HooxError
from hoox_tasks.rules.functions import supply_functions
from hoox_tasks.values import Row, Value

_ROWS = 1000
_CONDITIONS = 25
"""How many columns one question is about: D1 allows a function 32 arguments, an expression 100 levels."""

_NAME = r'"(?:[^"]|"")*"'
_HEAD = re.compile(rf"INSERT INTO ({_NAME}) ?(?:\(({_NAME}(?:,{_NAME})*)\) ?)?VALUES ?\(")
_CELL = re.compile(
    r"(?:(?:replace\()*'(?P<text>(?:[^']|'')*)'"
    r"|(?P<number>-?(?:[0-9][0-9.eE+-]*|Infinity))"
    r"|(?P<null>NULL)"
    r"|(?P<blob>X'[0-9A-Fa-f]*'))"
    r"(?P<breaks>(?:,'\\[nr]',char\(1[03]\)\))*)"
    r"(?:,|(?P<end>\);\n?\Z))"
    r"|(?P<other>(?s:.))"
)
_FRACTION = re.compile(r"[.eI]").search


def is_exportable(tables: Iterable[Table]) -> bool:
    """Whether D1 exports these tables (none made by a module), each row on a line of its own."""
    names = [name for table in tables for name in (table.name, *table.columns)]
    return all(table.kind == "table" for table in tables) and not any("\n" in name for name in names)


def inexact_queries(tables: Iterable[Table]) -> list[str]:
    """Write queries that count the cells which D1's export would change; each gives one number.

    Those are integers beyond 2^53, infinities, whole REALs where a column keeps an INTEGER as such, and
    texts in which a line break stands beside a written `\\n`.
    """
    queries = []
    for table in tables:
        conditions = [_inexact(sql.quote_name(name), name in table.untyped) for name in table.columns]
        for start in range(0, len(conditions), _CONDITIONS):
            # The 0 is there because max() of one argument is another function.
            some = ", ".join(conditions[start : start + _CONDITIONS])
            queries.append(f"SELECT count(*) FROM {sql.quote_name(table.name)} WHERE max(0, {some})")
    return queries


def _inexact(name: str, untyped: bool) -> str:
    real = f"abs({name}) > 1.7976931348623157e308"
    if untyped:
        real = f"({real} OR {name} = round({name}))"
    return (
        f"CASE typeof({name}) WHEN 'integer' THEN {name} NOT BETWEEN -9007199254740992 AND 9007199254740992"
        f" WHEN 'real' THEN {real} WHEN 'text' THEN (instr({name}, char(10)) AND instr({name}, '\\n'))"
        f" OR (instr({name}, char(13)) AND instr({name}, '\\r')) ELSE 0 END"
    )


def load_export(lines: Iterable[str], schema: Sequence[SchemaObject], connection: sqlite3.Connection) -> None:
    """Build an empty database from `schema` and the rows of an export that was made without its schema.

    `lines` keep their line ends. Raises `HooxError` for what is no such export. Foreign keys are left off.
    """
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN")
    supply_functions(connection)
    tables = [item for item in schema if item.type == "table"]
    ranks = ("index", "view", "trigger")
    rest = sorted((item for item in schema if item.type != "table"), key=lambda item: ranks.index(item.type))
    for item in tables:
        connection.execute(item.sql)
    for head, rows in groupby(_rows(lines), key=lambda pair: pair[0]):
        insert = _insert(connection, head)
        cells = (row for _, row in rows)
        while chunk := list(islice(cells, _ROWS)):
            if insert:
                connection.executemany(insert, chunk)
    for item in rest:
        connection.execute(item.sql)
    connection.execute("COMMIT")


def _insert(connection: sqlite3.Connection, head: str) -> str:
    """The statement for the rows behind one INSERT's head; empty where they are not wanted."""
    match = _HEAD.fullmatch(head)
    assert match is not None
    table = sql.unquote_name(match[1])
    if table.startswith("sqlite_stat"):
        return ""
    if table == "sqlite_sequence":
        # The tables' own rows have counted already.
        connection.execute("DELETE FROM sqlite_sequence")
    names = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({match[1]})")]
    listed = match[2] or ",".join(map(sql.quote_name, names))
    marks = ",".join("?" * (len(re.findall(_NAME, match[2])) if match[2] else len(names)))
    return f"INSERT INTO {match[1]} ({listed}) VALUES ({marks})"


def _rows(lines: Iterable[str]) -> Iterator[tuple[str, Row]]:
    """Yield the head and the values of every INSERT; an export has each on a line of its own."""
    head = ""
    for number_of_line, line in enumerate(lines, 1):
        if not head or not line.startswith(head):
            if not line.strip() or line.startswith("PRAGMA "):
                continue
            match = _HEAD.match(line)
            if match is None:
                raise _unreadable(number_of_line)
            head = match.group()
        row: list[Value] = []
        whole = False
        # A million rows have fifteen million cells: no call for each of the plain ones.
        for text, number, null, blob, breaks, end, other in _CELL.findall(line, len(head)):
            if number:
                row.append(float(number) if _FRACTION(number) else _integer(number))
            elif null:
                row.append(None)
            elif blob:
                row.append(bytes.fromhex(blob[2:-1]))
            elif other:
                break
            else:
                row.append(_text(text, breaks) if breaks or "''" in text else text)
            whole = bool(end)
        if not whole:
            raise _unreadable(number_of_line)
        yield head, tuple(row)


def _integer(digits: str) -> int | float:
    number = int(digits)
    return number if -(2**63) <= number < 2**63 else float(number)


def _text(text: str, breaks: str) -> str:
    text = text.replace("''", "'")
    if "\\r" in breaks:
        text = text.replace("\\r", "\r")
    if "\\n" in breaks:
        text = text.replace("\\n", "\n")
    return text


def _unreadable(line: int) -> HooxError:
    return HooxError(
        f"Line {line} of D1's export is none that D1 is known to write, or it was cut off.", "Export again."
    )
