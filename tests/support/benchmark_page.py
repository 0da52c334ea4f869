"""docs/benchmarks.md, made of what the benchmarks wrote down."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
from pathlib import Path

_HEAD = """# Benchmarks

How long the tasks take, each against what one would use without them, on the same ledger, in the same run. `inv bench --report` measures anew and writes this page; `inv bench` fails where a ratio is above its bar.

The ledger is two thirds of the scenario `busy`: some 520,000 rows of all five tables with their indexes, 167 MB. Whole commands are run in turns with their peers. A time is the least of the runs, in seconds of processors (user and system, all processes together), so that what else the machine does decides little. Where it says "by the clock", the disk or two processes at once are the point.

"""
_FOOT = """
## What each is held against

- **`sqlite3 .dump`** writes the same rows and is the fastest way to a text. It proves nothing, and leaves out what makes a file lossless for every reader: `db.export` writes rows that every version of SQLite and D1 read back to the bit.
- **`sqlite3 new.db < dump`** loads a file and believes it. `db.verify` and `db.restore` load it too, in a process that is confined, and then read every cell of it for a fingerprint, check every page and index, and only then touch the ledger, in one transaction. Loading alone takes about as long as in the shell.
- **`sqlite3 -csv`** rounds doubles to 15 digits. `db.query --format csv` writes each so that it is read back unchanged, and starts an interpreter.
- **`sqlite-utils query --csv`** is what one would pick for the same in Python.
- **`cp`** copies a file that somebody may be writing to. A recovery point is a copy of one moment, under the ledger's write lock, on the disk, and with its SHA-256.
- **wrangler**: `wrangler d1 execute --local` and `d1 export` start Node, a second or more for each. Queries over D1's API are measured in `tests/benchmarks/test_remote.py`.
- **litestream** follows every change of a file and restores to any second, as long as a process of its own runs beside the ledger. It is the better choice for a ledger that one server writes all day; it does not read D1, and says nothing of the rows.

## Where the limits are

- A proven export cannot be faster than its file is loaded. On this ledger loading a dump takes the shell some five times as long as writing it: of that half is SQLite's parser, a fifth its indexes. So 3.5 times the time of `.dump`, which we aimed at, is out of reach for any proof that loads the file. The file is loaded while it is still written, and the ledger is fingerprinted meanwhile; what is left behind the load is the fingerprint of what was loaded and SQLite's integrity check, side by side.
- A fingerprint hashes each row by itself, so that it does not depend on their order: 6 microseconds for a row, half of it BLAKE2b, most of the rest Python's reading of the cells.
- A restore and a check of a file take the load, and the proof behind it: they were meant to take 1.15 and 1.1 times the load, and do not as long as every cell is read.
- An export without proof spends its time in SQLite's `format()`, which writes the rows; two processes share the work, and together they take more of the processors than the shell.
- A CSV of SQLite's rows costs Python an object for each cell; making those, before anything is written, takes as long as all that the shell does. Twice the shell's time, which we aimed at, was not reached.
"""


def write_page(found: Path, page: Path) -> None:
    """Write the page from the lines that were found."""
    lines = [json.loads(line) for line in found.read_text("utf-8").splitlines()]
    shell = subprocess.run(["sqlite3", "--version"], capture_output=True, text=True, check=True)
    text = (
        f"{_HEAD}Measured with Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},"
        f" the shell {shell.stdout.split()[0]}, on {platform.system()} with {os.cpu_count()} processors, of which other"
        f" work wanted {max(0.0, os.getloadavg()[2] - 1):.0f}.\n\n"
        "| work | seconds | memory | peer | seconds | ratio | bar |\n|---|--:|--:|---|--:|--:|--:|\n"
    )
    for line in lines:
        kind = "wall" if line["clock"] else "processor"
        clock = " by the clock" if line["clock"] else ""
        memory = f"{line['ours']['memory'] / 1e6:.0f} MB" if line["ours"]["memory"] else ""
        text += (
            f"| `{line['work']}` | {line['ours'][kind]:.2f}{clock} | {memory} | `{line['peer']}` |"
            f" {line['theirs'][kind]:.2f} | {line['ratio']:.2f} | {line['bar']:g} |\n"
        )
    page.write_text(f"{text}{_FOOT}", "utf-8", newline="\n")
