"""A ledger in Datasette, on loopback: described tables, saved queries, nothing that writes.

A local ledger is opened read-only and shows what is written meanwhile; it is not opened as immutable, which
would leave out what still lies in its write-ahead log. A remote one is copied, and the copy is looked at.
"""

from __future__ import annotations

import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from hoox_tasks import sql
from hoox_tasks.config.dictionary import TIME, Table
from hoox_tasks.console import pulse
from hoox_tasks.console.times import is_time, read_time
from hoox_tasks.database import dump
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import HooxError
from hoox_tasks.values import Progress

HOST = "127.0.0.1"
NAME = "ledger"
"""What Datasette calls the database: its pages are below /ledger."""

_THREADS = 16
"""Queries that run at once: a few slow ones keep no page waiting."""
_PATIENCE = 1
"""Seconds that queries are given to end when the server does."""

_DAY = "date(timestamp, 'unixepoch')"

_ROWS_FIRST = """\
(() => {
  const rows = document.querySelector(".table-wrapper, table.rows-and-columns");
  const above = document.querySelectorAll("dl.column-descriptions, form.filters, form.sql, .facet-results");
  if (!rows) return;
  for (const element of [...above].reverse()) {
    const names = {DL: "What the columns mean", FORM: element.matches(".sql") ? "SQL" : "Filters"};
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = names[element.tagName] || "Counts";
    details.append(summary);
    element.replaceWith(details);
    details.append(element);
  }
})();
"""
"""Datasette puts so much above the rows that none is in sight; it can be unfolded instead."""

QUERIES: dict[str, dict[str, str]] = {
    "equity_by_day": {
        "title": "Equity by day",
        "description": "The last equity of each day (UTC) on each exchange, in the balance's asset.",
        "sql": f"SELECT {_DAY} AS day, exchange, asset, equity, max(timestamp) AS timestamp"
        " FROM balances GROUP BY day, exchange, asset ORDER BY day DESC, exchange, asset",
    },
    "fills_by_symbol": {
        "title": "Fills by symbol",
        "description": "Executed trades of each symbol; volume, fees and profit are in its quote currency.",
        "sql": "SELECT symbol, count(*) AS fills, total(quantity) AS quantity,"
        " total(price * quantity) AS volume, total(fee) AS fees, total(realized_pnl) AS realized_pnl"
        " FROM trades WHERE status = 'EXECUTED' GROUP BY symbol ORDER BY fills DESC, symbol",
    },
    "win_rate": {
        "title": "Win rate",
        "description": "Of the trades that closed with a profit or a loss, the part with a profit.",
        "sql": "SELECT symbol, count(*) FILTER (WHERE realized_pnl > 0) AS won,"
        " count(*) FILTER (WHERE realized_pnl < 0) AS lost,"
        " round(100.0 * count(*) FILTER (WHERE realized_pnl > 0) / count(*), 2) AS win_rate_percent,"
        " avg(realized_pnl) AS average_pnl FROM trades"
        " WHERE status = 'EXECUTED' AND realized_pnl <> 0 GROUP BY symbol ORDER BY symbol",
    },
    "fees_by_exchange": {
        "title": "Fees by exchange",
        "description": "Fees of executed trades in quote currency, and in basis points of the volume.",
        "sql": "SELECT exchange, count(*) AS fills, total(price * quantity) AS volume, total(fee) AS fees,"
        " round(10000 * total(fee) / nullif(total(price * quantity), 0), 3) AS fees_bp"
        " FROM trades WHERE status = 'EXECUTED' GROUP BY exchange ORDER BY fees DESC, exchange",
    },
    "error_logs": {
        "title": "Error logs",
        "description": "The latest errors of the workers, with their time in UTC.",
        "sql": "SELECT datetime(timestamp, 'unixepoch') AS time, service, message, details FROM system_logs"
        " WHERE level = 'ERROR' ORDER BY timestamp DESC, id DESC",
    },
}
"""The saved queries, by the last part of their address."""


def metadata(database: Database, dictionary: dict[str, Table], hidden: set[str]) -> dict[str, Any]:
    """Write Datasette's metadata: what each table and column means, the saved queries, and what to hide."""
    tables: dict[str, Any] = {name: {"hidden": True} for name in sorted({*hidden, "sqlite_sequence"})}
    columns = (
        "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c"
        r" WHERE t.type = 'table' AND t.name NOT LIKE '\_cf\_%' ESCAPE '\'"
    )
    for table, column in database.query(columns):
        described = dictionary.get(str(table))
        if described is None or table in hidden:
            continue
        page = tables.setdefault(str(table), {"description": described.description, "columns": {}})
        if str(column) in described.columns:
            page["columns"][str(column)] = described.columns[str(column)].sentence
        if column in {"timestamp", "updated_at"}:
            page["sort_desc"] = column
    return {
        "title": "Trade ledger",
        "description": f"{database.label}. Only reading; times are Unix seconds in UTC.",
        "databases": {NAME: {"tables": tables, "queries": QUERIES}},
    }


