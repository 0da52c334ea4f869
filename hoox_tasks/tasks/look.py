"""`inv db.report`: a ledger to look at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hoox_tasks import extras, files
from hoox_tasks.errors import Refused
from hoox_tasks.tasks.command import Command, ledger_task


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
