"""Cloudflare D1's REST API as a client sees it: requests, retries, errors, and nothing but the wire.

    D1Client      one account, one token, and (for most calls) one database
    Result        what one statement gave: columns, rows, meta
    Export, Import, DatabaseInfo, Restored: what the other calls give

Sources: https://developers.cloudflare.com/api/resources/d1/ for shapes,
https://developers.cloudflare.com/d1/platform/limits/ for limits,
https://developers.cloudflare.com/d1/observability/debug-d1/ for the errors worth repeating.

This module imports httpx and tenacity; whoever uses it imports it inside a function.
"""

from __future__ import annotations

import contextlib
import difflib
import email.utils
import hashlib
import io
import itertools
import json
import logging
import math
import random
import re
import secrets
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import tenacity

from hoox_tasks import __version__, rules
from hoox_tasks.errors import HooxError, Refused, RemoteError, StatementError
from hoox_tasks.values import Approximate, Progress, Value

__all__ = [
    "BASE_URL",
    "D1Client",
    "DatabaseInfo",
    "Export",
    "Import",
    "Restored",
    "Result",
    "ResultMeta",
    "check_parameters",
    "check_statement",
]

BASE_URL = "https://api.cloudflare.com/client/v4"

MAX_STATEMENT_BYTES = rules.STATEMENT_BYTES
MAX_PARAMETERS = rules.PARAMETERS
MAX_EXACT_INTEGER = 2**53
"""The wire carries numbers as doubles: up to here every integer arrives as it was sent."""

ATTEMPTS = 5
PATIENCE = 60.0
"""Seconds after which no further attempt begins, however politely the server asks to wait."""

# A request to D1 must finish within 30 seconds; the rest is the way there and back.
TIMEOUT = httpx.Timeout(connect=10.0, read=40.0, write=40.0, pool=10.0)
POLL_SECONDS = 1.0
MAX_POLLS = 3_600

# Cloudflare's tokens have 40 characters. A made-up one of a few may be part of any word of a message.
_SECRET = 12

_CHUNK = 1 << 18
_IN_MEMORY = 4 << 20
_PARSED_WHOLE = 1 << 20

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_OFFSET = re.compile(r" at offset (\d+)")

# Cloudflare names these as worth repeating; whatever else it says about itself is not.
_TRANSIENT = (
    "Network connection lost",
    "storage caused object to be reset",
    "reset because its code was updated",
    "transient issue on remote node",
    "Internal error while starting up D1 DB storage",
    "Client disconnected while reading request",
)


@dataclass(frozen=True, slots=True)
class ResultMeta:
    """What D1 says about a statement: seconds inside the engine, and the rows it bills."""

    duration: float = 0.0
    changes: int = 0
    rows_read: int | None = None
    rows_written: int | None = None
    last_row_id: int | None = None
    size_after: int | None = None


