"""Settings of one command: from its flags, the environment, Invoke's configuration and wrangler's.

A flag wins over Invoke's configuration (`hoox.*` in `invoke.yaml`, `INVOKE_HOOX_*`), which wins over the
wrangler config, which wins over the defaults.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hoox_tasks.errors import Refused
from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks import suggestions
    from hoox_tasks.config import wrangler

if TYPE_CHECKING:
    from hoox_tasks.config.wrangler import Binding, WranglerConfig

DEFAULTS: dict[str, Any] = {
    "path": None,
    "database": None,
    "env": None,
    "migrations": None,
    "fixtures": None,
    "backups": None,
    # As text: Invoke itself would take every text of a variable for true, "false" and "off" as well.
    "strict": "true",
    "busy_timeout": "5",
    "query_timeout": "30",
    "keep_snapshots": "10",
    "account_id": None,
    "database_id": None,
}
"""The keys of `hoox` in Invoke's configuration, with their defaults.

`path`: the local ledger's file. `database`: which D1 database, by name or binding. `env`: wrangler
environment. `migrations`, `fixtures`, `backups`: folders. `strict`: hold local SQL to D1's rules.
`busy_timeout`: seconds to wait for a locked ledger. `query_timeout`: seconds that SQL may take locally, 0
for any (D1 has its own 30). `keep_snapshots`: how many recovery points a local
ledger keeps. `account_id`, `database_id`: the D1 database where no wrangler config names it.
"""

PATHS = ("path", "migrations", "fixtures", "backups")
"""The settings that name a file or folder. A relative one counts from the workspace's folder."""

CONFIG_NAMES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
"""In wrangler's order: a `wrangler.json` in a parent folder wins over a `wrangler.toml` beside you."""

WORKSPACE_NAMES = ("tasks.py", "tasks/__init__.py", "invoke.yaml", "invoke.yml", "invoke.json", "invoke.py")
"""What stands in the folder of a workspace that has no wrangler config: Invoke's own files."""

API = "https://api.cloudflare.com/client/v4"
DEFAULT_MIGRATIONS_TABLE = "d1_migrations"

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


# Named tuples, not dataclasses, which take ten times as long to be made, and every command makes them.
class Target(NamedTuple):
    """The flags that say which ledger is meant."""

    path: str | None = None
    database: str | None = None
    env: str | None = None
    remote: bool = False
    preview: bool = False


class _Secret(str):
    """Text that does not print itself by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


class Settings(NamedTuple):
    """All that a command needs to know about its workspace; paths are absolute.

    `path` is the local ledger's file, `name` what people call the ledger. `migrations_pattern` is a glob
    below `migrations_dir`, which is `migrations_chosen` where a setting names it. `fixtures_dirs` are
    searched in order.
    """

    root: Path
    remote: bool
    path: Path
    name: str
    migrations_dir: Path
    migrations_pattern: str
    migrations_chosen: bool
    migrations_table: str
    fixtures_dirs: tuple[Path, ...]
    backups_dir: Path
    snapshots_dir: Path
    strict: bool
    busy_timeout: float
    query_timeout: float
    keep_snapshots: int
    account_id: str
    database_id: str
    database_name: str
    base_url: str
    token: _Secret

    @property
    def foreign_host(self) -> str:
        """The host, with its port, that the API is reached at; empty where it is Cloudflare's."""
        parts = self.base_url.partition("://")
        host = parts[2].partition("/")[0].rpartition("@")[2]
        own = parts[0] == "https" and (host == "cloudflare.com" or host.endswith(".cloudflare.com"))
        return "" if own else host


