"""Statements that make a transaction fail where a ledger is not what its statements were written for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from hoox_tasks import sql
from hoox_tasks.database.interface import SCHEMA_QUERY, SchemaObject
from hoox_tasks.migrations.guards import SCHEMA, fail_when

_LISTED = 40_000
"""Characters of definitions that one statement compares: D1 allows it 100,000 bytes."""
_COMPARED = 10_000
"""Characters of one definition that are compared, beside its length."""


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
