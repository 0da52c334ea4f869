"""The local D1 API as tests use it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from hoox_tasks.d1 import D1Client
from hoox_tasks.server import Api, serve

ACCOUNT = "0123456789abcdef0123456789abcdef"


DATABASE = "a682f084-594e-4bd8-be2d-40ea5f8cf42e"


BASE = "http://127.0.0.1/client/v4"


TRIGGER = """CREATE TRIGGER t_log AFTER INSERT ON t WHEN new.a > 0 BEGIN
  INSERT INTO log VALUES (CASE new.a WHEN 1 THEN 'one; two' ELSE 'end' END); -- a comment;
END"""


def client_of(app: Api, token: str = "right", database: str | None = DATABASE) -> D1Client:
    transport = httpx.WSGITransport(app)
    return D1Client(
        ACCOUNT, token, database_id=database, base_url=BASE, transport=transport, sleep=lambda _: None
    )


@contextmanager
def listening(app: Api) -> Iterator[str]:
    """Serve `app` on a port of its own; gives what CLOUDFLARE_API_BASE_URL would be."""
    server = serve(app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/client/v4"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
