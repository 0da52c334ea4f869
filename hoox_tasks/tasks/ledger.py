"""`inv db.apply`, `list`, `query`, `schema` and `reset`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from hoox_tasks import sql
from hoox_tasks.console import gate, terminal
from hoox_tasks.console.formats import FORMATS, print_document, print_table, render
from hoox_tasks.database.interface import Database, Moment, Rows, Statement
from hoox_tasks.errors import ChangedMeanwhile, HooxError, Refused, StatementError
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks import migrate
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task
from hoox_tasks.tasks.seed import confirm_rows, fill, read_scenario
from hoox_tasks.values import Value

with lazy_imports():
    from hoox_tasks import backups, ledger, migrations, seeding
    from hoox_tasks.console import separated
    from hoox_tasks.database import attempts, empty_ledger


@ledger_task(
    {
        "seed": "Fill an empty local ledger with the demo scenario.",
        "scenario": "Seed with this scenario instead.",
        "confirm": "Let made-up rows into a remote ledger.",
    }
)
def apply(command: Command, seed: bool = True, scenario: str | None = None, confirm: bool = False) -> None:
    """Make the ledger ready: create it, apply every pending migration, seed it.

    Run again it changes nothing. A ledger that holds trades is never seeded,
    and a remote one only with --scenario; every ledger gets a row in
    system_logs for each migration.

    JSON: database, applied [{name, seconds}], seeded {table: rows}, version
    (the last migration's name), recovery_point (where a ledger that was there
    is migrated), seconds. With --dry: pending [name].
    """
    if scenario and not seed:
        raise Refused("--scenario and --no-seed do not go together.", "Give one of them.")
    chosen = read_scenario(command, scenario) if seed else None
    made = not command.settings.remote and not command.settings.path.exists()
    if made or scenario:
        _refuse_unfit(command, list(seeding.TABLES) if scenario else [])
    if command.dry and made:
        _plan_new(command)
        return
    with command.ledger(create=not command.dry) as database:
        if command.dry:
            migrate.plan(command, database, to=None, allow_out_of_order=False)
            return
        before = command.migrations.status(database)
        if chosen and _has(before, "trades") and ledger.holds_trades(database):
            if scenario:
                raise Refused(
                    f"{database.label} holds trades already.", "Leave --scenario out, or reset it first."
                )
            chosen = None
        if chosen:
            confirm_rows(command, database, confirm=confirm)
        applied, status = migrate.apply_pending(command, database)
        seeded = _seed(command, database, status, chosen) if seed else {}
        parts = []
        if applied:
            parts.append(f"applied {terminal.count(len(applied), 'migration')}")
        if seeded:
            parts.append(f"seeded {terminal.count(sum(seeded.values()), 'row')}")
        did = (
            ", ".join(parts).capitalize() + f" on {database.label}"
            if parts
            else f"Nothing to do: {database.label} is ready"
        )
        command.done(
            did,
            database=database.label,
            applied=[asdict(migration) for migration in applied],
            seeded=seeded,
            version=status.version,
        )


def _refuse_unfit(command: Command, tables: list[str]) -> None:
    """Raise before anything is made, where the migrations do not run or do not make some tables."""
    with closing(empty_ledger.EmptyLedger(strict=command.settings.strict)) as empty:
        command.migrations.run_on(empty)
        missing = sorted(set(tables) - set(empty.tables()))
    if missing:
        raise Refused(
            f"The migrations make no table {missing[0]}, so no scenario fits.", "Leave --scenario out."
        )


def _plan_new(command: Command) -> None:
    """Print what would be done to a ledger that is not there yet."""
    pending = [migration.name for migration in command.migrations.files]
    for name in pending:
        command.say(f"Would apply {name}")
    label = command.shown(command.settings.path)
    command.done(f"Would create {label}", database=label, pending=pending, version="")


def _seed(
    command: Command, database: Database, status: migrations.Status, scenario: seeding.Scenario | None
) -> dict[str, int]:
    """Seed a migrated ledger and note its migrations in its log; a ledger of another domain gets neither."""
    seeded: dict[str, int] = {}
    if scenario:
        missing = [table for table in ("trades", *seeding.TABLES) if not _has(status, table)]
        if missing:
            terminal.note(f"{database.label} has no table {missing[0]}, so it is not seeded.")
        else:
            seeded = fill(database, scenario) or {}
        if seeded:
            command.did(f"seeded {terminal.count(sum(seeded.values()), 'row')}")
    if _has(status, "system_logs"):
        noted = ledger.audit(database, command.settings.migrations_table)
        if noted:
            seeded = {**seeded, "system_logs": seeded.get("system_logs", 0) + noted}
    return seeded


def _has(status: migrations.Status, table: str) -> bool:
    return any(item.type == "table" and item.name == table for item in status.schema)


@ledger_task({"all": "List the tables of tools and engine as well."}, name="list")
def list_(command: Command, all: bool = False) -> None:
    """List the ledger's tables with their row counts.

    JSON: database, tables [{name, rows (null where nobody may count them),
    internal}].
    """
    with command.ledger() as database:
        tables = ledger.list_tables(database, command.settings.migrations_table, internal=all)
        if command.json:
            print_document({"database": database.label, "tables": [asdict(table) for table in tables]})
        else:
            print_table(("table", "rows"), [(table.name, table.rows) for table in tables], sys.stdout)
            terminal.note(f"{terminal.count(len(tables), 'table')} in {database.label}")


@ledger_task(
    {
        "sql": "The SQL itself; or @FILE to read it from a file, or - from standard input.",
        "format": f"How to show the result: {', '.join(FORMATS)}.",
        "param": "The value of the next ? in the SQL (repeatable): 42, 1.5, NULL, 'text' or plain text.",
        "write": "Let the SQL change the ledger, in one transaction.",
        "safe-csv": "CSV for a spreadsheet: a text that could be a formula gets a ' before it.",
        "timeout": "End SQL that takes longer than this many seconds; 0 never. On D1 it is always 30.",
    },
    positional=("sql",),
    iterable=("param",),
)
def query(
    command: Command,
    sql: str,
    format: str = "table",
    param: list[str] | None = None,
    write: bool = False,
    safe_csv: bool = False,
    timeout: str | None = None,
) -> None:
    """Run SQL and show its result; only reading is let through without --write.

    The result goes to standard output, the number of rows and the time to
    standard error. Several statements give several results.

    JSON: an array of rows, each an object of its columns (a column whose name
    was taken gets _2); with several statements, an array of such arrays.
    A blob is {"$base64": true, "encoded": "..."}, infinity is 1e999.
    In csv and tsv NULL is empty and a blob is X'...'; what is text in the
    ledger may be a formula to a spreadsheet, but for --safe-csv.
    """
    if safe_csv and (command.json or format not in {"table", "csv", "tsv"}):
        raise Refused("--safe-csv goes with csv and tsv only.", "Leave it out, or the other format.")
    format = "csv" if safe_csv and format == "table" else format
    format = "json" if command.json else format
    if format not in FORMATS:
        raise Refused(f"There is no format {format}.", f"Choose one of: {', '.join(FORMATS)}.")
    statements = [piece.sql for piece in sql_pieces(_source(sql))]
    params = [read_param(text) for text in param or []]
    if params and len(statements) > 1:
        raise Refused("--param goes with one statement only.", "Run the statements one by one.")
    seconds = read_seconds(command, timeout)
    with command.ledger() as database:
        if command.dry and write:
            terminal.note(f"Would run {terminal.count(len(statements), 'statement')} on {database.label}.")
            return
        command.cause = "db.query --write"
        run(database, statements, params, format, write=write, timeout=seconds, safe_csv=safe_csv)
        if command.point:
            terminal.note(command.advice)


def run(
    database: Database,
    statements: list[str],
    params: list[Value],
    format: str,
    *,
    write: bool,
    timeout: float | None,
    safe_csv: bool = False,
) -> None:
    """Run statements, show their results and tell rows, time and what D1 bills."""
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

    try:
        rendered = map(separated.disarm, results()) if safe_csv else results()
        rows = render(rendered, format, sys.stdout)
    except StatementError as error:
        # What was sent to be written is no misuse any more: it was tried, and undone.
        kind, spared = (HooxError, "It changed nothing") if write else (Refused, "Nothing was changed")
        raise kind(
            f"The SQL failed: {error.message.rstrip('.')}.",
            error.remedy or f"{spared}. Correct it; `inv db.schema` shows the tables.",
            detail=sql.excerpt(error.sql, error.offset) if error.offset is not None else "",
        ) from error
    footer = [terminal.count(rows, "row")]
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


def read_param(text: str) -> Value:
    """Give the value that a --param stands for: a SQL literal where it is one, else the text itself."""
    if text.upper() == "NULL":
        return None
    tokens = list(sql.tokens(text))
    kinds = [token.kind for token in tokens]
    if kinds == ["quoted"] and text[0] == "'" and text[-1] == "'" and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text[:2].upper() == "X'" and text.endswith("'"):
        try:
            return bytes.fromhex(text[2:-1])
        except ValueError:
            return text
    # 007, 1e5 or 12_3 are more likely to be ids than numbers.
    plain = text.removeprefix("-")
    whole, point, fraction = plain.partition(".")
    if whole.isdecimal() and plain.isascii() and (whole == "0" or not whole.startswith("0")):
        if not point and -(2**63) <= int(text) < 2**63:
            return int(text)
        if point and fraction.isdecimal():
            return float(text)
    return text


@ledger_task({})
def schema(command: Command) -> None:
    """Print the ledger's schema in one fixed form and order, fit for a diff.

    JSON: database, sql.
    """
    with command.ledger() as database:
        text = ledger.describe(database.schema(), command.settings.migrations_table)
        if command.json:
            print_document({"database": database.label, "sql": text})
        else:
            gate.write(text)


@ledger_task(
    {
        "confirm": "Do it without asking.",
        "backup": "Write an export first.",
    }
)
def reset(command: Command, confirm: bool = False, backup: bool = True) -> None:
    """Wipe the ledger, after an export, and leave it migrated and empty.

    Without --confirm it asks for the database's name to be typed.

    JSON: database, version (the last migration's name), backup (its path or
    null), recovery_point (for `inv db.undo`), seconds.
    """
    with command.ledger() as database:
        files = command.migrations.files
        if command.dry:
            command.done(f"Would wipe {database.label}", database=database.label)
            return
        terminal.confirm(database.name, f"This wipes every row of {database.label}.", confirmed=confirm)

        def wipe(moment: Moment) -> tuple[backups.Export | None, migrations.Status]:
            return _wipe(command, database, moment, backup=backup)

        written, status = attempts.change_as_of(database, wipe)
        if written:
            command.say(_exported(command, written))
        command.done(
            f"Wiped {database.label} and applied {terminal.count(len(files), 'migration')}",
            database=database.label,
            version=status.version,
            backup=str(written.path) if written else None,
        )


def _wipe(
    command: Command, database: Database, moment: Moment, *, backup: bool
) -> tuple[backups.Export | None, migrations.Status]:
    """Wipe a ledger as of a moment; the backup is of the very moment that the recovery point is of."""
    written = None
    if backup:
        written = backups.export(
            database,
            backups.default_path(command.settings.backups_dir),
            reserve=True,
            moment=moment,
            migrations_table=command.settings.migrations_table,
        )
    try:
        return written, ledger.reset(database, command.migrations)
    except ChangedMeanwhile:
        if written:  # It is of a moment that is gone, and the next attempt makes another.
            backups.discard(written)
            written = None
        raise
    finally:
        if written:
            said = _exported(command, written)
            command.did(said[0].lower() + said[1:])


def _exported(command: Command, written: backups.Export) -> str:
    assert written.path
    return f"Exported {terminal.count(written.total, 'row')} to {command.shown(written.path)}"
