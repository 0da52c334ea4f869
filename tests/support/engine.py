"""A real D1 engine on loopback: workerd behind the paths of Cloudflare's REST API.

`engine.mjs` is the process; here it is started, asked and ended. Peculiarities of this engine, seen on
workerd 1.20261005.1 (SQLite 3.53.4):

- It takes many statements in one text, as one transaction, but answers with the last result only, and
  refuses a text whose last statement is followed by a comment. Production splits first; so the adapter
  splits a `sql` of several statements with the splitter that wrangler exports, and sends an array.
- Numbers arrive in it as doubles: `typeof(?)` of 1 is `real`. A column of INTEGER affinity makes it an
  integer again. JSON's true and false, and null inside an array, are not known to its protocol.
- It names `_cf_METADATA` in `sqlite_schema` once something was written; there is no `_cf_KV`.
- `meta` lacks what a region would tell: `served_by_region`, `timings`, `total_attempts`.
"""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.npm import quiet_environment

START_SECONDS = 30
DATABASES = 64
"""Databases that can be open at the same time; each costs about a megabyte of memory."""

ACCOUNT = "0" * 32


class EngineError(Exception):
    """The engine refused: HTTP `status`, Cloudflare's error `code`, and its `message`."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class EngineDatabase:
    """One database of the engine, empty when handed out."""

    base_url: str  # what CLOUDFLARE_API_BASE_URL would be
    account: str
    name: str
    uuid: str

    @property
    def url(self) -> str:
        """Its own place, to which `/raw` and `/query` are appended."""
        return f"{self.base_url}/accounts/{self.account}/d1/database/{self.uuid}"

    def raw(self, sql: str, params: Sequence[Any] = ()) -> list[list[Any]]:
        """The rows of one statement; raises `EngineError` where the engine refuses it."""
        rows: list[list[Any]] = self.batch((sql, params))[0]["results"]["rows"]
        return rows

    def batch(self, *statements: tuple[str, Sequence[Any]] | str) -> list[dict[str, Any]]:
        """Run statements in one transaction; one `{success, results: {columns, rows}, meta}` for each."""
        pairs = [(s, ()) if isinstance(s, str) else s for s in statements]
        batch = [{"sql": sql, "params": list(params)} for sql, params in pairs]
        answer: list[dict[str, Any]] = request("POST", f"{self.url}/raw", {"batch": batch})
        return answer


def request(method: str, url: str, body: Any = None) -> Any:
    """Send one request and return the envelope's `result`; raises `EngineError` on anything else."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as response:
            return json.load(response)["result"]
    except urllib.error.HTTPError as error:
        with error:
            problem = json.load(error)["errors"][0]
        raise EngineError(error.code, problem["code"], problem["message"]) from None


class Engine:
    """The running process. `base_url` is what a client gets as `CLOUDFLARE_API_BASE_URL`."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    @contextmanager
    def database(self, name: str | None = None) -> Iterator[EngineDatabase]:
        """A database of its own for the caller, empty, taken back and emptied at the end."""
        databases = f"{self.base_url}/accounts/{ACCOUNT}/d1/database"
        name = name or f"ledger-{uuid.uuid4().hex[:8]}"
        made = request("POST", databases, {"name": name})
        try:
            yield EngineDatabase(self.base_url, ACCOUNT, name, made["uuid"])
        finally:
            request("DELETE", f"{databases}/{made['uuid']}")


@contextmanager
def running_engine(packages: Path, log: Path) -> Iterator[Engine]:
    """Start an engine with what `npm.install` returned, and end it at the end; `log` gets its stderr.

    Raises RuntimeError when it does not say within `START_SECONDS` where it listens.
    """
    script = Path(__file__).with_name("engine.mjs")
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            ["node", str(script), str(packages), str(DATABASES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=quiet_environment(),
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        patience = threading.Timer(START_SECONDS, process.kill)
        patience.start()
        line = process.stdout.readline()
        patience.cancel()
        try:
            if not line:
                raise RuntimeError(f"The D1 engine did not start: {log.read_text(encoding='utf-8')[-2000:]}")
            yield Engine(f"{json.loads(line)['url']}/client/v4")
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
