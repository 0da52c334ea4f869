"""wrangler, miniflare and workerd from npm, in a cache outside of the repository.

wrangler brings miniflare in exactly the version that it was made with, here the last ones that run on
Node 20. workerd, the engine itself, is a newer one, because its rules are D1's of that day: this is the
first month of SQLite 3.53.4, and later ones hide the service behind a D1 binding that the adapter needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock

VERSIONS = {"wrangler": "4.86.0", "workerd": "1.20261005.1"}
PACKAGE = {
    "private": True,
    "dependencies": {"wrangler": VERSIONS["wrangler"]},
    "overrides": {"workerd": VERSIONS["workerd"]},
}
# The wrangler of today wants a newer Node than ours, which npm has as a package as well.
_SYSTEM = f"{sys.platform}-{'arm64' if platform.machine().lower() in {'arm64', 'aarch64'} else 'x64'}"
NEWER = {
    "private": True,
    "dependencies": {"wrangler": "4.164.0", f"node-{_SYSTEM}": "22.23.3"},
}
INSTALL_SECONDS = 600
COMMAND_SECONDS = 120


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where the engine is required: `HOOX_REQUIRE_ENGINE=1`, as in CI."""
    if os.environ.get("HOOX_REQUIRE_ENGINE") == "1":
        pytest.fail(f"The real D1 engine is required here, but {reason}.", pytrace=False)
    pytest.skip(f"The real D1 engine cannot run here: {reason}.")


def cache(package: Mapping[str, Any] = PACKAGE) -> Path:
    """Where the packages are kept: `HOOX_TESTS_NPM`, else a folder in the user's cache."""
    if override := os.environ.get("HOOX_TESTS_NPM"):
        return Path(override)
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library/Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    wanted = hashlib.sha256(json.dumps(package).encode()).hexdigest()[:12]
    return root / "hoox-tasks-tests" / f"npm-{wanted}"


def install(package: Mapping[str, Any] = PACKAGE) -> Path:
    """The folder that holds `node_modules`, filled on the first call on a machine (some 200 MB).

    It is filled beside its place and then renamed, so a folder that is there is whole; many test
    processes may call this at once. Skips the test where there is no Node or no way to the registry.
    """
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        unavailable("there is no node and npm on the path")
    folder = cache(package)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            (partial / "package.json").write_text(json.dumps(package), encoding="utf-8")
            quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"]
            try:
                subprocess.run(
                    [npm, "install", *quiet],
                    cwd=partial,
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=INSTALL_SECONDS,
                )
            except subprocess.TimeoutExpired:
                unavailable(f"npm install took longer than {INSTALL_SECONDS} seconds")
            except subprocess.CalledProcessError as error:
                unavailable(f"npm install failed: {error.stderr.strip()[-400:]}")
            partial.rename(folder)
    return folder


def quiet_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without the user's Cloudflare settings, and with nothing that would
    reach beyond loopback: no telemetry, no look-up of newer versions, no `cf.json`. `env` goes on top."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOUDFLARE_", "CF_", "WRANGLER_"))
    }
    return inherited | {
        "CI": "1",
        "NO_COLOR": "1",
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_SEND_ERROR_REPORTS": "false",
        "WRANGLER_HIDE_BANNER": "true",
        "CLOUDFLARE_CF_FETCH_ENABLED": "false",
        "npm_config_registry": "http://127.0.0.1:9/",
        "npm_config_update_notifier": "false",
        **(env or {}),
    }


class Wrangler:
    """The real wrangler; call it with its arguments."""

    version = VERSIONS["wrangler"]

    def __init__(self, packages: Path, logs: Path) -> None:
        """`packages` is what `install` returned; wrangler's own log files go to `logs`."""
        self._script = packages / "node_modules/wrangler/bin/wrangler.js"
        own = packages / f"node_modules/node-{_SYSTEM}/bin/node"
        self._node = str(own) if own.exists() else "node"
        self._logs = logs
        self._compiled = packages.with_name(f"{packages.name}-compiled")

    def __call__(
        self,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run one command in `cwd` with `env` added to a quiet environment; no terminal, no input.

        Fails the test when wrangler's exit code is not 0, unless `check` is false.
        """
        result = subprocess.run(
            [self._node, str(self._script), *arguments],
            cwd=cwd,
            env=quiet_environment(
                {
                    "WRANGLER_LOG_PATH": str(self._logs),
                    # From Node 22 on, what was compiled once is found again.
                    "NODE_COMPILE_CACHE": str(self._compiled),
                    **(env or {}),
                }
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and result.returncode != 0:
            command = " ".join(arguments)
            pytest.fail(
                f"wrangler {command} exited with {result.returncode}:\n{result.stdout}{result.stderr}"
            )
        return result
