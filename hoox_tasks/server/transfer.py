"""D1's export and import of a whole database, as tasks that a client starts and asks after."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from hoox_tasks.server.answers import progress
from hoox_tasks.server.database import D1Error, Ledger
from hoox_tasks.server.export_format import ExportError
from hoox_tasks.server.signed_files import SignedFiles

_ETAG = re.compile(r"[0-9a-f]{32}")


class Transfer:
    """What one database's export and import are doing; D1 runs one of each at a time."""

    def __init__(self, ledger: Ledger, files: SignedFiles) -> None:
        self._ledger = ledger
        self._files = files
        self._imported: dict[str, Any] | None = None
        self._exported: dict[str, str] | None = None
        self._ingested: set[str] = set()

    def export(self, request: Request, body: Mapping[str, Any]) -> Response:
        """Begin an export, or answer how far the one is that the client asks after."""
        if body.get("output_format") != "polling":
            raise D1Error(400, 7400, "Invalid property: output_format => Invalid literal")
        asked = body.get("current_bookmark")
        if asked:
            return self._poll_export(request, asked)
        options = body.get("dump_options") or {}
        if not isinstance(options, dict):
            raise D1Error(400, 7400, "Invalid property: dump_options => Expected object")
        tables = options.get("tables") or []
        if not isinstance(tables, list):
            raise D1Error(400, 7400, "Invalid property: dump_options.tables => Expected array")
        filename = f"{self._ledger.name}-{secrets.token_hex(8)}.sql"
        path = self._files.path(filename)
        try:
            bookmark = self._ledger.export(
                path,
                schema=not options.get("no_schema"),
                data=not options.get("no_data"),
                tables=[str(table) for table in tables],
            )
        except ExportError as error:
            path.unlink(missing_ok=True)
            bookmark = self._ledger.bookmark()
            return progress("export", at_bookmark=bookmark, status="error", error=str(error))
        if self._exported is not None:
            self._files.path(self._exported["filename"]).unlink(missing_ok=True)
        self._exported = {"at_bookmark": bookmark, "filename": filename}
        return progress("export", at_bookmark=bookmark, messages=[f"Generating {filename}"])

    def _poll_export(self, request: Request, asked: Any) -> Response:
        if self._exported is None or self._exported["at_bookmark"] != asked:
            return progress("export", success=False, error="Not currently exporting anything.")
        # Signed anew for each answer, as the client may know this server by another name.
        filename = self._exported["filename"]
        result = {"filename": filename, "signed_url": self._files.sign(request, "GET", filename)}
        return progress(
            "export", at_bookmark=asked, status="complete", messages=["Uploaded part 1"], result=result
        )

    def import_(self, request: Request, body: Mapping[str, Any]) -> Response:
        """Take one step of an import: say where to upload, run what was uploaded, or answer how it went."""
        action = body.get("action")
        if action == "poll":
            return self._poll_import(body.get("current_bookmark"))
        etag = body.get("etag")
        if not isinstance(etag, str) or not _ETAG.fullmatch(etag):
            raise D1Error(400, 7400, "Invalid property: etag => Invalid")
        filename = f"{self._ledger.uuid}.{etag}.sql"
        if action == "init":
            if filename in self._ingested:
                return self._ingest(filename)
            url = self._files.sign(request, "PUT", filename)
            return progress("import", upload_url=url, filename=filename)
        if action != "ingest":
            raise D1Error(400, 7400, "Invalid property: action => Invalid")
        if body.get("filename") != filename or not self._files.path(filename).exists():
            return progress("import", success=False, error="The file to import was not uploaded.")
        self._ingested.add(filename)
        return self._ingest(filename)

    def _ingest(self, filename: str) -> Response:
        """Run the whole file now; the first poll is told how it went, and only that."""
        state: dict[str, Any] = {"at_bookmark": self._ledger.bookmark()}
        try:
            script = self._files.path(filename).read_bytes().decode("utf-8", "replace")
            state |= {"status": "complete", "result": self._ledger.ingest(script)}
        except D1Error as error:
            state |= {"status": "error", "errors": [error.message], "error": error.message}
        self._imported = state
        return progress("import", at_bookmark=state["at_bookmark"], messages=["Processing the file."])

    def _poll_import(self, asked: Any) -> Response:
        state, self._imported = self._imported, None
        if state is None or state["at_bookmark"] != asked:
            return progress("import", success=False, error="Not currently importing anything.")
        return progress("import", **state)
