"""The SQLite of `pysqlite3` from the package registry, in a cache outside of the repository."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support import npm

REQUIREMENT = "pysqlite3==0.6.1"
INSTALL_SECONDS = 120


def install() -> Path:
    """The folder to import `pysqlite3` from, filled on a machine's first call; skips where it cannot be."""
    folder = npm.cache().parent / f"{REQUIREMENT}-{sys.implementation.cache_tag}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            if importlib.util.find_spec("pip") is None:
                pytest.skip("There is no pip here to install pysqlite3 with.")
            partial = folder.with_name(f"{folder.name}.part")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(partial), REQUIREMENT]
            done = subprocess.run(pip, capture_output=True, text=True, timeout=INSTALL_SECONDS)
            if done.returncode:
                pytest.skip(f"pysqlite3 cannot be installed: {done.stderr.strip().splitlines()[-1]}")
            partial.rename(folder)
    return folder
