"""The REST paths of Cloudflare D1 as a WSGI application: routes, tokens, databases and their statements."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import select
import socket
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.exceptions import ClientDisconnected, HTTPException, MethodNotAllowed, RequestEntityTooLarge
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from hoox_tasks.config.moments import parse_moment
from hoox_tasks.errors import Refused
from hoox_tasks.server import answers
from hoox_tasks.server.database import D1Error, Ledger
from hoox_tasks.server.json_values import as_text
from hoox_tasks.server.signed_files import SignedFiles
from hoox_tasks.server.transfer import Transfer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BASE_PATH = "/client/v4"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
DATABASE_ID = "00000000-0000-4000-8000-000000000000"
"""What a served ledger is called where nobody gave it an id."""

MAX_REQUEST_BYTES = 32 << 20

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, what its path names, and whether its token may only read."""

    request: Request
    arguments: Mapping[str, str]
    read_only: bool = False

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent."""
        try:
            data = json.loads(self.request.get_data())
        except (ValueError, RecursionError):  # The latter: nested too deeply.
            data = None
        if not isinstance(data, dict):
            raise D1Error(400, 7400, "The request is malformed: Expected a JSON object")
        return data

    def abandoned(self) -> bool:
        """Whether the client has closed its connection."""
        connection = self.request.environ.get("werkzeug.socket")
        if connection is None:
            return False
        try:
            readable, _, _ = select.select([connection], [], [], 0)
            return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):  # It was closed here.
            return True


class Api:
    """The WSGI application, with its databases and a temporary folder; close it after use."""

    def __init__(
        self,
        ledger: Path,
        *,
        name: str,
        database_id: str,
        token: str | None,
        read_only_token: str | None,
        strict_splitter: bool,
        hosts: Collection[str],
        on_statement: Callable[[str], None] | None = None,
    ) -> None:
        self.token = token
        self._read_only_token = read_only_token
        self._strict_splitter = strict_splitter
        self.hosts: set[str] = set(hosts)
        self._on_statement = on_statement
        self._folder = tempfile.TemporaryDirectory(prefix="hoox-d1-")
        self._files = SignedFiles(Path(self._folder.name))
        self._ledgers: dict[str, Ledger] = {}
        self._transfers: dict[str, Transfer] = {}
        self._add(database_id, name, ledger)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        request.max_content_length = MAX_REQUEST_BYTES
        try:
            response = self._answer(request)
        except ClientDisconnected:
            response = answers.refuse(400, 7400, "The request was cut off.")
        except D1Error as error:
            response = answers.refuse(error.status, error.code, error.message)
        except RequestEntityTooLarge:
            response = answers.refuse(413, 7400, "The request is too large.")
        response.headers["cf-ray"] = f"{secrets.token_hex(8)}-DEV"
        return response(environ, start_response)

    def close(self) -> None:
        """Let go of the databases, and remove what clients uploaded and exported."""
        for ledger in self._ledgers.values():
            ledger.close()
        self._folder.cleanup()

    def _answer(self, request: Request) -> Response:
        if self.hosts.isdisjoint({_hostname(request), "0.0.0.0", "::"}):
            # A page in a browser could have had its own name resolve to this machine.
            raise D1Error(403, 7003, "This server does not go by that name.")
        try:
            route, arguments = _ROUTES.bind_to_environ(request.environ).match()
        except MethodNotAllowed:
            raise D1Error(405, 7001, f"Method {request.method} not available for that URI.") from None
        except HTTPException:
            raise D1Error(
                404, 7003, f"Could not route to {request.path}, perhaps your object identifier is invalid?"
            ) from None
        read_only = route.needs_token and self._authorize(request)
        if read_only and route.writes:
            raise D1Error(403, 10000, "Authentication error")
        response: Response = route.handler(self, _Call(request, arguments, read_only))
        return response

    def _authorize(self, request: Request) -> bool:
        """Whether the token may only read; raises `D1Error` where it may not even do that."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            if self._read_only_token and hmac.compare_digest(token.encode(), self._read_only_token.encode()):
                return True
            if self.token is None or hmac.compare_digest(token.encode(), self.token.encode()):
                return False
        raise D1Error(401, 10000, "Authentication error")

    # -- the account ------------------------------------------------------------------------------

    def _memberships(self, call: _Call) -> Response:
        account = {"id": "local", "name": "Local D1"}
        return answers.succeed([{"id": "local", "status": "accepted", "account": account}])

    def _graphql(self, call: _Call) -> Response:
        accounts: list[dict[str, list[Any]]] = [
            {"d1AnalyticsAdaptiveGroups": [], "d1QueriesAdaptiveGroups": []}
        ]
        return answers.write_json(200, {"data": {"viewer": {"accounts": accounts}}, "errors": None})

    def _file(self, call: _Call) -> Response:
        return self._files.answer(call.request, call.arguments["name"])

    # -- databases --------------------------------------------------------------------------------

    def _add(self, identity: str, name: str, path: Path) -> Ledger:
        snapshots = Path(self._folder.name) / "bookmarks" / identity
        ledger = Ledger(
            identity,
            name,
            path,
            snapshots,
            strict_splitter=self._strict_splitter,
            on_statement=self._on_statement,
        )
        self._ledgers[identity] = ledger
        self._transfers[identity] = Transfer(ledger, self._files)
        return ledger

    def _ledger(self, call: _Call, *, by_name: bool = False) -> Ledger:
        identity = call.arguments["database"]
        if not by_name and not _UUID.fullmatch(identity):
            raise D1Error(400, 7400, f"Invalid property: databaseId => cannot decode {identity}")
        for ledger in list(self._ledgers.values()):
            if ledger.uuid == identity.lower() or (by_name and ledger.name == identity):
                return ledger
        raise D1Error(404, 7404, f"The database {identity} could not be found")

    def _list(self, call: _Call) -> Response:
        arguments = call.request.args
        wanted = arguments.get("name", "")
        page = max(1, arguments.get("page", 1, type=_whole))
        size = min(10_000, max(1, arguments.get("per_page", 100, type=_whole)))
        found = [ledger for ledger in list(self._ledgers.values()) if wanted in ledger.name]
        shown = [answers.describe(ledger) for ledger in found[(page - 1) * size : page * size]]
        return answers.succeed(
            [{key: described[key] for key in answers.SHORT_FIELDS} for described in shown],
            result_info={"page": page, "per_page": size, "count": len(shown), "total_count": len(found)},
        )

    def _create(self, call: _Call) -> Response:
        name = call.body.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise D1Error(400, 7400, "Invalid property: name => Invalid")
        if any(ledger.name == name for ledger in list(self._ledgers.values())):
            raise D1Error(400, 7502, f"Database with name '{name}' already exists")
        identity = str(uuid.uuid4())
        ledger = self._add(identity, name, Path(self._folder.name) / f"{identity}.sqlite")
        return answers.succeed(answers.describe(ledger))

    def _get(self, call: _Call) -> Response:
        described = answers.describe(self._ledger(call, by_name=True))
        fields = [key for text in call.request.args.getlist("fields") for key in text.split(",")]
        return answers.succeed({key: described.get(key) for key in fields} if fields else described)

    def _update(self, call: _Call) -> Response:
        return answers.succeed(answers.describe(self._ledger(call)))

    def _delete(self, call: _Call) -> Response:
        # The served ledger is only let go of: its file belongs to the user.
        ledger = self._ledger(call)
        del self._ledgers[ledger.uuid], self._transfers[ledger.uuid]
        ledger.close()
        return answers.succeed(None)

    # -- statements -------------------------------------------------------------------------------

    def _query(self, call: _Call) -> Response:
        return self._run(call, answers.objects)

    def _raw(self, call: _Call) -> Response:
        return self._run(call, answers.raw)

    def _run(self, call: _Call, write: Callable[[Any], Any]) -> Response:
        ledger, body = self._ledger(call), call.body
        batch = body.get("batch", [body])
        if not isinstance(batch, list) or not batch:
            raise D1Error(400, 7400, "The request is malformed: batch")
        statements = []
        for item in batch:
            text = item.get("sql") if isinstance(item, dict) else None
            params = item.get("params") or [] if isinstance(item, dict) else None
            if not isinstance(text, str) or not isinstance(params, list):
                raise D1Error(400, 7400, "The request is malformed: Expected string for sql")
            statements.append((as_text(text), params))
        results = ledger.run(statements, read_only=call.read_only, abandoned=call.abandoned)
        return answers.succeed(
            [{"results": write(result), "success": True, "meta": result.meta} for result in results]
        )

    # -- export, import and Time Travel -----------------------------------------------------------

    def _export(self, call: _Call) -> Response:
        return self._transfers[self._ledger(call).uuid].export(call.request, call.body)

    def _import(self, call: _Call) -> Response:
        return self._transfers[self._ledger(call).uuid].import_(call.request, call.body)

    def _bookmark(self, call: _Call) -> Response:
        at = _moment(call.request.args.get("timestamp"))
        return answers.succeed({"bookmark": self._ledger(call).bookmark(at)})

    def _restore(self, call: _Call) -> Response:
        ledger = self._ledger(call)
        bookmark = call.request.args.get("bookmark")
        if not bookmark:
            at = _moment(call.request.args.get("timestamp"))
            if at is None:
                raise D1Error(400, 7400, "Either a bookmark or a timestamp is needed.")
            bookmark = ledger.bookmark(at)
        previous = ledger.restore(bookmark)
        message = f"Restored to {bookmark}. To undo it, restore {previous}."
        return answers.succeed({"bookmark": bookmark, "previous_bookmark": previous, "message": message})


