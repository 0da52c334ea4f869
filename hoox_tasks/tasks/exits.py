"""Every ending of a task is a sentence and an exit code.

  0  it is done
  1  it failed: what was and was not done is said, with the way back where anything was
  2  it was refused or misused, and nothing was changed
130  it was interrupted: what was done by then is said
141  whoever read the output closed it, and nothing was changed
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType, TracebackType

from invoke.exceptions import Exit
from invoke.tasks import Task

from hoox_tasks import interruptions
from hoox_tasks.console import gate, terminal
from hoox_tasks.errors import HooxError, RemoteError
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command

with lazy_imports():
    from hoox_tasks.console import pulse

_FAILED = 1
_REFUSED = 2
_INTERRUPTED = 130
_PIPE_CLOSED = 141
"""What a shell makes of a program that SIGINT or SIGPIPE ended: 128 and the signal's number."""

# As in the client: a made-up token of a few characters may be part of any word.
_SECRET = 12


@contextmanager
def explained(command: Command) -> Iterator[None]:
    """Let every ending of a task be a sentence and an exit code, and never a traceback."""
    _make_output_usable()
    try:
        with (
            _interruptible(),
            _watched(command) if interruptions.of_a_runner() else nullcontext(),
            pulse.beating() if sys.stderr.isatty() else nullcontext(),
        ):
            yield
    except Exit:
        raise
    except BaseException as error:
        code, message = _ending(error, command)
        if command.json and message:
            _print_failure(error, message, code, command)
        raise _exit(code, message, error) from None
    try:
        command.finish()
    except OSError as error:
        raise _exit(*_unwritten(error, command), error) from None


def _ending(error: BaseException, command: Command) -> tuple[int, str]:
    """Give the exit code of a failure, and what is said about it; an empty text for nothing."""
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED, _interrupted(command)
    if isinstance(error, HooxError):
        code, message = error.exit_code, terminal.addressed(str(error), command.chosen)
    elif isinstance(error, OSError) and error.filename is None:
        return _unwritten(error, command)  # All else that we write names its file.
    elif isinstance(error, OSError):
        code = _REFUSED
        message = (
            f"{error.filename} cannot be used: {error.strerror or error}."
            " Look at its place, its permissions and the room on the disk."
        )
    elif isinstance(error, Exception):
        code = _FAILED
        message = (
            f"Something went wrong that should not ({type(error).__name__}: {error})."
            " Run it again as `inv --debug ...` to see where."
        )
    else:  # SystemExit and its like.
        raise error
    # What was changed stays changed: then this is no refusal any more.
    return (_FAILED if command.changed else code), _joined(message, command.account)


def _watched(command: Command) -> AbstractContextManager[None]:
    """Let the process end, with the words and the exit code of every ending, where SQLite hears nothing."""

    def end(error: BaseException) -> None:
        code = _FAILED
        try:
            code, message = _ending(error, command)
            if command.json:
                _print_failure(error, message, code, command)
            gate.tell(f"{_shown(message)}\n")
            sys.stdout.flush()
        finally:
            os._exit(code)

    return interruptions.watched(end)


def _print_failure(error: BaseException, message: str, code: int, command: Command) -> None:
    """Print the one document of a task that failed; nothing where a part of a result stands there already."""
    told = error if isinstance(error, HooxError) else HooxError(message)
    document = {
        "error": _shown(told.problem),
        "remedy": _shown(terminal.addressed(told.remedy, command.chosen)),
        "detail": _shown(told.detail),
        "exit": code,
        "changed": command.changed,
        **({"recovery_point": command.point.id} if command.point else {}),
    }
    if not command.printed:
        with suppress(OSError):
            command.print(document)


def _interrupted(command: Command) -> str:
    if command.remote:
        return _joined("Interrupted; what D1 was asked to do it may still have done, whole.", command.account)
    if command.changed:
        return _joined("Interrupted.", command.account)
    return "Interrupted; nothing was changed."


