"""`inv db.diff`."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

from hoox_tasks.console import terminal
from hoox_tasks.console.formats import FORMATS, render, unknown_format
from hoox_tasks.database.interface import Rows
from hoox_tasks.database.opening import open_database
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task
from hoox_tasks.values import Progress

with lazy_imports():
    from hoox_tasks import backups, migrations

_LEDGER = "ledger"
_COLUMNS = ("table", "key", "difference", "column", "a", "b")


@ledger_task(
    {
        "a": "A backup, a dump, a SQLite file, or the word ledger for the local ledger.",
        "b": "What to compare it with, likewise; without it the ledger, or with --remote the one on D1.",
        "format": f"How to show the differences: {', '.join(FORMATS)}.",
        "all": "Compare the tables of the migrations as well.",
        "online": "Do not stop a remote ledger meanwhile: read it in pages, by queries.",
    },
    positional=("a", "b"),
    open_end=("b",),
)
def diff(
    command: Command,
    a: str,
    b: str | None = None,
    format: str = "table",
    all: bool = False,
    online: bool = False,
) -> None:
    """Show which rows differ between two backups, files or ledgers.

    Rows are found by their primary key; of a table without one it counts how
    often each row is there. Every cell is compared, in type and in bits.
    Exits with 0 where they are equal, 1 where they differ, 2 where it was
    misused.

    JSON: an array of {table, key, difference (changed, only in a, only in b;
    or what differs of a definition), column, a, b}.
    """
    format = "json" if command.json else format
    if format not in FORMATS:
        raise unknown_format(format, FORMATS)
    if b is not None and command.remote:
        raise Refused("--remote is one of the two itself.", "Name only one beside it.")
    if b is None and a == _LEDGER and not command.remote:
        raise Refused("The ledger cannot differ from itself.", "Name a file, or give --remote.")
    with ExitStack() as stack:
        progress = stack.enter_context(terminal.progress("Comparing"))
        first = stack.enter_context(_side(command, stack, a, online, progress))
        second = stack.enter_context(_side(command, stack, b, online, progress))
        terminal.note(f"a is {first.label}, b is {second.label}.")
        own = frozenset() if all else migrations.history.own_tables(command.settings.migrations_table)
        found = backups.difference.Comparison(first, second, without=own, progress=progress)
        # A definition has many lines, which no table for people has room for.
        brief = format in {"table", "markdown"}
        rows = (row._replace(a="", b="") if brief and row.defines else row for row in found.differences())
        result = Rows(_COLUMNS, map(tuple, rows))
        told = _Once(result)
        if told.any or not brief:
            command.begin()
            render([told.rows], format, sys.stdout)
        sides = [found.sides[place].snapshot for place in (0, 1)]
    for side, snapshot in zip(("a", "b"), sides, strict=True):
        if not snapshot.one_moment:
            terminal.note(f"{side} was written to while it was read: it is not of one moment.")
    _sum_up(found, own)


class _Once:
    """Rows, of which it is known whether there are any."""

    def __init__(self, rows: Rows) -> None:
        taken = iter(rows.rows)
        first = next(taken, None)
        self.any = first is not None

        def chained() -> object:
            if first is not None:
                yield first
            yield from taken

        self.rows = Rows(rows.columns, chained())  # type: ignore[arg-type]


def _side(
    command: Command, stack: ExitStack, name: str | None, online: bool, progress: Progress
) -> AbstractContextManager[backups.difference.Side]:
    """Open what a name stands for; None stands for the ledger that the flags choose."""
    if name is None or name == _LEDGER:
        remote = command.remote and name is None
        settings = command.settings if remote else command.settings_of(remote=False, preview=False)
        database = stack.enter_context(closing(open_database(settings)))
        return backups.difference.side_of(database, online=online, progress=progress)
    path = Path(name).expanduser().absolute()
    return backups.difference.side_of_file(path, command.shown(path), progress=progress)


def _sum_up(found: backups.difference.Comparison, own: frozenset[str]) -> None:
    """Say what was compared; raises `HooxError` where anything differs."""
    tables = terminal.count(len(found.tables), "table")
    rows = [terminal.count(sum(table.rows[place] for table in found.tables), "row") for place in (0, 1)]
    terminal.note(
        f"Compared cell by cell: {tables}, {rows[0]} of a and {rows[1]} of b"
        + (f"; left out: {', '.join(sorted(own))}." if own else ".")
    )
    for table in found.tables:
        if table.left_out:
            terminal.note(f"  {table.name}: without {', '.join(table.left_out)}, which only one of them has")
    if found.equal:
        terminal.note("They are equal.")
        return
    lines = []
    for table in found.tables:
        parts = [(table.changed, "changed"), (table.only[0], "only in a"), (table.only[1], "only in b")]
        told = ", ".join(f"{number:,} {what}" for number, what in parts if number)
        if told:
            lines.append(f"  {table.name}: {told}")
    if found.beside:
        lines.append(f"  definitions: {found.beside:,}")
    raise HooxError("They differ:", detail="\n".join(lines))
