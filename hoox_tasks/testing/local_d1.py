"""A local D1 API over one ledger of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from hoox_tasks.server import Api


@dataclass(frozen=True, slots=True)
class LocalD1:
    """A local D1 API over one ledger.

    `url` is the base URL, as in CLOUDFLARE_API_BASE_URL. `client` is an `httpx.Client` at the database's
    own address, with the token: `client.post("query", json={"sql": "SELECT 1"})`. `app` is the WSGI
    application itself, for `httpx.WSGITransport`. `path` is the ledger's file.
    """

    url: str
    token: str
    account_id: str
    database_id: str
    database_name: str
    path: Path
    app: Api
    client: httpx.Client

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that point wrangler, the Cloudflare SDK and `inv db.*` here."""
        return {
            "CLOUDFLARE_API_BASE_URL": self.url,
            "CLOUDFLARE_BASE_URL": self.url,
            "CLOUDFLARE_API_TOKEN": self.token,
            "CLOUDFLARE_ACCOUNT_ID": self.account_id,
        }


_ACCOUNT = "00000000000000000000000000000001"


_DATABASE = "00000000-0000-4000-8000-000000000001"


@contextmanager
def running_d1(path: Path) -> Iterator[LocalD1]:
    """Run a local D1 API over the ledger at `path` for a block, on a free port of loopback."""
    import secrets
    from threading import Thread

    import httpx

    from hoox_tasks.server import base_url, create_app, serve

    token = secrets.token_urlsafe(16)
    with closing(create_app(path, database_id=_DATABASE, token=token)) as app:
        server = serve(app)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        thread.start()
        url = base_url("127.0.0.1", server.server_port)
        client = httpx.Client(
            base_url=f"{url}/accounts/{_ACCOUNT}/d1/database/{_DATABASE}/",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,  # A proxy has no way to this machine's loopback.
        )
        try:
            yield LocalD1(url, token, _ACCOUNT, _DATABASE, "ledger", path, app, client)
        finally:
            client.close()
            server.shutdown()
            thread.join()
            server.server_close()
