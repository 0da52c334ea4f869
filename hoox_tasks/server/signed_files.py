"""The object store behind D1's signed addresses: files that are uploaded to be imported, or were exported.

A signed address is good for one file, one method and an hour, and needs no token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import tempfile
import time
from pathlib import Path
from typing import IO

from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

from hoox_tasks.server.answers import refuse_file

MAX_UPLOAD_BYTES = 1 << 30
SIGNED_SECONDS = 3600


class SignedFiles:
    """Files in a folder, and the addresses that lead to them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._secret = secrets.token_bytes(32)

    def path(self, name: str) -> Path:
        """Give the place of a file."""
        return self._folder / name

    def sign(self, request: Request, method: str, name: str) -> str:
        """Give an address of a file, at the host by which the client knows this server."""
        expires = str(int(time.time()) + SIGNED_SECONDS)
        signature = self._signature(method, name, expires)
        return f"{request.host_url}files/{name}?X-Expires={expires}&X-Signature={signature}"

    def answer(self, request: Request, name: str) -> Response:
        """Take an upload, or give a file away, where the address is a signed one."""
        expires = request.args.get("X-Expires", "")
        expected = self._signature(request.method, name, expires)
        good = hmac.compare_digest(request.args.get("X-Signature", "").encode(), expected.encode())
        if not good or int(expires) < time.time():
            return refuse_file(403, "AccessDenied")
        path = self.path(name)
        if request.method == "PUT":
            request.max_content_length = MAX_UPLOAD_BYTES
            return Response(headers={"ETag": f'"{_receive(request.stream, path)}"'})
        if not path.exists():
            return refuse_file(404, "NoSuchKey")
        headers = {"Content-Length": str(path.stat().st_size)}
        body = FileWrapper(path.open("rb"), 1 << 18)
        return Response(body, headers=headers, content_type="application/sql", direct_passthrough=True)

    def _signature(self, method: str, name: str, expires: str) -> str:
        return hmac.new(self._secret, f"{method} {name} {expires}".encode(), hashlib.sha256).hexdigest()


def _receive(stream: IO[bytes], path: Path) -> str:
    """Write an upload to its place, whole or not at all; returns the MD5 in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        while chunk := stream.read(1 << 18):
            digest.update(chunk)
            file.write(chunk)
    Path(file.name).replace(path)
    return digest.hexdigest()
