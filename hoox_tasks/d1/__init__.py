"""Cloudflare D1's REST API as a client sees it: requests, retries, errors, and nothing but the wire.

    client        D1Client: statements, Time Travel, databases
    transfer      D1's export and import of a whole database, and the files behind their signed URLs
    connection    one account and one token: sends a request, again where that is right
    addresses     where the token and a ledger's content may go
    retries       which attempts follow a failed one, and when
    errors        what went wrong as an error for the user, and whether a write may have happened
    statements    what a statement and its values must be to travel
    answers       what the calls give, read from JSON
    streaming     a large answer's rows, read from a file as they are taken

Sources: https://developers.cloudflare.com/api/resources/d1/ for shapes,
https://developers.cloudflare.com/d1/platform/limits/ for limits,
https://developers.cloudflare.com/d1/observability/debug-d1/ for the errors worth repeating.

This package imports httpx and tenacity; whoever uses it imports it inside a function.
"""

from hoox_tasks.d1.answers import DatabaseInfo, Export, Import, Restored, Result, ResultMeta
from hoox_tasks.d1.client import D1Client
from hoox_tasks.d1.statements import check_parameters, check_statement

__all__ = [
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
