"""Signals to tasks that run."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Look until something is so, for as long as a process runs."""
    end = time.monotonic() + 30
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"It never came to that: {process.communicate()}")


def opened(path: Path, process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a process has a file open (Linux), or may have."""
    folder = Path(f"/proc/{process.pid}/fd")
    if not folder.exists():
        return True
    names = []
    for entry in folder.iterdir():
        try:
            names.append(entry.readlink())
        except OSError:
            continue
    return path.resolve() in names


def ends(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send the signal to the process alone, and expect the sentence soon."""
    sent = time.monotonic()
    process.send_signal(number)
    err = finished(process)
    assert err.decode().strip() == "Interrupted; nothing was changed."
    assert process.returncode == 130
    assert time.monotonic() - sent < SOON


SOON = 3.0


def finished(process: subprocess.Popen[bytes]) -> bytes:
    """Wait until a process has ended; returns what it said on standard error."""
    try:
        return process.communicate(timeout=20)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