@dataclass(frozen=True, slots=True)
class _Route:
    """Who answers a path, whether the token has to be one that may write, and whether there is a token."""

    handler: Callable[[Api, _Call], Response]
    writes: bool = False
    needs_token: bool = True


def _rule(methods: str, path: str, route: _Route) -> Rule:
    return Rule(path, endpoint=route, methods=methods.split())


_DATABASES = f"{BASE_PATH}/accounts/<account>/d1/database"
_DATABASE = f"{_DATABASES}/<database>"
_ROUTES = Map(
    [
        _rule("GET", _DATABASES, _Route(Api._list)),
        _rule("POST", _DATABASES, _Route(Api._create, writes=True)),
        _rule("GET", _DATABASE, _Route(Api._get)),
        _rule("PUT PATCH", _DATABASE, _Route(Api._update, writes=True)),
        _rule("DELETE", _DATABASE, _Route(Api._delete, writes=True)),
        # A token that may only read is held to that statement by statement.
        _rule("POST", f"{_DATABASE}/query", _Route(Api._query)),
        _rule("POST", f"{_DATABASE}/raw", _Route(Api._raw)),
        _rule("POST", f"{_DATABASE}/export", _Route(Api._export, writes=True)),
        _rule("POST", f"{_DATABASE}/import", _Route(Api._import, writes=True)),
        _rule("GET", f"{_DATABASE}/time_travel/bookmark", _Route(Api._bookmark)),
        _rule("POST", f"{_DATABASE}/time_travel/restore", _Route(Api._restore, writes=True)),
        _rule("GET", f"{BASE_PATH}/memberships", _Route(Api._memberships)),
        _rule("POST", f"{BASE_PATH}/graphql", _Route(Api._graphql)),
        _rule("GET PUT", "/files/<name>", _Route(Api._file, needs_token=False)),
    ],
    strict_slashes=False,
)


