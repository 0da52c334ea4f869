"""Run pytest with the plugin; print what it imported, how it ended, and the plugin's part of pytest's own CPU."""

from __future__ import annotations

import sys
import time
from importlib import import_module

HEAVY = ["faker", "httpx", "sqlite_utils", "invoke", "sqlite3", "werkzeug", "filelock", "tomllib"]

began = time.process_time()
pytest = import_module("pytest")
import_module("_pytest.config.argparsing")
loaded = time.process_time()
import_module("hoox_tasks.testing.plugin")
took = time.process_time() - loaded
known = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
status = pytest.main(["-q", "-p", "hoox_tasks.testing.plugin", *known])
imported = [name for name in HEAVY if name in sys.modules]
print("imported", imported, "status", int(status), "part", took / (loaded - began))
