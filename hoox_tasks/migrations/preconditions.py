"""Statements that make a transaction fail where a ledger is not what its statements were written for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from hoox_tasks import sql
from hoox_tasks.database.interface import SCHEMA_QUERY, SchemaObject

_LISTED = 40_000
"""Characters of definitions that one statement compares: D1 allows it 100,000 bytes."""
_COMPARED = 10_000
"""Characters of one definition that are compared, beside its length."""

LOSS, AMOUNT, KEYS, _HISTORY, _ROWS, SCHEMA = "loss", "amount", "keys", "history", "rows", "schema"
_KINDS = "|".join((_HISTORY, LOSS, AMOUNT, KEYS, _ROWS, SCHEMA))
_FAILED = re.compile(rf"hoox guard ({_KINDS}): ?((?s:.*?))'?(?:: SQLITE_\w+.*)?\Z")


def fail_when(condition: str, kind: str, detail: str) -> str:
    """Write the statement that fails with a guard's message where a condition holds."""
    # Plain SQL has no RAISE outside triggers; an invalid JSON path is an error that carries any text.
    return f"SELECT CASE WHEN {condition} THEN json_extract('{{}}', 'hoox guard {kind}: ' || {detail}) END"


def failed_guard(message: str) -> tuple[str, str] | None:
    """Give which guard failed (history, schema, rows, loss, amount, keys) and its detail; None for none."""
    match = _FAILED.search(message)
    return (match[1], match[2]) if match else None


def history_guard(table: str, names: Sequence[str]) -> str:
    """Write the statement that fails where the history is not the one that was planned against."""
    found = f"(SELECT group_concat(name, '/') FROM (SELECT name FROM {sql.quote_name(table)} ORDER BY id))"
    return fail_when(f"coalesce({found}, '') <> {sql.quote_text('/'.join(names))}", _HISTORY, "''")


def rows_guard(table: str) -> str:
    """Write the statement that fails where a table holds rows already."""
    return fail_when(f"EXISTS (SELECT 1 FROM {sql.quote_name(table)})", _ROWS, sql.quote_text(table))


def schema_guard(schema: Sequence[SchemaObject]) -> Iterator[str]:
    """Write the statements that fail where the ledger does not consist of exactly these objects."""
    yield fail_when(f"(SELECT count(*) FROM ({SCHEMA_QUERY})) <> {len(schema)}", SCHEMA, "''")
    there = (
        "SELECT 1 FROM sqlite_schema AS s WHERE s.type = json_extract(o.value, '$[0]')"
        " AND s.name = json_extract(o.value, '$[1]') AND length(s.sql) = json_extract(o.value, '$[2]')"
        f" AND substr(s.sql, 1, {_COMPARED}) = json_extract(o.value, '$[3]')"
    )
    for listed in _lists(schema):
        wanted = f"json_each({sql.quote_text(listed)}) AS o"
        yield fail_when(f"EXISTS (SELECT 1 FROM {wanted} WHERE NOT EXISTS ({there}))", SCHEMA, "''")


def _lists(schema: Sequence[SchemaObject]) -> Iterator[str]:
    """Describe objects in JSON arrays, none of them too long for a statement."""
    listed: list[str] = []
    size = 0
    for item in schema:
        described = json.dumps([item.type, item.name, len(item.sql), item.sql[:_COMPARED]])
        if listed and size + len(described) > _LISTED:
            yield f"[{', '.join(listed)}]"
            listed, size = [], 0
        listed.append(described)
        size += len(described)
    yield f"[{', '.join(listed)}]"