def create_app(
    ledger: Path,
    *,
    name: str = "ledger",
    database_id: str = DATABASE_ID,
    token: str | None = None,
    read_only_token: str | None = None,
    strict_splitter: bool = False,
    hosts: Collection[str] = LOOPBACK,
    on_statement: Callable[[str], None] | None = None,
) -> Api:
    """Make the local D1 API over the SQLite file `ledger`, as the database `name` with `database_id`.

    Requests need a bearer token: `token`, or any where that is None; with `read_only_token` nothing can
    be changed. `strict_splitter` makes `/query` and `/raw` refuse the triggers on which D1's own splitter
    is known to break. `hosts` are the names that clients may call this server by. `on_statement` is called
    with each statement of a client before it runs.

    The application holds files: close it. Databases that clients create live as long as it does.
    """
    return Api(
        ledger,
        name=name,
        database_id=database_id.lower(),
        token=token,
        read_only_token=read_only_token,
        strict_splitter=strict_splitter,
        hosts=hosts,
        on_statement=on_statement,
    )


def _hostname(request: Request) -> str:
    try:
        return urlsplit(f"//{request.environ.get('HTTP_HOST', '')}").hostname or ""
    except ValueError:
        return ""


def _moment(timestamp: str | None) -> float | None:
    """Unix seconds of an ISO 8601 timestamp; without a zone it is UTC."""
    if not timestamp:
        return None
    try:
        return parse_moment(timestamp).timestamp()
    except Refused:
        raise D1Error(400, 7400, "Invalid property: timestamp => Invalid datetime") from None


def _whole(text: str) -> int:
    try:
        return int(float(text))
    except OverflowError:  # Infinity, which the caller takes for what is no number.
        raise ValueError(text) from None
