"""What a ledger lacks of a migration that is there in part, and how it is made without losing a row."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject, Statement
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations.history import written_names
from hoox_tasks.migrations.model import Fact, Made, facts, missing_statements, told
from hoox_tasks.migrations.seeds import Ask

_STAND_INS = {"TEXT": "''", "BLOB": "x''"}
"""Values for columns of these types in a row that stands for all rows; for the others it is 0."""


def advice(
    made: Made,
    lacking: Collection[Fact],
    schema: Sequence[SchemaObject],
    ask: Ask,
    *,
    again: str,
    by_hand: str,
) -> str:
    """Say how a ledger gets what it lacks of a migration that is there in part.

    The commands that are named have been tried on its schema, with rows. `schema` is the ledger's, `ask` asks
    it. `again` is what to do once it is made by a command, `by_hand` what to do once it is made by hand.
    """
    taken = occupied(lacking, schema)
    if taken:
        return f"{taken} Then run this again."
    statements = _statements(made, lacking, schema, ask)
    if statements:
        doubled = _doubled(made, statements, schema, ask)
        script = shlex.quote(";\n".join(statements))
        if doubled:
            return f"{doubled} Then run this again."
        return f"Make what is missing with `inv db.query --write {script}`. {again}"
    others = _other_tables(made, lacking)
    with closing(EmptyLedger(schema, strict=False)) as ledger:
        referred = {parent.lower() for parents in ledger.parents().values() for parent in parents}
    for table in others:
        if _columns(made.made, table) <= set(lacking) and table not in referred:
            aside = _aside(table, schema)
            return (
                f"The table {table} is another one, without a column in common. Make the file say what the"
                f" ledger has; or put it aside, rows and all, with {aside}. Then run this again."
            )
    name = made.migration.name
    for table in others:
        missing = told(_columns(made.made, table) & set(lacking))
        return (
            f"The table {table} is there without {missing}, and no statement adds that to its rows. Make"
            f" of it by hand what {name} makes, and keep its rows; or make the file say what the ledger has."
            f" {by_hand}"
        )
    return (
        f"Make {told(lacking)} by hand as {name} says, and keep all rows; or make the file say what the"
        f" ledger has. {by_hand}"
    )


def occupied(lacking: Collection[Fact], schema: Sequence[SchemaObject]) -> str:
    """Say what has the name of a table or view that is lacking, and how it makes room; empty for nothing."""
    for kind, name in sorted((fact[0], fact[1]) for fact in lacking if fact[0] in {"table", "view"}):
        for item in schema:
            if item.name.lower() != name or item.type == kind or item.type == "trigger":
                continue
            if item.type == "table":
                way = f"Put it aside, rows and all, with {_aside(name, schema)}."
            else:
                drop = shlex.quote(f"DROP {item.type.upper()} {sql.quote_name(item.name)}")
                way = (
                    "Keep its definition, which `inv db.schema` shows, and take it away with"
                    f" `inv db.query --write {drop}`."
                )
            return f"The name {item.name} is that of a {item.type}, where a {kind} should be. {way}"
    return ""


def _aside(table: str, schema: Sequence[SchemaObject]) -> str:
    """Give the command that gives a table a name that is free."""
    taken = {item.name.lower() for item in schema}
    names = (f"{table}_before{'' if number == 1 else number}" for number in range(1, len(taken) + 2))
    free = next(name for name in names if name not in taken)
    rename = f"ALTER TABLE {sql.quote_name(table)} RENAME TO {sql.quote_name(free)}"
    return f"`inv db.query --write {shlex.quote(rename)}`"


def _other_tables(made: Made, lacking: Collection[Fact]) -> list[str]:
    """Give the tables that the migration itself makes, and that are there with other columns."""
    return sorted(
        {
            fact[1]
            for fact in lacking
            if fact[0] == "column" and ("table", fact[1]) in made.made and ("table", fact[1]) not in lacking
        }
    )


def _columns(found: Collection[Fact], table: str) -> set[Fact]:
    return {fact for fact in found if fact[:2] == ("column", table)}


def _statements(made: Made, lacking: Collection[Fact], schema: Sequence[SchemaObject], ask: Ask) -> list[str]:
    """Give statements that make what is lacking, also where tables hold rows; none where they would fail."""
    with closing(EmptyLedger(schema, strict=False)) as ledger:
        here = facts(ledger, ())
        others = [
            fact for fact in sorted(lacking) if fact in here and fact[0] in {"index", "trigger", "view"}
        ]
        statements = [f"DROP {kind.upper()} {sql.quote_name(name)}" for kind, name in others]
        statements += missing_statements(made, lacking)
        try:
            ledger.run(map(Statement, statements))
        except HooxError:
            return []
        if not set(lacking) <= facts(ledger, ()):
            return []
    altering = [text for text in statements if sql.first_word(text) == "ALTER"]
    return statements if not altering or _runs_on_rows(altering, schema, ask) else []


def _runs_on_rows(altering: Sequence[str], schema: Sequence[SchemaObject], ask: Ask) -> bool:
    """Whether statements that change tables run where those hold the rows that they hold."""
    tables = [item for item in schema if item.type == "table"]
    altered = set().union(*map(written_names, altering))
    with closing(EmptyLedger(tables, strict=False)) as ledger:
        names = sorted(name for name in ledger.of_kind("table") if name.lower() in altered)
        holding = ask([f"SELECT EXISTS (SELECT 1 FROM {sql.quote_name(name)})" for name in names])
        for name, holds in zip(names, holding, strict=True):
            if holds:
                _put_row(ledger, name)
        with suppress(HooxError):
            ledger.run(map(Statement, altering))
            return True
    return False


def _put_row(ledger: EmptyLedger, table: str) -> None:
    """Put a row into a table, as SQLite adds fewer columns to one that holds rows."""
    columns = ledger.connection.execute(
        'SELECT name, upper(type) FROM pragma_table_xinfo(?) WHERE hidden = 0 AND "notnull"', (table,)
    ).fetchall()
    target = f"INSERT INTO {sql.quote_name(table)}"
    row = f"{target} DEFAULT VALUES"
    if columns:
        names = ", ".join(sql.quote_name(name) for name, _ in columns)
        row = f"{target} ({names}) VALUES ({', '.join(_STAND_INS.get(kind, '0') for _, kind in columns)})"
    ledger.connection.execute("PRAGMA ignore_check_constraints = ON")
    with suppress(sqlite3.Error):
        ledger.connection.execute(row)


def _doubled(made: Made, statements: Sequence[str], schema: Sequence[SchemaObject], ask: Ask) -> str:
    """Say which values are there more than once, where a unique index is lacking; empty for none."""
    with closing(EmptyLedger(schema, strict=False)) as ledger:
        there = {item.name for item in schema}
        columns = {table: {name.lower() for name in ledger.columns(table)} for table in ledger.tables()}
        ledger.run(map(Statement, statements))
        unique = [each for each in _unique_indexes(ledger) if each[0] not in there]
    unique = [each for each in unique if {name.lower() for name in each[2]} <= columns.get(each[1], set())]
    groups = [_groups(table, names) for _, table, names in unique]
    answers = ask([f"SELECT EXISTS (SELECT 1 FROM ({group}))" for group in groups]) if groups else []
    for (index, table, names), group, found in zip(unique, groups, answers, strict=True):
        if found:
            return (
                f"The index {index} of {made.migration.name} is unique, and values of {table}"
                f" ({', '.join(names)}) are there more than once. Look with"
                f" `inv db.query {shlex.quote(group)}`, and correct the rows."
            )
    return ""


def _unique_indexes(ledger: EmptyLedger) -> Iterator[tuple[str, str, list[str]]]:
    """Give name, table and columns of the unique indexes that are of columns alone, and of all rows."""
    for table in ledger.tables():
        listed = "SELECT name FROM pragma_index_list(?) WHERE \"unique\" AND NOT partial AND origin = 'c'"
        for (index,) in ledger.connection.execute(listed, (table,)).fetchall():
            keys = ledger.connection.execute(
                "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key", (index,)
            ).fetchall()
            if all(name is not None and collation == "BINARY" for name, collation in keys):
                yield index, table, [name for name, _ in keys]


def _groups(table: str, names: Sequence[str]) -> str:
    """Write the query for values that are there more than once; NULL is never the same as another."""
    listed = ", ".join(map(sql.quote_name, names))
    present = " AND ".join(f"{sql.quote_name(name)} IS NOT NULL" for name in names)
    return (
        f"SELECT {listed}, count(*) AS number FROM {sql.quote_name(table)} WHERE {present}"
        f" GROUP BY {listed} HAVING count(*) > 1"
    )