def bundled(folder: str) -> Path:
    """Give a data folder of ours, `migrations` or `fixtures`: in the wheel, or in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "data" / folder
    return installed if installed.is_dir() else package.parent / folder


def find_config(start: Path) -> Path | None:
    """Find the wrangler config that holds for the folder `start`, the way wrangler looks upwards."""
    for name in CONFIG_NAMES:
        for folder in (start, *start.parents):
            if (folder / name).is_file():
                return folder / name
    return None


def find_workspace(start: Path) -> Path:
    """Find the folder of the workspace that `start` lies in, as Invoke looks for it; else `start` itself."""
    for folder in (start, *start.parents):
        if any((folder / name).is_file() for name in WORKSPACE_NAMES):
            return folder
    return start


def workspace_of(ledger: Path) -> Path:
    """Give the folder of the workspace that a ledger's file belongs to, wherever it is used from.

    It is the nearest one that has Invoke's files, a wrangler config or our own folder with the ledger in it;
    where there is none, the file's folder.
    """
    for folder in ledger.resolve().parents:
        if folder / ".hoox" == ledger.resolve().parent or any(
            (folder / name).is_file() for name in (*WORKSPACE_NAMES, *CONFIG_NAMES)
        ):
            return folder
    return ledger.parent


def load_settings(
    target: Target,
    configured: Mapping[str, Any] | None = None,
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Bring flags, environment, Invoke's `hoox` section and the wrangler config together.

    Raises `Refused` where they contradict each other or name something that is not there.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    values = _known(configured or {})
    config = _read_config(cwd, target.env or values["env"], environ)
    binding = _choose_binding(config, target, values)
    root = config.root if config else find_workspace(cwd)
    path = _ledger_path(root, cwd, target, values, config, binding)
    migrations_dir, pattern = _migrations(root, binding, values["migrations"])
    return Settings(
        root=root,
        remote=target.remote,
        path=path,
        name=binding.name if binding and not (target.path or values["path"]) else path.name,
        migrations_dir=migrations_dir,
        migrations_pattern=pattern,
        migrations_chosen=bool(values["migrations"] or (binding and binding.migrations_dir)),
        migrations_table=(binding.migrations_table if binding else "") or DEFAULT_MIGRATIONS_TABLE,
        fixtures_dirs=_fixtures(root, values["fixtures"]),
        backups_dir=_resolved("backups", root, values["backups"] or "backups"),
        snapshots_dir=root / ".hoox" / "snapshots",
        strict=_boolean("strict", values["strict"]),
        busy_timeout=_number("busy_timeout", values["busy_timeout"]),
        query_timeout=_number("query_timeout", values["query_timeout"]),
        keep_snapshots=int(_number("keep_snapshots", values["keep_snapshots"])),
        # Wrangler lets the config's account win over the variable.
        account_id=(config.account_id if config else "")
        or values["account_id"]
        or environ.get("CLOUDFLARE_ACCOUNT_ID")
        or environ.get("CF_ACCOUNT_ID", ""),
        database_id=_database_id(target, values, binding),
        database_name=_database_name(target, values, config, binding),
        # Where the token goes is no matter of a file that comes with a checkout.
        base_url=(environ.get("CLOUDFLARE_API_BASE_URL") or API).rstrip("/"),
        token=_Secret(environ.get("CLOUDFLARE_API_TOKEN") or environ.get("CF_API_TOKEN", "")),
    )


def _known(configured: Mapping[str, Any]) -> dict[str, Any]:
    """Put the defaults below what is configured; raises `Refused` for a setting that there is not."""
    unknown = sorted(set(configured) - set(DEFAULTS))
    if "base_url" in unknown:
        raise Refused(
            "The address of Cloudflare's API, where the token goes, is not taken from a configuration.",
            "Take hoox.base_url out, and set CLOUDFLARE_API_BASE_URL if it is meant.",
        )
    if unknown:
        raise Refused(
            f"There is no setting hoox.{unknown[0]}.",
            suggestions.remedy(unknown[0], DEFAULTS, f"The settings are: {', '.join(DEFAULTS)}."),
        )
    return {**DEFAULTS, **configured}


def _read_config(cwd: Path, environment: str | None, environ: Mapping[str, str]) -> WranglerConfig | None:
    path = find_config(cwd)
    if path:
        return wrangler.read_config(path, environment, environ=environ)
    if environment:
        raise Refused(
            f"There is no wrangler config here that could have an environment {environment}.",
            "Run this beside wrangler.jsonc, or leave --env and hoox.env out.",
        )
    return None


def _choose_binding(
    config: WranglerConfig | None, target: Target, values: Mapping[str, Any]
) -> Binding | None:
    """Choose the D1 database that is meant; raises `Refused` where flags and settings disagree."""
    if target.remote and target.path:
        raise Refused(
            f"--path {target.path} is a file, and --remote means the database on Cloudflare D1.",
            "Give one of them.",
        )
    wanted = target.database or values["database"]
    explicit_path = target.path or values["path"]
    binding = None
    if config and (wanted or len(config.bindings) == 1):
        binding = config.choose(wanted)
    elif config and config.bindings and (target.remote or not explicit_path):
        binding = config.choose(None)  # Which refuses to choose among several.
    elif config and config.environments and not config.environment and not explicit_path:
        raise Refused(
            f"{config.path.name} has D1 databases in environments only: {', '.join(config.environments)}.",
            "Choose one with --env or hoox.env.",
        )
    if wanted and binding is None and not target.remote:
        raise Refused(
            f"There is no wrangler config here that could say where database {wanted} is.",
            "Name a file with --path, or run this beside wrangler.jsonc.",
        )
    if target.preview and not (target.remote and binding and binding.preview_database_id):
        raise Refused(
            "--preview needs --remote and a preview_database_id in the wrangler config.",
            "Add the id, or leave the flag out.",
        )
    return binding


def _ledger_path(
    root: Path,
    cwd: Path,
    target: Target,
    values: Mapping[str, Any],
    config: WranglerConfig | None,
    binding: Binding | None,
) -> Path:
    if target.path:
        return _resolved("path", cwd, target.path).resolve()
    if values["path"]:
        return _resolved("path", root, values["path"]).resolve()
    if config and binding:
        return config.local_ledger(binding)
    return root / ".hoox" / "local.sqlite"


def _migrations(root: Path, binding: Binding | None, configured: str | None) -> tuple[Path, str]:
    """Give the folder of the migrations and the pattern of their files in it."""
    explicit = configured or (binding.migrations_dir if binding else "")
    folder = _resolved("migrations", root, explicit or "migrations")
    if not explicit and not folder.is_dir():
        folder = bundled("migrations")
    pattern = "*.sql"
    if binding and binding.migrations_pattern and not configured:
        pattern = _pattern_in_folder(binding)
    return folder.resolve(), pattern


def _pattern_in_folder(binding: Binding) -> str:
    """Give what is left of wrangler's pattern below its folder of migrations."""
    prefix = _normal(binding.migrations_dir)
    whole = _normal(binding.migrations_pattern)
    if not prefix or not (whole.startswith(f"{prefix}/") or prefix == "."):
        raise Refused(
            f"migrations_pattern {binding.migrations_pattern} does not begin with migrations_dir.",
            "Wrangler wants the folder in both.",
        )
    return whole if prefix == "." else whole.removeprefix(f"{prefix}/")


