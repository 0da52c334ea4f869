"""Every ending of a task is a sentence and an exit code.

0 it is done. 1 it failed. 2 it was refused or misused, and nothing was changed. 130 it was interrupted.
141 whoever read the output closed it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from invoke.exceptions import Exit

from hoox_tasks.console import terminal
from hoox_tasks.errors import HooxError, RemoteError

_INTERRUPTED = 130
_PIPE_CLOSED = 141
"""What a shell makes of a program that SIGINT or SIGPIPE ended: 128 and the signal's number."""

# As in the client: a made-up token of a few characters may be part of any word.
_SECRET = 12


@contextmanager
def explained(*, remote: bool) -> Iterator[None]:
    """Let every failure end in a sentence and an exit code, and never in a traceback."""
    try:
        with _interruptible():
            yield
            sys.stdout.flush()
    except HooxError as error:
        _debug(error)
        raise Exit(_reported(str(error)), error.exit_code) from None
    except KeyboardInterrupt:
        left = (
            "what D1 was asked to do it may still have done, whole"
            if remote
            else "nothing was left half done"
        )
        raise Exit(_reported(f"Interrupted; {left}."), _INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read our output has read enough. Python would complain once more when it closes it.
        _silence()
        raise Exit(None, _PIPE_CLOSED) from None
    except Exit:
        raise
    except OSError as error:
        _debug(error)
        if error.filename is None:
            _silence()
        problem = f"{error.filename or 'Standard output'} cannot be used: {error.strerror or error}."
        raise Exit(
            _reported(f"{problem} Look at its place, its permissions and the room on the disk."), 2
        ) from None
    except Exception as error:
        _debug(error)
        kind = type(error).__name__
        problem = f"Something went wrong that should not ({kind}: {error})."
        raise Exit(_reported(f"{problem} Run it again as `inv --debug ...` to see where."), 1) from None


class _Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; after a plain KeyboardInterrupt out of an `exec` Python ends itself by SIGINT."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a block with KeyboardInterrupt, so that what it began is undone.

    One that comes while SQLite asks the authorizer, which is Python, would turn up as a refused statement.
    """
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise _Interrupted

    former = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            # What a shell has told us to ignore, in the background, stays ignored.
            if signal.getsignal(number) in {signal.default_int_handler, signal.SIG_DFL}:
                former[number] = signal.signal(number, interrupt)
    except ValueError:  # Only the main thread may say so.
        yield
        return
    try:
        yield
    except Exception as error:
        # That something is half done has to be told.
        if came and not (isinstance(error, RemoteError) and error.ambiguous):
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _silence() -> None:
    """Let nothing more be written to standard output, not even what Python still holds of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reported(message: str) -> str:
    with suppress(OSError):
        sys.stdout.flush()
    for name in ("CLOUDFLARE_API_TOKEN", "CF_API_TOKEN"):
        token = os.environ.get(name, "")
        if len(token) >= _SECRET:
            message = message.replace(token, "…")
    return terminal.printable(message, lines=True)


def _debug(error: Exception) -> None:
    logging.getLogger("invoke").debug("failed", exc_info=error)
