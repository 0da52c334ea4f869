"""What hypothesis may make up: names, values, tables, whole ledgers, scripts."""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hoox_tasks.values import Value

settings.register_profile(
    "hoox",
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
settings.load_profile("hoox")

_EXAMPLES = float(os.environ.get("HOOX_EXAMPLES", "1"))


def examples(number: int) -> settings:
    """Try that many examples, or `HOOX_EXAMPLES` times as many."""
    return settings(settings.get_profile("hoox"), max_examples=max(1, int(number * _EXAMPLES)))


@dataclass(frozen=True)
class RawText:
    """Text whose bytes need not be UTF-8."""

    content: bytes


@dataclass(frozen=True)
class LongCell:
    """A text or blob that would take up pages where it is shown: a piece, so many times."""

    piece: str | bytes
    times: int


Cell = Value | RawText | LongCell

# ----------------------------------------------------------------------------------------------- names

_AWKWARD_NAMES = (
    "trades", "order", "select", "Table", "a b", "100%", "%s", "%Q", "it's", 'say "hi"', "back`tick", "[br]",
    "new\nline", "tab\there", "ünï", "表", "--x", "/*", "a;b", "rowid", "_rowid_", "oid", "true", "1st", "'",
    '"', "%%", "{0}", "\\", "$1", "?", "@a", "a.b", "end", "_", "within", "😀", "\ufeff",
)  # fmt: skip
_characters = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r")
names = st.one_of(st.sampled_from(_AWKWARD_NAMES), st.text(_characters, min_size=1, max_size=8)).filter(
    lambda name: not name.lower().startswith(("sqlite_", "_cf_", "hoox_guard"))
)


def quoted(name: str) -> str:
    """Write a name in double quotes, by SQL's own rule."""
    return '"' + name.replace('"', '""') + '"'


# ---------------------------------------------------------------------------------------------- values

integers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**31, 255]),
)
doubles = st.one_of(
    st.floats(allow_nan=False),
    st.sampled_from(
        [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e308, 0.1]
    ),
    st.sampled_from(
        [float("inf"), float("-inf"), 2.0**53, 1e15, 1e16, 9007199254740993.0, 4.35, 9.2233720368547758e18]
    ),
    st.binary(min_size=8, max_size=8)
    .map(lambda bits: float(struct.unpack("<d", bits)[0]))
    .filter(lambda number: number == number),
)
texts = st.one_of(
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=20),
    st.text("ab'\"\n\r\0%\\;-/*` ", max_size=12),
    st.sampled_from(
        ["\r\n", "a\r\nb", "\0", "a\0b", "'", "''", "\ufeff", "/\n", "go\n", ".quit\n", "1", "1.0", "-0"]
    ),
)
raw_texts = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"\xff", b"a\xffb", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]),
).map(RawText)
plain: st.SearchStrategy[Cell] = st.one_of(st.none(), integers, doubles, texts, st.binary(max_size=20))
cells: st.SearchStrategy[Cell] = st.one_of(plain, plain, raw_texts)

# ---------------------------------------------------------------------------------------------- ledgers


@dataclass(frozen=True)
class MadeTable:
    """A table: its DDL, the columns that can be inserted, and rows for them."""

    name: str
    ddl: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class MadeLedger:
    """Tables with their rows, and what stands on them."""

    tables: tuple[MadeTable, ...]
    later: tuple[str, ...] = field(default=())

    def build(self, connection: sqlite3.Connection) -> None:
        """Make it in an empty database (in autocommit mode). Rows that a constraint refuses are left out."""
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        for table in self.tables:
            connection.execute(table.ddl)
        for table in self.tables:
            insert_rows(connection, table.name, table.columns, table.rows)
        for statement in self.later:
            connection.execute(statement)


def insert_rows(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...]
) -> None:
    """Insert rows, leaving out those that a constraint refuses."""
    for row in rows:
        marks = ["CAST(? AS TEXT)" if isinstance(cell, RawText) else "?" for cell in row]
        statement = (
            f"INSERT INTO {quoted(table)} ({', '.join(map(quoted, columns))}) VALUES ({', '.join(marks)})"
        )
        values = [_value(cell) for cell in row]
        with suppress(sqlite3.IntegrityError, sqlite3.OperationalError):  # The latter: no rowid is left.
            connection.execute(statement, values)


