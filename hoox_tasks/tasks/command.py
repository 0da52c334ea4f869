"""What every task has in common: the flags that choose a ledger, its errors, and its receipt."""

from __future__ import annotations

import inspect
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from hoox_tasks.config.settings import Settings, Target, load_settings
from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_document, printable
from hoox_tasks.database.interface import Database
from hoox_tasks.database.opening import open_database
from hoox_tasks.errors import HooxError, Refused, RemoteError

if TYPE_CHECKING:
    from hoox_tasks.migrations import Migrations
    from hoox_tasks.recovery.points import RecoveryPoint

_INTERRUPTED = 130
_PIPE_CLOSED = 141
"""What a shell makes of a program that SIGINT or SIGPIPE ended: 128 and the signal's number."""

_COLUMNS = 78
"""Invoke sets a task's docstring two columns in."""

# As in the client: a made-up token of a few characters may be part of any word.
_SECRET = 12

_SHARED = {
    "path": (None, "Use this SQLite file as the local ledger."),
    "database": (None, "Use this D1 database of the wrangler config, by its name or binding."),
    "env": (None, "Use this environment of the wrangler config."),
    "remote": (False, "Use the ledger on Cloudflare D1 instead of the local one."),
    "preview": (False, "With --remote, use the preview database."),
    "json": (False, "Print one JSON document on standard output."),
}


