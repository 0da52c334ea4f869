"""A worker that inserts trades into a ledger on D1 as fast as told: its own process, `-m tests.support.worker`.

It is given the address of the API, and writes the id of each trade that D1 acknowledged on a line of its
own. It ends when its input does.
"""

from __future__ import annotations

import sys
import threading
import time

from hoox_tasks.d1 import D1Client
from tests.support.d1_api import ACCOUNT, DATABASE

INSERT = (
    "INSERT INTO trades (id, exchange, symbol, action, quantity, price, timestamp, status)"
    " VALUES (?, 'binance', 'BTCUSDT', 'LONG', 0.5, 60000.5, 1780000000, 'FILLED')"
)
"""One trade; a worker knows it by its id."""


def work(base_url: str, name: str, pause: float) -> None:
    """Insert trades until standard input ends."""
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    with D1Client(ACCOUNT, "right", database_id=DATABASE, base_url=base_url) as client:
        number = 0
        while not ended.is_set():
            identity = f"{name}-{number}"
            client.raw(INSERT, [identity], write=True)
            print(identity, flush=True)
            number += 1
            time.sleep(pause)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], float(sys.argv[3]))
