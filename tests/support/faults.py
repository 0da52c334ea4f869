"""Ledgers behind a proxy that fails by seed, and what may come of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from hoox_tasks.d1 import D1Client
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import HooxError
from hoox_tasks.server import Api, create_app
from tests.support.d1_api import ACCOUNT, BASE, DATABASE
from tests.support.proxy import Faults, FaultyTransport

RUNS = int(os.environ.get("HOOX_FAULT_RUNS", "40"))
"""How many seeds each test tries."""


PARTS = max(1, min(10, RUNS // 10))


SEEDS = [pytest.param(range(start, RUNS, PARTS), id=f"from {start}") for start in range(PARTS)]


TOKEN = "right-and-secret"


HISTORY = "d1_migrations"


UNKNOWN = ("It is not known whether", "nothing shows that", "may or may not")


MIGRATIONS = {
    "0001_tables.sql": "CREATE TABLE parent (id INTEGER PRIMARY KEY, a);\n"
    "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent ON DELETE CASCADE);\n"
    "INSERT INTO parent (a) VALUES ('one'), ('two');",
    "0002_rows.sql": "INSERT INTO parent (a) VALUES ('three');\n"
    "INSERT INTO child (parent) SELECT id FROM parent;",
    "0003_trigger.sql": "CREATE TABLE log (a);\n"
    "CREATE TRIGGER logged AFTER INSERT ON parent BEGIN\n"
    "  INSERT INTO log VALUES (CASE new.a WHEN 'four' THEN 'end;' ELSE 'other' END);\nEND;\n"
    "INSERT INTO parent (a) VALUES ('four');",
    "0004_column.sql": "ALTER TABLE child ADD COLUMN b;\nINSERT INTO parent (a) VALUES ('five');",
}


State = tuple[Any, ...]


@dataclass
class Place:
    """A ledger file for one run, and the way to it with and without faults."""

    path: Path
    faults: Faults

    @contextmanager
    def remote(self, faults: Faults | None = None) -> Iterator[RemoteDatabase]:
        """Serve the file and connect to it; with `faults` they come between."""
        with self.served() as app:
            transport: httpx.BaseTransport = httpx.WSGITransport(app)
            if faults is not None:
                transport = FaultyTransport(transport, faults)
            with connected(transport) as database:
                yield database

    @contextmanager
    def served(self) -> Iterator[Api]:
        """Serve the file."""
        with closing(create_app(self.path, name="ledger", database_id=DATABASE, token=TOKEN)) as app:
            yield app

    def state(self) -> State:
        """The whole content of the file, but for the times in its history."""
        with closing(sqlite3.connect(self.path)) as file:
            schema = file.execute(
                "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
                " AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name"
            ).fetchall()
            rows = {}
            for kind, name, _ in schema:
                if kind == "table":
                    columns = "id, name" if name == HISTORY else "*"
                    found = sorted(file.execute(f"SELECT {columns} FROM {name}"), key=repr)
                    # Notes of an import, which nobody could read after it: the next one forgets them.
                    rows[name] = tuple(row for row in found if not str(row[0]).startswith("/"))
        return tuple(schema), tuple(sorted(rows.items()))

    def history(self) -> list[str]:
        """The names of the migrations that the file has recorded."""
        with closing(sqlite3.connect(self.path)) as file:
            try:
                return [name for (name,) in file.execute(f"SELECT name FROM {HISTORY} ORDER BY id")]
            except sqlite3.OperationalError:
                return []


@contextmanager
def connected(transport: httpx.BaseTransport) -> Iterator[RemoteDatabase]:
    """Connect to what is served behind a transport."""
    client = D1Client(
        ACCOUNT, TOKEN, database_id=DATABASE, base_url=BASE, transport=transport, sleep=lambda _: None
    )
    with closing(RemoteDatabase(client, "ledger")) as database:
        yield database


def failure(attempt: Callable[[], object]) -> HooxError | None:
    """How an attempt failed, or None; any other exception than ours, or a token in it, fails the test."""
    try:
        attempt()
    except HooxError as caught:
        error = caught
    else:
        return None
    assert error.problem.endswith((".", "?"))
    assert error.remedy.endswith(".")
    assert TOKEN not in str(error) + repr(vars(error)) + repr(error.__cause__) + repr(error.__context__)
    return error


def unsure(error: HooxError) -> bool:
    """Whether an error says that the change may or may not have happened."""
    return any(words in str(error) for words in UNKNOWN)


def tell(what: str, outcomes: list[str]) -> None:
    """Show how the runs ended, where pytest is asked to show what tests print."""
    counted = ", ".join(f"{outcome} {outcomes.count(outcome)}" for outcome in sorted(set(outcomes)))
    print(f"{what}: {counted}")
