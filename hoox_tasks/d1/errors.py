"""What went wrong between here and D1, as an error for the user: what, what to do, and may it have happened.

A write may have happened (`ambiguous`) unless it surely was not begun or the engine itself refused it.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from hoox_tasks.d1.answers import as_int, as_list, as_text
from hoox_tasks.d1.retries import TIMEOUT, Failed, retry_after
from hoox_tasks.errors import RemoteError, StatementError
from hoox_tasks.rules.limits import PARAMETERS, STATEMENT_BYTES
from hoox_tasks.rules.messages import OVERLOAD

AMBIGUOUS = (
    "It may or may not have happened: look at the ledger, as with `inv db.query`, before you repeat it."
)

# Cloudflare names these as worth repeating; whatever else it says about itself is not.
_TRANSIENT = (
    "Network connection lost",
    "storage caused object to be reset",
    "reset because its code was updated",
    "transient issue on remote node",
    "Internal error while starting up D1 DB storage",
    "Client disconnected while reading request",
)
_ADVICE = (
    (
        "Exceeded maximum DB size",
        "The database is full (10 GB on a paid plan, 500 MB on a free one): delete or move old rows first.",
    ),
    ("SQLITE_FULL", "There is no more room for the database: delete or move old rows first."),
    ("SQLITE_AUTH", "D1 does not allow this statement, or the token has D1 Read where D1 Edit is needed."),
    (
        "statement too long",
        f"D1 takes {STATEMENT_BYTES:,} bytes a statement: split it, or bind values.",
    ),
    ("SQLITE_TOOBIG", "D1 takes 100,000 bytes a statement and 2,000,000 bytes a value or row."),
    ("too many SQL variables", f"D1 binds {PARAMETERS} values a statement: run it in parts."),
    ("incomplete input", "D1's own splitter breaks on some triggers; the import does not."),
    *((words, "Let the statement do less, in parts of about 10,000 rows.") for words in OVERLOAD),
    ("overloaded", "Wait a minute, and send fewer requests at once."),
    ("long-running export", "Wait until the export has ended."),
    ("Virtual Tables", "D1 exports no virtual tables: name the ordinary ones."),
)

_OFFSET = re.compile(r" at offset (\d+)")

# Cloudflare's tokens have 40 characters. A made-up one of a few may be part of any word of a message.
_SECRET = 12


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked, as far as an error about it depends on that; `safe` makes text fit to be shown."""

    host: str
    safe: Callable[[str], str]
    account_id: str = ""
    database_id: str | None = None
    sql: str = ""
    write: bool = False


def show(text: str, token: str) -> str:
    """Text from outside, fit to be shown: on one line, not endless, and without the token."""
    if len(token) >= _SECRET:
        text = text.replace(token, "[token]")
    text = " ".join(text.split())
    return text if len(text) <= 2000 else text[:2000] + "..."


def advice(message: str) -> str:
    """What to do about D1's own words."""
    return next((remedy for words, remedy in _ADVICE if words in message), "")


def is_transient(message: str) -> bool:
    """Whether D1 says of itself that it failed, and will not next time."""
    return any(words in message for words in _TRANSIENT)


def statement_error(message: str, sql: str = "", index: int | None = None) -> StatementError:
    """What the engine says about a statement that it would not run."""
    message = message or "D1 did not say why it refused the statement"
    offset = _OFFSET.search(message)
    return StatementError(
        message, sql=sql, offset=int(offset[1]) if offset else None, index=index, remedy=advice(message)
    )


def damaged(write: bool) -> RemoteError:
    """A successful answer cannot be read to its end."""
    remedy = AMBIGUOUS if write else "Try again."
    return RemoteError("D1's answer is damaged or was cut off.", remedy, status=200, ambiguous=write)


def unfit(results: int | str, statements: int | None) -> RemoteError:
    """An answer is to another question: D1 has taken the SQL for something else, and may have run that."""
    asked = "several statements" if statements is None else f"{statements} statement{'s' * (statements != 1)}"
    return RemoteError(
        f"D1 answered {results} results to {asked}.",
        "It may have run something else than was meant, and have changed the ledger: look at it, as with"
        " `inv db.list`, before you go on.",
        status=200,
        ambiguous=True,
    )


def lost(error: Exception, call: Call) -> Failed:
    """The failure behind an exception of httpx: there was no answer, or not all of it."""
    host = call.host
    unsent = isinstance(
        error,
        httpx.ConnectError
        | httpx.ConnectTimeout
        | httpx.PoolTimeout
        | httpx.ProxyError
        | httpx.UnsupportedProtocol
        | httpx.InvalidURL,
    )
    ambiguous = call.write and not unsent
    repeat = not ambiguous
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes) and unsent:
        problem = f"No secure connection to {host}: {call.safe(str(error))}."
        remedy = "Check this machine's clock, and any proxy that inspects TLS (set SSL_CERT_FILE)."
        repeat = False
    elif any(isinstance(cause, socket.gaierror) for cause in causes):
        problem = f"The name {host} cannot be resolved."
        remedy = "Check the network, and CLOUDFLARE_API_BASE_URL."
    elif isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        problem, remedy, repeat = "D1 gave an address that cannot be right.", "Try again.", False
    elif unsent:
        problem = f"No connection to {host}: {call.safe(str(error)) or type(error).__name__}."
        remedy = "Check the network, and CLOUDFLARE_API_BASE_URL."
    elif isinstance(error, httpx.TimeoutException):
        problem = f"No answer from {host} in {TIMEOUT.read:.0f} seconds."
        remedy = "D1 ends a request after 30 seconds: let the statement do less."
    else:
        problem = f"The connection to {host} broke: {call.safe(str(error)) or type(error).__name__}."
        remedy = "Try again."
    return Failed(RemoteError(problem, AMBIGUOUS if ambiguous else remedy, ambiguous=ambiguous), repeat)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def refused(response: httpx.Response, body: bytes, data: Any, call: Call) -> Failed:
    """The failure that an answer stands for; `data` is its `body` as JSON, None where it is none."""
    # An answer of 2xx that does not say that it failed does not say anything.
    enveloped = isinstance(data, dict) and (not response.is_success or data.get("success") is False)
    return _enveloped(response, data, call) if enveloped else _foreign(response, body, call)


