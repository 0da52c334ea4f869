"""The local D1 API on a port."""

from __future__ import annotations

import socket
from http import HTTPStatus

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from hoox_tasks.errors import Refused
from hoox_tasks.server import answers
from hoox_tasks.server.api import BASE_PATH, LOOPBACK, Api


def serve(app: Api, host: str = "127.0.0.1", port: int = 0) -> BaseWSGIServer:
    """Bind the application to a port (0: any free one, see `.server_port`); `.serve_forever()` runs it.

    Clients may then call it by `host` too, and by any name where that stands for all addresses. Raises
    `Refused` where others could reach it and any token would do, and OSError where the port is taken.
    """
    if host not in LOOPBACK and app.token is None:
        raise Refused(
            f"Everybody who can reach {host} could read and change the ledger.", "Give a --token as well."
        )
    app.hosts.add(host)
    # Werkzeug ends the process where it cannot bind, so the socket is bound here.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as bound:
        server = make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=bound.fileno())
    server.server_name, server.server_port = host, server.port
    return server


def base_url(host: str, port: int) -> str:
    """Give the address that clients take as `CLOUDFLARE_API_BASE_URL`."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{BASE_PATH}"


class _QuietHandler(WSGIRequestHandler):
    """Logs nothing: the addresses of files are keys to them."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request in Cloudflare's envelope too, which is all that clients read."""
        status = HTTPStatus(code)
        body = answers.refuse(code, 7400, f"The request is malformed: {message or status.phrase}").get_data()
        if self.request_version == "HTTP/0.9":  # What a line is taken for that cannot be read at all.
            self.request_version = "HTTP/1.0"
        self.send_response(code, status.phrase)
        self.send_header("Connection", "close")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the request out of the log."""
