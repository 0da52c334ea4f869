"""A sign of life: what takes longer than a second says on a terminal how long it has been at it.

It stands in a line of its own on standard error, and is gone before anything else is written. Where a
progress bar moves there is none.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

_SILENCE = 1.0
"""Seconds without a word after which a sign of life is given."""
_INTERVAL = 0.25
_CLEAR = "\r\x1b[K"

_pulse: _Pulse | None = None


@contextmanager
def beating() -> Iterator[None]:
    """Give signs of life for a block, where standard error is a terminal.

    As for tqdm's bars there are none where TQDM_DISABLE is set.
    """
    global _pulse
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    if _pulse or dumb or os.environ.get("TQDM_DISABLE") or not sys.stderr.isatty():
        yield
        return
    former = sys.stdout, sys.stderr
    _pulse = _Pulse(sys.stderr)
    sys.stdout, sys.stderr = (cast("TextIO", _Quieting(stream, _pulse)) for stream in former)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former
        _pulse.end()
        _pulse = None


@contextmanager
def waiting() -> Iterator[None]:
    """Give no signs of life for a block that waits for somebody, or shows something else in full."""
    pulse = _pulse
    if pulse is None:
        yield
        return
    pulse.pause(paused=True)
    try:
        yield
    finally:
        pulse.pause(paused=False)


class _Pulse:
    """A thread that writes how many seconds have passed, and takes it away again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = self._last = time.monotonic()
        self._shown = ""
        self._paused = 0
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def quiet(self) -> None:
        """Take the sign away: something is about to be written."""
        with self._lock:
            self._last = time.monotonic()
            if self._shown:
                self._shown = ""
                self._write(_CLEAR)

    def pause(self, *, paused: bool) -> None:
        """Stop for a while, or go on."""
        with self._lock:
            self.quiet()
            self._paused += 1 if paused else -1

    def end(self) -> None:
        """Stop for good."""
        self._ended.set()
        self._thread.join()
        self.quiet()

    def _beat(self) -> None:
        while not self._ended.wait(_INTERVAL):
            with self._lock:
                now = time.monotonic()
                text = f"\r... {now - self._started:.0f} s\x1b[K"
                if not self._paused and now - self._last > _SILENCE and text != self._shown:
                    self._shown = text
                    self._write(text)

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


class _Quieting:
    """A stream before which the sign of life is taken away."""

    def __init__(self, stream: TextIO, pulse: _Pulse) -> None:
        self._stream = stream
        self._pulse = pulse

    def write(self, text: str) -> int:
        """Write text."""
        self._pulse.quiet()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
