"""The data dictionary and the schema reference written from it."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hoox_tasks import migrations
from hoox_tasks.config.dictionary import TIME, Column, read_dictionary
from hoox_tasks.config.settings import bundled
from hoox_tasks.errors import Refused
from hoox_tasks.views.reference import write_reference
from tests.support import ROOT
from tests.support.ledgers import make_ledger

FILES = migrations.discover(bundled("migrations"))


def stored(tmp_path: Path) -> dict[str, dict[str, str]]:
    """The columns of a ledger and their types, as its file has them."""
    path = tmp_path / "l.sqlite"
    make_ledger(path, "empty").close()
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        return {
            name: {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({name})")}
            for name in names
            if not name.startswith(("sqlite_", "d1_", "hoox_", "_hoox"))
        }


def test_every_column_is_described(tmp_path: Path) -> None:
    """Every table and column that the migrations make has a sentence, and none that they do not make has."""
    dictionary = read_dictionary()
    assert {name: set(table.columns) for name, table in dictionary.items()} == {
        name: set(columns) for name, columns in stored(tmp_path).items()
    }
    texts = [table.description for table in dictionary.values()]
    texts += [column.description for table in dictionary.values() for column in table.columns.values()]
    assert all(text.endswith(".") and len(text) > 8 for text in texts)


def test_every_number_has_a_unit(tmp_path: Path) -> None:
    """Every column that holds a number says in which unit, and a time says the one for times."""
    dictionary = read_dictionary()
    for name, columns in stored(tmp_path).items():
        for column, kind in columns.items():
            unit = dictionary[name].columns[column].unit
            assert bool(unit) == (kind in {"INTEGER", "REAL"}), f"{name}.{column}"
            is_time = column == "timestamp" or column.endswith("_at")
            assert (unit == TIME) == is_time, f"{name}.{column}"


def test_what_is_referred_to_is_there() -> None:
    """A column refers to one that the dictionary has."""
    dictionary = read_dictionary()
    refers = [one.refers for table in dictionary.values() for one in table.columns.values() if one.refers]
    assert refers
    for place in refers:
        table, _, column = place.partition(".")
        assert column in dictionary[table].columns


def test_the_reference_is_fresh() -> None:
    """docs/schema.md is what the migrations and the dictionary give now."""
    assert (ROOT / "docs/schema.md").read_text("utf-8") == write_reference(FILES, read_dictionary())


def test_the_reference_tells_everything(tmp_path: Path) -> None:
    """Every table, column and index stands in it, with the column's type and unit, and in the diagram."""
    text = write_reference(FILES, read_dictionary())
    diagram = text[text.index("```mermaid") : text.index("```\n\n##")]
    path = tmp_path / "l.sqlite"
    for table, columns in stored(tmp_path).items():
        section = text.split(f"## {table}\n")[1].split("\n## ")[0]
        box = re.search(rf"  {table} \{{\n(.*?)\n  \}}", diagram, re.DOTALL)
        assert box
        for column, kind in columns.items():
            assert re.search(rf"^\| `{column}` \| {kind} \|", section, re.MULTILINE)
            assert re.search(rf"^    {kind} {column}\b", box.group(1), re.MULTILINE)
        with closing(sqlite3.connect(path)) as connection:
            indexes = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
                (table,),
            ).fetchall()
        assert [f"`{name}`" in section for (name,) in indexes] == [True] * len(indexes)
    assert "`idx_trades_order_id`: `UNIQUE (exchange, order_id) WHERE order_id IS NOT NULL`" in text


def test_a_column_without_a_description_is_named(tmp_path: Path) -> None:
    """A migration that adds a column without a sentence for it fails, with the column's name."""
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE trades (id TEXT, fresh INTEGER)")
    with pytest.raises(KeyError, match=r"trades\.fresh"):
        write_reference(migrations.discover(tmp_path), read_dictionary())
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE news (id TEXT)")
    with pytest.raises(KeyError, match="news"):
        write_reference(migrations.discover(tmp_path), read_dictionary())


def test_names_and_words_of_all_kinds(tmp_path: Path) -> None:
    """Bars in a description do not break a table of the reference."""
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE trades (id TEXT DEFAULT ('a|b'))")
    trades = read_dictionary()["trades"]
    one = replace(trades, columns={"id": Column("This | that.")})
    text = write_reference(migrations.discover(tmp_path), {"trades": one})
    assert "| `id` | TEXT | yes | `'a\\|b'` |  | This \\| that. |" in text


def test_a_workspace_has_a_dictionary_of_its_own(tmp_path: Path) -> None:
    """A dictionary beside one's own migrations is read; without one ours is; a broken one is refused."""
    assert "trades" in read_dictionary(tmp_path)
    (tmp_path / "dictionary.toml").write_text('[news]\ndescription = "News."\n[news.columns]\nid = "Id."\n')
    assert list(read_dictionary(tmp_path)) == ["news"]
    assert read_dictionary(tmp_path)["news"].columns["id"].sentence == "Id."
    (tmp_path / "dictionary.toml").write_text("[news]\n")
    with pytest.raises(Refused, match="no data dictionary"):
        read_dictionary(tmp_path)


def test_inv_docs_checks(tmp_path: Path) -> None:
    """`inv docs --check` is content with what is committed, and writes nothing."""
    path = ROOT / "docs/schema.md"
    before = path.stat().st_mtime_ns
    result = subprocess.run(
        [sys.executable, "-m", "invoke", "docs", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert path.stat().st_mtime_ns == before