def _unwritten(error: OSError, command: Command) -> tuple[int, str]:
    """Give the ending of a task whose output could not be written."""
    _silence()
    closed = isinstance(error, BrokenPipeError)
    if not command.changed:
        # Whoever read our output has read enough.
        return (_PIPE_CLOSED, "") if closed else (_REFUSED, _unusable(error))
    # Nothing of the work is missing, only of what is said about it.
    message = _joined(f"{_unusable(error)} The rest of the output is lost.", command.account)
    return (0 if closed else _FAILED), message


def _unusable(error: OSError) -> str:
    return f"Standard output cannot be written: {error.strerror or error}."


def _joined(message: str, account: str) -> str:
    return f"{message}\n{account}" if account else message


def _exit(code: int, message: str, error: BaseException) -> Exit:
    if isinstance(error, Exception):
        trace = "".join(traceback.format_exception(error))
        logging.getLogger("invoke").debug("failed: %s", _shown(trace))
    try:
        sys.stdout.flush()
    except OSError as unwritten:
        # Python would try again when it ends, and then exit with 120.
        _silence()
        if message and not isinstance(unwritten, BrokenPipeError):
            message = f"{message}\n{_unusable(unwritten)} The rest of the output is lost."
    return Exit(_shown(message) if message else None, code)


def _shown(message: str) -> str:
    for name in ("CLOUDFLARE_API_TOKEN", "CF_API_TOKEN"):
        token = os.environ.get(name, "")
        if len(token) >= _SECRET:
            message = message.replace(token, "…")
    return gate.shown(terminal.worded(message))


def explain_start() -> None:
    """Let what ends `inv` or `hoox` before a task runs be a sentence, or no word where it is Ctrl-C.

    Invoke reads its configuration after our tasks are imported and before any of them runs, and catches
    nothing.
    """
    if not interruptions.of_a_runner():
        return
    if signal.getsignal(signal.SIGINT) in {signal.default_int_handler, signal.SIG_DFL}:
        signal.signal(signal.SIGINT, _interrupt_runner)
    former = sys.excepthook

    def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, BrokenPipeError) and sys.platform != "win32":
            # Whoever read the list of tasks has read enough: `inv --list | head`.
            _silence()
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.raise_signal(signal.SIGPIPE)
        text = unreadable_configuration(error)
        if not text:
            former(kind, error, trace)
            return
        sys.stderr.write(f"{_shown(text)}\n")

    sys.excepthook = explain


def _interrupt_runner(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt where somebody else's task runs; before, between and behind them, die silently.

    Invoke would end with 1 there, as for a failure, or Python with a traceback. A task of ours that has begun
    has another handler.
    """
    while frame is not None:
        if frame.f_code is Task.__call__.__code__ and not _is_ours(frame.f_locals["self"]):
            raise KeyboardInterrupt
        frame = frame.f_back
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _is_ours(task: object) -> bool:
    return type(task).__module__.startswith("hoox_tasks.")


def unreadable_configuration(error: BaseException) -> str:
    """Say why Invoke could not read a configuration file; empty for any other error."""
    # Invoke has PyYAML in itself, and takes the installed one where there is one.
    if not any(base.__name__ == "YAMLError" for base in type(error).__mro__):
        return ""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name} does not parse, line {mark.line + 1}" if mark else "A YAML file does not parse"
    return f"{where}: {getattr(error, 'problem', None) or error}. Correct it; it is Invoke's configuration."


# ------------------------------------------------------------------------------------------- interruptions


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
            if signal.getsignal(number) in {signal.default_int_handler, signal.SIG_DFL, _interrupt_runner}:
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


# -------------------------------------------------------------------------------------------------- output


def _make_output_usable() -> None:
    """Let no text end the task that standard output cannot take, and no file get a closed stream's number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # To write to standard output fails then, as it would have.
            opened = os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        unicode = sys.stdout.encoding.lower().startswith("utf")
        # What is no UTF-8 in the ledger goes out as it is; what an encoding has not is written out.
        sys.stdout.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")


def _silence() -> None:
    """Let nothing more be written to standard output, not even what Python still holds of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
