"""Why migrations are not taken back, and what to do about it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject
from hoox_tasks.errors import Refused, StatementError
from hoox_tasks.migrations.down import DOWN
from hoox_tasks.migrations.drift import compare_schemas
from hoox_tasks.migrations.history import State, Status
from hoox_tasks.migrations.migrations import Migrations
from hoox_tasks.migrations.reversal import Reversal


def refuse_misfits(current: Status) -> None:
    misfits = current.named(State.EDITED, State.RENAMED, State.RENAMED_AND_EDITED, State.MISSING)
    if misfits:
        raise Refused(
            "The history does not fit the migrations, so nothing was taken back.",
            "Look at all of them with `inv db.migrate.status`.",
            detail="\n".join(f"  {entry.name} is {entry.state.value}. {entry.advice}" for entry in misfits),
        )


def refuse_underivable(reversals: Sequence[Reversal]) -> None:
    problems = [
        f"  {', '.join(reversal.names)}: {reason}." for reversal in reversals for reason in reversal.reasons
    ]
    if problems:
        names = [name for reversal in reversals if reversal.reasons for name in reversal.names]
        raise Refused(
            "More was done than added, and only what was added is taken back without a down file.",
            f"Write one with `inv db.migrate.new --down {shlex.quote(names[0])}`.",
            detail="\n".join(problems),
        )


def refuse_drift(migrations: Migrations, current: Status, reversals: Sequence[Reversal]) -> None:
    """Raise `Refused` where an object that goes or comes back is not as the migrations made it."""
    schema: list[SchemaObject] = list(current.schema)
    for reversal in reversals:
        # What is inside of a virtual table is its module's business.
        touched = {(kind, name) for kind, name in reversal.touched if name not in reversal.inner}
        made, present = (
            [item for item in objects if (item.type, item.name) in touched]
            for objects in (reversal.after, schema)
        )
        for difference in compare_schemas(made, present, migrations.own_tables):
            raise Refused(
                f"{difference.type.capitalize()} {difference.name} is not as {reversal.names[-1]} made it, so"
                " nothing was taken back.",
                "Look with `inv db.check`, and bring it back to what the migrations say.",
                detail="\n".join(f"    {line}" for line in difference.lines),
            )
        schema = reversal.earlier(schema)


def refuse_other_schema(
    reversal: Reversal,
    ledger: EmptyLedger,
    expected: Sequence[SchemaObject],
    absent: set[tuple[str, str]],
    migrations: Migrations,
) -> None:
    """Raise `Refused` where what takes migrations back does not lead to the schema that was before them."""
    there = [item for item in expected if (item.type, item.name) not in absent]
    differences = compare_schemas(there, ledger.schema(), migrations.own_tables)
    made = {(item.type, item.name) for item in (*reversal.before, *reversal.after)}
    for difference in differences:
        if difference.what == "missing" and (difference.type, difference.name) not in made:
            raise _in_the_way(reversal, difference.type, difference.name)
    if differences:
        source = f"{DOWN}/{reversal.names[0]}" if reversal.file else "What is derived"
        raise Refused(
            f"{source} does not lead to the schema before {reversal.names[-1]}, so nothing was taken back.",
            "Correct the file." if reversal.file else "Look with `inv db.check` what else was changed.",
            detail="\n".join(f"  {difference}" for difference in differences),
        )


def refuse_breaking(reversal: Reversal, broken: set[tuple[str, str]]) -> None:
    """Raise `Refused` where a view or trigger that no migration made needs something that would be gone."""
    made = {(item.type, item.name) for item in reversal.before}
    for kind, name in sorted(broken - made):
        raise _in_the_way(reversal, kind, name)


def refuse_dependent(reversal: Reversal, error: StatementError) -> None:
    """Raise `Refused` where what goes is needed by an index, a view or a trigger that no migration made."""
    found = re.search(r"error in (index|view|trigger) ((?s:.+?)) after drop column", error.message)
    if found and (found[1], found[2]) not in {(item.type, item.name) for item in reversal.after}:
        raise _in_the_way(reversal, found[1], found[2]) from error


def _in_the_way(reversal: Reversal, kind: str, name: str) -> Refused:
    drop = shlex.quote(f"DROP {kind.upper()} {sql.quote_name(name)}")
    return Refused(
        f"The {kind} {name}, which no migration made, needs what {reversal.names[-1]} made, so nothing"
        " was taken back.",
        f"Drop it first, with `inv db.query {drop} --write`.",
    )
