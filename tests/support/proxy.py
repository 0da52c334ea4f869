"""A proxy between a client and an API that, by seed, lets the network fail in all the usual ways.

    FaultyTransport   wraps an httpx transport: fast, for thousands of runs
    FaultyProxy       a server on a real port in front of another, for clients of any kind

Both take a `Faults`, which draws what happens to each request from its seed; the same seed and the same
requests give the same faults.
"""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from urllib.parse import urlsplit

import httpx


class Fault(Enum):
    """What can happen to a request."""

    NONE = "nothing"
    REFUSED = "no connection"
    LOST_BEFORE = "the connection drops before the API got the request"
    LOST_AFTER = "the connection drops after the API did it"
    CUT = "the answer breaks off in its middle, and the client can tell"
    TRUNCATED = "the answer breaks off in its middle, and only its text tells"
    EMPTY = "an empty answer, after the API did it"
    HTML = "a portal's page, instead of the API"
    LIMITED = "429 with Retry-After, instead of the API"
    LIMITED_BARE = "429 without Retry-After, instead of the API"
    BROKEN = "500 in the envelope, instead of the API"
    GATEWAY_BEFORE = "502 of a gateway, instead of the API"
    GATEWAY_AFTER = "502 of a gateway, after the API did it"
    UNAVAILABLE = "503 with Retry-After, instead of the API"
    SLOW = "nothing but a few milliseconds"


_FAULTS = [fault for fault in Fault if fault is not Fault.NONE]
FORWARDED = frozenset(
    {
        Fault.NONE,
        Fault.LOST_AFTER,
        Fault.CUT,
        Fault.TRUNCATED,
        Fault.EMPTY,
        Fault.GATEWAY_AFTER,
        Fault.SLOW,
    }
)
"""After these the API has done what it was asked."""

_LIMITED_BODY = b'{"success":false,"errors":[{"code":971,"message":"slow down"}],"messages":[],"result":null}'
_BROKEN_BODY = (
    b'{"success":false,"errors":[{"code":7500,"message":"internal error; reference = 0a1b"}],'
    b'"messages":[],"result":null}'
)
_PAGE = b"<!doctype html><title>Log in to the network</title>"
_INSTEAD: dict[Fault, tuple[int, dict[str, str], bytes]] = {
    Fault.EMPTY: (200, {}, b""),
    Fault.HTML: (200, {"content-type": "text/html"}, _PAGE),
    Fault.LIMITED: (429, {"retry-after": "1"}, _LIMITED_BODY),
    Fault.LIMITED_BARE: (429, {}, _LIMITED_BODY),
    Fault.BROKEN: (500, {}, _BROKEN_BODY),
    Fault.GATEWAY_BEFORE: (502, {"content-type": "text/html"}, b"<html>502 Bad Gateway</html>"),
    Fault.GATEWAY_AFTER: (502, {"content-type": "text/html"}, b"<html>502 Bad Gateway</html>"),
    Fault.UNAVAILABLE: (503, {"retry-after": "2"}, b"unavailable"),
}


class Faults:
    """Draws a fault for each request: with chance `rate` one of all kinds, `at_most` in a run."""

    def __init__(self, seed: int, rate: float = 0.3, at_most: int | None = None) -> None:
        self._random = random.Random(seed)
        self._rate = rate
        self._left = at_most
        self.drawn: list[Fault] = []

    def draw(self) -> Fault:
        """What happens to the next request."""
        fault = Fault.NONE
        if self._left != 0 and self._random.random() < self._rate:
            fault = self._random.choice(_FAULTS)
            if self._left is not None:
                self._left -= 1
        self.drawn.append(fault)
        return fault

    def cut(self, size: int) -> int:
        """Where an answer of so many bytes breaks off."""
        return self._random.randrange(size) if size else 0


class _Broken(httpx.SyncByteStream):
    def __init__(self, head: bytes) -> None:
        self._head = head

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class FaultyTransport(httpx.BaseTransport):
    """An httpx transport that passes requests on to `inner`, if `faults` lets it."""

    def __init__(self, inner: httpx.BaseTransport, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or fail at it."""
        fault = self._faults.draw()
        if fault is Fault.REFUSED:
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        if fault is Fault.LOST_BEFORE:
            raise httpx.WriteError("[Errno 32] Broken pipe", request=request)
        if fault not in FORWARDED:
            status, headers, body = _INSTEAD[fault]
            return httpx.Response(status, headers=headers, content=body)
        if fault is Fault.SLOW:
            time.sleep(0.001)
        response = self._inner.handle_request(request)
        content = response.read()
        response.close()
        if fault is Fault.LOST_AFTER:
            raise httpx.ReadError("[Errno 104] Connection reset by peer", request=request)
        if fault is Fault.CUT:
            return httpx.Response(
                response.status_code,
                headers=response.headers,
                stream=_Broken(content[: self._faults.cut(len(content))]),
            )
        if fault in _INSTEAD:
            status, headers, body = _INSTEAD[fault]
            return httpx.Response(status, headers=headers, content=body)
        if fault is Fault.TRUNCATED:
            content = content[: self._faults.cut(len(content))]
        headers_left = {k: v for k, v in response.headers.items() if k != "content-length"}
        return httpx.Response(response.status_code, headers=headers_left, content=content)


class FaultyProxy(socketserver.ThreadingTCPServer):
    """A TCP server on loopback that passes HTTP requests on to `upstream` ("127.0.0.1:port").

    It reads one request per connection. What a socket cannot show is left out: a refused connection shows
    as one that closes before the request was read.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, upstream: str, faults: Faults) -> None:
        host, _, port = upstream.rpartition(":")
        self.upstream = (host, int(port))
        self.faults = faults
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Connection(socketserver.BaseRequestHandler):
    server: FaultyProxy
    request: socket.socket

    def handle(self) -> None:
        faults = self.server.faults
        with suppress(OSError):
            head, body = _read_message(self.request)
            if not head:
                return
            fault = faults.draw()
            if fault in (Fault.REFUSED, Fault.LOST_BEFORE):
                return
            answer = b""
            if fault in FORWARDED:
                with socket.create_connection(self.server.upstream) as upstream:
                    upstream.sendall(_once(head) + body)
                    while chunk := upstream.recv(1 << 16):
                        answer += chunk
            if fault is Fault.LOST_AFTER:
                return
            if fault in _INSTEAD:
                status, headers, content = _INSTEAD[fault]
                lines = [f"HTTP/1.1 {status} Fault", f"Content-Length: {len(content)}", "Connection: close"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                answer = ("\r\n".join(lines) + "\r\n\r\n").encode() + content
            if fault in (Fault.CUT, Fault.TRUNCATED):
                answer = answer[: faults.cut(len(answer))]
            self.request.sendall(answer)


def _read_message(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(1 << 16)
        if not chunk:
            return b"", b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
        if name.strip().lower() == b"expect":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < length:
        body += connection.recv(1 << 16)
    return head, body


def _once(head: bytes) -> bytes:
    lines = [
        line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"expect:"))
    ]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n"


@contextmanager
def faulty_proxy(base_url: str, faults: Faults) -> Iterator[str]:
    """Put a `FaultyProxy` in front of the API at `base_url`; gives the address to use instead."""
    parts = urlsplit(base_url)
    with FaultyProxy(parts.netloc, faults) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.port}{parts.path}"
        finally:
            proxy.shutdown()
            thread.join(10)
