"""The REST paths of Cloudflare D1 as a WSGI application: routes, envelope, tokens, uploads."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

from hoox_tasks.errors import Refused
from hoox_tasks.server.database import D1Error, Ledger, StatementResult
from hoox_tasks.server.export_format import ExportError
from hoox_tasks.server.json_values import as_text

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BASE_PATH = "/client/v4"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

MAX_REQUEST_BYTES = 32 << 20
MAX_UPLOAD_BYTES = 1 << 30
SIGNED_SECONDS = 3600

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_ETAG = re.compile(r"[0-9a-f]{32}")

_DATABASES = "/client/v4/accounts/<account>/d1/database"
_ROUTES = Map(
    [
        Rule(_DATABASES, endpoint="list", methods=["GET"]),
        Rule(_DATABASES, endpoint="create", methods=["POST"]),
        Rule(f"{_DATABASES}/<database>", endpoint="get", methods=["GET"]),
        Rule(f"{_DATABASES}/<database>", endpoint="update", methods=["PUT", "PATCH"]),
        Rule(f"{_DATABASES}/<database>", endpoint="delete", methods=["DELETE"]),
        Rule(f"{_DATABASES}/<database>/query", endpoint="query", methods=["POST"]),
        Rule(f"{_DATABASES}/<database>/raw", endpoint="raw", methods=["POST"]),
        Rule(f"{_DATABASES}/<database>/export", endpoint="export", methods=["POST"]),
        Rule(f"{_DATABASES}/<database>/import", endpoint="import", methods=["POST"]),
        Rule(f"{_DATABASES}/<database>/time_travel/bookmark", endpoint="bookmark", methods=["GET"]),
        Rule(f"{_DATABASES}/<database>/time_travel/restore", endpoint="restore", methods=["POST"]),
        Rule("/client/v4/memberships", endpoint="memberships", methods=["GET"]),
        Rule("/client/v4/graphql", endpoint="graphql", methods=["POST"]),
        Rule("/files/<name>", endpoint="file", methods=["GET", "PUT"]),
    ],
    strict_slashes=False,
)
_WRITING = frozenset({"create", "update", "delete", "export", "import", "restore"})


@dataclass
class _Tasks:
    """What a database's import and export are doing; D1 runs one of each at a time."""

    imported: dict[str, Any] | None = None
    exported: dict[str, Any] | None = None
    filenames: set[str] = field(default_factory=set)


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
    ) -> None:
        self.token = token
        self._read_only_token = read_only_token
        self._strict_splitter = strict_splitter
        self.hosts = set(hosts)
        self._folder = tempfile.TemporaryDirectory(prefix="hoox-d1-")
        self._secret = secrets.token_bytes(32)
        self._ledgers: dict[str, Ledger] = {}
        self._tasks: dict[str, _Tasks] = {}
        self._add(database_id, name, ledger)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        request.max_content_length = MAX_REQUEST_BYTES
        try:
            response = self._answer(request)
        except D1Error as error:
            response = _refuse(error.status, error.code, error.message)
        except RequestEntityTooLarge:
            response = _refuse(413, 7400, "The request is too large.")
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
            endpoint, arguments = _ROUTES.bind_to_environ(request.environ).match()
        except MethodNotAllowed:
            raise D1Error(405, 7001, f"Method {request.method} not available for that URI.") from None
        except HTTPException:
            raise D1Error(
                404, 7003, f"Could not route to {request.path}, perhaps your object identifier is invalid?"
            ) from None
        if endpoint == "file":
            return self._file(request, **arguments)
        read_only = self._authorize(request)
        if read_only and endpoint in _WRITING:
            raise D1Error(403, 10000, "Authentication error")
        if endpoint == "list":
            return self._list(request)
        if endpoint == "create":
            return self._create(request)
        if endpoint == "memberships":
            account = {"id": "local", "name": "Local D1"}
            return _succeed([{"id": "local", "status": "accepted", "account": account}])
        if endpoint == "graphql":
            accounts: list[dict[str, list[Any]]] = [
                {"d1AnalyticsAdaptiveGroups": [], "d1QueriesAdaptiveGroups": []}
            ]
            return _json(200, {"data": {"viewer": {"accounts": accounts}}, "errors": None})
        ledger = self._ledger(arguments["database"], by_name=endpoint == "get")
        if endpoint in ("query", "raw"):
            return self._run(request, ledger, raw=endpoint == "raw", read_only=read_only)
        methods: dict[str, Callable[[Request, Ledger], Response]] = {
            "get": self._get,
            "update": self._get,
            "delete": self._delete,
            "export": self._export,
            "import": self._import,
            "bookmark": self._bookmark,
            "restore": self._restore,
        }
        return methods[endpoint](request, ledger)

    def _authorize(self, request: Request) -> bool:
        """Whether the token may only read; raises `D1Error` where it may not even do that."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            if self._read_only_token and hmac.compare_digest(token.encode(), self._read_only_token.encode()):
                return True
            if self.token is None or hmac.compare_digest(token.encode(), self.token.encode()):
                return False
        raise D1Error(401, 10000, "Authentication error")

    # -- databases --------------------------------------------------------------------------------

    def _add(self, identity: str, name: str, path: Path) -> Ledger:
        snapshots = Path(self._folder.name) / "bookmarks" / identity
        ledger = Ledger(identity, name, path, snapshots, strict_splitter=self._strict_splitter)
        self._ledgers[identity] = ledger
        self._tasks[identity] = _Tasks()
        return ledger

    def _ledger(self, identity: str, *, by_name: bool) -> Ledger:
        if not by_name and not _UUID.fullmatch(identity):
            raise D1Error(400, 7400, f"Invalid property: databaseId => cannot decode {identity}")
        for ledger in list(self._ledgers.values()):
            if ledger.uuid == identity.lower() or (by_name and ledger.name == identity):
                return ledger
        raise D1Error(404, 7404, f"The database {identity} could not be found")

    def _list(self, request: Request) -> Response:
        wanted = request.args.get("name", "")
        page = max(1, request.args.get("page", 1, type=_whole))
        size = min(10_000, max(1, request.args.get("per_page", 100, type=_whole)))
        found = [ledger for ledger in list(self._ledgers.values()) if wanted in ledger.name]
        shown = found[(page - 1) * size : page * size]
        fields = ("uuid", "name", "created_at", "version", "jurisdiction")
        return _succeed(
            [{key: value for key, value in _described(each).items() if key in fields} for each in shown],
            result_info={"page": page, "per_page": size, "count": len(shown), "total_count": len(found)},
        )

    def _create(self, request: Request) -> Response:
        name = _body(request).get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise D1Error(400, 7400, "Invalid property: name => Invalid")
        if any(ledger.name == name for ledger in list(self._ledgers.values())):
            raise D1Error(400, 7502, f"Database with name '{name}' already exists")
        identity = str(uuid.uuid4())
        return _succeed(_described(self._add(identity, name, Path(self._folder.name) / f"{identity}.sqlite")))

    def _get(self, request: Request, ledger: Ledger) -> Response:
        described = _described(ledger)
        fields = [key for text in request.args.getlist("fields") for key in text.split(",")]
        return _succeed({key: described.get(key) for key in fields} if fields else described)

    def _delete(self, request: Request, ledger: Ledger) -> Response:
        # The served ledger is only let go of: its file belongs to the user.
        del self._ledgers[ledger.uuid], self._tasks[ledger.uuid]
        ledger.close()
        return _succeed(None)

    # -- statements -------------------------------------------------------------------------------

    def _run(self, request: Request, ledger: Ledger, *, raw: bool, read_only: bool) -> Response:
        body = _body(request)
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
        results = ledger.run(statements, read_only=read_only)
        return _succeed(
            [
                {"results": _raw(result) if raw else _objects(result), "success": True, "meta": result.meta}
                for result in results
            ]
        )

    # -- export and import ------------------------------------------------------------------------

    def _export(self, request: Request, ledger: Ledger) -> Response:
        body = _body(request)
        if body.get("output_format") != "polling":
            raise D1Error(400, 7400, "Invalid property: output_format => Invalid literal")
        tasks = self._tasks[ledger.uuid]
        asked = body.get("current_bookmark")
        if asked:
            if tasks.exported is None or tasks.exported["at_bookmark"] != asked:
                return _progress("export", success=False, error="Not currently exporting anything.")
            # Addressed anew for each answer, as the client may know this server by another name.
            filename = tasks.exported["filename"]
            result = {"filename": filename, "signed_url": self._signed(request, "GET", filename)}
            return _progress(
                "export", at_bookmark=asked, status="complete", messages=["Uploaded part 1"], result=result
            )
        options = body.get("dump_options") or {}
        tables = options.get("tables") or []
        if not isinstance(tables, list):
            raise D1Error(400, 7400, "Invalid property: dump_options.tables => Expected array")
        bookmark = ledger.bookmark()
        filename = f"{ledger.name}-{bookmark[:17]}-{secrets.token_hex(4)}.sql"
        try:
            ledger.export(
                self._path(filename),
                schema=not options.get("no_schema"),
                data=not options.get("no_data"),
                tables=[str(table) for table in tables],
            )
        except ExportError as error:
            self._path(filename).unlink(missing_ok=True)
            return _progress("export", at_bookmark=bookmark, status="error", error=str(error))
        if tasks.exported is not None:
            self._path(tasks.exported["filename"]).unlink(missing_ok=True)
        tasks.exported = {"at_bookmark": bookmark, "filename": filename}
        return _progress("export", at_bookmark=bookmark, messages=[f"Generating {filename}"])

    def _import(self, request: Request, ledger: Ledger) -> Response:
        body = _body(request)
        tasks = self._tasks[ledger.uuid]
        action = body.get("action")
        if action == "poll":
            state, tasks.imported = tasks.imported, None
            if state is None or state["at_bookmark"] != body.get("current_bookmark"):
                return _progress("import", success=False, error="Not currently importing anything.")
            return _progress("import", **state)
        etag = body.get("etag")
        if not isinstance(etag, str) or not _ETAG.fullmatch(etag):
            raise D1Error(400, 7400, "Invalid property: etag => Invalid")
        filename = f"{ledger.uuid}.{etag}.sql"
        if action == "init":
            if filename in tasks.filenames:
                return self._ingest(ledger, filename)
            url = self._signed(request, "PUT", filename)
            return _progress("import", upload_url=url, filename=filename)
        if action != "ingest":
            raise D1Error(400, 7400, "Invalid property: action => Invalid")
        if body.get("filename") != filename or not self._path(filename).exists():
            return _progress("import", success=False, error="The file to import was not uploaded.")
        tasks.filenames.add(filename)
        return self._ingest(ledger, filename)

    def _ingest(self, ledger: Ledger, filename: str) -> Response:
        """Run the whole file now; how it went is told to the first poll, and only to that."""
        state: dict[str, Any] = {"at_bookmark": ledger.bookmark()}
        try:
            script = self._path(filename).read_bytes().decode("utf-8", "replace")
            state |= {"status": "complete", "result": ledger.ingest(script)}
        except D1Error as error:
            state |= {"status": "error", "errors": [error.message], "error": error.message}
        self._tasks[ledger.uuid].imported = state
        return _progress("import", at_bookmark=state["at_bookmark"], messages=["Processing the file."])

    def _path(self, filename: str) -> Path:
        return Path(self._folder.name) / filename

    def _signed(self, request: Request, method: str, filename: str) -> str:
        expires = str(int(time.time()) + SIGNED_SECONDS)
        signature = self._signature(method, filename, expires)
        return f"{request.host_url}files/{filename}?X-Expires={expires}&X-Signature={signature}"

    def _signature(self, method: str, filename: str, expires: str) -> str:
        return hmac.new(self._secret, f"{method} {filename} {expires}".encode(), hashlib.sha256).hexdigest()

    def _file(self, request: Request, name: str) -> Response:
        """What a signed URL leads to: one file, one method, for an hour, without a token."""
        expires = request.args.get("X-Expires", "")
        expected = self._signature(request.method, name, expires)
        good = hmac.compare_digest(request.args.get("X-Signature", "").encode(), expected.encode())
        if not good or int(expires) < time.time():
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, content_type="application/xml")
        path = self._path(name)
        if request.method == "PUT":
            request.max_content_length = MAX_UPLOAD_BYTES
            return Response(headers={"ETag": f'"{_receive(request.stream, path)}"'})
        if not path.exists():
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404, content_type="application/xml")
        headers = {"Content-Length": str(path.stat().st_size)}
        body = FileWrapper(path.open("rb"), 1 << 18)
        return Response(body, headers=headers, content_type="application/sql", direct_passthrough=True)

    # -- Time Travel ------------------------------------------------------------------------------

    def _bookmark(self, request: Request, ledger: Ledger) -> Response:
        return _succeed({"bookmark": ledger.bookmark(_moment(request.args.get("timestamp")))})

    def _restore(self, request: Request, ledger: Ledger) -> Response:
        bookmark = request.args.get("bookmark")
        if not bookmark:
            at = _moment(request.args.get("timestamp"))
            if at is None:
                raise D1Error(400, 7400, "Either a bookmark or a timestamp is needed.")
            bookmark = ledger.bookmark(at)
        previous = ledger.restore(bookmark)
        message = f"Restored to {bookmark}. To undo it, restore {previous}."
        return _succeed({"bookmark": bookmark, "previous_bookmark": previous, "message": message})


DATABASE_ID = "00000000-0000-4000-8000-000000000000"
"""What a served ledger is called where nobody gave it an id."""


def create_app(
    ledger: Path,
    *,
    name: str = "ledger",
    database_id: str = DATABASE_ID,
    token: str | None = None,
    read_only_token: str | None = None,
    strict_splitter: bool = False,
    hosts: Collection[str] = LOOPBACK,
) -> Api:
    """Make the local D1 API over the SQLite file `ledger`, as the database `name` with `database_id`.

    Requests need a bearer token: `token`, or any where that is None; with `read_only_token` nothing can
    be changed. `strict_splitter` makes `/query` and `/raw` refuse the triggers on which D1's own splitter
    is known to break. `hosts` are the names that clients may call this server by.

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
    )


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
    # Werkzeug ends the process where it cannot bind, so that is done here, with what belongs to it.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as bound:
        server = make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=bound.fileno())
    server.server_name, server.server_port = host, server.port
    return server


