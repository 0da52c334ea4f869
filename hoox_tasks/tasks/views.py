"""`inv db.shell`, `browse` and `report`: three ways to look at a ledger."""

from __future__ import annotations

import sys
from pathlib import Path

from hoox_tasks.console import terminal
from hoox_tasks.console.table import Layout
from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks import query as queries
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task
from hoox_tasks.tasks.serve import check_port

with lazy_imports():
    from hoox_tasks import files, interruptions, migrations
    from hoox_tasks.config import dictionary, moments
    from hoox_tasks.views import browse as browser
    from hoox_tasks.views import extras
    from hoox_tasks.views import report as reports
    from hoox_tasks.views import shell as shells


@ledger_task(
    {
        "write": "Let the SQL change the ledger, a transaction for each statement.",
        "raw": "Show times as the Unix seconds that are stored.",
        "full": "Cut no text, however long.",
        "pager": "Show results that are longer than the screen in $PAGER.",
    },
    without=("json",),
)
def shell(
    command: Command, write: bool = False, raw: bool = False, full: bool = False, pager: bool = True
) -> None:
    """Open a prompt for SQL, with completion and history; .help tells the rest.

    Only reading is let through unless --write is given. From a pipe,
    statements are read up to the first that fails.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        extras.require("db.shell", "shell", "prompt_toolkit", "pygments")
    seconds = queries.read_seconds(command, None)
    with command.ledger() as database:
        command.cause = "db.shell --write"
        command.confirmed = True  # Whoever types a statement at the prompt means it.
        told = False

        def execute(text: str) -> None:
            nonlocal told
            statements = [piece.sql for piece in queries.sql_pieces(text)]
            queries.explain_dates(command, database, statements, [], write=write)
            layout = Layout(times=frozenset if raw else command.time_columns, full=full)
            queries.run(
                database,
                statements,
                [],
                "table",
                write=write,
                timeout=seconds,
                layout=layout,
                pager=interactive and pager,
            )
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
    check_port(port)
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
        ended = browser.serve(path, pages, described, port=port, immutable=settings.remote, ready=ready)
    if not ended:
        interruptions.leave()


@ledger_task(
    {
        "output": "Write to this file.",
        "since": "Leave out what came before YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS in UTC.",
        "until": "Leave out what came at this moment or later.",
    }
)
def report(
    command: Command, output: str = "report.html", since: str | None = None, until: str | None = None
) -> None:
    """Write one HTML file: equity, drawdown, PnL, fees, exposure and errors.

    It holds everything it needs and asks no network. Times are UTC.
    """
    extras.require("db.report", "report", "matplotlib", "jinja2")
    path = Path(output).expanduser().absolute()
    begin, end = (int(moments.parse_moment(given).timestamp()) if given else None for given in (since, until))
    if begin is not None and end is not None and begin >= end:
        raise Refused(f"Nothing is since {since} and until {until}.", "Give --until a later moment.")
    with command.ledger() as database:
        if command.dry:
            command.done(f"Would write a report of {database.label} to {path}; planned")
            return
        figures = reports.read_figures(database, since=begin, until=end)
        with files.written_whole(path) as file:
            file.write(reports.write_page(figures).encode("utf-8", "replace"))
        command.did(f"wrote {command.shown(path)}")
        for column, cells in figures.texts.items():
            terminal.note(f"{terminal.count(cells, 'cell')} of {column} hold text and are in no sum.")
        size = path.stat().st_size
        command.done(
            f"Wrote a report of {database.label} to {command.shown(path)} ({size:,} bytes)",
            database=database.label,
            path=str(path),
            bytes=size,
            trades=figures.totals.trades,
        )
