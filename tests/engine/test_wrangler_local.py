"""Real wrangler and `inv` on one local ledger: the same file, the same history, the same migrations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks.config.settings import Target, load_settings
from tests.support import ROOT
from tests.support.npm import Wrangler
from tests.support.sqlite_files import contents
from tests.support.workspace import Workspace

OURS = ["0001_live_ledger.sql", "0002_runbook_columns.sql"]
ID = "a682f084-594e-4bd8-be2d-40ea5f8cf42e"
DATABASE = {"binding": "DB", "database_name": "hoox-ledger", "database_id": ID}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with a wrangler config and the ledger's migrations."""
    made = Workspace(tmp_path / "work", tmp_path / "home")
    configure(made.root, {"d1_databases": [DATABASE]})
    shutil.copytree(ROOT / "migrations", made.root / "migrations")
    return made


def configure(folder: Path, config: Mapping[str, Any], name: str = "wrangler.jsonc") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = {"name": "hoox", "compatibility_date": "2026-01-01", **config}
    (folder / name).write_text("// The worker's config\n" + json.dumps(document))


def ledgers(folder: Path) -> list[Path]:
    """The ledgers that wrangler has made below a folder; `metadata.sqlite` is its runtime's own."""
    found = (folder / ".wrangler" / "state" / "v3" / "d1" / "miniflare-D1DatabaseObject").glob("*.sqlite")
    return sorted(path for path in found if path.name != "metadata.sqlite")


def states(workspace: Workspace) -> dict[str, str]:
    found = workspace.ok("db.migrate.status", "--json").json["migrations"]
    return {one["name"]: one["state"] for one in found}


def ask(wrangler: Wrangler, workspace: Workspace, sql: str) -> Any:
    run = wrangler("d1", "execute", "hoox-ledger", "--local", "--json", "--command", sql, cwd=workspace.root)
    return json.loads(run.stdout)[0]["results"]


def test_wrangler_first_then_inv(wrangler: Wrangler, workspace: Workspace) -> None:
    """What wrangler applied is applied for `inv`, which goes on from there; rows are seen by both."""
    wrangler("d1", "migrations", "apply", "hoox-ledger", "--local", cwd=workspace.root)
    assert states(workspace) == dict.fromkeys(OURS, "applied")
    assert workspace.ok("db.migrate").out.startswith("Nothing to do")
    assert len(ledgers(workspace.root)) == 1
    assert workspace.ok("db.list", "--json").json["database"] == "hoox-ledger (local)"
    workspace.migration(
        "0003_notes.sql", "CREATE TABLE notes (text TEXT);\nINSERT INTO notes VALUES ('inv');"
    )
    workspace.ok("db.migrate")
    listed = wrangler("d1", "migrations", "list", "hoox-ledger", "--local", cwd=workspace.root)
    assert "No migrations to apply" in listed.stdout
    ask(wrangler, workspace, "INSERT INTO notes VALUES ('wrangler')")
    rows = workspace.ok("db.query", "SELECT text FROM notes ORDER BY text", "--json").json
    assert rows == [{"text": "inv"}, {"text": "wrangler"}]


def test_inv_first_then_wrangler(wrangler: Wrangler, workspace: Workspace) -> None:
    """A ledger that `inv db.apply` made is the one that wrangler opens, with nothing left to apply."""
    workspace.ok("db.apply")
    listed = wrangler("d1", "migrations", "list", "hoox-ledger", "--local", cwd=workspace.root)
    assert "No migrations to apply" in listed.stdout
    trades = workspace.ok("db.query", "SELECT count(*) AS n FROM trades", "--json").json
    assert ask(wrangler, workspace, "SELECT count(*) AS n FROM trades") == trades
    assert len(ledgers(workspace.root)) == 1
    workspace.migration("0003_notes.sql", "CREATE TABLE notes (text TEXT);")
    pending = wrangler("d1", "migrations", "list", "hoox-ledger", "--local", cwd=workspace.root)
    assert "0003_notes.sql" in pending.stdout
    assert "0002_runbook_columns.sql" not in pending.stdout
    wrangler("d1", "migrations", "apply", "hoox-ledger", "--local", cwd=workspace.root)
    assert states(workspace) == {**dict.fromkeys(OURS, "applied"), "0003_notes.sql": "applied"}
    workspace.ok("db.migrate.status", "--check")
    workspace.ok("db.reset", "--confirm")
    assert ask(wrangler, workspace, "SELECT count(*) AS n FROM trades") == [{"n": 0}]


