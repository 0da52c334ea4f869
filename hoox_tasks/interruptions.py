"""Blocks that Ctrl-C and SIGTERM do not break into: held until their end, or dropped.

By handlers and not by a thread's mask, since the system may give a signal to any thread, and Python runs its
handler in the main one at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def held() -> Iterator[None]:
    """Let what interrupts a short block come at its end, where it does what it would have done."""
    came: list[int] = []
    try:
        with _handled(lambda number, _frame: came.append(number)):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def dropped() -> Iterator[None]:
    """Let nothing interrupt a short block, such as one that writes what has become of a task."""
    with _handled(lambda _number, _frame: None):
        yield


@contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    former: dict[signal.Signals, object] = {}
    try:
        for number in _NUMBERS:
            # What is ignored stays ignored; a handler that is not Python's could not be put back.
            if signal.getsignal(number) not in {signal.SIG_IGN, None}:
                former[number] = signal.signal(number, handler)
    except ValueError:  # Only the main thread may, and it alone is interrupted.
        pass
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)  # type: ignore[arg-type]