def copy(database: Database, path: Path, *, progress: Progress | None = None) -> int:
    """Copy a ledger, at one moment of it, into a new SQLite file, and look whether all is there.

    Returns the number of rows. Raises `HooxError` where the copy is not what was read.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")

        def run(script: bytes) -> None:
            text = script.decode("utf-8", "surrogateescape")
            if not text.startswith(("PRAGMA foreign_keys=OFF;\nBEGIN", "COMMIT;")):
                connection.executescript(f"BEGIN;\n{text}COMMIT;\n")

        counts = dump.dump(database, run, progress=progress)
        found = {
            table: connection.execute(f"SELECT count(*) FROM {sql.quote_name(table)}").fetchone()[0]
            for table in counts
        }
        ((state,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != counts or state != "ok":
        raise HooxError(f"The copy of {database.name} is not complete.", "Try once more.")
    return sum(counts.values())


def serve(
    path: Path,
    pages: dict[str, Any],
    dictionary: dict[str, Table],
    *,
    port: int,
    immutable: bool,
    ready: Callable[[str], None],
) -> bool:
    """Show the ledger at `path` in Datasette until Ctrl-C; `ready` is called with the address.

    Returns whether all queries have ended: one that SQLite compiles for an hour cannot be ended, and Python
    waits for its thread. Raises `HooxError` where the port is taken.
    """
    import uvicorn
    from datasette.app import Datasette
    from datasette.database import Database as Shown
    from datasette.plugins import pm

    app = Datasette([], metadata=pages, settings={"sql_time_limit_ms": 10_000, "num_sql_threads": _THREADS})
    app.remove_database("_memory")
    app.add_database(Shown(app, path=str(path), is_mutable=not immutable), name=NAME)
    times = _times_plugin(dictionary)
    pm.register(times)
    listening = socket.socket()
    try:
        if sys.platform != "win32":  # There it would let others take the port as well.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        pm.unregister(times)
        raise HooxError(
            f"Port {port} cannot be used: {error.strerror}.", "Choose another with --port."
        ) from error
    server = uvicorn.Server(
        uvicorn.Config(_only_local(app.app()), log_level="critical", timeout_graceful_shutdown=_PATIENCE)
    )
    # The server passes a signal on once it has ended, and then there is still a copy to remove.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ready(f"http://{HOST}:{listening.getsockname()[1]}/{NAME}")
    try:
        with closing(listening), suppress(KeyboardInterrupt, SystemExit), pulse.waiting():
            server.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        pm.unregister(times)
    app.executor.shutdown(wait=False, cancel_futures=True)
    return _ended(app.executor)


def _ended(executor: ThreadPoolExecutor) -> bool:
    """Whether all threads of an executor that is shut down have ended, or do so soon."""
    end = time.monotonic() + _PATIENCE
    for thread in executor._threads:
        thread.join(max(0.0, end - time.monotonic()))
    return not any(thread.is_alive() for thread in executor._threads)


def _times_plugin(dictionary: dict[str, Table]) -> ModuleType:
    """Make a plugin of Datasette that shows Unix seconds with their time in UTC."""
    from datasette import hookimpl
    from markupsafe import Markup

    times = {
        (table, name)
        for table, described in dictionary.items()
        for name, column in described.columns.items()
        if column.unit == TIME
    }

    names = frozenset(name for _, name in times)

    def render_cell(value: Any, column: str, table: str | None) -> Markup | None:
        # A saved query has no table; its columns count by their names, as in every other result.
        known = (table, column) in times if table else is_time(column, names)
        if not known or not read_time(value):
            return None
        return Markup("{} <small>{}</small>").format(value, read_time(value))

    def extra_body_script() -> str:
        return _ROWS_FIRST

    plugin = ModuleType("hoox_times")
    vars(plugin).update(render_cell=hookimpl(render_cell), extra_body_script=hookimpl(extra_body_script))
    return plugin


def _only_local(app: Any) -> Any:
    """Let nobody in by another name than loopback's, or from a page of another site.

    Such a page could point its own name here, or learn from the time that its SQL takes what is in the
    ledger. Browsers say where a request comes from (https://www.w3.org/TR/fetch-metadata/); a link on
    such a page is refused as well.
    """

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = [(name, value.decode("latin-1")) for name, value in scope.get("headers", ())]
        hosts = [value for name, value in headers if name == b"host"]
        sites = {value for name, value in headers if name == b"sec-fetch-site"}
        origins = {value for name, value in headers if name == b"origin"}
        status = 0
        if any(host.rpartition(":")[0] not in {HOST, "localhost"} for host in hosts):
            status, text = 421, b"This is only served on loopback.\n"
        elif sites - {"same-origin", "none"} or origins - {f"http://{host}" for host in hosts}:
            status, text = 403, b"This is not answered to pages of other sites. Type the address yourself.\n"
        if scope["type"] == "http" and status:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": text})
            return
        await app(scope, receive, send)

    return guarded
