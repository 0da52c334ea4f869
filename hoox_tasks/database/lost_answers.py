"""Writes whose answer was lost: finding out whether they happened."""

from __future__ import annotations

from collections.abc import Callable

from hoox_tasks.errors import RemoteError


def confirm(error: RemoteError, what: str, happened: Callable[[], bool], remedy: str) -> None:
    """Return where a write that ended in `error` did happen; raise `RemoteError` otherwise.

    `what` says what would have happened, as in "ledger was wiped"; `happened` looks at the ledger. Where
    the answer was not lost, `error` itself is raised. A request without an answer may still be under way,
    so that even then `remedy` should say how to look again.
    """
    if not error.ambiguous:
        raise error
    try:
        seen = happened()
    except RemoteError:
        problem = f"It is not known whether {what}: {error.problem}"
    else:
        if seen:
            return
        problem = f"The answer was lost, and nothing shows that {what}: {error.problem}"
    raise RemoteError(problem, remedy, status=error.status, code=error.code, ambiguous=True)
