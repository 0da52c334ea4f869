"""`inv db.seed` and `inv db.scenarios`, and the seeding that `inv db.apply` does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_table
from hoox_tasks.database.interface import Database, Moment
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import ledger, seeding
    from hoox_tasks.config import moments
    from hoox_tasks.database import attempts
    from hoox_tasks.seeding import kept_counts

if TYPE_CHECKING:
    from datetime import datetime

_AT_FIRST = "demo"


def read_scenario(command: Command, name: str | None) -> seeding.Scenario | None:
    """Read the scenario that `inv db.apply` fills an empty ledger with; None where it fills none.

    A remote ledger gets made-up rows only where a scenario is named. Raises `Refused` for a misspelt name.
    """
    if command.settings.remote and name is None:
        return None
    return seeding.load_scenario(name or _AT_FIRST, command.settings.fixtures_dirs)


def confirm_rows(command: Command, database: Database) -> None:
    """Go on only if made-up rows may go into this ledger: a remote one asks; raises `Refused`."""
    if command.settings.remote:
        command.confirm(database, f"This puts made-up trades into {database.label}.")


def fill(
    database: Database,
    scenario: seeding.Scenario,
    *,
    seed: int | None = None,
    start: datetime | None = None,
    scale: float = 1,
) -> dict[str, int] | None:
    """Fill a ledger; returns the rows of each table, None where it holds trades already."""
    with terminal.progress("Seeding") as progress:

        def insert(_: Moment) -> dict[str, int] | None:
            if ledger.holds_trades(database):
                return None
            return ledger.seed(database, scenario, seed=seed, start=start, scale=scale, progress=progress)

        return attempts.change_as_of(database, insert)


@ledger_task(
    {
        "scenario": "The scenario's name; `inv db.scenarios` lists them.",
        "seed": "Draw other rows of the same kind: any whole number.",
        "start": "The first moment, as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS in UTC.",
        "scale": "Make this many times as many rows.",
    },
    asks=True,
)
def seed(
    command: Command,
    scenario: str = _AT_FIRST,
    seed: int | None = None,
    start: str | None = None,
    scale: str = "1",
) -> None:
    """Fill a ledger that holds no trades with made-up, coherent rows.

    JSON: database, scenario, tables {table: rows}, seconds.
    """
    loaded = seeding.load_scenario(scenario, command.settings.fixtures_dirs)
    moment, factor = moments.parse_moment(start) if start else None, _factor(scale)
    with command.ledger() as database:
        taken = Refused(f"{database.label} holds trades already.", "Reset it first, or name another --path.")
        if ledger.holds_trades(database):
            raise taken
        if command.dry:
            total = sum(seeding.counts(loaded, factor).values())
            command.done(
                f"Would seed about {terminal.count(total, 'row')} into {database.label}",
                database=database.label,
                scenario=scenario,
                tables=seeding.counts(loaded, factor),
            )
            return
        confirm_rows(command, database)
        counts = fill(database, loaded, seed=seed, start=moment, scale=factor)
        if counts is None:  # Somebody else was faster.
            raise taken
        command.done(
            f"Seeded {terminal.count(sum(counts.values()), 'row')} of {scenario} into {database.label}",
            database=database.label,
            scenario=scenario,
            tables=counts,
        )


@ledger_task({}, without=("path", "database", "remote", "preview"))
def scenarios(command: Command) -> None:
    """List the scenarios with what they make and about how many rows.

    JSON: an array of {name, description, tables {table: rows}}; the rows are
    estimates for scenarios of more than 4,000 signals.
    """
    folders = command.settings.fixtures_dirs
    found = [seeding.load_scenario(name, folders) for name in seeding.find_scenarios(folders)]
    rows = [(scenario, kept_counts.counts_of(scenario.name, folders)) for scenario in found]
    if command.json:
        command.print(
            [
                {"name": scenario.name, "description": scenario.description, "tables": counts}
                for scenario, counts in rows
            ]
        )
        return
    print_table(
        ("scenario", "about rows", "about trades", "description"),
        [
            (scenario.name, _about(sum(counts.values())), _about(counts["trades"]), scenario.description)
            for scenario, counts in rows
        ],
        sys.stdout,
    )


def _about(count: int) -> int:
    """Round an estimate to three digits: long scenarios are estimated from a shorter one of their kind."""
    return round(count, min(0, 3 - len(str(count))))


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= 10_000:
        raise Refused(f"--scale {text} is not possible.", "Give a number above 0, and at most 10,000.")
    return factor
