"""`inv db.serve` in a folder that has nothing yet."""

from __future__ import annotations

import re
import subprocess

from tests.support.in_process import QuickWorkspace
from tests.support.workspace import SECONDS, Workspace


def test_from_nothing(workspace: Workspace, quick: QuickWorkspace) -> None:
    """It serves a new, empty ledger, on which `db.apply --remote` works from the first migration on."""
    assert "new and empty" in quick.ok("db.serve", "--dry").out
    assert not quick.ledger.exists()
    server = workspace.start("db.serve", "--port", "0", stderr=subprocess.STDOUT)
    try:
        assert server.stdout is not None
        lines = "".join(server.stdout.readline().decode() for _ in range(7))
        assert "which is empty: `inv db.apply --remote` makes it a ledger." in lines
        env = dict(re.findall(r"export (\w+)=(\S+)", lines))
        done = quick.ok("db.apply", "--remote", env=env)
        assert "Applied 0001_live_ledger.sql" in done.out
        assert quick.sql("SELECT count(*) FROM d1_migrations") == [(2,)]
    finally:
        server.terminate()
        server.communicate(timeout=SECONDS)
