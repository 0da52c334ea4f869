"""A ledger on Cloudflare D1, over its REST API.

What must happen as a whole travels as one request. D1 splits a request's SQL by rules of its own, on which
triggers break; a unit with a trigger in it, or a large one, goes through D1's import, which splits as
SQLite does. Values that JSON would change are written into the SQL as literals.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hoox_tasks import rules, sql
from hoox_tasks.d1 import D1Client, Result, ResultMeta, check_parameters, check_statement
from hoox_tasks.database import (
    SCHEMA_QUERY,
    Batch,
    Meta,
    Progress,
    Row,
    Rows,
    SchemaObject,
    Snapshot,
    Statement,
    Value,
)
from hoox_tasks.database.local import LocalDatabase
from hoox_tasks.errors import HooxError, Refused, StatementError

if TYPE_CHECKING:
    from hoox_tasks.config import Settings

_SCRIPT_BYTES = 1_000_000
"""What goes as one request's SQL; more is imported. D1 names no limit, and answers within 30 seconds."""
_INSERT_BYTES = 90_000
_INSERT_CELLS = 10_000
"""A statement may be 100,000 bytes long, and compile to 25,000 instructions: about two for a cell."""
_EXPLAIN = "EXPLAIN "


class RemoteDatabase:
    """A ledger on D1; satisfies `Database`. `client` must be for one database, and is closed with this.

    `strict` holds reading statements to D1's rules before they are sent; D1 itself does so anyway.
    """

    def __init__(self, client: D1Client, name: str, *, strict: bool = True) -> None:
        self.client = client
        self._name = name
        self._strict = strict
        self._model: _Model | None = None

    @property
    def name(self) -> str:
        """The database's name, which people type to confirm."""
        return self._name

    @property
    def label(self) -> str:
        """Which database on which account."""
        return f"D1 database {self._name} ({self.client.database_id}) of account {self.client.account_id}"

    def query(self, sql: str, params: Sequence[Value] = (), *, write: bool = False) -> Rows:
        """Run one statement; unless `write`, nothing is sent that could change anything.

        A statement that is to read is compiled first on an empty ledger in a file, which has the remote
        one's schema, behind the same gate as a local ledger; that costs one request more, once.
        """
        if write:
            self._forget_schema()
            return self._write_one(Statement(sql, params))
        if self._model is None:
            self._model = _Model(self.schema(), strict=self._strict)
        self._model.check(sql, params)
        return _rows(self.client.raw(*_carried(Statement(sql, params))))

    def batch(self, statements: Iterable[Statement], *, write: bool = True) -> list[Rows]:
        """Run statements in one request and one transaction: all of them happen, or none does.

        What goes through D1's import answers no rows. D1 does not tell which statement failed.
        """
        unit = list(statements)
        if not unit:
            return []
        if write:
            self._forget_schema()
        try:
            texts = [check_statement(_inlined(statement), index) for index, statement in enumerate(unit)]
        except (Refused, _CannotInline):  # Values too long for a literal, or numbered marks.
            pairs = [_carried(statement) for statement in unit]
            return [_rows(result) for result in self.client.raw_batch(pairs, write=write)]
        script = sql.join(texts)
        if write and (any(map(sql.is_trigger, texts)) or len(script) > _SCRIPT_BYTES):
            self.client.import_file(script.encode())
            return [Rows((), ()) for _ in unit]
        results = self.client.raw_script(script, write=write)
        return [_rows(result) for result in results]

    def insert(self, batches: Iterable[Batch]) -> dict[str, int]:
        """Insert rows into tables, all or none; returns how many went into each."""
        counts: dict[str, int] = {}
        with tempfile.TemporaryDirectory(prefix="hoox-") as folder:
            script = Path(folder) / "insert.sql"
            with script.open("w", encoding="utf-8", newline="\n") as file:
                for table, columns, rows in batches:
                    file.writelines(f"{insert};\n" for insert in _inserts(table, columns, rows))
                    counts[table] = counts.get(table, 0) + len(rows)
            if script.stat().st_size > _SCRIPT_BYTES:
                self.client.import_file(script)
            elif script.stat().st_size:
                self.client.raw_script(script.read_text(encoding="utf-8"), write=True)
        return counts

    @contextmanager
    def snapshot(self, *, online: bool = False, progress: Progress | None = None) -> Iterator[Snapshot]:
        """Read one moment of the ledger for a block.

        D1 exports it, which keeps everybody out for that long; what that export cannot say exactly is
        fetched once more. With `online` it is read by queries while others go on, and the Time Travel
        bookmark tells at the end whether it was one moment: if not, `HooxError` is raised.
        """
        before = self.client.bookmark()
        if online:
            yield _OnlineSnapshot(self)
        else:
            with tempfile.TemporaryDirectory(prefix="hoox-") as folder:
                path = Path(folder) / "export.sqlite"
                exported = self.client.export(progress=progress)
                with (Path(folder) / "export.sql").open("w+b") as file:
                    self.client.download(exported.signed_url, file, progress=progress)
                    file.seek(0)
                    scratch = LocalDatabase(path, create=True, strict=False)
                    with closing(scratch):
                        load_export(scratch.connection, file)
                        self._repair(scratch.connection)
                        with scratch.snapshot() as snapshot:
                            yield snapshot
        if self.client.bookmark() != before:
            raise HooxError(
                f"{self._name} was written to while it was read, so what was read is not one moment of it.",
                "Try again when it is quiet, or without --online.",
            )

    def _repair(self, scratch: sqlite3.Connection) -> None:
        """Fetch the cells that D1's export does not say exactly, and put them right in the copy.

        Those are integers beyond 2^53, infinities, whole REALs in columns that are not REAL, and texts
        with both a backslash and a line break.
        """
        tables = scratch.execute(
            "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
            r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
        ).fetchall()
        for table, without_rowid in tables:
            described = scratch.execute("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)", (table,))
            columns = [(name, declared, pk) for name, declared, pk, hidden in described if not hidden]
            keys = sorted((pk, name) for name, _, pk in columns if pk)
            key = [sql.quote_name(name) for _, name in keys] if without_rowid or keys else ["rowid"]
            for name, _, _ in columns:
                column = sql.quote_name(name)
                exact = self.client.raw(
                    f"SELECT {', '.join(f'quote({part})' for part in key)}, {exact_literal(column)}"
                    f" FROM {sql.quote_name(table)} WHERE {_inexact(column)}"
                )
                for *place, literal in (tuple(map(str, row)) for row in exact.rows):
                    where = " AND ".join(f"{part} IS {at}" for part, at in zip(key, place, strict=True))
                    scratch.execute(f"UPDATE {sql.quote_name(table)} SET {column} = {literal} WHERE {where}")

    def schema(self) -> list[SchemaObject]:
        """All objects but the engine's own, in the order they were made."""
        result = self.client.raw(SCHEMA_QUERY)
        return [SchemaObject(*(str(cell) for cell in row)) for row in result.rows]

    def close(self) -> None:
        """Close the connection."""
        self._forget_schema()
        self.client.close()

    def _forget_schema(self) -> None:
        if self._model is not None:
            self._model.close()
            self._model = None

    def _write_one(self, statement: Statement) -> Rows:
        if sql.is_trigger(statement.sql):
            return self.batch([statement])[0]
        return _rows(self.client.raw(*_carried(statement), write=True))


