"""Statements and their values as they travel to D1, and what comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hoox_tasks import sql
from hoox_tasks.d1 import D1Client, Result, ResultMeta, check_parameters, check_statement
from hoox_tasks.database.interface import Meta, Rows, Statement
from hoox_tasks.errors import Refused
from hoox_tasks.values import Approximate, Row, Value

SCRIPT_BYTES = 1_000_000
"""What goes as one request's SQL; more is imported. D1 names no limit, and answers within 30 seconds."""


def read(client: D1Client, unit: Sequence[Statement]) -> list[Rows]:
    """Run reading statements in one request, all at one moment."""
    return send(client, unit, write=False)[0]


def send(client: D1Client, unit: Sequence[Statement], *, write: bool = True) -> tuple[list[Rows], bool]:
    """Run statements as one unit: in one request, or through D1's import, which answers no rows.

    The import takes what D1's own splitter would break, and what is large. Returns the results, and whether
    it was that.
    """
    try:
        texts = [check_statement(inlined(statement), index) for index, statement in enumerate(unit)]
    except (Refused, CannotInline):  # Values too long for a literal, or numbered marks.
        pairs = [carried(statement) for statement in unit]
        return [rows_of(result) for result in client.raw_batch(pairs, write=write)], False
    script = sql.join(texts)
    if write and is_imported(texts):
        client.import_file(script.encode())
        return [Rows((), ()) for _ in unit], True
    return [rows_of(result) for result in client.raw_script(script, write=write)], False


def is_imported(texts: Sequence[str]) -> bool:
    """Whether statements that change something go through D1's import."""
    return any(map(sql.is_trigger, texts)) or sum(len(text) + 2 for text in texts) > SCRIPT_BYTES


def carried(statement: Statement) -> tuple[str, Sequence[Value]]:
    """A statement and its values as they can travel: with literals where JSON would change a value.

    Texts and NULLs stay parameters. A whole number may arrive as an INTEGER (measured on the service) or
    as a REAL (the engine on one's own machine).
    """
    if all(value is None or isinstance(value, str) for value in statement.params):
        return statement
    try:
        return inlined(statement), ()
    except CannotInline:
        check_parameters(statement.params)
        return statement


def unmistakable(statement: str) -> str:
    """Write a statement so that every splitter of scripts takes it for one.

    D1 splits what it is sent by rules of its own, which know neither `[names]` nor backticks: a quote in one
    of them would open a text for it, and what is a comment to SQLite could be a statement to D1. So names are
    in double quotes, there are no comments and nothing is behind the statement. Everything else keeps its
    place, to which D1's errors point.

    Raises `Refused` where there is more than one statement.
    """
    if len(sql.split(statement)) > 1:
        raise Refused("This is more than one statement.", "Run them one by one.")
    parts: list[str] = []
    position = 0
    for token in sql.tokens(statement):
        if token.kind == "semicolon":
            continue
        text = token.text
        if text[0] in "[`" and len(text) > 1:
            text = '"' + sql.unquote_name(text).replace('"', '""') + '"'
        gap = re.sub(r"\S", " ", statement[position : token.offset])
        parts += [gap, text]
        position = token.offset + len(token.text)
    return "".join(parts)


class CannotInline(Exception):
    """A statement's marks are not plain question marks, one for each value."""


def inlined(statement: Statement) -> str:
    """Write a statement's values in the place of its question marks."""
    if not statement.params:
        return statement.sql
    parts, position, used = [], 0, 0
    found = list(sql.tokens(statement.sql))
    for place, token in enumerate(found):
        if token.kind != "other" or token.text not in "?:@$":
            continue
        following = found[place + 1] if place + 1 < len(found) else None
        adjacent = following is not None and following.offset == token.offset + 1
        if token.text != "?" or used == len(statement.params):
            raise CannotInline
        if adjacent and following is not None and following.kind == "number":
            raise CannotInline
        parts += [statement.sql[position : token.offset], sql.quote_value(statement.params[used])]
        position, used = token.offset + 1, used + 1
    if used != len(statement.params):
        raise CannotInline
    return "".join([*parts, statement.sql[position:]])


def rows_of(result: Result) -> Rows:
    """Give a result of the wire as the interface has it; still streaming where it is large."""
    rows = Rows(result.columns, ())

    def taken() -> Iterator[Row]:
        for row in result.rows:
            rows.approximate += sum(type(value) is Approximate for value in row)
            yield row
        rows.meta = _meta(result.meta)

    rows.meta = _meta(result.meta)
    rows.rows = list(taken()) if isinstance(result.rows, list) else taken()
    return rows


def _meta(meta: ResultMeta) -> Meta:
    return Meta(meta.duration, meta.changes, meta.rows_read, meta.rows_written)