def _value(cell: Cell) -> Value:
    if isinstance(cell, LongCell):
        return cell.piece * cell.times
    return cell.content if isinstance(cell, RawText) else cell


_TYPES = (
    "",
    "INTEGER",
    "INT",
    "TEXT",
    "REAL",
    "BLOB",
    "NUMERIC",
    "VARCHAR(20)",
    "CHARINT",
    "FLOAT",
    "DATETIME",
    "ANY",
    "CLOB",
)
_STRICT_TYPES = ("INTEGER", "REAL", "TEXT", "BLOB", "ANY")


@st.composite
def _table(draw: st.DrawFn, name: str, others: tuple[str, ...]) -> MadeTable:
    columns = draw(st.lists(names, min_size=1, max_size=6, unique_by=lambda name: name.casefold()))
    strict = draw(st.booleans())
    types = [draw(st.sampled_from(_STRICT_TYPES if strict else _TYPES)) for _ in columns]
    key = draw(
        st.sampled_from(["none", "none", "rowid", "autoincrement", "any", "compound", "without rowid"])
    )
    parts = []
    generated = set()
    for place, (column, declared) in enumerate(zip(columns, types, strict=True)):
        text = f"{quoted(column)} {declared}"
        if place == 0 and key in {"rowid", "autoincrement"}:
            text = f"{quoted(column)} INTEGER PRIMARY KEY" + (
                " AUTOINCREMENT" if key == "autoincrement" else ""
            )
        elif place == 0 and key == "any":
            text += " PRIMARY KEY" + draw(st.sampled_from([" DESC", ""]))
        elif place == 0 and key == "without rowid":
            text += " NOT NULL"
        elif place > 1 and draw(st.integers(0, 4)) == 0:
            kind = draw(st.sampled_from(["STORED", "VIRTUAL"]))
            text += f" GENERATED ALWAYS AS (coalesce({quoted(columns[0])}, 'none') IS NOT NULL) {kind}"
            if strict:
                text = text.replace(f" {declared} ", " ANY ", 1)
            generated.add(column)
        elif others and draw(st.integers(0, 3)) == 0:
            action = draw(
                st.sampled_from(
                    ["", " ON DELETE CASCADE", " ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED"]
                )
            )
            text += f" REFERENCES {quoted(draw(st.sampled_from(others)))}{action}"
        elif draw(st.integers(0, 4)) == 0:
            text += draw(
                st.sampled_from([" DEFAULT 'it''s; --'", " COLLATE NOCASE", " DEFAULT (1 + 1)", " /* ; */"])
            )
        parts.append(text)
    if key == "compound":
        parts.append(f"PRIMARY KEY ({', '.join(map(quoted, columns[:2]))})")
    elif key == "without rowid":
        parts.append(f"PRIMARY KEY ({quoted(columns[0])})")
    options = (["WITHOUT ROWID"] if key == "without rowid" else []) + (["STRICT"] if strict else [])
    ddl = f"CREATE TABLE {quoted(name)} ({', '.join(parts)}) {', '.join(options)}"
    filled = tuple(column for column in columns if column not in generated)
    rows = draw(st.lists(st.tuples(*[cells] * len(filled)), max_size=6))
    return MadeTable(name, ddl, filled, tuple(rows))


@st.composite
def ledgers(draw: st.DrawFn) -> MadeLedger:
    """Make up a ledger: tables that may refer to each other in any order, and what stands on them."""
    chosen = tuple(draw(st.lists(names, min_size=1, max_size=4, unique_by=lambda name: name.casefold())))
    tables = tuple(draw(_table(name, chosen)) for name in chosen)
    return MadeLedger(tables, draw(_later(tables)))


