"""What a ledger on D1 answered, as statements that fail where it would not answer the same any more.

No transaction on D1 spans two requests. So a change that is to be made of a moment takes along what was
seen at that moment: its guard runs before it, in the same transaction, and undoes it where it fails.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from hoox_tasks import sql
from hoox_tasks.database.checksum import checksums
from hoox_tasks.database.interface import Database, Rows, SchemaObject, Statement, Table
from hoox_tasks.database.outline import outline
from hoox_tasks.database.schema import with_rows
from hoox_tasks.errors import ChangedMeanwhile, HooxError, StatementError
from hoox_tasks.rules.limits import STATEMENT_BYTES
from hoox_tasks.values import Row, Value

_GUARD_WORDS = re.compile(r"hoox guard (changed|arrived|late): ?(.*?)'?(?:: SQLITE_\w+.*)?\Z", re.DOTALL)
_REQUESTS = 1
"""How many requests full of checksums a guard asks again, in its one request: D1 ends that after 30 s."""
_GROUP_BYTES = 20_000
"""Bytes of definitions that one statement compares."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A query about a part of the ledger, and the rows that it gave."""

    about: str
    sql: str
    columns: int
    rows: tuple[Row, ...]

    def guard(self, kind: str) -> Statement:
        """Write the statement that fails where the query would give other rows.

        `kind` is `changed` before a change, `arrived` behind it.
        """
        names = [f"c{place}" for place in range(self.columns)]
        source, others = "FROM seen", ""
        if len(self.rows) == 1:
            pairs = zip(names, self.rows[0], strict=True)
            condition = " OR ".join(f"{name} IS NOT {sql.quote_value(value)}" for name, value in pairs)
        else:
            quoted = " || ' ' || ".join(f"quote({name})" for name in names)
            expected = " ".join(_quote(value) for row in self.rows for value in row)
            others = f", together(c) AS (SELECT coalesce(group_concat({quoted}, ' '), '') FROM seen)"
            condition, source = f"c IS NOT {sql.quote_text(expected)}", "FROM together"
        # Materialized, it stays apart: an expression may be 100 levels deep, and a question may need them.
        return Statement(
            f"WITH seen({', '.join(names)}) AS MATERIALIZED ({self.sql}){others}"
            f" {fail_when(condition, kind, self.about)} {source}"
        )


class _TooMuch(Exception):
    """More is asked than one request can ask again; `questions` were not asked any more."""

    def __init__(self, questions: Sequence[Statement]) -> None:
        self.questions = questions


class Recorder:
    """Passes reading units on to a ledger, and remembers the questions and the answers.

    `others` are asked together with the first unit. Raises `_TooMuch` for a unit beyond the first `most`.
    """

    def __init__(self, database: Database, others: Sequence[Statement], most: int | None) -> None:
        self._database = database
        self._others = others
        self._most = most
        self.answers: list[Answer] = []
        self.requests: int = 0

    def batch(self, statements: Iterable[Statement], *, write: bool = False) -> list[Rows]:
        """Run a reading unit."""
        asked = list(statements)
        if self.requests == self._most:
            raise _TooMuch(asked)
        unit = asked + list(self._others if not self.requests else ())
        results = self._database.batch(unit, write=write)
        self.requests += 1
        for statement, result in zip(unit, results, strict=True):
            result.rows = rows = list(result)
            self.answers.append(Answer("", statement.sql, len(result.columns), tuple(rows)))
        return results[: len(asked)]


@dataclass(frozen=True, slots=True)
class Content:
    """What a ledger answered about its rows, how many each table has, and whether it was asked by pages."""

    answers: tuple[Answer, ...]
    counts: dict[str, int]
    paged: bool


