"""The client: one account's D1, and what its calls are for whoever makes them."""

from __future__ import annotations

import difflib
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from hoox_tasks.d1 import transfer
from hoox_tasks.d1.answers import (
    DatabaseInfo,
    Export,
    Import,
    Restored,
    Result,
    as_dict,
    as_list,
    as_text,
    read_info,
    read_meta,
    read_row,
)
from hoox_tasks.d1.connection import Connection
from hoox_tasks.d1.errors import AMBIGUOUS, damaged, statement_error, unfit
from hoox_tasks.d1.statements import check_parameters, check_statement, check_text
from hoox_tasks.errors import RemoteError
from hoox_tasks.values import Progress, Value

_PAGE = 100


class D1Client(Connection):
    """One account's D1 over one kept-alive connection. Not for use by several threads at once.

    `write` says whether repeating a call could do harm; it is never guessed from the SQL. A call that
    only reads is repeated on lost connections, 429, 5xx and D1's transient errors; a write only where
    it surely has not begun. A write whose answer was lost raises `RemoteError` with `ambiguous` set.

    Raises `Refused` for a token, account, address or database id that cannot be right.
    """

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
        return self._results({"sql": check_text(sql)}, sql, write)

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
        answer = self.request("POST", "/raw", json_body=body, write=write, sql=sql, streamed=expected == 1)
        if isinstance(answer, Result):
            return [answer]
        results = [self._result(item, sql, write, index) for index, item in enumerate(as_list(answer))]
        if not results or (expected is not None and len(results) != expected):
            raise unfit(len(results), expected)
        return results

    def _result(self, item: Any, sql: str, write: bool, index: int) -> Result:
        if as_dict(item).get("success") is False:
            raise statement_error(self.safe(as_text(item.get("error"))), sql, index)
        try:
            found = as_dict(item.get("results"))
            if write and item.get("success") is True:  # It was done, whether or not there is more to say.
                found = {"columns": [], "rows": []} | found
            rows = [read_row(row) for row in found["rows"]]
            return Result(tuple(found["columns"]), rows, read_meta(item.get("meta")))
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            pass
        raise damaged(write)

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
        return transfer.export(self, tables, schema, data, progress)

    def download(self, url: str, target: IO[bytes], *, progress: Progress | None = None) -> int:
        """Stream the file behind a signed URL into `target`, without the token; gives its bytes.

        A download that breaks off starts anew, from where `target` stood, which must be seekable.
        """
        return transfer.download(self, url, target, progress)

    def import_file(
        self,
        source: Path | bytes,
        *,
        head: bytes = b"",
        begun: Callable[[], None] = lambda: None,
        progress: Progress | None = None,
    ) -> Import:
        """Run a file of SQL through D1's import: uploaded, ingested whole or not at all.

        `head` is SQL to run before it. `begun` is called right before D1 is told to run it: what fails
        earlier has changed nothing.

        The import uses SQLite's own way to find the end of a statement, so that triggers are safe. The
        last statement must end with a semicolon. A comment that is never the same twice is appended, or
        D1 would not run a file that it has seen before. D1 answers no queries meanwhile, and an import
        cannot be cancelled.

        Raises `StatementError` where a statement fails (nothing is kept then), and `RemoteError`, with
        `ambiguous` set where the import may have happened.
        """
        return transfer.import_file(self, source, head, begun, progress)

    # -- Time Travel ------------------------------------------------------------------------------

    def bookmark(self, timestamp: int | None = None) -> str:
        """The Time Travel bookmark of now, or the nearest at or before `timestamp` (Unix seconds)."""
        query = {}
        if timestamp is not None:
            query["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
        found = as_dict(self.request("GET", "/time_travel/bookmark", query=query))
        bookmark = as_text(found.get("bookmark"))
        if not bookmark:
            raise RemoteError("D1 gave no Time Travel bookmark.", "Time Travel needs a database of now.")
        return bookmark

    def restore(self, bookmark: str) -> Restored:
        """Take the database back to `bookmark`; queries in flight are cancelled."""
        query = {"bookmark": bookmark}
        done = as_dict(self.request("POST", "/time_travel/restore", query=query, write=True))
        restored = Restored(as_text(done.get("bookmark")), as_text(done.get("previous_bookmark")))
        if not restored.bookmark:
            raise RemoteError("D1 did not say where it restored the database to.", AMBIGUOUS, ambiguous=True)
        return restored

    # -- databases --------------------------------------------------------------------------------

    def get_database(self) -> DatabaseInfo:
        """Describe this client's database."""
        return read_info(self.request("GET", ""))

    def list_databases(self, name: str | None = None) -> list[DatabaseInfo]:
        """All databases of the account, or those that D1's own filter finds for `name`."""
        found: dict[str, DatabaseInfo] = {}
        for page in itertools.count(1):
            query = {"page": str(page), "per_page": str(_PAGE)} | ({"name": name} if name else {})
            items = [read_info(item) for item in as_list(self.request("GET", None, query=query))]
            known = len(found)
            found |= {info.uuid: info for info in items}
            # A server that knows no pages gives the same one again: nothing new is the end too.
            if len(items) < _PAGE or len(found) == known:
                break
        return list(found.values())

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
        info = read_info(self.request("POST", None, json_body={"name": name}, write=True))
        if not info.uuid:
            raise RemoteError(
                f"D1 did not give the id of the new database {name}.",
                "Look whether it is there with `wrangler d1 list`.",
                ambiguous=True,
            )
        return info

    def delete_database(self) -> None:
        """Delete this client's database with everything in it."""
        self.request("DELETE", "", write=True)
