"""What the fixtures hand to tests: ledgers made to order, differences, recorded SQL, a local D1 API.

Import the names from here to annotate a test: `def test_fees(hoox_db_diff: LedgerDifference) -> None`.
"""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import pytest

from hoox_tasks.errors import HooxError
from hoox_tasks.templates import Recipe, Template, Templates

if TYPE_CHECKING:
    import httpx
    from sqlite_utils import Database

    from hoox_tasks.server import Api

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger that a test was given: a connection, or a file, or both; and what it is a copy of."""

    template: Template
    database: Database | None
    path: Path | None

    def keep(self, target: Path) -> None:
        """Copy it, as it is now, into the file `target`; what a test has not committed is committed.

        Raises `sqlite3.Error` where another connection keeps it locked, or the test closed its own.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        with self.opened() as connection:
            connection.commit()
            # Python's own backup() would wait for a lock that the test holds without end.
            connection.execute("VACUUM INTO ?", [str(target)])

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Give the test's own connection for a block, or one to its file."""
        if self.database is not None:
            yield self.database.conn
        else:
            with closing(sqlite3.connect(str(self.path), timeout=1)) as connection:
                yield connection


def describe(ledgers: Sequence[Ledger], folder: Path | None, test: str) -> str:
    """Say what the ledgers of a failed test were made of; with a `folder` they are kept in it.

    `test` is the test's node id.
    """
    lines = []
    for place, ledger in enumerate(ledgers, 1):
        lines.append(ledger.template.recipe.words())
        if folder is not None:
            name = re.sub(r"[^\w.-]+", "-", test).strip("-")[-100:]
            number = f"-{place}" if len(ledgers) > 1 else ""
            target = folder / f"{name}{number}.sqlite"
            try:
                ledger.keep(target)
            except sqlite3.Error as error:
                lines.append(f"It could not be kept: {error}")
            else:
                query = shlex.quote("SELECT * FROM trades LIMIT 10")
                lines += [f"kept: {target}", f"inv db.query --path {shlex.quote(str(target))} {query}"]
    if folder is None and lines:
        lines.append("--hoox-keep leaves it as a file.")
    return "\n".join(lines)


class LedgerFactory:
    """Makes any number of ledgers for one test, and lets go of them when it ends."""

    def __init__(self, templates: Templates, recipe: Recipe) -> None:
        self._templates = templates
        self.recipe = recipe
        self.ledgers: list[Ledger] = []

    def __call__(
        self,
        *,
        scenario: str | None | EllipsisType = ...,
        seed: int | None | EllipsisType = ...,
        scale: float | EllipsisType = ...,
        start: datetime | None | EllipsisType = ...,
        migrate_to: str | None = None,
        path: str | Path | None = None,
    ) -> Database:
        """Give a ledger of its own, in memory, or in a new file at `path`.

        What is left out is as for the test's other ledgers. `scenario=None` is a ledger without rows;
        `migrate_to` names the last migration to apply, as in "0001".
        """
        __tracebackhide__ = True
        import sqlite_utils

        asked = {"scenario": scenario, "seed": seed, "scale": scale, "start": start}
        chosen: dict[str, Any] = {name: value for name, value in asked.items() if value is not ...}
        template = self._template(replace(self.recipe, migrate_to=migrate_to, **chosen))
        if path is None:
            connection = template.connect()
        else:
            template.copy(Path(path))
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA foreign_keys = ON")
        database = sqlite_utils.Database(connection)
        self.ledgers.append(Ledger(template, database, None if path is None else Path(path)))
        return database

    def file(self, path: Path, **choices: Any) -> Path:
        """Make a ledger as a file at `path`, with no connection to it; `choices` are a recipe's."""
        __tracebackhide__ = True
        template = self._template(replace(self.recipe, **choices))
        template.copy(path)
        self.ledgers.append(Ledger(template, None, path))
        return path

    def _template(self, recipe: Recipe) -> Template:
        __tracebackhide__ = True
        try:
            return self._templates.get(recipe)
        except HooxError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None

    def close(self) -> None:
        """Close the connections, whatever the test left open in them."""
        for ledger in self.ledgers:
            if ledger.database is not None:
                ledger.database.conn.close()
        self.ledgers.clear()


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What happened to the rows of one table; each row is a dict of its columns.

    `changed` has pairs of a row before and after. Rows are told apart by their primary key.
    """

    added: list[Row] = field(default_factory=list)
    changed: list[tuple[Row, Row]] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        return f"+{len(self.added)} ~{len(self.changed)} -{len(self.removed)}"


class LedgerDifference(dict[str, TableDifference]):
    """The tables whose rows are not what they were, by name; any other table is an empty difference."""

    def __missing__(self, table: str) -> TableDifference:
        return TableDifference()

    def __str__(self) -> str:
        return ", ".join(f"{table} {changes}" for table, changes in self.items()) or "no difference"


def compare(before: sqlite3.Connection, now: sqlite3.Connection) -> LedgerDifference:
    """Tell how the rows of two ledgers differ, table by table; of SQLite's own tables nothing is said."""
    tables = sorted({*_tables(before), *_tables(now)})
    differences = ((table, _compare(*_rows(before, now, table))) for table in tables)
    return LedgerDifference((table, difference) for table, difference in differences if difference)


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = (
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
    )
    return [name for (name,) in connection.execute(query)]


def _rows(
    before: sqlite3.Connection, now: sqlite3.Connection, table: str
) -> tuple[dict[Any, Row], dict[Any, Row]]:
    """Read a table of both ledgers; rows by their key."""
    key = _key(before, table) or _key(now, table)
    return _keyed(before, table, key), _keyed(now, table, key)