def open_remote(settings: Settings) -> RemoteDatabase:
    """Open the D1 database that `settings` name; one without an id is looked up by its name.

    Raises `Refused` where the account, the token or the database is not configured, `RemoteError` where
    the account has no database of that name.
    """
    client = D1Client(
        settings.account_id,
        settings.token,
        database_id=settings.database_id or None,
        base_url=settings.base_url,
    )
    try:
        if client.database_id is None:
            if not settings.database_name:
                raise Refused(
                    "No D1 database is configured.",
                    "Add it to d1_databases of the wrangler config, or set hoox.database_id.",
                )
            client.use_database(client.find_database(settings.database_name).uuid)
    except BaseException:
        client.close()
        raise
    return RemoteDatabase(client, settings.database_name or settings.database_id, strict=settings.strict)


def exact_literal(column: str) -> str:
    """Write the SQL expression that gives a cell's literal, exact even for infinities."""
    return (
        f"CASE WHEN typeof({column}) <> 'real' OR abs({column}) <= 1.7976931348623157e308"
        f" THEN quote({column}) WHEN {column} > 0 THEN '9e999' ELSE '-9e999' END"
    )


def _inexact(column: str) -> str:
    """Write the condition under which D1's export does not say a cell exactly."""
    return (
        f"CASE typeof({column})"
        f" WHEN 'integer' THEN {column} > 9007199254740992 OR {column} < -9007199254740992"
        f" WHEN 'real' THEN {column} = CAST({column} AS INTEGER) OR abs({column}) > 1.7976931348623157e308"
        f" WHEN 'text' THEN instr({column}, char(92)) > 0"
        f" AND (instr({column}, char(10)) > 0 OR instr({column}, char(13)) > 0) END"
    )


def load_export(connection: sqlite3.Connection, lines: Iterable[bytes]) -> None:
    """Run D1's own export on an empty database, with its habits: rows before the tables they refer to,
    infinities as bare words, triggers before the views that they stand on.
    """
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN")
    statement, late = "", []
    for line in lines:
        statement += line.decode("utf-8")
        if not sqlite3.complete_statement(statement):
            continue
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if "Infinity" in str(error):
                connection.execute(_with_infinities(statement))
            elif sql.is_trigger(statement):
                late.append(statement)
            else:
                raise HooxError(
                    f"D1's export could not be read back: {error}.", "Try with --online, which reads tables."
                ) from error
        statement = ""
    if statement.strip():  # D1 ends the last line without a line end, sometimes without a semicolon.
        connection.execute(statement)
    for trigger in late:
        connection.execute(trigger)
    connection.execute("COMMIT")