def _foreign(response: httpx.Response, body: bytes, call: Call) -> Failed:
    """The failure behind an answer that is not D1's, or not whole."""
    status, headers = response.status_code, response.headers
    gone = status == 429 or status >= 500
    where = _where(response, call)
    web_page = False
    if response.is_redirect:
        target = urlsplit(headers.get("location", "")).netloc or "another path"
        problem = f"D1's API wants to redirect to {call.safe(target)}{where}."
        remedy = "A portal or proxy stands between: log in to the network, or check its proxy settings."
    elif headers.get("cf-mitigated") == "challenge":
        problem = f"Cloudflare's firewall asked for a browser instead of answering{where}."
        remedy = "Run it from another network, or have this one let through."
    elif body.lstrip()[:1] == b"<" or "html" in headers.get("content-type", ""):
        web_page = True
        problem = f"A web page answered instead of D1's API{where}."
        remedy = (
            "Try again in a minute."
            if gone
            else "A portal or proxy stands between: log in to the network, or check CLOUDFLARE_API_BASE_URL."
        )
    elif not body.strip():
        problem, remedy = f"D1's API answered with nothing{where}.", "Try again."
    else:
        problem, remedy = f"D1's answer was cut off or damaged{where}.", "Try again."
    never_ran = 300 <= status < 500
    ambiguous = call.write and not never_ran
    repeat = status == 429 or (not call.write and not never_ran and (gone or not web_page))
    error = RemoteError(problem, AMBIGUOUS if ambiguous else remedy, status=status, ambiguous=ambiguous)
    return Failed(error, repeat, retry_after(headers))


def _enveloped(response: httpx.Response, data: dict[str, Any], call: Call) -> Failed:
    """The failure that D1's envelope tells; keyed on Cloudflare's code, then the status."""
    errors = [each for each in as_list(data.get("errors")) if isinstance(each, dict)] or [data]
    code = as_int(errors[0].get("code")) or 0
    said = [as_text(each.get("message") or each.get("error")) for each in errors]
    message = call.safe("; ".join(each for each in said if each))
    status = response.status_code
    transient, overload = is_transient(message), any(words in message for words in OVERLOAD)
    inside = status != 429 and (status >= 500 or transient or (overload and code == 7500))
    if ("SQLITE_" in message and not transient) or (code == 7500 and status == 400 and not inside):
        return Failed(statement_error(message, call.sql), False)
    problem, remedy = message.rstrip(".") or "it gives no reason", advice(message)
    if code in (10000, 9106) or status == 401:
        problem = f"Cloudflare does not accept the API token: {problem}"
        remedy = "Check CLOUDFLARE_API_TOKEN; it needs the account permission D1 Edit (D1 Read to only look)."
    elif code in (7403, 7003):
        problem = f"The token may not use account {call.account_id}: {problem}"
        remedy = "Check CLOUDFLARE_ACCOUNT_ID, and that the token was made for this account."
    elif code == 7404:
        problem = f"Account {call.account_id} has no D1 database {call.database_id}: {problem}"
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
        remedy = "Wait five minutes; the limit is 1,200 requests in five minutes for all of a user's tokens."
    elif inside:
        problem = f"D1 failed inside: {problem}"
        remedy = remedy or "Try again; if it stays, https://www.cloudflarestatus.com may tell why."
    else:
        problem = f"D1 refused the request: {problem}"
    ambiguous = call.write and inside
    error = RemoteError(
        f"{problem}{_where(response, call, code)}.",
        AMBIGUOUS if ambiguous else remedy,
        status=status,
        code=code,
        ambiguous=ambiguous,
    )
    repeat = status == 429 or (inside and not call.write and not overload)
    return Failed(error, repeat, retry_after(response.headers))


def _where(response: httpx.Response, call: Call, code: int = 0) -> str:
    ray = call.safe(response.headers.get("cf-ray", ""))
    parts = [f"HTTP {response.status_code}"]
    parts += [f"code {code}"] if code else []
    parts += [f"cf-ray {ray}"] if ray else []
    return f" ({', '.join(parts)})"


def refused_file(response: httpx.Response) -> Failed | None:
    """The failure that a signed URL's answer stands for; None where it gives or has taken the file."""
    status = response.status_code
    web_page = "html" in response.headers.get("content-type", "")
    if status == 200 and not web_page:
        return None
    what = "upload" if response.request.method == "PUT" else "download"
    error = RemoteError(
        f"The {what} of the file was answered with {'a web page' if web_page else 'an error'}"
        f" (HTTP {status}).",
        "Start again; a signed address is good for an hour.",
        status=status,
    )
    return Failed(error, status == 429 or status >= 500, retry_after(response.headers))
