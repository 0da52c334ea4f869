"""Templates: built once, found again, rebuilt when they should be."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.testing import building
from hoox_tasks.testing.recipe import Recipe
from hoox_tasks.testing.templates import Template, Templates
from tests.support import ROOT
from tests.support.programs import program


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe over folders that the test may change."""
    migrations, fixtures = tmp_path / "migrations", tmp_path / "fixtures"
    for source, folder in ((ROOT / "migrations", migrations), (ROOT / "fixtures", fixtures)):
        folder.mkdir()
        for file in source.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    return Recipe(migrations, "*.sql", "d1_migrations", (fixtures,), "quiet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the templates are kept."""
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


def origin(folder: Path, recipe: Recipe) -> str:
    """How a process that begins now comes by the template."""
    return Templates(folder).get(recipe).origin


def kept_file(template: Template) -> Path:
    """The file that a template is kept in."""
    assert template.path is not None
    return template.path


def rows(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    with closing(connection):
        return connection.execute("SELECT * FROM trades ORDER BY id").fetchall()


def test_a_template_is_kept(folder: Path, recipe: Recipe) -> None:
    """What one process built, the next one finds; nothing else stays in the folder."""
    assert origin(folder, recipe) == "built"
    assert origin(folder, recipe) == "reused"
    assert sorted(path.suffix for path in folder.iterdir() if path.suffix != ".lock") == [".json", ".sqlite"]


def test_copies_are_equal_and_ones_own(folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Copies in memory and in files hold the template's rows, and no copy's change is seen in another."""
    template = Templates(folder).get(recipe)
    with closing(template.connect()) as first:
        first.execute("DELETE FROM trades")
        first.commit()
    file = tmp_path / "below" / "copy.sqlite"
    template.copy(file)
    assert file.read_bytes() == template.data
    with closing(sqlite3.connect(file)) as second:
        second.execute("DELETE FROM trades")
        second.commit()
    kept = rows(sqlite3.connect(kept_file(template)))
    assert kept
    assert rows(template.connect()) == kept


def test_copying_does_without_the_systems_help(
    folder: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system cannot copy between files, or the kept file is gone, a copy is made all the same."""
    template = Templates(folder).get(recipe)
    monkeypatch.delattr("os.copy_file_range", raising=False)
    template.copy(tmp_path / "one.sqlite")
    kept_file(template).unlink()
    template.copy(tmp_path / "two.sqlite")
    assert (tmp_path / "one.sqlite").read_bytes() == (tmp_path / "two.sqlite").read_bytes() == template.data


def test_templates_are_the_same_every_time(recipe: Recipe, tmp_path: Path) -> None:
    """The same recipe gives the same bytes on any day, in a journal mode that can be deserialized."""
    data = building.build(recipe, tmp_path / "a.sqlite")
    assert data == building.build(recipe, tmp_path / "b.sqlite")
    assert data[18:20] == b"\x01\x01"  # https://sqlite.org/fileformat2.html: 2 would be WAL
    assert not list(tmp_path.glob("?.sqlite*"))
    today = "SELECT name FROM d1_migrations WHERE applied_at > datetime('now', '-1 day')"
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(data)
        assert connection.execute(today).fetchall() == []


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("seed", 7),
        ("scale", 2),
        ("scenario", "edge"),
        ("scenario", None),
        ("start", datetime(2027, 1, 1, tzinfo=UTC)),
        ("migrate_to", "0001"),
    ],
)
def test_every_choice_has_a_template_of_its_own(
    folder: Path, recipe: Recipe, choice: str, value: object
) -> None:
    """Another seed, scale, scenario, start or last migration is another template, beside the first."""
    first = Templates(folder).get(recipe)
    other = Templates(folder).get(replace(recipe, **{choice: value}))  # type: ignore[arg-type]
    assert other.origin == "built"
    assert other.data != first.data
    assert origin(folder, recipe) == "reused"


def test_changed_files_are_named(folder: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template is rebuilt when what it was made of changes, and says what that was."""
    origin(folder, recipe)
    fees = recipe.migrations_dir / "0003_add_fees.sql"
    fees.write_text("CREATE TABLE fees (a);")
    assert origin(folder, recipe) == "rebuilt: 0003_add_fees.sql added"
    fees.write_text("CREATE TABLE fees (b);")
    assert origin(folder, recipe) == "rebuilt: 0003_add_fees.sql changed"
    fees.unlink()
    scenario = recipe.fixtures_dirs[0] / "quiet.toml"
    scenario.write_text(scenario.read_text().replace("per_day = 12", "per_day = 14"))
    assert origin(folder, recipe) == "rebuilt: scenario quiet changed, 0003_add_fees.sql removed"
    monkeypatch.setattr("hoox_tasks.seeding.rows.GENERATOR_VERSION", "next")
    assert origin(folder, recipe) == "rebuilt: generator changed"
    monkeypatch.setattr("hoox_tasks.testing.templates.__version__", "next")
    assert origin(folder, recipe) == "rebuilt: hoox_tasks changed"
    assert len(list(folder.glob("*.sqlite"))) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "gone", "no manifest", "bad manifest"])
def test_damage_is_noticed(folder: Path, recipe: Recipe, damage: str) -> None:
    """A template that is damaged or was half written is built anew, to the same bytes."""
    template = Templates(folder).get(recipe)
    manifest = kept_file(template).with_suffix(".json")
    if damage == "cut":
        kept_file(template).write_bytes(template.data[: len(template.data) // 2])
    elif damage == "flipped":
        middle = len(template.data) // 2
        byte = bytes([template.data[middle] ^ 1])
        kept_file(template).write_bytes(template.data[:middle] + byte + template.data[middle + 1 :])
    elif damage == "emptied":
        kept_file(template).write_bytes(b"")
    elif damage == "gone":
        kept_file(template).unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(json.dumps([]))
    again = Templates(folder).get(recipe)
    assert again.origin == "rebuilt: it was damaged"
    assert again.data == template.data == kept_file(template).read_bytes()


def test_what_cannot_be_built_leaves_nothing(folder: Path, recipe: Recipe) -> None:
    """A migration that fails, a scenario or a folder that is not there: an error, and no file."""
    with pytest.raises(Refused, match="There is no scenario 'nope'"):
        Templates(folder).get(replace(recipe, scenario="nope"))
    with pytest.raises(Refused, match="There is no migrations folder"):
        Templates(folder).get(replace(recipe, migrations_dir=folder / "none"))
    (recipe.migrations_dir / "0003_bad.sql").write_text("SELECT FROM;")
    with pytest.raises(HooxError, match=r"0003_bad\.sql failed"):
        Templates(folder).get(recipe)
    assert not [path for path in folder.iterdir() if path.suffix != ".lock"]


def test_a_project_without_migrations_has_an_empty_ledger(folder: Path, recipe: Recipe) -> None:
    """An empty migrations folder makes a ledger without tables."""
    for file in recipe.migrations_dir.iterdir():
        file.unlink()
    with closing(Templates(folder).get(replace(recipe, scenario=None)).connect()) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'trades'").fetchall() == []


def test_eight_processes_build_it_once(folder: Path, tmp_path: Path) -> None:
    """Of eight processes that want a template at the same moment, one builds it."""
    counter = tmp_path / "counter"
    racers = [
        subprocess.Popen(
            [*program("build_template"), str(folder), str(counter), str(ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        assert [racer.communicate(timeout=60)[0] for racer in racers] == ["done\n"] * 8
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    assert counter.read_text() == "built\n"


def test_a_killed_build_leaves_no_trace(folder: Path, recipe: Recipe) -> None:
    """What a killed build left behind is nobody's template, whatever its process id, and is taken away."""
    folder.joinpath(f".{recipe.kind}-{'0' * 16}").write_bytes(b"half of a ledger")
    folder.joinpath(f".{recipe.kind}-{'0' * 16}-journal").write_bytes(b"its journal")
    assert origin(folder, recipe) == "built"
    assert not list(folder.glob(".*"))


def test_the_cache_may_be_cleared_meanwhile(folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Another run may remove the folder at any moment: what is there in memory goes on, the next is built."""
    known = Templates(folder)
    template = known.get(recipe)
    shutil.rmtree(folder)
    template.copy(tmp_path / "copy.sqlite")
    assert (tmp_path / "copy.sqlite").read_bytes() == template.data
    assert known.get(replace(recipe, seed=3)).origin == "built"
    assert known.problem == ""
    assert origin(folder, replace(recipe, seed=3)) == "reused"


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, recipe: Recipe) -> None:
    """Where nothing can be kept, the ledgers are made all the same, and one sentence tells why it is slower."""
    (tmp_path / "file").write_text("in the way")
    known = Templates(tmp_path / "file" / "hoox")
    assert known.get(recipe).data == Templates(None).get(recipe).data
    assert known.get(replace(recipe, seed=3)).origin == "built"
    assert known.problem.startswith(f"templates cannot be kept in {tmp_path / 'file' / 'hoox'}: ")


def test_templates_stay_few(folder: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that vary without end leave a bounded number of files; those used last stay."""
    monkeypatch.setattr("hoox_tasks.testing.templates._TEMPLATES", 3)
    for seed in range(6):
        assert origin(folder, replace(recipe, seed=seed)) == "built"
        os.utime(kept_file(Templates(folder).get(replace(recipe, seed=seed))), ns=(seed, seed))
        assert origin(folder, replace(recipe, seed=0)) == "reused"
    assert len(list(folder.glob("*.sqlite"))) == len(list(folder.glob("*.json"))) == 3
    assert len(list(folder.glob("*.lock"))) <= 8
    monkeypatch.setattr("hoox_tasks.testing.templates._BYTES", 1)
    origin(folder, replace(recipe, seed=9))
    assert len(list(folder.glob("*.sqlite"))) == 1


def test_a_copy_takes_no_file_away(folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Nothing is copied over a file that is there."""
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        Templates(folder).get(recipe).copy(tmp_path / "mine")
    assert (tmp_path / "mine").read_bytes() == b"mine"