def _with_infinities(statement: str) -> str:
    parts, position = [], 0
    for token in sql.tokens(statement):
        if token.kind == "word" and token.text == "Infinity":
            parts += [statement[position : token.offset], "9e999"]
            position = token.offset + len(token.text)
    return "".join([*parts, statement[position:]])


class _OnlineSnapshot:
    """A ledger read by queries while others use it; satisfies `Snapshot`."""

    def __init__(self, database: RemoteDatabase) -> None:
        self._database = database

    def map(self, statements: Iterable[Statement]) -> Iterator[list[Row]]:
        """Run statements one after the other and yield their rows."""
        for statement in statements:
            yield list(self.stream(statement))

    def stream(self, statement: Statement) -> Iterator[Row]:
        """Run one statement and yield its rows; text comes as bytes."""
        result = self._database.client.raw(*_carried(statement))
        for row in result.rows:
            yield tuple(cell.encode() if isinstance(cell, str) else cell for cell in row)


class _Model:
    """An empty ledger with the remote one's schema, on which reading statements are compiled."""

    def __init__(self, schema: Iterable[SchemaObject], *, strict: bool) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hoox-")
        self._ledger = LocalDatabase(Path(self._folder.name) / "model.sqlite", create=True, strict=strict)
        connection = self._ledger.connection
        rules.supply_functions(connection)
        ranks = ("table", "index", "view", "trigger")
        for item in sorted(schema, key=lambda item: ranks.index(item.type)):
            # A virtual table has made its shadow tables already. What this SQLite cannot make is missing.
            with suppress(sqlite3.Error):
                connection.execute(item.sql)

    def check(self, statement: str, params: Sequence[Value]) -> None:
        """Compile a statement; raises `Refused` where it would change anything, else as an engine does."""
        refusal = rules.shape_refusal(statement)
        if refusal is not None:
            raise StatementError(refusal, sql=statement)
        # EXPLAIN compiles and does not run. Its own statements run in no time.
        prefix = "" if sql.first_word(statement) == "EXPLAIN" else _EXPLAIN
        try:
            list(self._ledger.query(prefix + statement, params))
        except StatementError as error:
            offset = None if error.offset is None else max(0, error.offset - len(prefix))
            found = StatementError(error.message, sql=statement, offset=offset, remedy=error.remedy)
        else:
            return
        raise found

    def close(self) -> None:
        """Remove it."""
        self._ledger.close()
        self._folder.cleanup()


def _carried(statement: Statement) -> tuple[str, Sequence[Value]]:
    """A statement and its values as they can travel: with literals where JSON would change a value.

    Texts and NULLs stay parameters. A whole number may arrive as an INTEGER (measured on the service) or
    as a REAL (the engine on one's own machine).
    """
    if all(value is None or isinstance(value, str) for value in statement.params):
        return statement
    try:
        return _inlined(statement), ()
    except _CannotInline:
        check_parameters(statement.params)
        return statement


class _CannotInline(Exception):
    """A statement's marks are not plain question marks, one for each value."""


def _inlined(statement: Statement) -> str:
    """Write a statement's values in the place of its question marks."""
    if not statement.params:
        return statement.sql
    parts, position, used = [], 0, 0
    found = list(sql.tokens(statement.sql))
    for place, token in enumerate(found):
        if token.kind != "other" or token.text not in "?:@$":
            continue
        following = found[place + 1] if place + 1 < len(found) else None
        adjacent = following is not None and following.offset == token.offset + 1
        if token.text != "?" or used == len(statement.params):
            raise _CannotInline
        if adjacent and following is not None and following.kind == "number":
            raise _CannotInline
        parts += [statement.sql[position : token.offset], sql.quote_value(statement.params[used])]
        position, used = token.offset + 1, used + 1
    if used != len(statement.params):
        raise _CannotInline
    return "".join([*parts, statement.sql[position:]])


def _inserts(table: str, columns: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Yield INSERT statements for rows, as many to a statement as D1 takes."""
    head = f"INSERT INTO {sql.quote_name(table)} ({', '.join(map(sql.quote_name, columns))}) VALUES\n"
    most = max(1, _INSERT_CELLS // max(1, len(columns)))
    packed: list[str] = []
    size = 0
    for row in rows:
        text = f"({','.join(map(sql.quote_value, row))})"
        length = len(text.encode()) + 2
        if packed and (size + length > _INSERT_BYTES or len(packed) == most):
            yield head + ",\n".join(packed)
            packed, size = [], 0
        packed.append(text)
        size += length
    if packed:
        yield head + ",\n".join(packed)


def _rows(result: Result) -> Rows:
    """A result of the wire as the interface has it; still streaming where it is large."""
    rows = Rows(result.columns, ())

    def taken() -> Iterator[Row]:
        yield from result.rows
        rows.meta = _meta(result.meta)

    rows.meta = _meta(result.meta)
    rows.rows = result.rows if isinstance(result.rows, list) else taken()
    return rows


def _meta(meta: ResultMeta) -> Meta:
    return Meta(meta.duration, meta.changes, meta.rows_read, meta.rows_written)