def _normal(path: str) -> str:
    return os.path.normpath(path.replace("\\", "/")).replace("\\", "/") if path else ""


def _fixtures(root: Path, configured: str | None) -> tuple[Path, ...]:
    """Give the folders of scenarios: the workspace's own before ours."""
    own = _resolved("fixtures", root, configured or "fixtures")
    if configured and not own.is_dir():
        raise Refused(f"There is no fixtures folder {own}.", "Make it, or correct hoox.fixtures.")
    return tuple(folder for folder in (own, bundled("fixtures")) if folder.is_dir())


def _database_id(target: Target, values: Mapping[str, Any], binding: Binding | None) -> str:
    if binding and target.preview:
        return binding.preview_database_id
    # A flag names another database than the configured id does.
    configured = "" if target.database else values["database_id"]
    return configured or (binding.database_id if binding else "")


def _database_name(
    target: Target, values: Mapping[str, Any], config: WranglerConfig | None, binding: Binding | None
) -> str:
    name = (binding.database_name if binding else "") or target.database or values["database"] or ""
    if not name and config and config.worker_name and binding and not _database_id(target, values, binding):
        # What wrangler calls a database that it provisions by itself.
        return f"{config.worker_name}-{binding.binding.lower().replace('_', '-')}"
    return name


def _resolved(name: str, base: Path, value: Any) -> Path:
    """Give a setting as an absolute path; a relative one counts from `base`."""
    try:
        return base / Path(value).expanduser()
    except (TypeError, RuntimeError):
        raise Refused(f"hoox.{name} is {value!r}.", "Give it a path.") from None


def _boolean(name: str, value: Any) -> bool:
    found = _WORDS.get(str(value).strip().lower())
    if found is None:
        raise Refused(f"hoox.{name} is {value!r}.", "Give it true or false.")
    return found


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e6:
        raise Refused(f"hoox.{name} is {value!r}.", "Give it a number from 0 on.")
    return number
