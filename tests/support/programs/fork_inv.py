"""Runs `inv` in a process of its own, like `python -m invoke`, but without starting Python each time.

A server that has imported what every command imports, and forks for each one. It reads commands from the
socket that is its standard input: a JSON document, with the command's three streams and a pipe on which its
process id is written, and how it ended.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import httpx  # noqa: F401
import sqlite_utils  # noqa: F401
from invoke.main import program

# Our tasks look at the name of the program when they are imported.
sys.argv[0] = "inv"

import hoox_tasks  # noqa: E402

_LARGEST = 1 << 17


def _become(command: dict[str, object], streams: list[int]) -> None:
    """Make this process what a new one would be that was started with these streams."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(command["env"])  # type: ignore[call-overload]
    time.tzset()
    os.chdir(str(command["cwd"]))
    os.umask(int(str(command["umask"])))
    sys.argv = ["inv", *command["arguments"]]  # type: ignore[misc]
    sys.path[0] = str(Path.cwd())
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), encoding="utf-8")
    raw = io.BufferedWriter(io.FileIO(2, "w"))
    sys.stderr = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def main() -> None:
    """Serve until the other end of the socket is closed."""
    assert hoox_tasks.ns
    commands = socket.socket(fileno=os.dup(0))
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([commands.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for process in list(running):
                done, status = os.waitpid(process, os.WNOHANG)
                if done:
                    ended = running.pop(process)
                    os.write(ended, f"{os.waitstatus_to_exitcode(status)}\n".encode())
                    os.close(ended)
        if commands.fileno() in ready:
            text, given, _, _ = socket.recv_fds(commands, _LARGEST, 4)
            if not text:
                return
            *streams, ended = given
            process = os.fork()
            if not process:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for number in (commands.detach(), woken, wake, ended, *running.values()):
                    os.close(number)
                _become(json.loads(text), streams)
                program.run()
                return
            for stream in streams:
                os.close(stream)
            running[process] = ended
            os.write(ended, f"{process}\n".encode())


if __name__ == "__main__":
    main()