class _QuietHandler(WSGIRequestHandler):
    """Logs nothing: the addresses of files are keys to them."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the request out of the log."""


def _hostname(request: Request) -> str:
    try:
        return urlsplit(f"//{request.environ.get('HTTP_HOST', '')}").hostname or ""
    except ValueError:
        return ""


def _body(request: Request) -> dict[str, Any]:
    try:
        data = json.loads(request.get_data())
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise D1Error(400, 7400, "The request is malformed: Expected a JSON object")
    return data


def _receive(stream: IO[bytes], path: Path) -> str:
    """Write an upload to its place, whole or not at all; gives the MD5 in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        while chunk := stream.read(1 << 18):
            digest.update(chunk)
            file.write(chunk)
    Path(file.name).replace(path)
    return digest.hexdigest()


def _moment(timestamp: str | None) -> float | None:
    """Unix seconds of an ISO 8601 timestamp; without a zone it is UTC."""
    if not timestamp:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        raise D1Error(400, 7400, "Invalid property: timestamp => Invalid datetime") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _whole(text: str) -> int:
    return int(float(text))


def _described(ledger: Ledger) -> dict[str, Any]:
    return {
        "uuid": ledger.uuid,
        "name": ledger.name,
        "created_at": ledger.created_at,
        "version": "production",
        "num_tables": ledger.table_count(),
        "file_size": ledger.size(),
        "running_in_region": "WEUR",
        "jurisdiction": None,
        "read_replication": {"mode": "disabled"},
    }


def _raw(result: StatementResult) -> dict[str, Any]:
    return {"columns": result.columns, "rows": result.rows}


def _objects(result: StatementResult) -> list[dict[str, Any]]:
    # Of columns with the same name only the last one is left, as on D1.
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def _progress(kind: str, *, success: bool = True, **state: Any) -> Response:
    return _succeed({"success": success, "type": kind, "messages": [], **state})


def _succeed(result: Any, **more: Any) -> Response:
    return _json(200, {"result": result, "success": True, "errors": [], "messages": [], **more})


def _refuse(status: int, code: int, message: str) -> Response:
    errors = [{"code": code, "message": message}]
    return _json(status, {"result": None, "success": False, "errors": errors, "messages": []})


def _json(status: int, body: Mapping[str, Any]) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(text, status, content_type="application/json")