@dataclass(slots=True)
class Result:
    """What one statement gave. `rows` can be consumed once; after its last row `meta` is complete.

    Numbers are as the wire has them: an integer beyond 2**53 may have been rounded, a REAL that is
    whole comes as an int, an infinity as None.
    """

    columns: tuple[str, ...]
    rows: Iterable[tuple[Value, ...]]
    meta: ResultMeta = field(default_factory=ResultMeta)


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export: where to download it for an hour, and the bookmark that it shows."""

    filename: str
    bookmark: str
    signed_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Import:
    """A finished import: how many statements ran, what D1 bills, and the bookmark right after."""

    queries: int
    bookmark: str
    meta: ResultMeta


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """A database as the control plane describes it. `file_size` is in bytes; None where not told."""

    uuid: str
    name: str
    version: str = ""
    created_at: str = ""
    file_size: int | None = None
    num_tables: int | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """A Time Travel restore: where the database is now, and the bookmark that undoes it."""

    bookmark: str
    previous_bookmark: str


class D1Client:
    """One account's D1 over one kept-alive connection. Not for use by several threads at once.

    `write` says whether repeating a call could do harm; it is never guessed from the SQL. A call that
    only reads is repeated on lost connections, 429, 5xx and D1's transient errors; a write only where
    it surely has not begun. A write whose answer was lost raises `RemoteError` with `ambiguous` set.

    Raises `Refused` for a token, account, address or database id that cannot be right.
    """

    def __init__(
        self,
        account_id: str,
        token: str,
        *,
        database_id: str | None = None,
        base_url: str = BASE_URL,
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
        self.base_url = base_url.rstrip("/")
        loopback = _check_address(self.base_url)
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
        logging.getLogger("httpx").addFilter(_hide_signed_urls)

    def __repr__(self) -> str:
        return f"<D1Client {self.account_id}/{self.database_id or '-'} at {self.base_url}>"

    def __enter__(self) -> D1Client:
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

    def for_database(self, database_id: str) -> D1Client:
        """Give a client like this one for another database of the account."""
        return D1Client(
            self.account_id,
            self._token,
            database_id=database_id,
            base_url=self.base_url,
            transport=self._transport,
            sleep=self._sleep,
        )

    # -- statements -------------------------------------------------------------------------------

    def raw(self, sql: str, params: Sequence[Value] = (), *, write: bool = False) -> Result:
        """Run one statement. A large answer is kept in a file and read row by row.

        Raises `Refused` for what cannot travel exactly: integers beyond 2**53, infinities and NaN,
        bytes, a REAL that is whole (D1 would bind it as an INTEGER), lone surrogates; also for a
        statement of more than 100,000 bytes or more than 100 parameters. Raises `StatementError` where
        the engine refuses, with its message and offset.
        """
        body: dict[str, Any] = {"sql": check_statement(sql)}
        if params:
            body["params"] = check_parameters(params)
        return self._results(body, sql, write, 1)[0]

    def raw_script(self, sql: str, *, write: bool) -> list[Result]:
        """Run several statements that D1 splits itself, in one transaction; one `Result` for each.

        D1's own splitter breaks on triggers with CASE, comments or lower-case keywords in them: send
        those with `import_file`. Every single statement is limited to 100,000 bytes; that is left to
        D1 to check.
        """
        return self._results({"sql": _checked_text(sql)}, sql, write)

    def raw_batch(self, statements: Sequence[tuple[str, Sequence[Value]]], *, write: bool) -> list[Result]:
        """Run statements with their own parameters in one request and one transaction.

        `statements` are pairs of SQL and values. Raises as `raw` does, with the statement's `index`
        where D1 tells it.
        """
        batch: list[dict[str, Any]] = []
        for index, (sql, params) in enumerate(statements):
            item: dict[str, Any] = {"sql": check_statement(sql, index)}
            if params:
                item["params"] = check_parameters(params, index)
            batch.append(item)
        return self._results({"batch": batch}, "", write, len(batch))

    def _results(
        self, body: dict[str, Any], sql: str, write: bool, expected: int | None = None
    ) -> list[Result]:
        single = expected == 1 and "sql" in body
        answer = self._call("POST", "/raw", json_body=body, write=write, sql=sql)
        if answer.file is not None and single and (streamed := _stream(answer.file)) is not None:
            return [streamed]
        results: list[Result] = []
        for index, item in enumerate(_list(self._content(answer, write))):
            if not isinstance(item, dict) or item.get("success") is False:
                raise self._statement_error(_text(_dict(item).get("error")), sql, index)
            found = _dict(item.get("results"))
            results.append(
                Result(
                    tuple(_list(found.get("columns"))),
                    [_row(row) for row in _list(found.get("rows"))],
                    _meta(item.get("meta")),
                )
            )
        if not results or (expected is not None and len(results) != expected):
            raise RemoteError(
                f"D1 answered {len(results)} results to {expected or 'some'} statements.",
                "Look at the ledger before repeating it." if write else "",
                ambiguous=write,
            )
        return results

    # -- export and import ------------------------------------------------------------------------

    def export(
        self,
        *,
        tables: Sequence[str] = (),
        schema: bool = True,
        data: bool = True,
        progress: Progress | None = None,
    ) -> Export:
        """Have D1 write a dump, and wait for it. D1 answers no queries meanwhile.

        Polls about once a second; D1 drops an export that nobody polls. `progress` is called with what
        D1 says, and the number of parts so far. Raises `RemoteError` where D1 gives up.
        """
        options: dict[str, Any] = {"tables": list(tables)} if tables else {}
        if not schema:
            options["no_schema"] = True
        if not data:
            options["no_data"] = True
        body: dict[str, Any] = {"output_format": "polling", "dump_options": options}
        parts = 0
        for poll in range(MAX_POLLS):
            state = _dict(self._json("POST", "/export", json_body=body))
            for message in _messages(state):
                parts += message.startswith("Uploaded part")
                if progress is not None:
                    progress(self._safe(message), parts, None)
            if state.get("success") is False or state.get("status") == "error":
                problem = self._safe(_text(state.get("error")) or "it gives no reason")
                raise RemoteError(f"D1 did not export the database: {problem}.", _advice(problem))
            bookmark = _text(state.get("at_bookmark"))
            result = _dict(state.get("result"))
            if state.get("status") == "complete" or result.get("signed_url"):
                if not result.get("signed_url"):
                    raise RemoteError("D1 says the export is complete, but not where it is.", "Try again.")
                return Export(_text(result.get("filename")), bookmark, _text(result["signed_url"]))
            body["current_bookmark"] = bookmark
            self._pause(poll)
        raise RemoteError("D1's export did not end within an hour of asking.", "Export table by table.")

    def download(self, url: str, target: IO[bytes], *, progress: Progress | None = None) -> int:
        """Stream the file behind a signed URL into `target`, without the token; gives its bytes.

        A download that breaks off starts anew, from where `target` stood, which must be seekable.
        """
        start = target.tell()

        def attempt() -> int:
            target.seek(start)
            target.truncate()
            done = 0
            with contextlib.closing(self._send_signed("GET", url)) as response:
                total = int(response.headers.get("content-length", "0")) or None
                for chunk in response.iter_bytes(_CHUNK):
                    done += target.write(chunk)
                    if progress is not None:
                        progress("Downloaded", done, total)
            if not done:
                raise _Failed(RemoteError("The file to download came empty.", "Try again."), True)
            return done

        return self._retrying(attempt, write=False)

    def import_file(self, source: Path | bytes, *, progress: Progress | None = None) -> Import:
        """Run a file of SQL through D1's import: uploaded, ingested whole or not at all.

        The import uses SQLite's own way to find the end of a statement, so that triggers are safe. The
        last statement must end with a semicolon. A comment that is never the same twice is appended, or
        D1 would not run a file that it has seen before. D1 answers no queries meanwhile, and an import
        cannot be cancelled.

        Raises `StatementError` where a statement fails (nothing is kept then), and `RemoteError`, with
        `ambiguous` set where the import may have happened.
        """
        nonce = f"\n-- import {secrets.token_hex(16)}\n".encode()
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        for chunk in _chunks(source, nonce):
            digest.update(chunk)
            size += len(chunk)
        etag = digest.hexdigest()
        state = _dict(self._json("POST", "/import", json_body={"action": "init", "etag": etag}))
        url, filename = _text(state.get("upload_url")), _text(state.get("filename"))
        if not url or not filename:
            raise RemoteError(
                "D1 did not say where to upload the file to import: "
                + (self._safe(_text(state.get("error"))) or "its answer has no upload_url")
                + ".",
                "Wait until no other import or export of this database runs, then try again.",
            )
        self._upload(url, lambda: _chunks(source, nonce), size, etag, progress)
        body = {"action": "ingest", "filename": filename, "etag": etag}
        state = _dict(self._json("POST", "/import", json_body=body, write=True))
        for poll in range(MAX_POLLS):
            for message in _messages(state):
                if progress is not None:
                    progress(self._safe(message), size, size)
            if state.get("status") == "complete":
                result = _dict(state.get("result"))
                return Import(
                    _int(result.get("num_queries")) or 0,
                    _text(result.get("final_bookmark")),
                    _meta(result.get("meta")),
                )
            if state.get("success") is False or state.get("status") == "error":
                raise self._import_error(state)
            self._pause(poll)
            body = {"action": "poll", "current_bookmark": _text(state.get("at_bookmark"))}
            try:
                state = _dict(self._json("POST", "/import", json_body=body))
            except RemoteError as error:
                error.ambiguous = True
                raise
        raise RemoteError(
            "D1's import did not end within an hour of asking.",
            "It may still be running; look at the ledger before repeating it.",
            ambiguous=True,
        )

    def _upload(
        self,
        url: str,
        content: Callable[[], Iterator[bytes]],
        size: int,
        etag: str,
        progress: Progress | None,
    ) -> None:
        def attempt() -> None:
            def body() -> Iterator[bytes]:
                done = 0
                for chunk in content():
                    yield chunk
                    done += len(chunk)
                    if progress is not None:
                        progress("Uploaded", done, size)

            headers = {"Content-Length": str(size)}
            with contextlib.closing(self._send_signed("PUT", url, headers, body())) as response:
                arrived = response.headers.get("etag", "").strip('"')
            if arrived != etag:
                raise _Failed(RemoteError("The file to import did not arrive whole.", "Try again."), True)

        self._retrying(attempt, write=False)

    def _import_error(self, state: Mapping[str, Any]) -> HooxError:
        errors = [_text(each) for each in _list(state.get("errors"))] or [_text(state.get("error"))]
        problem = self._safe("; ".join(each for each in errors if each) or "it gives no reason")
        if "SQLITE_" in problem:
            return self._statement_error(problem, "", None)
        if "Not currently importing anything" in problem:
            return RemoteError(
                "D1 no longer knows of the import: it has ended, well or not.",
                "Look at the ledger before repeating it.",
                ambiguous=True,
            )
        return RemoteError(
            f"D1 did not import the file: {problem}.",
            "Look at the ledger before repeating it.",
            ambiguous="D1_RESET_DO" in problem or _is_transient(problem),
        )

    # -- Time Travel ------------------------------------------------------------------------------

    def bookmark(self, timestamp: int | None = None) -> str:
        """The Time Travel bookmark of now, or the nearest at or before `timestamp` (Unix seconds)."""
        query = {}
        if timestamp is not None:
            query["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
        found = _dict(self._json("GET", "/time_travel/bookmark", query=query))
        if not found.get("bookmark"):
            raise RemoteError("D1 gave no Time Travel bookmark.", "Time Travel needs a database of now.")
        return _text(found["bookmark"])

    def restore(self, bookmark: str) -> Restored:
        """Take the database back to `bookmark`; queries in flight are cancelled."""
        path, query = "/time_travel/restore", {"bookmark": bookmark}
        done = _dict(self._json("POST", path, query=query, write=True))
        return Restored(_text(done.get("bookmark")), _text(done.get("previous_bookmark")))

    # -- databases --------------------------------------------------------------------------------

    def get_database(self) -> DatabaseInfo:
        """Describe this client's database."""
        return _info(self._json("GET", ""))

    def list_databases(self, name: str | None = None) -> list[DatabaseInfo]:
        """All databases of the account, or those that D1's own filter finds for `name`."""
        found: list[DatabaseInfo] = []
        size, page = 100, 1
        while True:
            query = {"page": str(page), "per_page": str(size)} | ({"name": name} if name else {})
            items = _list(self._json("GET", None, query=query))
            found += [_info(item) for item in items]
            if len(items) < size:
                return found
            page += 1

    def find_database(self, name: str) -> DatabaseInfo:
        """The database called exactly `name`. Raises `RemoteError` that lists near names."""
        for info in self.list_databases(name):
            if info.name == name:
                return info
        names = sorted(info.name for info in self.list_databases())
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        raise RemoteError(
            f"Account {self.account_id} has no D1 database called {name}.",
            f"Did you mean {' or '.join(near)}?"
            if near
            else "Check the account id, or create it with `wrangler d1 create`.",
            status=404,
            code=7404,
        )

    def create_database(self, name: str) -> DatabaseInfo:
        """Create a database."""
        return _info(self._json("POST", None, json_body={"name": name}, write=True))

    def delete_database(self) -> None:
        """Delete this client's database with everything in it."""
        self._json("DELETE", "", write=True)

    # -- the wire ---------------------------------------------------------------------------------

    def _json(self, method: str, path: str | None, *, write: bool = False, **request: Any) -> Any:
        return self._content(self._call(method, path, write=write, **request), write)

    def _call(
        self,
        method: str,
        path: str | None,
        *,
        write: bool,
        query: Mapping[str, str] | None = None,
        json_body: Mapping[str, Any] | None = None,
        sql: str = "",
    ) -> _Answer:
        """Send one API request, again where that is right; `path` None means the account's databases."""
        url = f"{self.base_url}/accounts/{self.account_id}/d1/database"
        if path is not None:
            if self.database_id is None:
                raise Refused("There is no D1 database id.", "Set database_id in the wrangler config.")
            url += f"/{quote(self.database_id, safe='')}{path}"
        content, headers = None, {}
        if json_body is not None:
            content = json.dumps(json_body, ensure_ascii=False, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        request = self._http.build_request(
            method, url, params=query or None, content=content, headers=headers
        )

        def attempt() -> _Answer:
            file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
            keep = False
            try:
                with contextlib.closing(self._http.send(request, stream=True)) as response:
                    size = sum(file.write(chunk) for chunk in response.iter_bytes())
                # Every whole answer is a JSON object: looking at its end tells that it was not cut off,
                # before the first of many rows is handed out.
                file.seek(max(0, size - 64))
                whole = file.read().rstrip().endswith(b"}")
                file.seek(0)
                if response.is_success and whole and size > _PARSED_WHOLE:
                    keep = True
                    return _Answer(None, file)
                body = file.read(_PARSED_WHOLE)
                return _Answer(self._opened(response, body, sql, write), None)
            finally:
                if not keep:
                    file.close()

        return self._retrying(attempt, write=write)

    def _content(self, answer: _Answer, write: bool) -> Any:
        """What the envelope holds as `result`."""
        if answer.file is None:
            return answer.result
        with answer.file as file:
            try:
                return _dict(json.load(file)).get("result")
            except ValueError:
                pass
        raise RemoteError("D1's answer is damaged.", "Try again.", status=200, ambiguous=write)

    def _send_signed(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: Iterator[bytes] | None = None,
    ) -> httpx.Response:
        """Send to a signed URL, which is its own permission: the token does not travel along."""
        request = self._http.build_request(method, url, headers=headers, content=content)
        del request.headers["Authorization"]
        response = self._http.send(request, stream=True)
        status = response.status_code
        web_page = "html" in response.headers.get("content-type", "")
        if status != 200 or web_page:
            response.close()
            what = "upload" if method == "PUT" else "download"
            error = RemoteError(
                f"The {what} of the file was answered with {'a web page' if web_page else 'an error'}"
                f" (HTTP {status}).",
                "Start again; a signed address is good for an hour.",
                status=status,
            )
            raise _Failed(error, status == 429 or status >= 500, _retry_after(response.headers))
        return response

    def _retrying(self, attempt: Callable[[], T], *, write: bool) -> T:
        """Make attempts until one succeeds or none would help."""

        def guarded() -> T:
            try:
                return attempt()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                lost = error
            raise self._lost(lost, write)

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(PATIENCE),
            wait=_wait,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Failed) and error.repeat),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(guarded)
        except _Failed as failed:
            error = failed.error
        # Raised out here so that no HTTP library's exception, with its request, hangs on to it.
        raise error

    def _pause(self, poll: int) -> None:
        self._sleep(min(POLL_SECONDS, 0.05 * 2 ** min(poll, 10)))

    # -- what went wrong --------------------------------------------------------------------------

    def _safe(self, text: str) -> str:
        """Text from outside, fit to be shown: on one line, not endless, and without the token."""
        if len(self._token) >= _SECRET:
            text = text.replace(self._token, "[token]")
        text = " ".join(text.split())
        return text if len(text) <= 2000 else text[:2000] + "..."

    def _lost(self, error: Exception, write: bool) -> _Failed:
        """The failure behind an exception of httpx: there was no answer, or not all of it."""
        host = urlsplit(self.base_url).netloc
        unsent = isinstance(
            error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.UnsupportedProtocol
        )
        repeat = unsent or not write
        causes = list(_causes(error))
        if any(isinstance(cause, ssl.SSLError) for cause in causes) and unsent:
            problem = f"No secure connection to {host}: {self._safe(str(error))}."
            remedy = "Check this machine's clock, and any proxy that inspects TLS (set SSL_CERT_FILE)."
            repeat = False
        elif any(isinstance(cause, socket.gaierror) for cause in causes):
            problem = f"The name {host} cannot be resolved."
            remedy = "Check the network, and CLOUDFLARE_API_BASE_URL."
        elif isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            problem, remedy, repeat = "D1 gave an address that cannot be right.", "Try again.", False
        elif unsent:
            problem = f"No connection to {host}: {self._safe(str(error)) or type(error).__name__}."
            remedy = "Check the network, and CLOUDFLARE_API_BASE_URL."
        elif isinstance(error, httpx.TimeoutException):
            problem = f"No answer from {host} in {TIMEOUT.read:.0f} seconds."
            remedy = "D1 ends a request after 30 seconds: let the statement do less."
        else:
            problem = f"The connection to {host} broke: {self._safe(str(error)) or type(error).__name__}."
            remedy = "Try again."
        ambiguous = write and not unsent
        if ambiguous:
            remedy = _AMBIGUOUS
        return _Failed(RemoteError(problem, remedy, ambiguous=ambiguous), repeat)

    def _opened(self, response: httpx.Response, body: bytes, sql: str, write: bool) -> Any:
        """What a small answer's envelope holds as `result`; raises `_Failed` for everything else."""
        try:
            data = json.loads(body)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise self._not_enveloped(response, body, write)
        if response.is_success and data.get("success") is True:
            return data.get("result")
        errors = [each for each in _list(data.get("errors")) if isinstance(each, dict)] or [data]
        code = _int(errors[0].get("code")) or 0
        said = [_text(each.get("message") or each.get("error")) for each in errors]
        message = self._safe("; ".join(each for each in said if each))
        raise self._refusal(response, code, message, sql, write)

    def _not_enveloped(self, response: httpx.Response, body: bytes, write: bool) -> _Failed:
        status, headers = response.status_code, response.headers
        gone = status == 429 or status >= 500
        where = _where(status, 0, headers)
        if response.is_redirect:
            target = urlsplit(headers.get("location", "")).netloc or "another path"
            problem = f"D1's API wants to redirect to {self._safe(target)}{where}."
            remedy = "A portal or proxy stands between: log in to the network, or check its proxy settings."
        elif headers.get("cf-mitigated") == "challenge":
            problem = f"Cloudflare's firewall asked for a browser instead of answering{where}."
            remedy = "Run it from another network, or have this one let through."
        elif body.lstrip()[:1] == b"<" or "html" in headers.get("content-type", ""):
            problem = f"A web page answered instead of D1's API{where}."
            remedy = (
                "Try again in a minute."
                if gone
                else "A portal or proxy stands between: log in to the network, or check "
                "CLOUDFLARE_API_BASE_URL."
            )
        elif not body.strip():
            problem, remedy = f"D1's API answered with nothing{where}.", "Try again."
        else:
            problem, remedy = f"D1's answer was cut off or damaged{where}.", "Try again."
        web_page = "web page" in problem
        never_ran = 300 <= status < 500
        ambiguous = write and not never_ran
        repeat = status == 429 or (not write and not never_ran and (gone or not web_page))
        error = RemoteError(problem, _AMBIGUOUS if ambiguous else remedy, status=status, ambiguous=ambiguous)
        return _Failed(error, repeat, _retry_after(headers))

    def _refusal(self, response: httpx.Response, code: int, message: str, sql: str, write: bool) -> _Failed:
        """The failure that an enveloped error stands for; keyed on Cloudflare's code, then the status."""
        status, headers = response.status_code, response.headers
        where = _where(status, code, headers)
        transient = _is_transient(message)
        if "SQLITE_" in message or (code == 7500 and status == 400 and not transient):
            return _Failed(self._statement_error(message, sql, None), False)
        problem, remedy = message.rstrip("."), _advice(message)
        if code in (10000, 9106) or status == 401:
            problem = f"Cloudflare does not accept the API token: {problem}"
            remedy = (
                "Check CLOUDFLARE_API_TOKEN; it needs the account permission D1 Edit (D1 Read to only look)."
            )
        elif code in (7403, 7003):
            problem = f"The token may not use account {self.account_id}: {problem}"
            remedy = "Check CLOUDFLARE_ACCOUNT_ID, and that the token was made for this account."
        elif code == 7404:
            problem = f"Account {self.account_id} has no D1 database {self.database_id}: {problem}"
            remedy = "Compare database_id in the wrangler config with `wrangler d1 list`."
        elif code == 7400:
            problem = f"D1 cannot read the request: {problem}"
            remedy = "Check database_id; values cannot be bound to several statements at once."
        elif code == 7406:
            remedy = "Delete a database that is no longer needed."
        elif code == 7502:
            problem, remedy = "A database of this name exists already", "Choose another name."
        elif status == 429:
            problem = f"D1 takes no more requests now: {problem}"
            remedy = (
                "Wait five minutes; the limit is 1,200 requests in five minutes for all of a user's tokens."
            )
        elif status >= 500 or transient:
            problem = f"D1 failed inside: {problem}"
            remedy = remedy or "Try again; if it stays, https://www.cloudflarestatus.com may tell why."
        else:
            problem = f"D1 refused the request: {problem}"
        failed_inside = status != 429 and (status >= 500 or transient)
        ambiguous = write and failed_inside
        error = RemoteError(
            f"{problem}{where}.",
            _AMBIGUOUS if ambiguous else remedy,
            status=status,
            code=code,
            ambiguous=ambiguous,
        )
        repeat = status == 429 or (failed_inside and not write and not _is_overload(message))
        return _Failed(error, repeat, _retry_after(headers))

    def _statement_error(self, message: str, sql: str, index: int | None) -> StatementError:
        message = self._safe(message) or "D1 did not say why it refused the statement"
        offset = _OFFSET.search(message)
        return StatementError(
            message,
            sql=sql,
            offset=int(offset[1]) if offset else None,
            index=index,
            remedy=_advice(message),
        )


