"""`inv db.seed` and `inv db.scenarios`, and the seeding that `inv db.apply` does."""

from __future__ import annotations

import sys

from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_document, print_table
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import ledger, seeding
    from hoox_tasks.config import moments

_AT_FIRST = "demo"


def seed_at_first(
    command: Command, database: Database, scenario: str | None, *, confirm: bool
) -> dict[str, int]:
    """Seed a ledger that holds no trades yet; one that does is left alone.

    A remote ledger gets made-up rows only where a scenario is named and confirmed.
    """
    if command.settings.remote and scenario is None:
        return {}
    if ledger.holds_trades(database):
        if scenario:
            raise Refused(
                f"{database.label} holds trades already.", "Leave --scenario out, or reset it first."
            )
        return {}
    if command.settings.remote:
        terminal.confirm(database.name, f"This puts made-up trades into {database.label}.", confirmed=confirm)
    loaded = seeding.load_scenario(scenario or _AT_FIRST, command.settings.fixtures_dirs)
    command.keep_way_back(database, "db.apply")
    with terminal.progress("Seeding") as progress:
        return ledger.seed(database, loaded, progress=progress)


@ledger_task(
    {
        "scenario": "The scenario's name; `inv db.scenarios` lists them.",
        "seed": "Draw other rows of the same kind: any whole number.",
        "start": "The first moment, as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS in UTC.",
        "scale": "Make this many times as many rows.",
        "confirm": "Let made-up rows into a remote ledger.",
    }
)
def seed(
    command: Command,
    scenario: str = _AT_FIRST,
    seed: int | None = None,
    start: str | None = None,
    scale: str = "1",
    confirm: bool = False,
) -> None:
    """Fill a ledger that holds no trades with made-up, coherent rows.

    JSON: database, scenario, tables {table: rows}, seconds.
    """
    loaded = seeding.load_scenario(scenario, command.settings.fixtures_dirs)
    moment, factor = moments.parse_moment(start) if start else None, _factor(scale)
    with command.ledger() as database:
        if ledger.holds_trades(database):
            raise Refused(
                f"{database.label} holds trades already.", "Reset it first, or name another --path."
            )
        if command.dry:
            total = sum(seeding.counts(loaded, factor).values())
            command.done(
                f"Would seed about {terminal.count(total, 'row')} into {database.label}",
                database=database.label,
                scenario=scenario,
                tables=seeding.counts(loaded, factor),
            )
            return
        if command.settings.remote:
            terminal.confirm(
                database.name, f"This puts made-up trades into {database.label}.", confirmed=confirm
            )
        command.keep_way_back(database, "db.seed")
        with terminal.progress("Seeding") as progress:
            counts = ledger.seed(database, loaded, seed=seed, start=moment, scale=factor, progress=progress)
        command.done(
            f"Seeded {terminal.count(sum(counts.values()), 'row')} of {scenario} into {database.label}",
            database=database.label,
            scenario=scenario,
            tables=counts,
        )


@ledger_task({}, without=("path", "database", "remote", "preview"))
def scenarios(command: Command) -> None:
    """List the scenarios with what they make and how many rows.

    JSON: an array of {name, description, tables {table: rows}}.
    """
    folders = command.settings.fixtures_dirs
    found = [seeding.load_scenario(name, folders) for name in seeding.find_scenarios(folders)]
    rows = [(scenario, seeding.counts(scenario, 1)) for scenario in found]
    if command.json:
        print_document(
            [{"name": one.name, "description": one.description, "tables": counts} for one, counts in rows]
        )
        return
    print_table(
        ("scenario", "rows", "trades", "description"),
        [(one.name, sum(counts.values()), counts["trades"], one.description) for one, counts in rows],
        sys.stdout,
    )


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= 10_000:
        raise Refused(f"--scale {text} is not possible.", "Give a number above 0, and at most 10,000.")
    return factor
