"""What a request does in a thread of its own, so that its answer comes in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

_GRACE = 0.5
"""Seconds that SQLite has to notice that the time is over."""

Result = TypeVar("Result")


class OutOfTime(Exception):
    """It did not end in time; nothing happens any more."""


class Work(Generic[Result]):
    """Work that is done in time, or not at all.

    SQLite looks at no clock while it compiles, or in one function. Work that is given up then goes on, but is
    undone: it can commit no more.
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._ended = threading.Event()
        self._committing = threading.Lock()
        self._given_up = self._committed = False
        self._results: list[Result] = []
        self._error: BaseException | None = None

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() > self._until

    def stop(self) -> None:
        """Let its time be over."""
        self._until = 0.0

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Commit in a block; raises `OutOfTime` where the client was told that nothing happens."""
        with self._committing:
            if self._given_up:
                raise OutOfTime
            yield
            self._committed = True

    def done(self, work: Callable[[], Result]) -> Result:
        """Do it, and give its result; raises `OutOfTime` where it does not end in time."""
        threading.Thread(target=self._do, args=[work], daemon=True).start()
        if not self._ended.wait(self._until + _GRACE - time.monotonic()):
            with self._committing:
                self._given_up = not self._committed
            if self._given_up:
                raise OutOfTime
            self._ended.wait()
        if self._error:
            raise self._error
        return self._results[0]

    def _do(self, work: Callable[[], Result]) -> None:
        try:
            self._results.append(work())
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
