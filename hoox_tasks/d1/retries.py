"""Attempts at one request: how long each may take, which failures are followed by another, and when."""

from __future__ import annotations

import contextlib
import email.utils
import random
import time
from collections.abc import Callable
from typing import TypeVar

import httpx
import tenacity

from hoox_tasks.errors import HooxError

T = TypeVar("T")

# A request to D1 must finish within 30 seconds; the rest is the way there and back.
TIMEOUT = httpx.Timeout(connect=10.0, read=40.0, write=40.0, pool=10.0)
ATTEMPTS = 5
PATIENCE = 60.0
"""Seconds after which no further attempt begins, however politely the server asks to wait."""


class Failed(Exception):
    """One attempt failed: with which error, whether to repeat it, and how long the server asks to wait."""

    def __init__(self, error: HooxError, repeat: bool, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.repeat = repeat
        self.after = after


def retry(attempt: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """Make attempts until one succeeds or none would help; raises the last `Failed`'s error."""
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(PATIENCE),
        wait=_wait,
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Failed) and error.repeat),
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(attempt)
    except Failed as failed:
        error = failed.error
    # Raised out here so that no HTTP library's exception, with its request, hangs on to it.
    raise error


_backoff = tenacity.wait_exponential(multiplier=0.5, max=10.0) + tenacity.wait_random(0, 0.5)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: what the server asked for, or more each time; never in step."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Failed) and error.after is not None:
        return error.after + random.random()
    return _backoff(state)


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that `Retry-After` asks for, given as a number or as an HTTP date."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
