"""`inv db.shell` and `inv db.report`: a ledger to look at."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from hoox_tasks import extras, files
from hoox_tasks.errors import Refused
from hoox_tasks.tasks import ledger as ledger_tasks
from hoox_tasks.tasks.command import Command, ledger_task


@ledger_task({"write": "Let the SQL change the ledger, a transaction for each statement."}, without=("json",))
def shell(command: Command, write: bool = False) -> None:
    """Open a prompt: SQL with completion and history, .tables, .schema, .help, .quit.

    Only reading is let through unless --write is given. From a pipe, statements are read up to the first
    that fails.
    """
    from hoox_tasks.shell import Shell

    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        extras.require("db.shell", "shell", "prompt_toolkit", "pygments")
    with command.ledger() as database:

        def execute(text: str) -> None:
            statements = [piece.sql for piece in ledger_tasks.sql_pieces(text)]
            ledger_tasks.run(database, statements, [], "table", write=write)

        opened = Shell(database, execute, command.settings.migrations_table, mode=" (write)" if write else "")
        if interactive:
            opened.prompt()
        else:
            opened.read(sys.stdin)


@ledger_task(
    {
        "output": "Write to this file.",
        "since": "Leave out what came before YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS in UTC.",
    }
)
def report(command: Command, output: str = "report.html", since: str | None = None) -> None:
    """Write one HTML file with equity, drawdown, PnL, fees, exposure and errors in pictures.

    It holds everything it needs and asks no network. Times are UTC.
    """
    extras.require("db.report", "report", "matplotlib", "jinja2")
    from hoox_tasks.report import read_figures, write_page

    path = Path(output).expanduser().absolute()
    begin = _since(since)
    with command.ledger() as database:
        if command.dry:
            command.done(f"Would write a report of {database.label} to {path}; planned")
            return
        figures = read_figures(database, since=begin)
        with files.written_whole(path) as file:
            file.write(write_page(figures).encode("utf-8", "replace"))
        size = path.stat().st_size
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        command.done(
            f"Wrote a report of {database.label} to {shown} ({size:,} bytes)",
            database=database.label,
            path=str(path),
            bytes=size,
            trades=figures.totals.trades,
        )


def _since(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text} is no time.", "Write it as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
