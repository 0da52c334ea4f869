"""The way to D1: one account and one token, checked before anything is sent, over one connection."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from hoox_tasks.d1.addresses import check_address, is_public
from hoox_tasks.d1.errors import Call, lost, refused, refused_file, show
from hoox_tasks.d1.retries import TIMEOUT, retry
from hoox_tasks.d1.streaming import stream
from hoox_tasks.errors import Refused, RemoteError
from hoox_tasks.version import __version__

T = TypeVar("T")

_log = logging.getLogger(__name__)

_IN_MEMORY = 4 << 20
_PARSED_WHOLE = 1 << 20

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Connection:
    """Sends requests to one account's D1, again where that is right. Not for several threads at once.

    Raises `Refused` for a token, account, address or database id that cannot be right.
    """

    def __init__(
        self,
        account_id: str,
        token: str,
        *,
        database_id: str | None = None,
        base_url: str,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not token:
            raise Refused(
                "There is no Cloudflare API token.",
                "Set CLOUDFLARE_API_TOKEN to a token with the permission D1 Edit (D1 Read to only look).",
            )
        if not _TOKEN.fullmatch(token):
            raise Refused(
                "The Cloudflare API token holds a space, a line break or a character outside ASCII.",
                "Copy it again, without quotes around it, into CLOUDFLARE_API_TOKEN.",
            )
        if not account_id:
            raise Refused("There is no Cloudflare account id.", "Set CLOUDFLARE_ACCOUNT_ID.")
        if not _ACCOUNT.fullmatch(account_id):
            raise Refused(
                f"The account id {account_id!r} cannot be right: ids are letters, digits, - and _.",
                "Take it from the dashboard's address, or from `wrangler whoami`.",
            )
        self.account_id = account_id
        self.database_id: str | None = None
        if database_id is not None:
            self.use_database(database_id)
        self.base_url: str = base_url.rstrip("/")
        self._loopback = loopback = check_address(self.base_url)
        self._token = token
        self._sleep = sleep
        self._transport = transport
        self._http = httpx.Client(
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/json",
                "User-Agent": f"hoox-tasks/{__version__}",
            },
            timeout=TIMEOUT,
            follow_redirects=False,
            transport=transport,
            trust_env=not loopback,
        )
        # What they log holds whatever a server sends, the token among it, and keys in addresses.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.account_id}/{self.database_id or '-'} at {self.base_url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def use_database(self, database_id: str) -> None:
        """Send what follows to this database; raises `Refused` where the id cannot be one."""
        if not _UUID.fullmatch(database_id):
            raise Refused(
                f"The database id {database_id!r} is not a D1 database id (8-4-4-4-12 hex digits).",
                "Put the id that `wrangler d1 list` shows into database_id of the wrangler config.",
            )
        self.database_id = database_id

    def for_database(self, database_id: str) -> Self:
        """Give a client like this one for another database of the account."""
        return type(self)(
            self.account_id,
            self._token,
            database_id=database_id,
            base_url=self.base_url,
            transport=self._transport,
            sleep=self._sleep,
        )

    def safe(self, text: str) -> str:
        """Text from outside, fit to be shown: on one line, not endless, and without the token."""
        return show(text, self._token)

    def pause(self, seconds: float) -> None:
        """Wait."""
        self._sleep(seconds)

    def request(
        self,
        method: str,
        path: str | None,
        *,
        write: bool = False,
        query: Mapping[str, str] | None = None,
        json_body: Mapping[str, Any] | None = None,
        sql: str = "",
        streamed: bool = False,
    ) -> Any:
        """Send one API request, again where that is right; gives what the envelope holds as `result`.

        `path` is behind the database's own, None means the account's databases. With `streamed`, a large
        answer comes as a `Result`, which reads its rows from a file.
        """
        url = f"{self.base_url}/accounts/{self.account_id}/d1/database"
        if path is not None:
            if self.database_id is None:
                raise Refused("There is no D1 database id.", "Set database_id in the wrangler config.")
            url += f"/{self.database_id}{path}"
        content, headers = None, {}
        if json_body is not None:
            content = json.dumps(json_body, ensure_ascii=False, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        request = self._http.build_request(method, url, params=query, content=content, headers=headers)
        call = self._call(url, write=write, sql=sql)

        def attempt() -> Any:
            with contextlib.ExitStack() as opened:
                file = opened.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
                with contextlib.closing(self._send(request)) as response:
                    size = sum(file.write(chunk) for chunk in response.iter_bytes())
                if streamed and response.is_success and size > _PARSED_WHOLE:
                    # Every whole answer is a JSON object: looking at its end tells that it was not cut off,
                    # before the first of many rows is handed out.
                    file.seek(size - 64)
                    whole = file.read().rstrip().endswith(b"}")
                    file.seek(0)
                    if whole:
                        opened.pop_all()
                        return stream(file, write=write)
                file.seek(0)
                body = file.read()
            try:
                data = json.loads(body)
            except (ValueError, RecursionError):  # The latter: nested too deeply.
                data = None
            if response.is_success and isinstance(data, dict) and data.get("success") is True:
                return data.get("result")
            raise refused(response, body, data, call)

        return self._attempts(attempt, call)

    def request_signed(
        self,
        method: str,
        url: str,
        use: Callable[[httpx.Response], T],
        *,
        content: Callable[[], Iterator[bytes]] | None = None,
        size: int = 0,
    ) -> T:
        """Send to a signed URL, which is its own permission: the token does not travel along.

        `content` gives the `size` bytes to send, anew for each attempt. `use` reads the answer; it may
        raise `Failed` to have another attempt. Raises `RemoteError`, and sends nothing, where the address
        leads to this machine or its network, or is not encrypted, unless the API itself is on loopback.
        """
        if not self._loopback and not is_public(url):
            raise RemoteError(
                "D1 gave an address for the file that is not an encrypted one of a public host.",
                "Nothing was sent there. Check CLOUDFLARE_API_BASE_URL.",
            )

        def attempt() -> T:
            headers = {"Content-Length": str(size)} if content else None
            request = self._http.build_request(
                method, url, headers=headers, content=content() if content else None
            )
            del request.headers["Authorization"]
            with contextlib.closing(self._send(request)) as response:
                failed = refused_file(response)
                if failed is not None:
                    raise failed
                return use(response)

        return self._attempts(attempt, self._call(url))

    def _send(self, request: httpx.Request) -> httpx.Response:
        response = self._http.send(request, stream=True)
        # Without its query, which is the key to a file, and without anything that the server said.
        _log.debug("%s %s: HTTP %d", request.method, request.url.copy_with(query=None), response.status_code)
        return response

    def _call(self, url: str, *, write: bool = False, sql: str = "") -> Call:
        host = urlsplit(url).netloc
        return Call(host, self.safe, self.account_id, self.database_id, sql, write)

    def _attempts(self, attempt: Callable[[], T], call: Call) -> T:
        def guarded() -> T:
            try:
                return attempt()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                broken = error
            raise lost(broken, call)

        return retry(guarded, self._sleep)
