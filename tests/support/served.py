"""A workspace whose remote ledger is a file, behind the local D1 API on a port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hoox_tasks.server import create_app
from tests.support.d1_api import ACCOUNT, DATABASE, listening
from tests.support.workspace import Workspace

TOKEN = "right-and-very-secret-token"


@contextmanager
def served(workspace: Workspace, path: Path) -> Iterator[dict[str, str]]:
    """Serve a file as the database `ledger` of the workspace; gives the variables that lead there."""
    binding = {"binding": "DB", "database_name": "ledger", "database_id": DATABASE}
    (workspace.root / "wrangler.json").write_text(json.dumps({"name": "worker", "d1_databases": [binding]}))
    with (
        closing(create_app(path, name="ledger", database_id=DATABASE, token=TOKEN)) as app,
        listening(app) as base_url,
    ):
        yield {
            "CLOUDFLARE_API_BASE_URL": base_url,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
        }
