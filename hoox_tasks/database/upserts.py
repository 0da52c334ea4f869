"""What an INSERT does with a row whose key is there already."""

from __future__ import annotations

from collections.abc import Sequence

from hoox_tasks import sql


def on_conflict(columns: Sequence[str], key: Sequence[str]) -> str:
    """Write the end of an INSERT of `columns`: a row of the same `key` gets their values; empty for no key.

    SQLite and D1 have it since 3.24 (https://sqlite.org/lang_upsert.html).
    """
    if not key:
        return ""
    names = {name.lower() for name in key}
    others = [sql.quote_name(column) for column in columns if column.lower() not in names]
    conflict = f" ON CONFLICT ({', '.join(map(sql.quote_name, key))}) DO"
    if not others:
        return f"{conflict} NOTHING"
    return f"{conflict} UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in others)}"
