"""Run the command `argv[2:]` with its output into the file `argv[1]`; print its peak of memory in bytes."""

from __future__ import annotations

import resource
import subprocess
import sys

with open(sys.argv[1], "wb") as output:  # noqa: PTH123  (pathlib is memory as well)
    done = subprocess.run(sys.argv[2:], stdout=output, check=False)
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)
sys.exit(done.returncode)
