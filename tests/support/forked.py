"""`inv` in a process of its own that was forked from a warm one; see `programs/fork_inv.py`."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_LARGEST = 1 << 16
_OF_THE_INTERPRETER = ("PYTHON", "LD_", "LC_", "LANG")
"""Variables that Python, or what loads it, reads when it starts."""


def can_run(arguments: Sequence[str | bytes], env: Mapping[str, str]) -> bool:
    """Whether a forked process is the same as a new one for this command."""
    length = sum(map(len, arguments)) + sum(len(name) + len(value) for name, value in env.items())
    differs = any(name.startswith(_OF_THE_INTERPRETER) and env[name] != os.environ.get(name) for name in env)
    return sys.platform == "linux" and length < _LARGEST and not differs


def run(
    arguments: Sequence[str | bytes], stdin: bytes | None, cwd: Path, env: Mapping[str, str], seconds: float
) -> tuple[int, bytes, bytes]:
    """Run `inv` to its end; returns its exit code, what it printed, and what it said on standard error.

    Raises `subprocess.TimeoutExpired` after so many seconds, and kills it.
    """
    theirs, ours = _streams(piped=stdin is not None)
    command = {
        "arguments": [os.fsdecode(argument) for argument in arguments],
        "env": dict(env),
        "cwd": str(cwd),
        "umask": _umask(),
    }
    try:
        socket.send_fds(_server(), [json.dumps(command).encode()], theirs)
    finally:
        for number in theirs:
            os.close(number)
    ended = ours.pop("ended")
    with os.fdopen(ended) as status:
        process = int(status.readline())
        try:
            printed = _exchange(ours, stdin or b"", seconds)
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), seconds) from None
        return int(status.readline()), *printed


@cache
def _server() -> socket.socket:
    """Start the process that forks, once for each process of pytest; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _LARGEST)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.programs.fork_inv"],
        cwd=Path(__file__).parents[2],
        env=variables,
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _streams(*, piped: bool) -> tuple[list[int], dict[str, int]]:
    """Make what the command and this process hold of its standard streams, and of how it ended."""
    if piped:
        stdin, write = os.pipe()
    else:
        stdin, write = os.open(os.devnull, os.O_RDONLY), -1
    (out, stdout), (err, stderr), (ended, end) = os.pipe(), os.pipe(), os.pipe()
    ours = {"out": out, "err": err, "ended": ended} | ({"in": write} if piped else {})
    return [stdin, stdout, stderr, end], ours


def _exchange(ours: dict[str, int], given: bytes, seconds: float) -> tuple[bytes, bytes]:
    """Write what is given, and read both streams until they are closed."""
    read = {"out": bytearray(), "err": bytearray()}
    position = 0
    with selectors.DefaultSelector() as selector:
        for name, number in ours.items():
            os.set_blocking(number, False)
            selector.register(number, selectors.EVENT_WRITE if name == "in" else selectors.EVENT_READ, name)
        try:
            while selector.get_map():
                events = selector.select(seconds)
                if not events:
                    raise TimeoutError
                for key, _ in events:
                    if key.data == "in":
                        with suppress(BrokenPipeError):
                            position += os.write(key.fd, given[position : position + 65536])
                            if position < len(given):
                                continue
                    elif piece := os.read(key.fd, 65536):
                        read[key.data] += piece
                        continue
                    selector.unregister(key.fd)
                    os.close(key.fd)
        finally:
            for key in list(selector.get_map().values()):
                os.close(key.fd)
    return bytes(read["out"]), bytes(read["err"])


def _umask() -> int:
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1], 8) for line in status if line.startswith("Umask"))
