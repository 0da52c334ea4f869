"""Settings from flags, environment, Invoke's configuration and wrangler's, in that order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks.config.settings import API, Settings, Target, bundled, load_settings
from hoox_tasks.errors import Refused
from tests.support.workspace import Workspace

DATABASE = {"binding": "DB", "database_name": "ledger", "database_id": "the-id", "preview_database_id": "pre"}


def load(
    folder: Path,
    target: Target | None = None,
    configured: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    return load_settings(target or Target(), configured, cwd=folder, environ=environ or {})


def wrangler(folder: Path, *databases: Mapping[str, str], **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wrangler.json").write_text(json.dumps({"d1_databases": databases, **more}))


def test_a_workspace_with_nothing_has_defaults(tmp_path: Path) -> None:
    """The ledger lies in .hoox, migrations and scenarios are those that came with us."""
    settings = load(tmp_path)
    assert settings.path == tmp_path / ".hoox" / "local.sqlite"
    assert settings.name == "local.sqlite"
    assert settings.migrations_dir == bundled("migrations")
    assert settings.fixtures_dirs == (bundled("fixtures"),)
    assert settings.backups_dir == tmp_path / "backups"
    assert settings.base_url == API


def test_the_workspace_is_where_tasks_py_is(tmp_path: Path) -> None:
    """From any folder below, as Invoke finds it."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "tasks.py").touch()
    assert load(below).path == tmp_path / ".hoox" / "local.sqlite"


def test_flags_win_over_invokes_configuration_which_wins_over_wranglers(tmp_path: Path) -> None:
    """One after the other is taken away, and the next one holds."""
    wrangler(tmp_path, DATABASE)
    configured = {"path": "configured.sqlite"}
    assert load(tmp_path, Target(path="flag.sqlite"), configured).path == tmp_path / "flag.sqlite"
    assert load(tmp_path, None, configured).path == tmp_path / "configured.sqlite"
    assert load(tmp_path).path.parent.name == "miniflare-D1DatabaseObject"
    assert load(tmp_path).name == "ledger"


def test_wranglers_config_names_migrations_and_their_table(tmp_path: Path) -> None:
    """Folders count from the config's, wherever one is; drizzle's layout is a glob below them."""
    wrangler(
        tmp_path,
        {
            **DATABASE,
            "migrations_dir": "sql",
            "migrations_table": "log",
            "migrations_pattern": "./sql/*/m.sql",
        },
    )
    below = tmp_path / "src"
    below.mkdir()
    settings = load(below)
    assert settings.migrations_dir == tmp_path / "sql"
    assert (settings.migrations_table, settings.migrations_pattern) == ("log", "*/m.sql")
    wrangler(tmp_path, {**DATABASE, "migrations_dir": "sql", "migrations_pattern": "other/*.sql"})
    with pytest.raises(Refused, match="does not begin with migrations_dir"):
        load(tmp_path)


def test_several_databases_need_a_choice_but_not_for_a_path(tmp_path: Path) -> None:
    """--database or hoox.database chooses; a file named by --path needs none of them."""
    wrangler(tmp_path, DATABASE, {"binding": "OTHER"})
    with pytest.raises(Refused, match="none was chosen"):
        load(tmp_path)
    assert load(tmp_path, Target(database="OTHER")).name == "OTHER"
    assert load(tmp_path, None, {"database": "ledger"}).name == "ledger"
    assert load(tmp_path, Target(path="x.sqlite")).path == tmp_path / "x.sqlite"


def test_a_config_without_databases_is_no_obstacle(tmp_path: Path) -> None:
    """A worker without a D1 binding leaves the ledger in .hoox."""
    wrangler(tmp_path)
    assert load(tmp_path).path == tmp_path / ".hoox" / "local.sqlite"


