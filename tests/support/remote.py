"""A remote ledger whose requests are counted."""

from __future__ import annotations

import httpx

from hoox_tasks.d1 import D1Client
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.server import Api
from tests.support.d1_api import ACCOUNT, BASE, DATABASE


class Counting(httpx.BaseTransport):
    """Passes requests on to the API, and remembers their paths."""

    def __init__(self, app: Api) -> None:
        self._inner = httpx.WSGITransport(app)
        self.asked: list[str] = []
        self.bodies: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path.rpartition("/")[2])
        self.bodies.append(request.read())
        return self._inner.handle_request(request)


def connect(wire: Counting, token: str = "right") -> RemoteDatabase:
    client = D1Client(
        ACCOUNT, token, database_id=DATABASE, base_url=BASE, transport=wire, sleep=lambda _: None
    )
    return RemoteDatabase(client, "ledger")