def ask_content(
    database: Database,
    tables: Sequence[Table],
    weighed: Collection[str] | None = None,
    *,
    most: int | None = _REQUESTS,
) -> Content:
    """Ask a ledger how many rows tables have, and for the checksums of those `weighed` (None: of all).

    One request where none is large. Where more than `most` would be needed, tables with more rows are asked
    for an outline instead: what is asked here is asked again by one guard, in one request.
    """
    chosen = [table for table in tables if weighed is None or _belongs(table, weighed)]
    names = {table.name for table, _ in with_rows(chosen)}
    counted = [table for table in tables if table.kind != "shadow" and table.name not in names]
    others = [Statement(f"SELECT count(*) FROM {sql.quote_name(table.name)}") for table in counted]
    recorder = Recorder(database, others, most)
    large: set[str] = set()
    try:
        if names:
            checksums(cast(Database, recorder), chosen)
    except _TooMuch as stopped:
        large = {_about(question.sql, tables) for question in stopped.questions}
    if not recorder.requests and others:
        recorder.batch([])
    answers = [replace(answer, about=_about(answer.sql, tables)) for answer in recorder.answers]
    if large:
        answers = [answer for answer in answers if answer.about not in large]
        answers += _ask_outlines(database, [pair for pair in with_rows(chosen) if pair[0].name in large])
    inside = {table.name for table in tables if table.kind == "shadow"}
    counts: dict[str, int] = {}
    for answer in answers:
        if answer.about not in inside:
            counts[answer.about] = counts.get(answer.about, 0) + int(str(answer.rows[0][0]))
    return Content(tuple(answers), counts, recorder.requests > 1)


def _ask_outlines(database: Database, tables: Sequence[tuple[Table, tuple[str, ...]]]) -> list[Answer]:
    questions = [Statement(outline(table, columns)) for table, columns in tables]
    return [
        Answer(table.name, question.sql, len(result.columns), tuple(result))
        for (table, _), question, result in zip(
            tables, questions, database.batch(questions, write=False), strict=True
        )
    ]


def _belongs(table: Table, names: Collection[str]) -> bool:
    """Whether a table is one of these, or inside of one."""
    return table.name in names or (
        table.kind == "shadow" and any(table.name.startswith(f"{name}_") for name in names)
    )


def _about(question: str, tables: Sequence[Table]) -> str:
    """Say which table a question is about, for the error."""
    for table in tables:
        if re.search(rf"FROM (?:main\.)?{re.escape(sql.quote_name(table.name))}(?![\w$\"])", question):
            return table.name
    return ""


def ask_schema(schema: Sequence[SchemaObject], query: str) -> Iterator[Answer]:
    """Give questions about all objects of a ledger with the answers, from what `query` gave before."""
    groups: list[list[SchemaObject]] = [[]]
    size = 0
    for item in schema:
        size += len(item.sql)
        if groups[-1] and size > _GROUP_BYTES:
            groups.append([])
            size = len(item.sql)
        groups[-1].append(item)
    start = 0
    for place, group in enumerate(groups):
        limit = -1 if place == len(groups) - 1 else len(group)
        # A definition may be so long that a statement does not hold it.
        ddl = "sql" if sum(len(item.sql) for item in group) <= _GROUP_BYTES else "length(sql)"
        rows = tuple(
            (item.type, item.name, item.table, item.sql if ddl == "sql" else len(item.sql)) for item in group
        )
        question = f"SELECT type, name, tbl_name, {ddl} FROM ({query}) LIMIT {limit} OFFSET {start}"
        yield Answer("the schema", question, 4, rows)
        start += len(group)


def fail_when(condition: str, kind: str, detail: str) -> str:
    """Write a query that fails, with these words, where a condition holds.

    Plain SQL has no RAISE outside triggers; an invalid JSON path is an error that carries any text.
    """
    words = sql.quote_text(f"hoox guard {kind}: ")
    return f"SELECT CASE WHEN {condition} THEN json_extract('{{}}', {words} || {sql.quote_text(detail)}) END"


def explain_guard(error: StatementError, name: str) -> HooxError:
    """Give the error that a guard's failure stands for; `error` itself where it is none."""
    match = _GUARD_WORDS.search(error.message)
    if match is None:
        return error
    kind, detail = match.groups()
    if kind == "changed":
        return ChangedMeanwhile(
            f"Somebody else changed {detail} of {name} since it was looked at, so nothing was done.",
            "Run it again, when nobody writes to it if it happens again.",
        )
    if kind == "late":
        return HooxError(f"D1 came to the import of {name} too late, so nothing was done.", "Run it again.")
    return HooxError(
        f"What arrived in {detail} is not what was sent, so D1 undid the import.",
        "The ledger is as it was; try again.",
    )


def check_guards(statements: Iterable[Statement]) -> list[Statement]:
    """Give the guards that D1 takes; the few that are too long for a statement are left out."""
    return [statement for statement in statements if len(statement.sql.encode()) <= STATEMENT_BYTES]


def _quote(value: Value) -> str:
    """Write a value as SQLite's quote() does; questions give no REALs and no blobs."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    assert isinstance(value, str)
    return "'" + value.replace("'", "''") + "'"
