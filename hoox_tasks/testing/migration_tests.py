"""Tests of a project's own migrations, ready to run.

Switched on by `--hoox-test-migrations`, or by one line in the top `conftest.py`:

    pytest_plugins = ["hoox_tasks.testing.migration_tests"]

They see the same migrations, scenario and seed as every other test: override `hoox_migrations_dir` and
the fixtures like it where theirs are to be others.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path, PurePosixPath

import pytest

from hoox_tasks import ledger, sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations import Migration, Migrations, history_tables, try_on
from hoox_tasks.migrations.files import leading_number
from hoox_tasks.testing.ledgers import LedgerFactory
from hoox_tasks.testing.recipe import Recipe


def collect(session: pytest.Session) -> Iterable[pytest.Item]:
    """Give the tests of this module as items of a session, under the name `migrations`."""
    module = pytest.Module.from_parent(session, path=Path(__file__), nodeid="migrations")
    # Not the module as such: under --lf pytest passes over files that it does not know failures of.
    for node in module.collect():
        yield from session.genitems(node)


@pytest.fixture
def hoox_recipe(hoox_db_factory: LedgerFactory) -> Recipe:
    """What the test's ledgers are made of."""
    return hoox_db_factory.recipe


@pytest.fixture
def hoox_migrations(hoox_recipe: Recipe) -> Migrations:
    """The project's migrations, in the order in which they apply."""
    try:
        return Migrations.read(
            hoox_recipe.migrations_dir, hoox_recipe.migrations_pattern, table=hoox_recipe.migrations_table
        )
    except HooxError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture
def hoox_schema_file(hoox_recipe: Recipe) -> Path:
    """The checked-in schema that the migrations should lead to: `schema.sql` beside their folder."""
    return hoox_recipe.migrations_dir.parent / "schema.sql"


def test_numbering(hoox_recipe: Recipe, hoox_migrations: Migrations) -> None:
    """The migrations are numbered, from the first to the last, without gaps or duplicates."""
    files = hoox_migrations.files
    if not files:
        pytest.fail(f"There is no migration in {hoox_recipe.migrations_dir}.", pytrace=False)
    numbers = {migration.name: leading_number(_top(migration)) for migration in files}
    lacking = [name for name, number in numbers.items() if number is None]
    if lacking:
        pytest.fail(f"{', '.join(lacking)} should begin with a number, as in 0001_name.sql.", pytrace=False)
    for names in hoox_migrations.shared_numbers:
        pytest.fail(f"Migrations {' and '.join(names)} have one number.", pytrace=False)
    found = sorted({number for number in numbers.values() if number is not None})
    gaps = [f"{number:04d}" for number in range(found[0], found[-1]) if number not in found]
    if gaps:
        pytest.fail(
            f"There is no migration {', '.join(gaps)}, though there is {files[-1].name}:"
            " a file was left out, or numbered wrongly.",
            pytrace=False,
        )


def test_rules(hoox_migrations: Migrations) -> None:
    """Every migration keeps D1's rules: it would run there."""
    with closing(EmptyLedger()) as model:
        model.run(history_tables(hoox_migrations.table))
        for migration in hoox_migrations.files:
            try:
                try_on(model, migration)
            except HooxError as error:
                raise pytest.fail.Exception(f"D1 would not run it. {error}", pytrace=False) from None


def test_upgrade(hoox_migrations: Migrations, hoox_db_factory: LedgerFactory, tmp_path: Path) -> None:
    """Every migration applies on top of its predecessor with rows in it, and loses or orphans none."""
    problems = []
    files = hoox_migrations.files
    for place, migration in enumerate(files):
        path = tmp_path / f"{place}.sqlite"
        if place:
            hoox_db_factory.file(path, migrate_to=files[place - 1].name)
        with closing(LocalDatabase(path, create=True)) as database:
            try:
                hoox_migrations.apply(database, to=migration.name)
            except HooxError as error:
                problems.append(str(error))
                continue
            orphans = database.query('SELECT DISTINCT "table", parent FROM pragma_foreign_key_check')
            for table, parent in orphans:
                problems.append(f"After {migration.name}, rows of {table!s} refer to nothing in {parent!s}.")
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def test_second_run(hoox_migrations: Migrations, hoox_db_factory: LedgerFactory, tmp_path: Path) -> None:
    """Applying the migrations to a ledger that has them already does nothing."""
    path = hoox_db_factory.file(tmp_path / "ledger.sqlite")
    before = path.read_bytes()
    with closing(LocalDatabase(path)) as database:
        applied, _ = hoox_migrations.apply(database)
    if applied or path.read_bytes() != before:
        names = ", ".join(each.name for each in applied) or "No migration"
        pytest.fail(f"{names} ran again on a ledger that has it, and changed the ledger.", pytrace=False)


def test_schema_file(
    hoox_recipe: Recipe, hoox_schema_file: Path, hoox_db_factory: LedgerFactory, tmp_path: Path
) -> None:
    """The migrations lead to the schema that is checked in."""
    if not hoox_schema_file.is_file():
        pytest.skip(f"there is no {hoox_schema_file}")
    path = hoox_db_factory.file(tmp_path / "ledger.sqlite", scenario=None)
    with closing(LocalDatabase(path)) as made, closing(EmptyLedger()) as stated:
        history = hoox_recipe.migrations_table
        try:
            pieces = sql.split(hoox_schema_file.read_text("utf-8-sig"))
            stated.run(Statement(piece.sql) for piece in pieces)
        except HooxError as error:
            problem = f"{hoox_schema_file} cannot be run: {error}"
            raise pytest.fail.Exception(problem, pytrace=False) from None
        texts = [ledger.describe(schema, history) for schema in (stated.schema(), made.schema())]
    if texts[0] != texts[1]:
        stated_lines, made_lines = (text.splitlines() for text in texts)
        lines = difflib.unified_diff(
            stated_lines, made_lines, hoox_schema_file.name, "the migrations", n=1, lineterm=""
        )
        difference = "\n".join(lines)
        pytest.fail(
            f"{hoox_schema_file} is not what the migrations lead to.\n{difference}\n"
            f"Write it anew with `inv db.schema`, or correct the migrations.",
            pytrace=False,
        )


def _top(migration: Migration) -> str:
    return PurePosixPath(migration.name).parts[0]
