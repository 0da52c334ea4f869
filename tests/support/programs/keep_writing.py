"""Run the insert `argv[3]` on the ledger `argv[1]`, `argv[2]` times a second, until a line arrives.

Its parameter is the number of the row. Writes the number of every row whose commit was acknowledged, one to a
line. A row that is refused, as while its table is dropped or the ledger locked, is given up; the next has
another number.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time

stopped = threading.Event()


def wait() -> None:
    """Wait for the line."""
    sys.stdin.readline()
    stopped.set()


threading.Thread(target=wait, daemon=True).start()
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0.05)
number = 0
while not stopped.is_set():
    number += 1
    try:
        connection.execute(sys.argv[3], (number,))
    except sqlite3.OperationalError:
        pass
    else:
        print(number, flush=True)
    time.sleep(1 / float(sys.argv[2]))
