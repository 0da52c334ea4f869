"""Blocks that Ctrl-C and SIGTERM do not break into: held until their end, or dropped. And how a start ends.

By handlers and not by a thread's mask, since the system may give a signal to any thread, and Python runs its
handler in the main one at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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


def of_a_runner() -> bool:
    """Whether this process is `inv` or `hoox`, whose end is ours to word, and not somebody else's program."""
    path = Path(sys.argv[0])
    return path.stem in {"inv", "invoke", "hoox"} or path.parts[-2:] in {
        ("invoke", "__main__.py"),
        ("hoox_tasks", "__main__.py"),
    }


@contextmanager
def deadly() -> Iterator[None]:
    """Let Ctrl-C end `inv` or `hoox` at once and silently in a block that only imports.

    An exception in the middle of an import may turn into any other one. Nothing has been begun yet.
    """
    if not of_a_runner() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)


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