@st.composite
def _later(draw: st.DrawFn, tables: tuple[MadeTable, ...]) -> tuple[str, ...]:
    """Make up indexes, views and triggers on tables."""
    later: list[str] = []
    taken = {table.name.casefold() for table in tables}
    extra = draw(
        st.lists(
            names.filter(lambda n: n.casefold() not in taken), max_size=4, unique_by=lambda n: n.casefold()
        )
    )
    for number, name in enumerate(extra):
        table = draw(st.sampled_from(tables))
        target, column = quoted(table.name), quoted(table.columns[0])
        view = quoted(f"{name} {number}")
        kinds: list[list[str]] = [
            [f"CREATE INDEX {quoted(name)} ON {target} ({column})"],
            [f"CREATE INDEX {quoted(name)} ON {target} (typeof({column})) WHERE {column} IS NOT NULL"],
            [f"CREATE VIEW {quoted(name)} AS SELECT * FROM {target} -- all; of it\n"],
            [
                f"CREATE TRIGGER {quoted(name)} AFTER INSERT ON {target} BEGIN"
                f" DELETE FROM {target} WHERE CASE WHEN 1 THEN 1 END; SELECT ';'; END"
            ],
            [
                f"CREATE VIEW {view} AS SELECT {column} AS c FROM {target}",
                f"CREATE TRIGGER {quoted(name)} INSTEAD OF INSERT ON {view} BEGIN DELETE FROM {target}; END",
            ],
        ]
        later += draw(st.sampled_from(kinds))
    return tuple(later)


long_cells: st.SearchStrategy[Cell] = st.builds(
    lambda piece, size: LongCell(piece, size // len(piece)),
    st.sampled_from(["x", "é'", "\r\n", "\\n\n", "😀", b"\0'", b"\xff"]),
    st.integers(89_000, 130_000),
)
"""Texts and blobs about as long as a statement may be on D1, and longer."""

_KEYS = (
    "INTEGER PRIMARY KEY",
    "INTEGER PRIMARY KEY AUTOINCREMENT",
    "TEXT PRIMARY KEY",
    "INT NOT NULL UNIQUE",
    "TEXT NOT NULL PRIMARY KEY",
)


@st.composite
def related_ledgers(draw: st.DrawFn) -> MadeLedger:
    """Make up a ledger whose rows refer to rows that there are: of tables before, behind, and their own.

    It may lie on a D1, where foreign keys are always on.
    """
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique_by=lambda name: name.casefold()))
    kinds = [draw(st.sampled_from(_KEYS)) for _ in chosen]
    ids: list[list[Cell]] = [
        draw(
            st.lists(
                st.text("abc'\n", max_size=4) if "TEXT" in kind else st.integers(-(2**63), 2**63 - 1),
                max_size=5,
                unique=True,
            )
        )
        for kind in kinds
    ]
    tables = []
    for place, (name, kind) in enumerate(zip(chosen, kinds, strict=True)):
        strict = draw(st.booleans())
        referred = draw(st.lists(st.integers(0, len(chosen) - 1), max_size=3))
        parts = [f"id {kind}"]
        for number, target in enumerate(referred):
            actions = ["", " DEFERRABLE INITIALLY DEFERRED", " ON DELETE CASCADE"]
            # Two loops of cascades in one ring are more than SQLite can drop, in any order.
            action = draw(st.sampled_from(actions if target < place else actions[:2]))
            declared = "TEXT" if "TEXT" in kinds[target] else "INT"
            parts.append(f"r{number} {declared} REFERENCES {quoted(chosen[target])} (id){action}")
        parts.append("x ANY" if strict else "x")
        parts.append(draw(st.sampled_from(["y ANY", "g ANY AS (typeof(x)) STORED", "g ANY AS (x) VIRTUAL"])))
        keyed = kind == "TEXT NOT NULL PRIMARY KEY"
        options = (["WITHOUT ROWID"] if keyed else []) + (["STRICT"] if strict else [])
        ddl = f"CREATE TABLE {quoted(name)} ({', '.join(parts)}) {', '.join(options)}"
        rows = [
            (
                identity,
                *(draw(st.sampled_from([None, *ids[target]])) for target in referred),
                draw(st.one_of(plain, plain, plain, plain, long_cells, st.just(float("nan")))),
            )
            for identity in ids[place]
        ]
        columns = ("id", *(f"r{number}" for number in range(len(referred))), "x")
        tables.append(MadeTable(name, ddl, columns, tuple(rows)))
    return MadeLedger(tuple(tables), draw(_later(tuple(tables))))
