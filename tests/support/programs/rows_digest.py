"""Print a digest of the rows of the scenario `edge` from the folder `argv[1]`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from hoox_tasks.seeding import generate, load_scenario

rows = list(generate(load_scenario("edge", [Path(sys.argv[1])])))
print(hashlib.sha256(repr(rows).encode()).hexdigest())
