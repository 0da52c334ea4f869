"""Make ten times the rows of the scenario `busy` from the folder `argv[1]`; print the number of trades and the
peak of memory in KiB."""

from __future__ import annotations

import sys
from pathlib import Path

from hoox_tasks.seeding import generate, load_scenario

scenario = load_scenario("busy", [Path(sys.argv[1])])
print(sum(len(batch.rows) for batch in generate(scenario, scale=4) if batch.table == "trades"))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