def test_environments_come_from_flag_configuration_or_variable(tmp_path: Path) -> None:
    """`--env`, `hoox.env` and CLOUDFLARE_ENV choose, in that order."""
    wrangler(
        tmp_path, DATABASE, env={name: {"d1_databases": [{"binding": name}]} for name in ("a", "b", "c")}
    )
    variable = {"CLOUDFLARE_ENV": "c"}
    assert load(tmp_path, Target(env="a"), {"env": "b"}, variable).name == "a"
    assert load(tmp_path, None, {"env": "b"}, variable).name == "b"
    assert load(tmp_path, None, None, variable).name == "c"
    assert load(tmp_path).name == "ledger"


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """A database or an environment without a config to hold it, a fixtures folder, an unknown setting."""
    with pytest.raises(Refused, match="no wrangler config here that could say where database x is"):
        load(tmp_path, Target(database="x"))
    with pytest.raises(Refused, match="could have an environment production"):
        load(tmp_path, Target(env="production"))
    with pytest.raises(Refused, match="no fixtures folder"):
        load(tmp_path, None, {"fixtures": "nowhere"})
    with pytest.raises(Refused, match=r"no setting hoox\.pth"):
        load(tmp_path, None, {"pth": "x"})
    with pytest.raises(Refused, match="where the token goes, is not taken from a configuration"):
        load(tmp_path, None, {"base_url": "https://evil.test/client/v4"})
    with pytest.raises(Refused, match=r"hoox\.busy_timeout is -1"):
        load(tmp_path, None, {"busy_timeout": -1})
    with pytest.raises(Refused, match="--preview needs --remote"):
        load(tmp_path, Target(preview=True))


def test_the_remote_database_is_wranglers(tmp_path: Path) -> None:
    """The config's account wins over the variable; --preview takes the preview's id."""
    wrangler(tmp_path, DATABASE, account_id="from-config")
    environ = {"CLOUDFLARE_ACCOUNT_ID": "from-variable", "CLOUDFLARE_API_TOKEN": "secret"}
    settings = load(tmp_path, Target(remote=True), None, environ)
    assert (settings.account_id, settings.database_id) == ("from-config", "the-id")
    assert load(tmp_path, Target(remote=True, preview=True), None, environ).database_id == "pre"
    wrangler(tmp_path, DATABASE)
    assert load(tmp_path, Target(remote=True), None, environ).account_id == "from-variable"
    assert "secret" not in repr(settings)


def test_a_database_that_wrangler_provisions_has_its_name(tmp_path: Path) -> None:
    """Without id and name it is called after the worker and the binding."""
    wrangler(tmp_path, {"binding": "MAIN_DB"}, name="hoox")
    assert load(tmp_path, Target(remote=True)).database_name == "hoox-main-db"


def test_invoke_yaml_and_variables_reach_the_tasks(tmp_path: Path) -> None:
    """`hoox: path:` in invoke.yaml, INVOKE_HOOX_PATH over it, and --path over both."""
    workspace = Workspace(tmp_path / "work", tmp_path / "home")
    (workspace.root / "invoke.yaml").write_text("hoox:\n  path: from-yaml.sqlite\n")
    variable = {"INVOKE_HOOX_PATH": "from-variable.sqlite"}
    for name, arguments, env in (
        ("from-yaml.sqlite", [], {}),
        ("from-variable.sqlite", [], variable),
        ("from-flag.sqlite", ["--path", "from-flag.sqlite"], variable),
    ):
        document = workspace.ok("db.apply", "--no-seed", "--json", *arguments, env=env).json
        assert document["database"] == name
        assert (workspace.root / name).is_file()


def test_a_flag_names_another_database_than_the_configured_id(tmp_path: Path) -> None:
    """With --database the configured id does not count: it would lead to another database of that name."""
    configured = {"database_id": "11111111-1111-4111-8111-111111111111"}
    alone = load_settings(Target(remote=True), configured, cwd=tmp_path, environ={})
    assert alone.database_id == configured["database_id"]
    named = load_settings(Target(remote=True, database="other"), configured, cwd=tmp_path, environ={})
    assert (named.database_id, named.database_name) == ("", "other")


@pytest.mark.parametrize("word", ["false", "no", "off", "0", "False", " OFF ", False, 0])
def test_what_means_off_is_off(tmp_path: Path, word: object) -> None:
    """A setting that is on or off takes the words that people use for it, in any case."""
    assert load(tmp_path, None, {"strict": word}).strict is False


@pytest.mark.parametrize("word", ["true", "yes", "on", "1", "TRUE", True, 1])
def test_what_means_on_is_on(tmp_path: Path, word: object) -> None:
    """And the same words' opposites."""
    assert load(tmp_path, None, {"strict": word}).strict is True


@pytest.mark.parametrize("word", ["", "maybe", None, 2])
def test_what_means_neither_on_nor_off_is_refused(tmp_path: Path, word: object) -> None:
    """An unknown word is never taken for one of the two."""
    with pytest.raises(Refused, match=r"hoox\.strict is .*Give it true or false"):
        load(tmp_path, None, {"strict": word})


