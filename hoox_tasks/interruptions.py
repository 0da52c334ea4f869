"""Blocks that Ctrl-C and SIGTERM do not break into: held until their end, or dropped. And how a start ends.

By handlers and not by a thread's mask, since the system may give a signal to any thread, and Python runs its
handler in the main one at once.

The other way round, `endable` marks a block of C code that may hear no signal at all. `watched` has a thread
look after such blocks, and end the process in one that does not end by itself.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
GRACE = 2.0
"""Seconds that what should end is given to do so by itself."""
_LOOK = 0.1
"""Seconds between two looks at a block that can be ended."""
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


def leave() -> None:
    """End `inv` or `hoox` with success, at once: without waiting for threads that hear nothing."""
    if of_a_runner():
        sys.stdout.flush()
        os._exit(0)


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
def watched(end: Callable[[BaseException], None]) -> Iterator[None]:
    """Have a thread look after the blocks that are `endable`, for the length of a block.

    `end` is called in that thread, with KeyboardInterrupt or what is raised when the time is over, where such
    a block goes on for `GRACE` seconds; it ends the process, and the block is not left meanwhile.
    """
    global _watch
    former, _watch = _watch, _Watch(end)
    try:
        yield
    finally:
        _watch.close()
        _watch = former


@contextmanager
def endable(until: float = math.inf, late: Exception | None = None) -> Iterator[None]:
    """Mark a block of C code in which the process may be ended, for it may hear no signal and see no clock.

    So does SQLite while it compiles, or while one function works. An end at any moment may leave nothing half
    done: what was not committed is undone by whoever opens the file next. `until` is a moment of
    `time.monotonic`, and `late` the error when that is over. It does nothing without `watched`, and in other
    threads than the main one.
    """
    watch = _watch
    if watch is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    former = watch.enter(_Endable(until, late))
    try:
        yield
    finally:
        watch.leave(former)


class _Endable:
    """A block that can be ended: when its time is over, and how that is told."""

    def __init__(self, until: float, late: Exception | None) -> None:
        self.until = until
        self.late = late
        self.interrupted = math.inf
        """When a signal came."""


class _Watch:
    """The thread, which begins with the first block, and the pipe by which signals reach it.

    Python's handlers run in the main thread when that is back from C code; a byte is written at once
    (https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd).
    """

    def __init__(self, end: Callable[[BaseException], None]) -> None:
        self._end = end
        self._block: _Endable | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._pipe: tuple[int, int] | None = None

    def enter(self, block: _Endable) -> tuple[_Endable | None, int]:
        """Look after a block; returns what `leave` wants."""
        if self._thread is None:
            if sys.platform != "win32":  # There a pipe always waits; only the time is heeded.
                self._pipe = os.pipe()
                for end in self._pipe:
                    os.set_blocking(end, False)
            self._thread = threading.Thread(target=self._look_after, daemon=True)
            self._thread.start()
        self._came()  # Python has heard what came before.
        former, self._block = self._block, block
        return former, signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False) if self._pipe else -1

    def leave(self, former: tuple[_Endable | None, int]) -> None:
        """Look after the block again that was there before; does not return where this one is being ended."""
        with self._lock:
            self._block = former[0]
        if self._pipe:
            signal.set_wakeup_fd(former[1])

    def close(self) -> None:
        """Stop."""
        if self._thread is not None:
            self._closed.set()
            self._thread.join()
        for end in self._pipe or ():
            os.close(end)

    def _look_after(self) -> None:
        while not self._closed.wait(_LOOK):
            block = self._block
            if block is None:
                continue
            now = time.monotonic()
            if self._came():
                block.interrupted = min(block.interrupted, now)
            if _kept or now <= min(block.until, block.interrupted) + GRACE:
                continue
            with self._lock:
                if self._block is block:
                    late = block.late if block.until < block.interrupted else None
                    self._end(late or KeyboardInterrupt())

    def _came(self) -> bool:
        """Whether Ctrl-C or SIGTERM came since the last look."""
        with suppress(BlockingIOError):
            return self._pipe is not None and not set(_NUMBERS).isdisjoint(os.read(self._pipe[0], 4096))
        return False


_watch: _Watch | None = None
_kept = 0
"""How many blocks keep interruptions off."""


@contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    global _kept
    former: dict[signal.Signals, object] = {}
    try:
        for number in _NUMBERS:
            # What is ignored stays ignored; a handler that is not Python's could not be put back.
            if signal.getsignal(number) not in {signal.SIG_IGN, None}:
                former[number] = signal.signal(number, handler)
    except ValueError:  # Only the main thread may, and it alone is interrupted.
        pass
    _kept += 1
    try:
        yield
    finally:
        _kept -= 1
        for number, before in former.items():
            signal.signal(number, before)  # type: ignore[arg-type]
