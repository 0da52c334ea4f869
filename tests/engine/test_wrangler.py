"""Which ledger and which migrations a config means: asked of wrangler itself, and of us.

The wrangler that runs on Node 20 is older than `migrations_pattern`; today's runs on a Node of its own.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks import migrations
from hoox_tasks.config.settings import Target, load_settings
from tests.support import npm

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"

WITH_ID = {"binding": "DB", "database_name": "hoox", "database_id": ONE}
CASES: dict[str, tuple[dict[str, Any], Target, str]] = {
    # The config's own keys, the flags, and the folder below the config in which both are run.
    "one database": ({"d1_databases": [WITH_ID]}, Target(), "."),
    "a folder below": ({"d1_databases": [WITH_ID]}, Target(), "src/deep"),
    "a preview": ({"d1_databases": [{**WITH_ID, "preview_database_id": TWO}]}, Target(), "."),
    "no id": ({"d1_databases": [{"binding": "TRADE_LEDGER"}]}, Target(database="TRADE_LEDGER"), "."),
    "a name and no id": ({"d1_databases": [{"binding": "DB", "database_name": "hoox"}]}, Target(), "."),
    "several, by binding": (
        {"d1_databases": [WITH_ID, {"binding": "SECOND", "database_name": "b", "database_id": TWO}]},
        Target(database="SECOND"),
        ".",
    ),
    "an environment": (
        {"d1_databases": [WITH_ID], "env": {"live": {"d1_databases": [{**WITH_ID, "database_id": TWO}]}}},
        Target(env="live"),
        ".",
    ),
    "a folder and a table": (
        {"d1_databases": [{**WITH_ID, "migrations_dir": "sql/steps", "migrations_table": "steps"}]},
        Target(),
        ".",
    ),
}
PATTERNS = {
    "a folder for each": "drizzle/*/migration.sql",
    "any depth": "drizzle/**/*.sql",
}
FILES = (
    "drizzle/0000_first/migration.sql",
    "drizzle/0000_first/snapshot.json",
    "drizzle/0001_second/migration.sql",
    "drizzle/0001_second/.hidden.sql",
    "drizzle/0002_third/deeper/other.sql",
    "drizzle/top.sql",
    "migrations/0001_a.sql",
    "migrations/0010_c.sql",
    "migrations/0002_b.sql",
    "migrations/deeper/0003_d.sql",
    "migrations/notes.txt",
    "sql/steps/0001_step.sql",
)


@pytest.mark.parametrize("case", CASES)
def test_config_means_what_it_means_to_wrangler(case: str, wrangler: npm.Wrangler, tmp_path: Path) -> None:
    """The local file that wrangler writes is the one that we open, and its pending migrations are ours."""
    compare(*CASES[case], wrangler, tmp_path)


@pytest.mark.parametrize("pattern", [None, *PATTERNS])
def test_config_means_what_it_means_to_todays_wrangler(
    pattern: str | None, newer_wrangler: npm.Wrangler, tmp_path: Path
) -> None:
    """So it is for the newest wrangler, with which a config may say where migrations lie by a pattern."""
    layout = {"migrations_dir": "drizzle", "migrations_pattern": PATTERNS[pattern]} if pattern else {}
    compare({"d1_databases": [{**WITH_ID, **layout}]}, Target(), ".", newer_wrangler, tmp_path)


def compare(
    config: dict[str, Any], target: Target, below: str, wrangler: npm.Wrangler, tmp_path: Path
) -> None:
    """Let wrangler and us resolve a config, in a folder below it."""
    document = {"name": "worker", "compatibility_date": "2025-01-01", **config}
    (tmp_path / "wrangler.json").write_text(json.dumps(document))
    for file in FILES:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("SELECT 1;\n")
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    entry = config["d1_databases"][0]
    named = target.database or entry.get("database_name") or entry["binding"]
    chosen = [named, "--local", *([f"--env={target.env}"] if target.env else [])]

    # The list is all that is asked for: for it, wrangler makes the ledger with its table of migrations.
    listed = wrangler("d1", "migrations", "list", *chosen, cwd=folder).stdout
    settings = load_settings(target, cwd=folder, environ={})
    assert settings.path.is_file(), sorted(tmp_path.rglob("*.sqlite"))
    ours = migrations.discover(settings.migrations_dir, settings.migrations_pattern)
    assert [migration.name for migration in ours] == re.findall(r"│ (\S+\.sql)\s+│", listed)

    with closing(sqlite3.connect(settings.path)) as ledger:
        tables = {row[0] for row in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert settings.migrations_table in tables