T = TypeVar("T")

_AMBIGUOUS = (
    "It may or may not have happened: look at the ledger, as with `inv db.query`, before you repeat it."
)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A whole, successful answer: its `result`, or the file with its body where that is large."""

    result: Any
    file: IO[bytes] | None


class _Failed(Exception):
    """One attempt failed: with which error, whether to repeat it, and how long the server asks to wait."""

    def __init__(self, error: HooxError, repeat: bool, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.repeat = repeat
        self.after = after


_backoff = tenacity.wait_exponential(multiplier=0.5, max=10.0) + tenacity.wait_random(0, 0.5)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: what the server asked for, or more each time; never in step."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _Failed) and error.after is not None:
        return error.after + random.random()
    return _backoff(state)


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that `Retry-After` asks for, given as a number or as an HTTP date."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _is_transient(message: str) -> bool:
    return any(words in message for words in _TRANSIENT)


def _is_overload(message: str) -> bool:
    """Whether repeating makes it worse: https://developers.cloudflare.com/d1/observability/debug-d1/."""
    return any(words in message for words in ("exceeded timeout", "memory limit", "CPU time limit"))


_ADVICE = (
    ("SQLITE_AUTH", "D1 does not allow this statement, or the token has D1 Read where D1 Edit is needed."),
    ("statement too long", f"D1 takes {MAX_STATEMENT_BYTES:,} bytes a statement: split it, or bind values."),
    ("SQLITE_TOOBIG", "D1 takes 100,000 bytes a statement and 2,000,000 bytes a value or row."),
    ("too many SQL variables", f"D1 binds {MAX_PARAMETERS} values a statement: run it in parts."),
    ("incomplete input", "D1's own splitter breaks on some triggers; the import does not."),
    ("exceeded timeout", "Let the statement do less, in parts of about 10,000 rows."),
    ("memory limit", "Let the statement do less, in parts of about 10,000 rows."),
    ("CPU time limit", "Let the statement do less, in parts of about 10,000 rows."),
    ("overloaded", "Wait a minute, and send fewer requests at once."),
    ("long-running export", "Wait until the export has ended."),
    ("Virtual Tables", "D1 exports no virtual tables: name the ordinary ones."),
)


