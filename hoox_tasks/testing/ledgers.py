"""Ledgers made to order for tests, and let go of when they end."""

from __future__ import annotations

import hashlib
import itertools
import re
import shlex
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

import pytest

from hoox_tasks.errors import HooxError
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.testing import queries
from hoox_tasks.testing.options import Choices, checked
from hoox_tasks.testing.recipe import Recipe
from hoox_tasks.testing.templates import Template, Templates

with lazy_imports():
    from hoox_tasks.database.local import database as local
    from hoox_tasks.testing import building

if TYPE_CHECKING:
    from sqlite_utils import Database

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger that a test was given: a connection, or a file, or both; and what it is a copy of."""

    template: Template
    database: Database | None
    path: Path | None
    watch: queries.Watch

    def is_(self, other: object) -> bool:
        """Whether it is meant by a database, a connection, or the path or URL of a file."""
        if self.database is not None and (other is self.database or other is self.database.conn):
            return True
        if self.path is None or not isinstance(other, str | Path):
            return False
        path = queries.file_of(other) if isinstance(other, str) else other
        return path.resolve() == self.path.resolve()

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

    def close(self) -> None:
        """Close the connection, whatever the test left open in it."""
        if self.database is not None:
            self.database.conn.close()
        if self.path is not None:
            queries.forget_file(self.path)


def describe(ledgers: Sequence[Ledger], folder: Path | None, test: str) -> str:
    """Say what the ledgers of a failed test were made of; with a `folder` they are kept in it.

    `test` is the test's node id.
    """
    lines = []
    for place, ledger in enumerate(ledgers, 1):
        lines.append(ledger.template.recipe.words())
        if folder is not None:
            name = re.sub(r"[^\w.-]+", "-", test).strip("-")[-80:]
            # Ids that differ in other characters only would share a name.
            mark = hashlib.blake2b(test.encode(), digest_size=4).hexdigest()
            number = f"-{place}" if len(ledgers) > 1 else ""
            target = folder / f"{name}-{mark}{number}.sqlite"
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
    """Makes any number of ledgers, and lets go of them when the test, or the run, ends."""

    recipe: Recipe
    ledgers: list[Ledger]

    def __init__(self, templates: Templates, recipe: Recipe, folder: Callable[[], Path]) -> None:
        self.recipe = recipe
        self.ledgers = []
        self._templates = templates
        self._folder = folder

    def __call__(self, *, path: str | Path | None = None, **choices: Unpack[Choices]) -> Database:
        """Return a ledger of its own, in memory, or in a new file at `path`.

        What is left out is as for the test's other ledgers. A file that is there already is never written
        over: the test fails.
        """
        __tracebackhide__ = True
        return cast("Database", self._make(self._recipe(choices), path, connect=True).database)

    @contextmanager
    def open(self, *, path: str | Path | None = None, **choices: Unpack[Choices]) -> Iterator[Database]:
        """Give a ledger for the length of a block: for each example of a property, or a server's life."""
        __tracebackhide__ = True
        ledger = self._make(self._recipe(choices), path, connect=True)
        try:
            yield cast("Database", ledger.database)
        finally:
            ledger.close()
            self.ledgers.remove(ledger)

    def file(self, path: str | Path | None = None, **choices: Unpack[Choices]) -> Path:
        """Make a ledger as a file, with no connection to it; returns its path, a new one by default."""
        __tracebackhide__ = True
        return cast("Path", self._make(self._recipe(choices), path, connect=False).path)

    def template(self, **choices: Unpack[Choices]) -> Template:
        """The ledger that the copies are made of."""
        __tracebackhide__ = True
        return self._get(self._recipe(choices))

    def migrate(self, ledger: Database | Path | str, to: str | None = None) -> list[str]:
        """Apply the migrations that a ledger lacks, up to `to`, as a release would; returns their names.

        `ledger` is one that this factory made, perhaps with `migrate_to`. What it holds by then stays.
        """
        __tracebackhide__ = True
        found = self.find(ledger)
        if found.database is None or found.path is not None:
            return self._migrate(cast("Path", found.path), to)
        connection = found.database.conn
        if connection.in_transaction:
            pytest.fail("The ledger has changes that are not committed. Commit them before it is migrated.")
        with TemporaryDirectory(prefix="hoox-") as folder:
            path = Path(folder) / "ledger.sqlite"
            path.write_bytes(connection.serialize())
            names = self._migrate(path, to)
            connection.deserialize(path.read_bytes())
        return names

    def find(self, ledger: object) -> Ledger:
        """The ledger of this factory that is meant; the test fails where there is none."""
        __tracebackhide__ = True
        for each in self.ledgers:
            if each.is_(ledger):
                return each
        pytest.fail(f"{ledger!r} is no ledger of this factory.")

    def close(self) -> None:
        """Let go of all ledgers."""
        for ledger in self.ledgers:
            ledger.close()
        self.ledgers.clear()

    def _migrate(self, path: Path, to: str | None) -> list[str]:
        __tracebackhide__ = True
        with closing(local.LocalDatabase(path)) as database:
            applied, _ = refusing(lambda: building.read_migrations(self.recipe).apply(database, to=to))
            database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return [migration.name for migration in applied]

    def _recipe(self, choices: Choices) -> Recipe:
        __tracebackhide__ = True
        if not choices:
            return self.recipe
        try:
            return replace(self.recipe, **checked(choices))
        except ValueError as error:
            raise pytest.fail.Exception(f"A ledger cannot be made: {error}.", pytrace=False) from None

    def _get(self, recipe: Recipe) -> Template:
        __tracebackhide__ = True
        return refusing(lambda: self._templates.get(recipe))

    def _make(self, recipe: Recipe, path: str | Path | None, *, connect: bool) -> Ledger:
        __tracebackhide__ = True
        template = self._get(recipe)
        if path is not None or not connect:
            file = self._copy(template, None if path is None else Path(path))
            connection = None
            watch = queries.watch_file(file)
            if connect:
                connection = sqlite3.connect(file, check_same_thread=sqlite3.threadsafety < 3)
                connection.execute("PRAGMA foreign_keys = ON")
        else:
            file, connection, watch = None, template.connect(), queries.Watch(seen=True)
        database = None if connection is None else sqlite_utils_database(connection)
        ledger = Ledger(template, database, file, watch)
        self.ledgers.append(ledger)
        return ledger

    def _copy(self, template: Template, path: Path | None) -> Path:
        __tracebackhide__ = True
        if path is not None:
            try:
                template.copy(path)
            except FileExistsError:
                problem = (
                    f"There is a file {path} already, and no ledger is written over it. Choose another path."
                )
                raise pytest.fail.Exception(problem, pytrace=False) from None
            return path
        folder = self._folder()
        for number in itertools.count(1):
            path = folder / f"hoox-ledger{f'-{number}' if number > 1 else ''}.sqlite"
            with suppress(FileExistsError):
                template.copy(path)
                return path
        raise AssertionError


