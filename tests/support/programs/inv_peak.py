"""Run `inv` with the arguments given; at its end print its own peak of memory in KiB to standard error."""

from __future__ import annotations

import atexit
import sys
from pathlib import Path

from invoke.main import program


def tell() -> None:
    """Print the peak."""
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0], file=sys.stderr)


atexit.register(tell)
program.run(["inv", *sys.argv[1:]])
