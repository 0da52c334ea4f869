"""`inv db.shell`, `browse` and `report`: three ways to look at a ledger."""

from __future__ import annotations

import sys
from pathlib import Path

from hoox_tasks.console import terminal
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks import ledger as ledger_tasks
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import files, migrations
    from hoox_tasks.config import moments
    from hoox_tasks.views import browse as browser
    from hoox_tasks.views import dictionary, extras
    from hoox_tasks.views import report as reports
    from hoox_tasks.views import shell as shells


@ledger_task({"write": "Let the SQL change the ledger, a transaction for each statement."}, without=("json",))
def shell(command: Command, write: bool = False) -> None:
    """Open a prompt for SQL, with completion and history; .help tells the rest.

    Only reading is let through unless --write is given. From a pipe,
    statements are read up to the first that fails.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        extras.require("db.shell", "shell", "prompt_toolkit", "pygments")
    seconds = ledger_tasks.read_seconds(command, None)
    with command.ledger() as database:
        command.cause = "db.shell --write"
        told = False

        def execute(text: str) -> None:
            nonlocal told
            statements = [piece.sql for piece in ledger_tasks.sql_pieces(text)]
            ledger_tasks.run(database, statements, [], "table", write=write, timeout=seconds)
            if command.point and not told:
                terminal.note(f"Before this it became recovery point {command.point.id}. {command.advice}")
                told = True

        opened = shells.Shell(
            database, execute, command.settings.migrations_table, mode=" (write)" if write else ""
        )
        if interactive:
            opened.prompt()
        else:
            opened.read(sys.stdin)


@ledger_task(
    {"port": "Listen on this port of loopback; 0 takes a free one."},
    without=("json",),
)
def browse(command: Command, port: int = 8001) -> None:
    """Open the ledger in Datasette: described tables and saved queries.

    Nothing can be changed there. With --remote a copy is taken and checked
    first, and removed at the end. Ctrl-C ends it.
    """
    extras.require("db.browse", "browse", "datasette")
    settings = command.settings
    described = dictionary.read_dictionary(settings.migrations_dir)

    def ready(address: str) -> None:
        command.say(f"Browse it at {address}; Ctrl-C ends it.")
        sys.stdout.flush()

    with files.scratch_folder() as folder:
        with command.ledger() as database:
            if command.dry:
                command.done(f"Would browse {database.label}")
                return
            pages = browser.metadata(database, described, {settings.migrations_table, migrations.CHECKSUMS})
            path = settings.path
            if settings.remote:
                path = folder / "ledger.sqlite"
                with terminal.progress("Copying") as progress:
                    rows = browser.copy(database, path, progress=progress)
                command.say(f"Copied {terminal.count(rows, 'row')} of {database.label}, all there.")
        browser.serve(path, pages, described, port=port, immutable=settings.remote, ready=ready)


@ledger_task(
    {
        "output": "Write to this file.",
        "since": "Leave out what came before YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS in UTC.",
    }
)
def report(command: Command, output: str = "report.html", since: str | None = None) -> None:
    """Write one HTML file: equity, drawdown, PnL, fees, exposure and errors.

    It holds everything it needs and asks no network. Times are UTC.
    """
    extras.require("db.report", "report", "matplotlib", "jinja2")
    path = Path(output).expanduser().absolute()
    begin = int(moments.parse_moment(since).timestamp()) if since else None
    with command.ledger() as database:
        if command.dry:
            command.done(f"Would write a report of {database.label} to {path}; planned")
            return
        figures = reports.read_figures(database, since=begin)
        with files.written_whole(path) as file:
            file.write(reports.write_page(figures).encode("utf-8", "replace"))
        command.did(f"wrote {command.shown(path)}")
        size = path.stat().st_size
        command.done(
            f"Wrote a report of {database.label} to {command.shown(path)} ({size:,} bytes)",
            database=database.label,
            path=str(path),
            bytes=size,
            trades=figures.totals.trades,
        )