def sqlite_utils_database(connection: sqlite3.Connection) -> Database:
    """Wrap a connection for a test."""
    import sqlite_utils

    if "numpy" in sys.modules or "pandas" in sys.modules:
        teach_types(sqlite_utils)
    return sqlite_utils.Database(connection)


def import_sqlite_utils() -> Any:
    """Import sqlite-utils without numpy and pandas, which it would import wherever they are installed.

    A test that uses them imports them itself; `teach_types` makes up for it then.
    """
    absent = [name for name in ("numpy", "pandas") if name not in sys.modules]
    blocked: dict[str, Any] = dict.fromkeys(absent)
    sys.modules.update(blocked)
    try:
        import sqlite_utils
        import sqlite_utils.db
    finally:
        for name in absent:
            if sys.modules.get(name, ...) is None:
                del sys.modules[name]
    return sqlite_utils


def teach_types(sqlite_utils: Any) -> None:
    """Tell sqlite-utils of the types of numpy and pandas, as it does itself where it imports them."""
    database = sqlite_utils.db
    if database.np is None and (numpy := sys.modules.get("numpy")) is not None:
        database.np = numpy
        names = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
        database.COLUMN_TYPE_MAPPING.update({getattr(numpy, name): "INTEGER" for name in names})
        reals = ("float16", "float32", "float64")
        database.COLUMN_TYPE_MAPPING.update({getattr(numpy, name): "REAL" for name in reals})
    if database.pd is None and (pandas := sys.modules.get("pandas")) is not None:
        database.pd = pandas
        database.COLUMN_TYPE_MAPPING[pandas.Timestamp] = "TEXT"


def refusing(get: Callable[[], _T]) -> _T:
    """Call `get`; what cannot be right fails the test with a sentence only."""
    __tracebackhide__ = True
    try:
        return get()
    except (HooxError, pytest.UsageError) as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
