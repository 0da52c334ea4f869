"""A ledger file that a running `wrangler dev` holds, restored and brought back under its hands.

The engine does not wait for a lock: while another process writes, be it one INSERT, a query of the worker
fails with an internal error, even one that only reads. The next one is answered.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from hoox_tasks import backups
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.recovery.recording import recording
from hoox_tasks.recovery.undo import undo_to
from tests.support import ROOT
from tests.support.npm import quiet_environment

SECONDS = 60
CONFIG = {
    "name": "shared",
    "main": "worker.js",
    "compatibility_date": "2026-01-01",
    "d1_databases": [{"binding": "DB", "database_name": "ledger", "database_id": "a" * 8}],
}


@contextmanager
def running_worker(packages: Path, folder: Path) -> Iterator[str]:
    """Start `wrangler dev` in a folder and give its address."""
    shutil.copy(ROOT / "tests/support/worker.js", folder)
    (folder / "wrangler.json").write_text(json.dumps(CONFIG))
    command = ["node", str(packages / "node_modules/wrangler/bin/wrangler.js"), "dev", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--ip", "127.0.0.1", "--inspector-port", "0", "--show-interactive-dev-session=false"],
        cwd=folder,
        env=quiet_environment({"WRANGLER_LOG_PATH": str(folder / "logs"), "NO_COLOR": "1"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    guard = threading.Timer(SECONDS, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if match := re.search(r"Ready on (http://127\.0\.0\.1:\d+)", line):
                guard.cancel()
                reading = threading.Thread(target=process.stdout.read)
                reading.start()
                try:
                    yield match.group(1)
                finally:
                    process.terminate()
                    reading.join(SECONDS)
                return
        pytest.fail(f"wrangler dev did not start:\n{said}")
    finally:
        guard.cancel()
        process.terminate()
        process.wait(SECONDS)
        if process.stdout:
            process.stdout.close()


def test_a_running_worker_sees_what_was_restored(npm_packages: Path, tmp_path: Path) -> None:
    """While `wrangler dev` keeps querying, restore and undo change what it reads; it never reads a half."""
    with running_worker(npm_packages, tmp_path) as address, httpx.Client(timeout=SECONDS) as http:

        def ask(sql: str) -> object:
            return http.post(address, content=sql).json()

        assert ask("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)") == []
        ask("INSERT INTO t (x) VALUES ('a'), ('b')")
        (path,) = [
            file
            for file in tmp_path.glob(".wrangler/state/v3/d1/*/*.sqlite")
            if file.name != "metadata.sqlite"
        ]
        answers: list[object] = []
        stop = threading.Event()

        def keep_asking() -> None:
            while not stop.is_set():
                answers.append(http.post(address, content="SELECT count(*) FROM t").json())

        with closing(LocalDatabase(path)) as database:
            backups.export(database, tmp_path / "b.sql", migrations_table="d1_migrations")
        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            for _ in range(5):
                ask("INSERT INTO t (x) VALUES ('c')")
                with (
                    closing(LocalDatabase(path)) as database,
                    backups.verification.loaded(tmp_path / "b.sql") as copy,
                ):
                    with recording(database, tmp_path / "points", "a test", keep=10) as recorder:
                        database.replace(copy.path)
                    assert ask("SELECT x FROM t") == [["a"], ["b"]]
                    assert recorder.point is not None
                    undo_to(database, tmp_path / "points", recorder.point)
                    assert ask("SELECT x FROM t") == [["a"], ["b"], ["c"]]
                ask("DELETE FROM t WHERE x = 'c'")
        finally:
            stop.set()
            asking.join(SECONDS)
        assert answers
        whole = [answer for answer in answers if answer in ([[2]], [[3]])]
        assert all("internal error" in str(answer) for answer in answers if answer not in whole), answers
        assert len(whole) > len(answers) / 2
        assert ask("SELECT count(*) FROM t") == [[2]]