def test_a_variable_switches_strictness_off(tmp_path: Path) -> None:
    """INVOKE_HOOX_STRICT=false reaches the tasks: a statement runs that D1 would refuse."""
    workspace = Workspace(tmp_path / "work", tmp_path / "home")
    workspace.ok("db.apply", "--no-seed")
    statement = "SELECT 1 FROM sqlite_master, pragma_page_count"
    assert "not authorized" in workspace.refused("db.query", statement)
    workspace.ok("db.query", statement, env={"INVOKE_HOOX_STRICT": "false"})


def test_the_home_is_written_as_a_tilde_in_every_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~/x` is a folder in the home, and never one that is called `~`."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "f").mkdir(parents=True)
    settings = load(
        tmp_path, None, {"path": "~/l.sqlite", "backups": "~/b", "migrations": "~/m", "fixtures": "~/f"}
    )
    home = tmp_path / "home"
    assert (settings.path, settings.backups_dir) == (home / "l.sqlite", home / "b")
    assert (settings.migrations_dir, settings.fixtures_dirs[0]) == (home / "m", home / "f")
    assert load(tmp_path, Target(path="~/flag.sqlite")).path == home / "flag.sqlite"
    with pytest.raises(Refused, match=r"hoox\.backups is '~nobody-of-this-name/x'"):
        load(tmp_path, None, {"backups": "~nobody-of-this-name/x"})


def test_a_file_and_the_remote_database_are_never_meant_at_once(tmp_path: Path) -> None:
    """--remote with --path is refused: it would wipe the database of whoever means the file."""
    wrangler(tmp_path, DATABASE)
    with pytest.raises(Refused, match=r"--path scratch\.sqlite is a file, and --remote means"):
        load(tmp_path, Target(remote=True, path="scratch.sqlite"))
    assert load(tmp_path, Target(remote=True), {"path": "configured.sqlite"}).remote


def test_a_relative_path_counts_from_the_file_that_names_it(tmp_path: Path) -> None:
    """From a folder below, `hoox.path` of invoke.yaml is the same ledger, and a variable means the same."""
    workspace = Workspace(tmp_path / "work", tmp_path / "home")
    below = workspace.root / "src"
    below.mkdir()
    (workspace.root / "invoke.yaml").write_text("hoox:\n  path: ledgers/main.sqlite\n")
    for env in ({}, {"INVOKE_HOOX_PATH": "ledgers/main.sqlite"}):
        document = workspace.ok("db.apply", "--no-seed", "--json", cwd=below, env=env).json
        assert document["database"] == str(workspace.root / "ledgers" / "main.sqlite")
    assert list(tmp_path.rglob("main.sqlite")) == [workspace.root / "ledgers" / "main.sqlite"]


def test_a_users_own_configuration_counts_from_its_own_folder(tmp_path: Path) -> None:
    """`backups: dumps` in ~/.invoke.yaml is a folder of the home, whatever the workspace."""
    workspace = Workspace(tmp_path / "work", tmp_path / "home")
    (workspace.home / ".invoke.yaml").write_text("hoox:\n  backups: dumps\n")
    workspace.ok("db.apply", "--no-seed")
    path = Path(workspace.ok("db.export", "--json").json["path"])
    assert path.parent == workspace.home / "dumps"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (None, ""),
        ("https://api.cloudflare.com/client/v4/", ""),
        ("https://api.fed.cloudflare.com/client/v4", ""),
        ("http://api.cloudflare.com/client/v4", "api.cloudflare.com"),
        ("https://api.cloudflare.com.evil.test/client/v4", "api.cloudflare.com.evil.test"),
        ("https://evilcloudflare.com/", "evilcloudflare.com"),
        ("https://api.cloudflare.com@evil.test/", "evil.test"),
        ("https://evil.test/api.cloudflare.com", "evil.test"),
        ("http://127.0.0.1:8799/client/v4", "127.0.0.1:8799"),
    ],
)
def test_a_host_that_is_not_cloudflares_is_known_by_name(
    tmp_path: Path, address: str | None, host: str
) -> None:
    """Only an encrypted address of Cloudflare's own domain needs no mention."""
    environ = {"CLOUDFLARE_API_BASE_URL": address} if address else {}
    assert load(tmp_path, Target(remote=True), None, environ).foreign_host == host
