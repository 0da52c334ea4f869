"""Import the module `argv[1]`; print which of the modules `argv[2:]` came with it."""

from __future__ import annotations

import sys
from importlib import import_module

before = set(sys.modules)
import_module(sys.argv[1])
print(*sorted(set(sys.argv[2:]) & (sys.modules.keys() - before)))
