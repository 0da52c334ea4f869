"""`inv db.migrate.adopt`, and how what a ledger without history has is shown."""

from __future__ import annotations

from hoox_tasks.database.interface import Database
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import migrations


def show_adoption(command: Command, database: Database, plan: migrations.Adoption) -> None:
    """Show what a ledger without history has of its migrations."""
    command.say(f"{database.label} has tables and no history; what it has of the migrations:")
    for line in plan.lines:
        command.say(line)


@ledger_task(
    {
        "to": "The last migration that is there, rows and all: its name or number; 0 for none.",
    },
    called="db.migrate.adopt",
)
def adopt(command: Command, to: str | None = None) -> None:
    """Record what a ledger without history has already of its migrations.

    For a ledger that was made by hand, by the workers, or by another tool.
    Every migration is compared with what is there, and the plan is shown.
    Without --to those are recorded, from the first on, whose objects are
    there; --to says up to which one all is there, where rows leave it open.
    None is run.

    JSON: database, plan [{name, verdict, reason}], done (what was done, as a
    sentence), recovery_point, seconds.
    """
    with command.ledger() as database:
        steps: list[dict[str, str]] = []

        def planned(plan: migrations.Adoption) -> None:
            show_adoption(command, database, plan)
            for step in plan.steps:
                told = {"name": step.migration.name, "verdict": step.verdict.value, "reason": step.reason}
                steps.append(told)

        if command.dry:
            plan = command.migrations.adoption(database, command.migrations.status(database))
            if plan is not None:
                planned(plan)
            done = (
                f"Nothing of {database.label} would be taken over"
                if plan is None
                else f"Looked at {database.label}"
            )
            command.done(done, database=database.label, plan=steps, done="")
            return
        did = command.migrations.adopt(database, to=to, planned=planned)
        command.done(f"{did.rstrip('.')} on {database.label}", database=database.label, plan=steps, done=did)
