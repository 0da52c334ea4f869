"""A local D1 API over one ledger of a test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks import server

if TYPE_CHECKING:
    import httpx

    from hoox_tasks.testing.queries import Watch

_ACCOUNT = "00000000000000000000000000000001"
_DATABASE = "00000000-0000-4000-8000-000000000001"


class LocalD1:
    """A local D1 API over one ledger.

    It takes a port of loopback with the first use of `url`, `env` or `client`.
    """

    app: server.Api
    """The WSGI application itself, for `httpx.WSGITransport`; it needs no port."""
    path: Path
    """The ledger's file."""
    token: str
    account_id: str
    database_id: str
    database_name: str

    def __init__(self, app: server.Api, path: Path, token: str, stack: ExitStack) -> None:
        self.app = app
        self.path = path
        self.token = token
        self.account_id = _ACCOUNT
        self.database_id = _DATABASE
        self.database_name = "ledger"
        self._stack = stack

    @cached_property
    def url(self) -> str:
        """The base URL, as in CLOUDFLARE_API_BASE_URL."""
        listening = server.serve(self.app)
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        self._stack.callback(listening.server_close)
        self._stack.callback(thread.join)
        self._stack.callback(listening.shutdown)
        thread.start()
        return server.base_url("127.0.0.1", listening.server_port)

    @cached_property
    def client(self) -> httpx.Client:
        """A client at the database's own address, with the token: `client.post("query", json=...)`."""
        import httpx

        return self._stack.enter_context(
            httpx.Client(
                base_url=f"{self.url}/accounts/{_ACCOUNT}/d1/database/{_DATABASE}/",
                headers={"Authorization": f"Bearer {self.token}"},
                trust_env=False,  # A proxy has no way to this machine's loopback.
                verify=False,  # There is nothing to verify in plain HTTP, and certificates take long to load.
            )
        )

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that point wrangler, the Cloudflare SDK and `inv db.*` here."""
        return {
            "CLOUDFLARE_API_BASE_URL": self.url,
            "CLOUDFLARE_BASE_URL": self.url,
            "CLOUDFLARE_API_TOKEN": self.token,
            "CLOUDFLARE_ACCOUNT_ID": self.account_id,
        }


@contextmanager
def running_d1(path: Path, watch: Watch) -> Iterator[LocalD1]:
    """Give a local D1 API over the ledger at `path` for a block; its clients' statements are noted."""
    token = secrets.token_urlsafe(16)
    watch.seen = True
    app = server.create_app(path, database_id=_DATABASE, token=token, on_statement=watch.note)
    with closing(app), ExitStack() as stack:
        yield LocalD1(app, path, token, stack)