def unordered(ledger: Path) -> Any:
    """A ledger's contents; wrangler writes SQLite's own table of sequences in an order of its own."""
    found = contents(ledger)
    found["tables"]["sqlite_sequence"].sort()
    return found


@pytest.mark.parametrize("which", ["wrangler", "newer_wrangler"])
def test_wranglers_export_is_restored(
    which: str, request: pytest.FixtureRequest, workspace: Workspace, tmp_path: Path
) -> None:
    """What `wrangler d1 export` wrote of a ledger gives it back, keys that point forwards and all."""
    wrangler: Wrangler = request.getfixturevalue(which)
    workspace.ok("db.apply")
    workspace.migration(
        "0003_fills.sql",
        "CREATE TABLE a_fill (id INTEGER PRIMARY KEY AUTOINCREMENT, kind REFERENCES z_kind (id), note, size REAL);"
        " CREATE TABLE z_kind (id PRIMARY KEY);"
        " CREATE TRIGGER noted AFTER INSERT ON a_fill BEGIN UPDATE a_fill SET note = note || '!'; END;"
        " INSERT INTO z_kind VALUES ('maker');"
        " INSERT INTO a_fill (kind, note, size) VALUES ('maker', 'it''s\n\ttwo lines;', 0.1),"
        " (NULL, x'00ff', 1e300);"
        " DELETE FROM a_fill WHERE id = 2;",
    )
    workspace.ok("db.migrate")
    (ledger,) = ledgers(workspace.root)
    before = unordered(ledger)
    wrangler("d1", "export", "hoox-ledger", "--local", "--output", "dump.sql", cwd=workspace.root)
    workspace.ok("db.query", "DELETE FROM trades; DROP TABLE a_fill; DROP TABLE z_kind", "--write")
    workspace.ok("db.restore", "dump.sql", "--confirm")
    assert unordered(ledger) == before
    assert ask(wrangler, workspace, "SELECT seq FROM sqlite_sequence WHERE name = 'a_fill'") == [{"seq": 2}]


def test_wranglers_names_are_ours(newer_wrangler: Wrangler, workspace: Workspace) -> None:
    """Table, names and order in the history are the same, whoever applied, in the layout of drizzle too."""
    database = {
        **DATABASE,
        "migrations_dir": "drizzle",
        "migrations_pattern": "drizzle/*/migration.sql",
        "migrations_table": "history",
    }
    configure(workspace.root, {"d1_databases": [database]})
    for number, name in enumerate(("0002_b", "0010_c", "0001_a")):
        folder = workspace.root / "drizzle" / name
        folder.mkdir(parents=True)
        (folder / "migration.sql").write_text(f"CREATE TABLE t{number} (id);")
    workspace.ok("db.apply", "--no-seed")
    listed = newer_wrangler("d1", "migrations", "list", "hoox-ledger", "--local", cwd=workspace.root)
    ours = workspace.ok("db.query", "SELECT name FROM history ORDER BY id", "--format", "csv").out.split()[1:]
    assert ours == ["0001_a/migration.sql", "0002_b/migration.sql", "0010_c/migration.sql"]
    assert "No migrations to apply" in listed.stdout
    assert "which no file of ours fits" in workspace.refused("db.migrate.new", "more")


