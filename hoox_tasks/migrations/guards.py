"""Statements inside a migration's own transaction that make all of it fail where rows would be lost."""

from __future__ import annotations

import re

from hoox_tasks import sql
from hoox_tasks.migrations.files import Migration
from hoox_tasks.migrations.model import Model

_GUARD = "hoox_guard"


GUARD_WORDS = re.compile(r"hoox guard (history|loss|keys): ?((?s:.*?))'?(?:: SQLITE_\w+.*)?\Z")


def loss_guards(
    model: Model, before: list[str], keys: list[tuple[str, str, str | None]], keys_checkable: bool
) -> tuple[list[str], list[str]]:
    """Write the statements that count rows before a migration, and those that compare after it."""
    after = {name.lower(): name for name in model.tables()}
    opening = [f"CREATE TABLE {_GUARD} (what TEXT PRIMARY KEY, was INTEGER, now INTEGER)"]
    ending = []

    def watch(what: str, was: str, now: str) -> None:
        opening.append(f"INSERT INTO {_GUARD} VALUES ({sql.quote_text(what)}, {was}, 0)")
        ending.append(f"UPDATE {_GUARD} SET now = {now} WHERE what = {sql.quote_text(what)}")

    def home(name: str) -> list[str]:
        """Where a table's rows may be afterwards: under its name, or where a renaming took them."""
        places = [name, model.lineage.get(name) or name]
        return sorted({after[place.lower()] for place in places if place.lower() in after})

    def most(queries: list[str]) -> str:
        return queries[0] if len(queries) == 1 else f"max({', '.join(queries)})" if queries else "0"

    for name in before:
        count = f"(SELECT count(*) FROM {sql.quote_name(name)})"
        watch(
            f"table {name}", count, most([f"(SELECT count(*) FROM {sql.quote_name(t)})" for t in home(name)])
        )
    for name, column, default in keys:
        kept = [place for place in home(name) if column in model.columns(place)]
        if not kept:
            continue
        counted = sql.quote_name(column)
        if default is not None:
            counted = f"nullif({counted}, {default})"
        was = f"(SELECT count({counted}) FROM {sql.quote_name(name)})"
        now = most([f"(SELECT count({counted}) FROM {sql.quote_name(place)})" for place in kept])
        watch(f"column {name}.{column}", was, now)
    ending.append(
        "SELECT CASE WHEN count(*) THEN json_extract('{}', 'hoox guard loss: ' ||"
        f" group_concat(what || ' had ' || was || ' and would have ' || now, '; ')) END"
        f" FROM {_GUARD} WHERE now < was"
    )
    if model.checks_keys:
        violations = "(SELECT count(*) FROM pragma_foreign_key_check)"
        was = violations if keys_checkable else "0"
        opening.append(f"INSERT INTO {_GUARD} VALUES ('keys', {was}, 0)")
        ending.append(
            fail_when(
                f"{violations} > (SELECT was FROM {_GUARD} WHERE what = 'keys')",
                "keys",
                "(SELECT group_concat(DISTINCT \"table\" || ' to ' || parent) FROM pragma_foreign_key_check)",
            )
        )
        ending[-2] += " AND what <> 'keys'"
    ending.append(f"DROP TABLE {_GUARD}")
    return opening, ending


def fail_when(condition: str, kind: str, detail: str) -> str:
    # Plain SQL has no RAISE outside triggers; an invalid JSON path is an error that carries any text.
    return f"SELECT CASE WHEN {condition} THEN json_extract('{{}}', 'hoox guard {kind}: ' || {detail}) END"


def explain_loss(migration: Migration, kind: str, detail: str) -> tuple[str, str]:
    if kind == "keys":
        return (
            f"Migration {migration.name} would leave rows that refer to nothing ({detail}); it was undone.",
            "Copy the parents before their children, or correct the keys in the same migration.",
        )
    return (
        f"Migration {migration.name} would lose rows, so it was undone: {detail}.",
        "Dropping or rebuilding a table fires ON DELETE CASCADE and SET NULL of the tables that refer to it:"
        " copy those aside and back in the same migration; or give --allow-data-loss if the rows may go.",
    )
