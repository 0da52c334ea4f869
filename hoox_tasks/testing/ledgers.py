"""What the fixtures hand to tests: ledgers made to order, differences, recorded SQL, a local D1 API.

Import the names from here to annotate a test: `def test_fees(hoox_db_diff: LedgerDifference) -> None`.
"""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import pytest

from hoox_tasks.errors import HooxError
from hoox_tasks.testing.templates import Recipe, Template, Templates

if TYPE_CHECKING:
    from sqlite_utils import Database


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
