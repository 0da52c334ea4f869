"""`inv db.query`, and SQL that is run for people elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO, cast

from hoox_tasks import sql
from hoox_tasks.console import terminal
from hoox_tasks.console.formats import FORMATS, Watched, render, result_document, unknown_format
from hoox_tasks.console.table import Layout
from hoox_tasks.database.interface import Database, Rows, Statement
from hoox_tasks.errors import HooxError, Refused, StatementError
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task
from hoox_tasks.values import Value

with lazy_imports():
    from hoox_tasks import excerpts, ledger
    from hoox_tasks.console import pager as pagers
    from hoox_tasks.console import separated
    from hoox_tasks.console import times as dates
    from hoox_tasks.tasks import parameters

_MARKS = frozenset("?:@$")
"""How a placeholder begins."""
_DATE = r"\d{4}-\d"
_SHOWN = 200
"""Characters of a statement that somebody is asked about."""


@ledger_task(
    {
        "sql": "The SQL itself; or @FILE to read it from a file, or - from standard input.",
        "format": f"How to show the result: {', '.join(FORMATS)}.",
        "param": "The value of the next ? in the SQL, or NAME=VALUE of its :NAME (repeatable): 42, 1.5, 1e-8,"
        " NULL, 'text' or plain text.",
        "write": "Let the SQL change the ledger, in one transaction.",
        "safe-csv": "CSV for a spreadsheet: a text that could be a formula gets a ' before it.",
        "timeout": "End SQL that takes longer than this many seconds; 0 never. On D1 it is always 30.",
        "raw": "Show times as the Unix seconds that are stored.",
        "full": "Cut no text, however long.",
        "pager": "Show a result that is longer than the screen in $PAGER.",
    },
    positional=("sql",),
    iterable=("param",),
    asks=True,
)
def query(
    command: Command,
    sql: str,
    format: str = "table",
    param: list[str] | None = None,
    write: bool = False,
    safe_csv: bool = False,
    timeout: str | None = None,
    raw: bool = False,
    full: bool = False,
    pager: bool = True,
) -> None:
    """Run SQL and show its result; only reading is let through without --write.

    The result goes to standard output, the number of rows and the time to
    standard error. Several statements give several results. Columns of Unix
    seconds are shown as times in UTC in table and markdown; all other formats
    give what is stored.

    JSON: an array of rows, each an object of its columns (a column whose name
    was taken gets _2); with several statements, an array of such arrays. A
    blob is {"$base64": true, "encoded": "..."}, infinity is 1e999. In csv and
    tsv NULL is empty and a blob is X'...'; what is text in the ledger may be
    a formula to a spreadsheet, but for --safe-csv. With --write: database,
    results (such an array for each statement), changes, rows_read and
    rows_written (what D1 bills; null for a local ledger), recovery_point,
    seconds.
    """
    if safe_csv and (command.json or format not in {"table", "csv", "tsv"}):
        raise Refused("--safe-csv goes with csv and tsv only.", "Leave it out, or the other format.")
    format = "csv" if safe_csv and format == "table" else format
    format = "json" if command.json else format
    if format not in FORMATS:
        raise unknown_format(format, FORMATS)
    statements = [piece.sql for piece in sql_pieces(_source(sql))]
    params: list[Value] = []
    if len(statements) == 1 and (param or set(statements[0]) & _MARKS):
        statements[0], params = parameters.bind(statements[0], param or [])
    elif param:
        raise Refused("--param goes with one statement only.", "Run the statements one by one.")
    seconds = read_seconds(command, timeout)
    with command.ledger() as database:
        if command.dry and write:
            terminal.note(f"Would run {terminal.count(len(statements), 'statement')} on {database.label}.")
            return
        command.cause = "db.query --write"
        if write:
            more = f" and {len(statements) - 1:,} more" if len(statements) > 1 else ""
            command.intention = f"run {_shortened(statements[0])}{more}"
        explain_dates(command, database, statements, params, write=write)
        layout = Layout(times=frozenset if raw else command.time_columns, full=full)
        if command.json and write:
            _write_in_json(command, database, statements, params, seconds)
            return
        output = cast("TextIO", Watched(sys.stdout, command.begin)) if command.json else sys.stdout
        run(
            database,
            statements,
            params,
            format,
            write=write,
            timeout=seconds,
            safe_csv=safe_csv,
            layout=layout,
            pager=pager and not command.json,
            output=output,
        )
        if command.point:
            terminal.note(command.advice)


def _shortened(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def explain_dates(
    command: Command, database: Database, statements: list[str], params: list[Value], *, write: bool
) -> None:
    """Say where a column of Unix seconds is compared with a date as text, which finds nothing, or every row.

    Raises `Refused` for a statement that would change the rows it finds.
    """
    texts = [value for value in params if isinstance(value, str)]
    compared = [
        found
        for statement in statements
        if any("-" in text and re.search(_DATE, text) for text in (statement, *texts))
        for found in dates.dates_compared(statement, params, command.times)
    ]
    for table, column, text in compared:
        if not _holds_numbers(database, table, column):
            continue
        problem = f"{table}.{column} holds Unix seconds, and every number is smaller than the text '{text}'."
        remedy = f"Compare it with unixepoch('{text}')."
        if write:
            raise Refused(problem, remedy)
        terminal.note(f"{problem} {remedy}")


def _holds_numbers(database: Database, table: str, column: str) -> bool:
    """Whether a column is declared for numbers: one of texts may well be compared with a date."""
    asked = "SELECT type FROM pragma_table_info(?) WHERE lower(name) = ?"
    return any("INT" in str(kind).upper() for (kind,) in database.query(asked, (table, column)))


def run(
    database: Database,
    statements: list[str],
    params: list[Value],
    format: str,
    *,
    write: bool,
    timeout: float | None,
    safe_csv: bool = False,
    layout: Layout | None = None,
    pager: bool = True,
    output: TextIO | None = None,
) -> None:
    """Run statements, show their results and tell rows, time and what D1 bills."""
    layout = layout or Layout()
    started = time.perf_counter()
    seen: list[Rows] = []

    def results() -> Iterator[Rows]:
        if write and len(statements) > 1:
            seen.extend(database.batch((Statement(statement) for statement in statements), timeout=timeout))
            yield from seen
            return
        for statement in statements:
            result = database.query(statement, params, write=write, timeout=timeout)
            seen.append(result)
            yield result

    rows = None
    output = output or sys.stdout
    pages = pagers.paged(output) if pager and output.isatty() else nullcontext(output)
    with pages as shown, _told(database, write=write, begun=seen):
        rows = render(map(separated.disarm, results()) if safe_csv else results(), format, shown, layout)
    footer = ["The reader left before the end" if rows is None else terminal.count(rows, "row")]
    if write:
        changes = sum(result.meta.changes for result in seen)
        footer.append(f"{changes:,} changed")
    billed = [result.meta for result in seen if result.meta.rows_read is not None]
    if billed:
        footer.append(
            f"D1 read {sum(meta.rows_read or 0 for meta in billed):,}"
            f" and wrote {sum(meta.rows_written or 0 for meta in billed):,}"
        )
    approximate = sum(result.approximate for result in seen)
    if approximate:
        terminal.note(
            f"{terminal.count(approximate, 'number')} beyond 2^53 may have been rounded on the way (≈)."
            " Select CAST(column AS TEXT) to see every digit."
        )
    if layout.cut:
        footer[0] += " (texts are cut at …; --full shows them)"
    terminal.note(f"{', '.join(footer)} in {terminal.duration(time.perf_counter() - started)}")


def read_seconds(command: Command, text: str | None) -> float | None:
    """Give how long SQL may take, by --timeout or the settings; None for any time."""
    if text is None:
        return command.settings.query_timeout or None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise Refused(f"--timeout is {text!r}.", "Give it a number of seconds, 0 for no limit.")
    if command.remote:
        raise Refused("--timeout is for a local ledger: D1 ends SQL after 30 seconds.", "Leave it out.")
    return seconds or None


@contextmanager
def _told(database: Database, *, write: bool, begun: Sequence[Rows] = ()) -> Iterator[None]:
    """Say for a block whose statement the engine would not run what that was, and where in it.

    `begun` are the results that were begun to be shown by then.
    """
    try:
        yield
    except StatementError as error:
        # What was sent to be written is no misuse any more: it was tried, and undone.
        kind, spared = (HooxError, "It changed nothing") if write else (Refused, "Nothing was changed")
        near = "" if error.remedy else _meant(database, error.message)
        raise kind(
            f"The SQL failed: {error.message.rstrip('.')}.{' The result is not whole.' if begun else ''}",
            error.remedy or f"{spared}. {near or 'Correct it; `inv db.schema` shows the tables.'}",
            detail=excerpts.excerpt(error.sql, error.offset) if error.offset is not None else "",
        ) from error


def _write_in_json(
    command: Command,
    database: Database,
    statements: list[str],
    params: list[Value],
    timeout: float | None,
) -> None:
    """Run statements in one transaction, and print what they gave and changed as one document."""
    with _told(database, write=True):
        if len(statements) > 1:
            found = database.batch((Statement(statement) for statement in statements), timeout=timeout)
        else:
            found = [database.query(statements[0], params, write=True, timeout=timeout)]
        results = [result_document(result) for result in found]
    billed = [result.meta for result in found if result.meta.rows_read is not None]
    command.done(
        "Run",
        database=database.label,
        results=results,
        changes=sum(result.meta.changes for result in found),
        rows_read=sum(meta.rows_read or 0 for meta in billed) if billed else None,
        rows_written=sum(meta.rows_written or 0 for meta in billed) if billed else None,
    )


def _meant(database: Database, message: str) -> str:
    """Ask whether a table or column that is not there is a misspelt one that is; empty for other errors."""
    with suppress(HooxError):
        return ledger.suggest(database, message)
    return ""


def sql_pieces(text: str) -> list[sql.Piece]:
    """Split the SQL of a query; raises `Refused` where there is none."""
    pieces = sql.split(text)
    if not pieces:
        raise Refused("There is no SQL in it.", 'Give a statement: `inv db.query "SELECT ..."`.')
    return pieces


def _source(text: str) -> str:
    if text == "-":
        return _decoded(sys.stdin.buffer.read(), "Standard input")
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        try:
            return _decoded(path.read_bytes(), str(path))
        except OSError as error:
            raise Refused(
                f"{path} cannot be read: {error.strerror}.", "Name a file with SQL after the @."
            ) from error
    # What was not UTF-8 on the command line has come as surrogates.
    return _decoded(text.encode("utf-8", "surrogateescape"), "The SQL")


def _decoded(raw: bytes, source: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{source} is not UTF-8 (byte {error.start}).", "Save or type it as UTF-8.") from error
