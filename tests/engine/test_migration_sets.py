"""Sets of migrations as other people write them: one verdict of wrangler, the engine, a file and `db.serve`.

Each folder in `migration_sets` is one set, from its first file on an empty ledger. To apply one, wrangler puts
an INSERT into its history behind the file's text, splits that, and runs all of it as one batch: so it is done
here for all of them, with its own splitter, and with wrangler itself for a few.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from hoox_tasks import sql
from hoox_tasks.d1.client import D1Client
from hoox_tasks.database.interface import Database
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import Migrations, history_tables
from hoox_tasks.migrations.drift import normal_definition
from hoox_tasks.server import create_app
from hoox_tasks.values import Row
from tests.support.d1_api import DATABASE
from tests.support.engine import Engine, EngineDatabase, EngineError, request
from tests.support.npm import Wrangler
from tests.support.remote import Counting, connect

SETS = sorted(path for path in (Path(__file__).parent / "migration_sets").iterdir() if path.is_dir())
HISTORY = "d1_migrations"
ITSELF = ("begin-transaction-commit", "no-last-semicolon-in-second", "one-number-twice")
"""Sets that wrangler itself applies, which takes it seconds for each."""


@dataclass(frozen=True)
class Verdict:
    """What became of a set: what was applied, in order, and the objects and rows that are there then."""

    applied: tuple[str, ...]
    schema: tuple[object, ...]
    rows: tuple[object, ...]


def seen(database: Database, applied: Sequence[str]) -> Verdict:
    """Look at a ledger; what the tools and the inside of search tables hold is left out."""
    schema = {(item.type, item.name): normal_definition(item.sql) for item in database.schema()}
    hidden = {HISTORY, "hoox_checksums"}
    kinds = {table.name: table.kind for table in database.list_tables()}
    shown = [
        item for item in schema.items() if item[0][1] not in hidden and kinds.get(item[0][1]) != "shadow"
    ]
    rows = []
    for (kind, name), _ in sorted(shown):
        if kind == "table":
            found: object = None
            with suppress(HooxError):  # A search table whose content is gone.
                found = sorted(map(_shown, database.query(f"SELECT * FROM {sql.quote_name(name)}")))
            rows.append((name, found))
    return Verdict(tuple(applied), tuple(sorted(shown)), tuple(rows))


def _shown(row: Row) -> str:
    """A row as text; JSON has no 1.0."""
    return repr([int(cell) if isinstance(cell, float) and cell.is_integer() else cell for cell in row])


def ours(database: Database, folder: Path) -> Verdict:
    """Apply a set with our own engine of migrations."""
    migrations = Migrations.read(folder)
    try:
        migrations.apply(database)
    except Refused:  # Of all that is pending, where wrangler stops at the file.
        with suppress(HooxError):
            for each in migrations.files:
                migrations.apply(database, to=each.name)
    except HooxError:
        pass
    history = (
        [str(name) for (name,) in database.query(f"SELECT name FROM {HISTORY} ORDER BY id")]
        if any(item.name == HISTORY for item in database.schema())
        else []
    )
    return seen(database, history)


def wranglers(engine: EngineDatabase, database: Database, folder: Path) -> Verdict:
    """Apply a set as wrangler does."""
    engine.batch(history_tables(HISTORY)[0].sql)
    applied = []
    for migration in Migrations.read(folder).files:
        name = migration.name.replace("'", "''")
        text = migration.path.read_bytes().decode()
        query = f"{text}\nINSERT INTO {HISTORY} (name)\nvalues ('{name}');"
        try:
            request("POST", f"{engine.url}/raw", {"sql": query})
        except EngineError:
            break
        applied.append(migration.name)
    return seen(database, applied)


@contextmanager
def on_engine(engine: EngineDatabase) -> Iterator[RemoteDatabase]:
    client = D1Client(engine.account, "any", database_id=engine.uuid, base_url=engine.base_url)
    with closing(RemoteDatabase(client, "ledger")) as database:
        yield database


@contextmanager
def on_serve(path: Path) -> Iterator[RemoteDatabase]:
    with (
        closing(create_app(path, name="ledger", database_id=DATABASE, token="right")) as app,
        closing(connect(Counting(app))) as database,
    ):
        yield database


@pytest.mark.parametrize("part", range(6))
def test_every_set_has_one_verdict(part: int, engine: Engine, tmp_path: Path) -> None:
    """What wrangler applies we apply everywhere, to the same objects and rows; what it refuses is warned of."""
    wrong = []
    for folder in SETS[part::6]:
        warned = [each for each in Migrations.read(folder).files if _wrangler_refuses(each.warnings)]
        with closing(LocalDatabase(tmp_path / f"{folder.name}.sqlite", create=True)) as database:
            database.connection.execute("PRAGMA synchronous = OFF")
            local = ours(database, folder)
        with on_serve(tmp_path / f"{folder.name}.served.sqlite") as served:
            verdicts = {"db.serve": ours(served, folder)}
        with engine.database() as theirs, on_engine(theirs) as database:
            wrangler = wranglers(theirs, database, folder)
        if not any(
            sql.is_trigger(piece.sql) for each in Migrations.read(folder).files for piece in each.pieces
        ):
            # The engine has no import, by which a trigger travels.
            with engine.database() as theirs, on_engine(theirs) as database:
                verdicts["the engine"] = ours(database, folder)
        wrong += [(folder.name, where, local, other) for where, other in verdicts.items() if other != local]
        if not warned:
            verdicts["wrangler"] = wrangler
            if wrangler != local:
                wrong.append((folder.name, "wrangler", local, wrangler))
        elif warned[0].name in wrangler.applied:
            wrong.append((folder.name, "warned of what wrangler does", local, wrangler))
    assert not wrong, "\n\n".join(f"{name}: {where}\n  {a}\n  {b}" for name, where, a, b in wrong)


def _wrangler_refuses(warnings: Sequence[str]) -> bool:
    words = ("wrangler would fail", "would refuse", "again and again")
    return any(word in warning for warning in warnings for word in words)


@pytest.mark.parametrize("name", ITSELF)
def test_wrangler_itself_has_the_verdict(
    name: str, wrangler: Wrangler, engine: Engine, tmp_path: Path
) -> None:
    """What is done here as wrangler does it, wrangler does."""
    folder = next(path for path in SETS if path.name == name)
    shutil.copytree(folder, tmp_path / "migrations")
    entry = {"binding": "DB", "database_name": "ledger", "database_id": "a" * 8}
    config = {"name": "x", "compatibility_date": "2025-01-01", "d1_databases": [entry]}
    (tmp_path / "wrangler.json").write_text(json.dumps(config))
    wrangler("d1", "migrations", "apply", "ledger", "--local", cwd=tmp_path, check=False)
    (path,) = [
        each for each in (tmp_path / ".wrangler/state").rglob("*.sqlite") if each.name != "metadata.sqlite"
    ]
    with closing(sqlite3.connect(path)) as connection:
        applied = [row[0] for row in connection.execute(f"SELECT name FROM {HISTORY} ORDER BY id")]
    with closing(LocalDatabase(path)) as database:
        itself = seen(database, applied)
    with engine.database() as theirs, on_engine(theirs) as remote:
        assert wranglers(theirs, remote, folder) == itself