def _key(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    query = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
    return tuple(name for (name,) in _ask(connection, query, table))


def _keyed(connection: sqlite3.Connection, table: str, key: tuple[str, ...]) -> dict[Any, Row]:
    query = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
    without_rowid = [bool(wr) for (wr,) in _ask(connection, query, table)]
    if not without_rowid:
        return {}
    quoted = table.replace('"', '""')
    cursor = _ask(connection, f'SELECT {"NULL" if without_rowid[0] else "_rowid_"}, * FROM "{quoted}"')
    columns = [column[0] for column in cursor.description][1:]
    places = [columns.index(name) for name in key if name in columns]
    rows = {}
    for rowid, *cells in cursor:
        values = tuple(cells[place] for place in places)
        # SQLite lets several rows have NULL in their primary key.
        rows[("rowid", rowid) if not values or None in values else values] = dict(
            zip(columns, cells, strict=True)
        )
    return rows


def _ask(connection: sqlite3.Connection, query: str, *params: str) -> sqlite3.Cursor:
    cursor = connection.cursor()
    cursor.row_factory = None  # The connection is a test's, which may have set one.
    return cursor.execute(query, params)


def _compare(before: dict[Any, Row], now: dict[Any, Row]) -> TableDifference:
    return TableDifference(
        added=[row for key, row in now.items() if key not in before],
        changed=[(row, now[key]) for key, row in before.items() if key in now and now[key] != row],
        removed=[row for key, row in before.items() if key not in now],
    )


class Queries:
    """The SQL that ran in a block: `statements` with their values filled in, and their `count`.

    BEGIN, COMMIT and savepoints are left out: Python issues them by itself, and D1 has none.
    """

    def __init__(self) -> None:
        self.statements: list[str] = []

    @property
    def count(self) -> int:
        """How many statements ran."""
        return len(self.statements)

    def note(self, statement: str) -> None:
        """Add a statement that SQLite reports."""
        from hoox_tasks import sql

        if not sql.is_transaction_control(statement):
            self.statements.append(statement)

    def __str__(self) -> str:
        return "\n".join(f"{place}. {text}" for place, text in enumerate(self.statements, 1))


class QueryRecorder:
    """Records the SQL of the test's `hoox_db`, or of another connection, for a `with` block."""

    def __init__(self, default: Callable[[], sqlite3.Connection]) -> None:
        self._default = default
        self._active: dict[int, list[Queries]] = {}

    @contextmanager
    def __call__(
        self,
        exactly: int | None = None,
        *,
        at_most: int | None = None,
        database: Database | sqlite3.Connection | None = None,
    ) -> Iterator[Queries]:
        """Record a block's SQL; the test fails where other than `exactly`, or more than `at_most`, ran."""
        __tracebackhide__ = True
        if database is None:
            connection = self._default()
        else:
            connection = database if isinstance(database, sqlite3.Connection) else database.conn
        queries = Queries()
        active = self._active.setdefault(id(connection), [])
        active.append(queries)

        def note(statement: str) -> None:
            for each in active:
                each.note(statement)

        # SQLite keeps one callback for a connection, and blocks may be inside each other.
        connection.set_trace_callback(note)
        try:
            yield queries
        finally:
            active.remove(queries)
            if not active:
                with suppress(sqlite3.ProgrammingError):  # The test may have closed it.
                    connection.set_trace_callback(None)
        if exactly is not None and queries.count != exactly:
            pytest.fail(f"{queries.count} statements ran instead of {exactly}:\n{queries}")
        if at_most is not None and queries.count > at_most:
            pytest.fail(f"{queries.count} statements ran, more than {at_most}:\n{queries}")


@dataclass(frozen=True, slots=True)
class LocalD1:
    """A local D1 API over one ledger.

    `url` is the base URL, as in CLOUDFLARE_API_BASE_URL. `client` is an `httpx.Client` at the database's
    own address, with the token: `client.post("query", json={"sql": "SELECT 1"})`. `app` is the WSGI
    application itself, for `httpx.WSGITransport`. `path` is the ledger's file.
    """

    url: str
    token: str
    account_id: str
    database_id: str
    database_name: str
    path: Path
    app: Api
    client: httpx.Client

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that point wrangler, the Cloudflare SDK and `inv db.*` here."""
        return {
            "CLOUDFLARE_API_BASE_URL": self.url,
            "CLOUDFLARE_BASE_URL": self.url,
            "CLOUDFLARE_API_TOKEN": self.token,
            "CLOUDFLARE_ACCOUNT_ID": self.account_id,
        }


_ACCOUNT = "00000000000000000000000000000001"
_DATABASE = "00000000-0000-4000-8000-000000000001"


@contextmanager
def running_d1(path: Path) -> Iterator[LocalD1]:
    """Run a local D1 API over the ledger at `path` for a block, on a free port of loopback."""
    import secrets
    from threading import Thread

    import httpx

    from hoox_tasks.server import create_app, serve

    token = secrets.token_urlsafe(16)
    with closing(create_app(path, database_id=_DATABASE, token=token)) as app:
        server = serve(app)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/client/v4"
        client = httpx.Client(
            base_url=f"{url}/accounts/{_ACCOUNT}/d1/database/{_DATABASE}/",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,  # A proxy has no way to this machine's loopback.
        )
        try:
            yield LocalD1(url, token, _ACCOUNT, _DATABASE, "ledger", path, app, client)
        finally:
            client.close()
            server.shutdown()
            thread.join()
            server.server_close()
