"""Others who use the same ledger on D1 at the same time, between the requests of whoever is watched."""

from __future__ import annotations

import random
from collections.abc import Callable

import httpx

from hoox_tasks.d1 import D1Client
from hoox_tasks.server import Api
from tests.support.d1_api import ACCOUNT, BASE, DATABASE
from tests.support.worker import INSERT


def client(app: Api, transport: httpx.BaseTransport | None = None, token: str = "right") -> D1Client:
    """A client of its own, without waiting."""
    return D1Client(
        ACCOUNT,
        token,
        database_id=DATABASE,
        base_url=BASE,
        transport=transport or httpx.WSGITransport(app),
        sleep=lambda _: None,
    )


class Between(httpx.BaseTransport):
    """Passes requests on, and has others act before and after some of them, by seed."""

    def __init__(self, app: Api, act: Callable[[], None], *, seed: int = 0, rate: float = 1.0) -> None:
        self._inner = httpx.WSGITransport(app)
        self._act = act
        self._random = random.Random(seed)
        self._rate = rate
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self._random.random() < self._rate:
            self._act()
        self.asked.append(request.url.path.rpartition("/")[2])
        response = self._inner.handle_request(request)
        response.read()
        if self._random.random() < self._rate:
            self._act()
        return response


class Once(httpx.BaseTransport):
    """Passes requests on, and has others act once: before the request with this number."""

    def __init__(self, app: Api, act: Callable[[], None], place: int) -> None:
        self._inner = httpx.WSGITransport(app)
        self._act = act
        self._left = place
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self._left -= 1
        if self._left == -1:
            self._act()
        self.asked.append(request.url.path.rpartition("/")[2])
        return self._inner.handle_request(request)


class LateImport(httpx.BaseTransport):
    """Answers 502 to an import that is to begin, and lets it begin some requests later, if at all."""

    def __init__(self, app: Api, after: int | None) -> None:
        self._inner = httpx.WSGITransport(app)
        self._after = after
        self._waiting: httpx.Request | None = None
        self._left = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if b'"ingest"' in request.read():
            self._waiting, self._left = request, self._after or 0
            return httpx.Response(502, content=b"<html>502 Bad Gateway</html>")
        self._left -= 1
        if self._left == 0:
            self.begin()
        return self._inner.handle_request(request)

    def begin(self) -> None:
        """Let the import begin now."""
        if self._waiting is not None:
            self._inner.handle_request(self._waiting).read()
            self._waiting = None


class Worker:
    """Somebody who inserts trades, and knows which of them D1 has acknowledged."""

    def __init__(self, app: Api, name: str = "w") -> None:
        self._client = client(app)
        self._name = name
        self.acknowledged: list[str] = []

    def trade(self) -> None:
        """Insert one trade."""
        identity = f"{self._name}-{len(self.acknowledged)}"
        self._client.raw(INSERT, [identity], write=True)
        self.acknowledged.append(identity)
