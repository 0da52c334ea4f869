"""Run pytest with the plugin; print what it imported, how it ended, and the milliseconds of CPU that
loading the plugin took."""

from __future__ import annotations

import sys
import time
from importlib import import_module

import _pytest.config.argparsing  # noqa: F401
import pytest

HEAVY = ["faker", "httpx", "sqlite_utils", "invoke", "sqlite3", "werkzeug", "filelock", "tomllib"]

began = time.process_time()
import_module("hoox_tasks.testing.plugin")
took = time.process_time() - began
known = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
status = pytest.main(["-q", "-p", "hoox_tasks.testing.plugin", *known])
imported = [name for name in HEAVY if name in sys.modules]
print("imported", imported, "status", int(status), "ms", took * 1000)