class Command:
    """One task being run: its flags, its settings, and how it speaks."""

    def __init__(self, context: Context, target: Target, *, json: bool = False) -> None:
        self.json = json
        self.dry = bool(context.config.run.dry)
        self._target = target
        self._configured = dict(context.config.get("hoox", {}))
        self._settings: Settings | None = None
        self.way_back: RecoveryPoint | None = None
        self._way_back_kept = False
        self._started = time.perf_counter()

    @property
    def settings(self) -> Settings:
        """The settings, from flags, environment and config files; raises `Refused` where they do not fit."""
        if self._settings is None:
            self._settings = load_settings(self._target, self._configured)
        return self._settings

    @property
    def migrations(self) -> Migrations:
        """The migrations of the workspace; raises `Refused` where their files cannot be read."""
        from hoox_tasks.migrations import Migrations

        return Migrations.of(self.settings)

    def settings_of(self, **flags: Any) -> Settings:
        """The settings of another ledger than the flags name: with some of them changed."""
        return load_settings(replace(self._target, **flags), self._configured)

    @contextmanager
    def ledger(self, *, create: bool = False) -> Iterator[Database]:
        """Open the ledger for a block."""
        database = open_database(self.settings, create=create)
        try:
            if self.settings.remote:
                terminal.note(f"On {database.address}:")
            yield database
            self.prune_ways_back(database)
        except Refused:
            self._drop_way_back()
            raise
        finally:
            database.close()

    @property
    def flags(self) -> list[str]:
        """The flags that chose this ledger, for a command that means the same one."""
        words = []
        for flag, value in asdict(self._target).items():
            words += [f"--{flag}"] if value is True else [f"--{flag}", value] if value else []
        return words

    @property
    def seconds(self) -> float:
        """The time since the task began."""
        return time.perf_counter() - self._started

    def say(self, text: str) -> None:
        """Print a line for people; with --json there is only the document."""
        if not self.json:
            sys.stdout.write(f"{text}\n")

    def keep_way_back(self, database: Database, cause: str) -> None:
        """Take a recovery point before this task first changes the ledger; the receipt will name it."""
        from hoox_tasks.recovery import points

        if self.settings.keep_snapshots > 0 and not self._way_back_kept:
            self.way_back = points.take(database, self.settings.snapshots_dir, cause)
        self._way_back_kept = True

    def prune_ways_back(self, database: Database) -> None:
        """Let go of the oldest recovery points, now that the change has gone well."""
        from hoox_tasks.recovery import points

        if self.way_back:
            points.prune(database, self.settings.snapshots_dir, max(1, self.settings.keep_snapshots))

    def _drop_way_back(self) -> None:
        """Forget the recovery point of a change that was refused: it would only push out others."""
        from hoox_tasks.recovery import points

        if self.way_back:
            points.forget(self.settings.snapshots_dir, self.way_back)
            self.way_back = None

    def done(self, text: str, **fields: Any) -> None:
        """End with the receipt: what was done, to which ledger, in what time, and how it is taken back."""
        if self.json:
            point = {"recovery_point": self.way_back.id} if self.way_back else {}
            print_document({**fields, **point, "seconds": round(self.seconds, 6)})
            return
        self.say(f"{text} ({terminal.duration(self.seconds)}).")
        if self.way_back:
            self.say(self.advice)

    @property
    def advice(self) -> str:
        """How the change is taken back that this task has made."""
        return f"Take it back with `{self.undo}`."

    @property
    def undo(self) -> str:
        """The command that takes the change back that this task has made."""
        assert self.way_back is not None
        flags = [flag for flag in self.flags if flag != "--preview" or self.settings.remote]
        return shlex.join(["inv", "db.undo", "--to", self.way_back.id, *flags])

    def shown(self, path: Path) -> str:
        """Give a path as people read it: short where it lies below the current folder."""
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def ledger_task(
    help: dict[str, str],
    *,
    positional: tuple[str, ...] = (),
    iterable: tuple[str, ...] = (),
    default: bool = False,
    name: str | None = None,
    without: tuple[str, ...] = (),
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a function that takes a `Command` and flags of its own into a task with the shared flags.

    `help` has a sentence for each flag of its own; `without` names shared flags that make no sense here.
    """
    shared = {flag: value for flag, value in _SHARED.items() if flag not in without}

    def decorate(body: Callable[..., None]) -> Task[Any]:
        own = list(inspect.signature(body).parameters.values())[1:]
        optional = {parameter.name: parameter.default for parameter in own}
        optional |= {flag: value for flag, (value, _) in shared.items()}

        def run(context: Context, **flags: Any) -> None:
            chosen = {flag: flags.pop(flag) for flag in shared}
            given = {**chosen, **flags}
            target = Target(**{flag: value for flag, value in chosen.items() if flag != "json"})
            with _spoken(remote=target.remote):
                _refuse_empty({flag: given[flag] for flag in given if optional.get(flag, "") is None})
                body(Command(context, target, json=chosen.get("json", False)), **flags)

        parameters = [
            inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(parameter.replace(annotation=inspect.Parameter.empty) for parameter in own),
            *(
                inspect.Parameter(flag, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value)
                for flag, (value, _) in shared.items()
            ),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__name__ = body.__name__
        run.__doc__ = _wrapped(body.__doc__ or "")
        run.__module__ = body.__module__
        return Task(
            run,
            name=name,
            positional=positional,
            iterable=iterable,
            default=default,
            auto_shortflags=False,
            help={**help, **{flag: text for flag, (_, text) in shared.items()}},
        )

    return decorate


def _refuse_empty(flags: dict[str, Any]) -> None:
    """Raise `Refused` for a flag with an empty value: it is not the same as one that was left out."""
    for flag, value in flags.items():
        if value == "":
            raise Refused(
                f"--{flag.replace('_', '-')} was given nothing.", "Give it a value, or leave it out."
            )


def _wrapped(text: str) -> str:
    """Break the lines of a docstring for 80 columns: Invoke prints it as it stands."""
    if max(map(len, text.splitlines()), default=0) <= _COLUMNS:
        return text
    import textwrap

    # The first paragraph is what --list shows, and it shows one line only.
    first, *others = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join([first, *(textwrap.fill(other, _COLUMNS) for other in others)])


@contextmanager
def _spoken(*, remote: bool) -> Iterator[None]:
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
    return printable(message, lines=True)


def _debug(error: Exception) -> None:
    logging.getLogger("invoke").debug("failed", exc_info=error)