CONFIGS: dict[str, tuple[dict[str, Any], list[str], dict[str, str]]] = {
    "binding alone": ({"d1_databases": [{"binding": "DB"}]}, ["DB"], {}),
    "preview id wins": (
        {"d1_databases": [{**DATABASE, "preview_database_id": "preview-id"}]},
        ["hoox-ledger"],
        {},
    ),
    "second of two, by binding": (
        {
            "d1_databases": [
                DATABASE,
                {"binding": "OTHER", "database_name": "other", "database_id": "other-id"},
            ]
        },
        ["OTHER"],
        {},
    ),
    "environment": (
        {
            "d1_databases": [DATABASE],
            "env": {"staging": {"d1_databases": [{**DATABASE, "database_id": "staging-id"}]}},
        },
        ["hoox-ledger", "--env", "staging"],
        {},
    ),
    "environment by variable": (
        {
            "d1_databases": [DATABASE],
            "env": {"staging": {"d1_databases": [{**DATABASE, "database_id": "staging-id"}]}},
        },
        ["hoox-ledger"],
        {"CLOUDFLARE_ENV": "staging"},
    ),
    "variable without environments": ({"d1_databases": [DATABASE]}, ["DB"], {"CLOUDFLARE_ENV": "nowhere"}),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_the_same_file_is_found(wrangler: Wrangler, tmp_path: Path, case: str) -> None:
    """For one config and one choice, wrangler makes the very file that the settings name."""
    config, arguments, env = CONFIGS[case]
    configure(tmp_path, config)
    wrangler("d1", "execute", *arguments, "--local", "--command", "SELECT 1", cwd=tmp_path, env=env)
    target = Target(database=arguments[0], env=arguments[2] if len(arguments) > 1 else None)
    assert ledgers(tmp_path) == [load_settings(target, cwd=tmp_path, environ=env).path]


@pytest.mark.parametrize(
    "places",
    [
        {"": "wrangler.toml", "worker": None},
        {"": "wrangler.json", "worker": "wrangler.toml"},
        {"": "wrangler.toml", "worker": "wrangler.jsonc"},
        {"": "wrangler.jsonc", "worker": "wrangler.toml"},
    ],
    ids=str,
)
def test_the_same_config_is_found(wrangler: Wrangler, tmp_path: Path, places: dict[str, str | None]) -> None:
    """Of several configs in this and parent folders, both take the same."""
    for place, name in places.items():
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        entry = {"binding": "DB", "database_name": "ledger", "database_id": f"id-{place}"}
        if name == "wrangler.toml":
            lines = "\n".join(f'{key} = "{value}"' for key, value in entry.items())
            (folder / name).write_text(
                f'name = "x"\ncompatibility_date = "2026-01-01"\n[[d1_databases]]\n{lines}\n'
            )
        elif name:
            configure(folder, {"d1_databases": [entry]}, name)
    below = tmp_path / "worker"
    wrangler("d1", "execute", "ledger", "--local", "--command", "SELECT 1", cwd=below)
    made = ledgers(tmp_path) + ledgers(below)
    assert made == [load_settings(Target(database="ledger"), cwd=below, environ={}).path]


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        ({"d1_databases": [DATABASE]}, ["nowhere"]),
        ({"d1_databases": [DATABASE], "env": {"staging": {}}}, ["DB", "--env", "staging"]),
        ({"d1_databases": [DATABASE], "env": {"staging": {}}}, ["DB", "--env", "production"]),
        ({"d1_databases": [{"database_name": "x"}]}, ["x"]),
    ],
    ids=["no such database", "not inherited", "no such environment", "no binding"],
)
def test_what_wrangler_refuses_is_refused(
    wrangler: Wrangler, workspace: Workspace, config: dict[str, Any], arguments: list[str]
) -> None:
    """Neither makes a ledger of a config that does not hold the one asked for."""
    configure(workspace.root, config)
    flags = [*arguments, "--local", "--command", "SELECT 1"]
    assert wrangler("d1", "execute", *flags, cwd=workspace.root, check=False).returncode != 0
    workspace.refused("db.apply", "--database", *arguments)
    assert ledgers(workspace.root) == []
