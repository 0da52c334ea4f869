"""Settings of one command: from its flags, the environment, Invoke's configuration and wrangler's.

A flag wins over Invoke's configuration (`hoox.*` in `invoke.yaml`, `INVOKE_HOOX_*`), which wins over the
wrangler config, which wins over the defaults.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoox_tasks.config.wrangler import (
    DEFAULT_MIGRATIONS_TABLE,
    Binding,
    WranglerConfig,
    find_config,
    read_config,
)
from hoox_tasks.errors import Refused

DEFAULTS: dict[str, Any] = {
    "path": None,
    "database": None,
    "env": None,
    "migrations": None,
    "fixtures": None,
    "backups": None,
    "strict": True,
    "busy_timeout": "5",
    "keep_snapshots": "10",
    "account_id": None,
    "database_id": None,
    "base_url": None,
}
"""The keys of `hoox` in Invoke's configuration, with their defaults.

`path`: the local ledger's file. `database`: which D1 database, by name or binding. `env`: wrangler
environment. `migrations`, `fixtures`, `backups`: folders. `strict`: hold local SQL to D1's rules.
`busy_timeout`: seconds to wait for a locked ledger. `keep_snapshots`: how many recovery points a local
ledger keeps. `account_id`, `database_id`, `base_url`: the D1 database where no wrangler config names it.
"""

API = "https://api.cloudflare.com/client/v4"


@dataclass(frozen=True, slots=True)
class Target:
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


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a command needs to know about its workspace; paths are absolute.

    `path` is the local ledger's file, `name` what people call the ledger. `migrations_pattern` is a glob
    below `migrations_dir`. `fixtures_dirs` are searched in order.
    """

    root: Path
    remote: bool
    path: Path
    name: str
    migrations_dir: Path
    migrations_pattern: str
    migrations_table: str
    fixtures_dirs: tuple[Path, ...]
    backups_dir: Path
    snapshots_dir: Path
    strict: bool
    busy_timeout: float
    keep_snapshots: int
    account_id: str
    database_id: str
    database_name: str
    base_url: str
    token: _Secret


def bundled(folder: str) -> Path:
    """Give a data folder of ours, `migrations` or `fixtures`: in the wheel, or in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "data" / folder
    return installed if installed.is_dir() else package.parent / folder


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
    values = {**DEFAULTS, **(configured or {})}
    unknown = sorted(set(values) - set(DEFAULTS))
    if unknown:
        raise Refused(f"There is no setting hoox.{unknown[0]}.", f"The settings are: {', '.join(DEFAULTS)}.")

    config_path = find_config(cwd)
    config = read_config(config_path, target.env or values["env"], environ=environ) if config_path else None
    if config is None and (target.env or values["env"]):
        raise Refused(
            f"There is no wrangler config here that could have an environment {target.env or values['env']}.",
            "Run this beside wrangler.jsonc, or leave --env and hoox.env out.",
        )
    wanted = target.database or values["database"]
    explicit_path = target.path or values["path"]
    binding = _binding(config, wanted, needed=target.remote or not explicit_path)
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

    root = config.root if config else _workspace(cwd)
    path = _local_path(root, config, binding, explicit_path, cwd)
    migrations_dir, pattern = _migrations(root, binding, values["migrations"])
    own_fixtures = root / (values["fixtures"] or "fixtures")
    if values["fixtures"] and not own_fixtures.is_dir():
        raise Refused(f"There is no fixtures folder {own_fixtures}.", "Make it, or correct hoox.fixtures.")
    # A flag names another database than the configured id does.
    configured_id = "" if target.database else values["database_id"]
    database_id = configured_id or (binding.database_id if binding else "")
    if target.preview and binding:
        database_id = binding.preview_database_id
    database_name = (binding.database_name if binding else "") or (wanted or "")
    if config and binding and not database_id and not database_name and config.worker_name:
        # What wrangler calls a database that it provisions by itself.
        database_name = f"{config.worker_name}-{binding.binding.lower().replace('_', '-')}"
    return Settings(
        root=root,
        remote=target.remote,
        path=path,
        name=binding.name if binding and not explicit_path else path.name,
        migrations_dir=migrations_dir,
        migrations_pattern=pattern,
        migrations_table=binding.migrations_table if binding else DEFAULT_MIGRATIONS_TABLE,
        fixtures_dirs=tuple(folder for folder in (own_fixtures, bundled("fixtures")) if folder.is_dir()),
        backups_dir=root / (values["backups"] or "backups"),
        snapshots_dir=root / ".hoox" / "snapshots",
        strict=bool(values["strict"]),
        busy_timeout=_number("busy_timeout", values["busy_timeout"]),
        keep_snapshots=int(_number("keep_snapshots", values["keep_snapshots"])),
        # Wrangler lets the config's account win over the variable.
        account_id=(config.account_id if config else "")
        or values["account_id"]
        or environ.get("CLOUDFLARE_ACCOUNT_ID")
        or environ.get("CF_ACCOUNT_ID", ""),
        database_id=database_id or "",
        database_name=database_name,
        base_url=(values["base_url"] or environ.get("CLOUDFLARE_API_BASE_URL") or API).rstrip("/"),
        token=_Secret(environ.get("CLOUDFLARE_API_TOKEN") or environ.get("CF_API_TOKEN", "")),
    )


def _binding(config: WranglerConfig | None, wanted: str | None, *, needed: bool) -> Binding | None:
    if config is None:
        return None
    if not config.bindings and not wanted:
        return None
    if not needed and not wanted and len(config.bindings) > 1:
        return None
    return config.choose(wanted)


def _workspace(cwd: Path) -> Path:
    """Give the folder that holds `tasks.py`: Invoke finds it from any folder below."""
    for folder in (cwd, *cwd.parents):
        if (folder / "tasks.py").is_file() or (folder / "tasks" / "__init__.py").is_file():
            return folder
    return cwd


def _local_path(
    root: Path, config: WranglerConfig | None, binding: Binding | None, explicit: str | None, cwd: Path
) -> Path:
    if explicit:
        return (cwd / Path(explicit).expanduser()).resolve()
    if config and binding:
        return config.local_ledger(binding)
    return root / ".hoox" / "local.sqlite"


def _migrations(root: Path, binding: Binding | None, configured: str | None) -> tuple[Path, str]:
    explicit = configured or (binding.migrations_dir if binding else "")
    folder = root / (explicit or "migrations")
    pattern = "*.sql"
    if binding and binding.migrations_pattern and not configured:
        prefix = _normal(binding.migrations_dir)
        whole = _normal(binding.migrations_pattern)
        if not prefix or not (whole.startswith(f"{prefix}/") or prefix == "."):
            raise Refused(
                f"migrations_pattern {binding.migrations_pattern} does not begin with migrations_dir.",
                "Wrangler wants the folder in both.",
            )
        pattern = whole if prefix == "." else whole.removeprefix(f"{prefix}/")
    if not explicit and not folder.is_dir():
        folder = bundled("migrations")
    return folder.resolve(), pattern


def _normal(path: str) -> str:
    return os.path.normpath(path.replace("\\", "/")).replace("\\", "/") if path else ""


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e6:
        raise Refused(f"hoox.{name} is {value!r}.", "Give it a number from 0 on.")
    return number
