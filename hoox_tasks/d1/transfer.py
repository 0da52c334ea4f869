"""A whole database out of D1 and into it: its export and its import, and the files behind signed URLs."""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from hoox_tasks.d1.answers import (
    Export,
    Import,
    as_dict,
    as_int,
    as_list,
    as_text,
    read_messages,
    read_meta,
)
from hoox_tasks.d1.connection import Connection
from hoox_tasks.d1.errors import AMBIGUOUS, advice, is_transient, statement_error
from hoox_tasks.d1.retries import Failed
from hoox_tasks.errors import HooxError, RemoteError, StatementError
from hoox_tasks.values import Progress

MAX_POLLS = 3_600

_CHUNK = 1 << 18


def export(
    connection: Connection, tables: Sequence[str], schema: bool, data: bool, progress: Progress | None
) -> Export:
    """Have D1 write a dump, and wait for it; see `D1Client.export`."""
    options: dict[str, Any] = {"tables": list(tables)} if tables else {}
    if not schema:
        options["no_schema"] = True
    if not data:
        options["no_data"] = True
    body: dict[str, Any] = {"output_format": "polling", "dump_options": options}
    parts = 0
    for poll in range(MAX_POLLS):
        state = as_dict(connection.request("POST", "/export", json_body=body))
        for message in read_messages(state):
            parts += message.startswith("Uploaded part")
            if progress is not None:
                progress(connection.safe(message), parts, None)
        if _has_failed(state):
            problem = _reason(connection, state)
            raise RemoteError(f"D1 did not export the database: {problem}.", advice(problem))
        bookmark = as_text(state.get("at_bookmark"))
        result = as_dict(state.get("result"))
        url = as_text(result.get("signed_url"))
        if url:
            return Export(as_text(result.get("filename")), bookmark, url)
        if state.get("status") == "complete":
            raise RemoteError("D1 says the export is complete, but not where it is.", "Try again.")
        body["current_bookmark"] = bookmark
        _pause(connection, poll)
    raise RemoteError("D1's export did not end within an hour of asking.", "Export table by table.")


def download(connection: Connection, url: str, target: IO[bytes], progress: Progress | None) -> int:
    """Stream the file behind a signed URL into `target`; see `D1Client.download`."""
    start = target.tell()

    def take(response: httpx.Response) -> int:
        target.seek(start)
        target.truncate()
        done = 0
        total = int(response.headers.get("content-length", "0")) or None
        for chunk in response.iter_bytes(_CHUNK):
            done += target.write(chunk)
            if progress is not None:
                progress("Downloaded", done, total)
        if not done:
            raise Failed(RemoteError("The file to download came empty.", "Try again."), True)
        return done

    return connection.request_signed("GET", url, take)


def import_file(
    connection: Connection,
    source: Path | bytes,
    head: bytes,
    begun: Callable[[], None],
    progress: Progress | None,
) -> Import:
    """Run a file of SQL through D1's import; see `D1Client.import_file`."""
    parts = _Parts(head, source, f"\n-- import {secrets.token_hex(16)}\n".encode())
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    for chunk in parts:
        digest.update(chunk)
        size += len(chunk)
    etag = digest.hexdigest()
    state = as_dict(connection.request("POST", "/import", json_body={"action": "init", "etag": etag}))
    url, filename = as_text(state.get("upload_url")), as_text(state.get("filename"))
    if not url or not filename:
        reason = _reason(connection, state, "its answer has no upload_url")
        raise RemoteError(
            f"D1 did not say where to upload the file to import: {reason}.",
            "Wait until no other import or export of this database runs, then try again.",
        )
    _upload(connection, url, parts, size, etag, progress)
    begun()
    body = {"action": "ingest", "filename": filename, "etag": etag}
    state = as_dict(connection.request("POST", "/import", json_body=body, write=True))
    for poll in range(MAX_POLLS):
        if progress is not None:
            for message in read_messages(state):
                progress(connection.safe(message), size, size)
        if _has_failed(state):
            raise _import_error(connection, state)
        if state.get("status") == "complete":
            result = as_dict(state.get("result"))
            return Import(
                as_int(result.get("num_queries")) or 0,
                as_text(result.get("final_bookmark")),
                read_meta(result.get("meta")),
            )
        _pause(connection, poll)
        state = _poll(connection, as_text(state.get("at_bookmark")))
    raise RemoteError(
        "D1's import did not end within an hour of asking.",
        "It may still be running; look at the ledger before repeating it.",
        ambiguous=True,
    )


def _poll(connection: Connection, bookmark: str) -> dict[str, Any]:
    """Ask how far the import is. Whatever keeps D1 from telling says nothing about the import."""
    body = {"action": "poll", "current_bookmark": bookmark}
    try:
        return as_dict(connection.request("POST", "/import", json_body=body))
    except RemoteError as error:
        problem, status, code = error.problem, error.status, error.code
    except StatementError as error:
        if "SQLITE_" in error.message:
            raise
        problem, status, code = error.problem, 400, 0
    raise RemoteError(problem, AMBIGUOUS, status=status, code=code, ambiguous=True)


def _upload(
    connection: Connection,
    url: str,
    parts: _Parts,
    size: int,
    etag: str,
    progress: Progress | None,
) -> None:
    def content() -> Iterator[bytes]:
        done = 0
        for chunk in parts:
            yield chunk
            done += len(chunk)
            if progress is not None:
                progress("Uploaded", done, size)

    def check(response: httpx.Response) -> None:
        if response.headers.get("etag", "").strip('"') != etag:
            raise Failed(RemoteError("The file to import did not arrive whole.", "Try again."), True)

    connection.request_signed("PUT", url, check, content=content, size=size)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is uploaded, in chunks, as often as it is needed: a head, the file, and a mark of its own."""

    head: bytes
    source: Path | bytes
    nonce: bytes

    def __iter__(self) -> Iterator[bytes]:
        if self.head:
            yield self.head
        with io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield self.nonce


def _import_error(connection: Connection, state: Mapping[str, Any]) -> HooxError:
    problem = _reason(connection, state)
    if "SQLITE_" in problem and not is_transient(problem):
        return statement_error(problem)
    if "Not currently importing anything" in problem:
        return RemoteError(
            "D1 no longer knows of the import: it has ended, well or not.",
            "Look at the ledger before repeating it.",
            ambiguous=True,
        )
    return RemoteError(
        f"D1 did not import the file: {problem}.",
        "Look at the ledger before repeating it.",
        ambiguous="D1_RESET_DO" in problem or is_transient(problem),
    )


def _has_failed(state: Mapping[str, Any]) -> bool:
    return state.get("success") is False or state.get("status") == "error"


def _reason(connection: Connection, state: Mapping[str, Any], otherwise: str = "it gives no reason") -> str:
    errors = [as_text(each) for each in as_list(state.get("errors"))] or [as_text(state.get("error"))]
    return connection.safe("; ".join(each for each in errors if each)).rstrip(".") or otherwise


def _pause(connection: Connection, poll: int) -> None:
    """Wait up to a second between two polls, less between the first."""
    connection.pause(min(1.0, 0.05 * 2 ** min(poll, 10)))
