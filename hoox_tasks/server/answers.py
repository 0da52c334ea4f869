"""What D1 answers with: envelopes, descriptions of databases, results and the progress of long tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Response

from hoox_tasks.server.database import Ledger, StatementResult

SHORT_FIELDS = ("uuid", "name", "created_at", "version", "jurisdiction")
"""What a list tells about each database."""


def describe(ledger: Ledger) -> dict[str, Any]:
    """Describe a database as the control plane does."""
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


def raw(result: StatementResult) -> dict[str, Any]:
    """Write a statement's result as `/raw` does: columns, and rows as lists."""
    return {"columns": result.columns, "rows": result.rows}


def objects(result: StatementResult) -> list[dict[str, Any]]:
    """Write a statement's result as `/query` does: of columns with one name only the last is left."""
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def progress(kind: str, *, success: bool = True, **state: Any) -> Response:
    """Answer how far an export or an import is."""
    return succeed({"success": success, "type": kind, "messages": [], **state})


def succeed(result: Any, **more: Any) -> Response:
    """Answer with a result."""
    return write_json(200, {"result": result, "success": True, "errors": [], "messages": [], **more})


def refuse(status: int, code: int, message: str) -> Response:
    """Answer with an error: HTTP status, Cloudflare's code, and the message."""
    errors = [{"code": code, "message": message}]
    return write_json(status, {"result": None, "success": False, "errors": errors, "messages": []})


def refuse_file(status: int, code: str) -> Response:
    """Answer with an error as the object store behind signed addresses does."""
    return Response(f"<Error><Code>{code}</Code></Error>", status, content_type="application/xml")


def write_json(status: int, body: Mapping[str, Any]) -> Response:
    """Answer with JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(text, status, content_type="application/json")