def _advice(message: str) -> str:
    """What to do about D1's own words."""
    return next((advice for words, advice in _ADVICE if words in message), "")


def _where(status: int, code: int, headers: httpx.Headers) -> str:
    ray = headers.get("cf-ray", "")
    parts = [f"HTTP {status}", f"code {code}" if code else "", f"cf-ray {ray}" if ray else ""]
    return f" ({', '.join(part for part in parts if part)})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _hide_signed_urls(record: logging.LogRecord) -> bool:
    """Drop the query from addresses that httpx logs: a signed URL's query is a key to the ledger."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            arg.copy_with(query=None) if isinstance(arg, httpx.URL) else arg for arg in record.args
        )
    return True


def _check_address(base_url: str) -> bool:
    """Refuse an address that the token should not be sent to; gives whether it is on loopback."""
    remedy = "Set CLOUDFLARE_API_BASE_URL to https://..., or to http:// on 127.0.0.1 or localhost."
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.query:
        raise Refused("The address of the Cloudflare API is not a plain http or https address.", remedy)
    loopback = host == "localhost" or host == "::1" or host.startswith("127.")
    if parts.scheme == "http" and not loopback:
        raise Refused(f"The token would travel to {host} unencrypted.", remedy)
    return loopback


# -- values ---------------------------------------------------------------------------------------


def _checked_text(text: str, what: str = "The statement") -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(f"{what} holds half a surrogate pair, which is no text.", "Remove it.") from None
    return text


def check_statement(sql: str, index: int | None = None) -> str:
    """Give the statement back, or raise `Refused` where it is longer than D1 takes."""
    what = "The statement" if index is None else f"Statement {index + 1}"
    size = len(_checked_text(sql, what).encode())
    if size > MAX_STATEMENT_BYTES:
        raise Refused(
            f"{what} is {size:,} bytes long; D1 takes {MAX_STATEMENT_BYTES:,}.",
            "Split it, or bind its long values as parameters.",
        )
    return sql


def check_parameters(params: Sequence[Value], index: int | None = None) -> list[Value]:
    """Give the values as JSON carries them; raises `Refused` where it cannot carry one exactly."""
    of = "" if index is None else f" of statement {index + 1}"
    if len(params) > MAX_PARAMETERS:
        raise Refused(
            f"There are {len(params):,} parameters{of}; D1 takes {MAX_PARAMETERS}.", "Run it in parts."
        )
    checked: list[Value] = []
    for place, value in enumerate(params, 1):
        what = f"Parameter {place}{of}"
        if isinstance(value, bytes | bytearray | memoryview):
            raise Refused(
                f"{what} is a blob, which D1's API does not take.", "Write it as X'...' in the SQL."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise Refused(f"{what} is {value}, which JSON cannot carry.", "Write 9e999 or NULL in the SQL.")
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
            raise Refused(
                f"{what} is {value!r}, which D1 would bind as an INTEGER.", "Write it as CAST(? AS REAL)."
            )
        if isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER:
            raise Refused(
                f"{what} is {value}, an integer beyond 2^53, which D1's API would round.",
                "Bind it as text and write CAST(? AS INTEGER).",
            )
        if isinstance(value, str):
            _checked_text(value, what)
        checked.append(int(value) if isinstance(value, bool) else value)
    return checked


def _row(cells: list[Any]) -> tuple[Value, ...]:
    return tuple([cell if cell is None or type(cell) in _PLAIN else _cell(cell) for cell in cells])


_PLAIN = frozenset((str, float))


def _cell(cell: Any) -> Value:
    """A cell as SQLite has it: blobs come as lists of bytes, and a whole REAL in plain digits."""
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, int):
        if -(2**53) < cell < 2**53:
            return cell
        return Approximate(cell) if -(2**63) <= cell < 2**63 else float(cell)
    if isinstance(cell, list):
        return bytes(cell)
    return json.dumps(cell)


def _meta(data: Any) -> ResultMeta:
    found = _dict(data)
    milliseconds = found.get("duration")
    return ResultMeta(
        duration=milliseconds / 1000 if isinstance(milliseconds, int | float) else 0.0,
        changes=_int(found.get("changes")) or 0,
        rows_read=_int(found.get("rows_read")),
        rows_written=_int(found.get("rows_written")),
        last_row_id=_int(found.get("last_row_id")),
        size_after=_int(found.get("size_after")),
    )


def _info(data: Any) -> DatabaseInfo:
    found = _dict(data)
    return DatabaseInfo(
        uuid=_text(found.get("uuid")),
        name=_text(found.get("name")),
        version=_text(found.get("version")),
        created_at=_text(found.get("created_at")),
        file_size=_int(found.get("file_size")),
        num_tables=_int(found.get("num_tables")),
    )


def _dict(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _list(data: Any) -> list[Any]:
    return data if isinstance(data, list) else []


def _text(data: Any) -> str:
    return data if isinstance(data, str) else ""


def _int(data: Any) -> int | None:
    return int(data) if isinstance(data, int | float) else None


def _messages(state: Mapping[str, Any]) -> list[str]:
    return [message for message in _list(state.get("messages")) if isinstance(message, str)]


def _chunks(source: Path | bytes, nonce: bytes) -> Iterator[bytes]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
    yield nonce


# -- large answers --------------------------------------------------------------------------------


def _stream(file: IO[bytes]) -> Result | None:
    """The first result in a large answer, its rows read from `file` as they are taken.

    None, and the file at its start again, where the columns do not come before the rows.
    """
    result = Result((), ())
    text = io.TextIOWrapper(file, "utf-8")
    rows = _scan(_JsonReader(text), result)
    first = next(rows, None)
    if not result.columns:
        rows.close()
        text.detach().seek(0)
        return None
    result.rows = itertools.chain([] if first is None else [first], rows)
    return result


def _scan(reader: _JsonReader, result: Result) -> Generator[tuple[Value, ...], None, None]:
    for key in reader.members():
        if key != "result":
            reader.value()
            continue
        for _ in reader.elements():
            for part in reader.members():
                if part == "meta":
                    result.meta = _meta(reader.value())
                elif part == "results":
                    yield from _scan_rows(reader, result)
                else:
                    reader.value()
    reader.text.close()


def _scan_rows(reader: _JsonReader, result: Result) -> Iterator[tuple[Value, ...]]:
    for name in reader.members():
        if name == "columns":
            result.columns = tuple(reader.value())
        elif name == "rows":
            for _ in reader.elements():
                yield _row(reader.value())
        else:
            reader.value()


_AFTER_VALUE = frozenset(" \t\r\n,]}")


class _JsonReader:
    """Walks through a long JSON text while holding only a piece of it."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.text = text
        self._buffer = ""
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; after each, its value must be taken."""
        self._take("{")
        while self._peek() != "}":
            key = self.value()
            self._take(":")
            yield key
            if self._peek() == ",":
                self._at += 1
        self._at += 1

    def elements(self) -> Iterator[None]:
        """Stops before each element of the array that begins here; its value must be taken."""
        self._take("[")
        while self._peek() != "]":
            yield
            if self._peek() == ",":
                self._at += 1
        self._at += 1

    def value(self) -> Any:
        """The whole value that begins here."""
        self._peek()
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except ValueError:
                if self._more():
                    continue
                raise self._damaged() from None
            # A number where the piece ends may go on in the next: 1, 1. and 1.5e are beginnings of 1.5e3.
            ended = self._buffer[end : end + 1] in _AFTER_VALUE or not isinstance(value, int | float)
            if ended or not self._more():
                self._at = end
                return value

    def _peek(self) -> str:
        while True:
            while self._at < len(self._buffer):
                char = self._buffer[self._at]
                if char not in " \t\r\n":
                    return char
                self._at += 1
            if not self._more():
                raise self._damaged()

    def _take(self, char: str) -> None:
        if self._peek() != char:
            raise self._damaged()
        self._at += 1

    def _more(self) -> bool:
        """Read on: at least as much as is still unread, so that a long value is not tried often."""
        rest = self._buffer[self._at :]
        piece = self.text.read(max(_CHUNK, len(rest)))
        self._buffer, self._at = rest + piece, 0
        return bool(piece)

    @staticmethod
    def _damaged() -> RemoteError:
        return RemoteError("D1's answer is damaged or was cut off.", "Try again.", status=200)
