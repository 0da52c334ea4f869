"""What every task has in common: the flags that choose a ledger, its errors, and its receipt."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from hoox_tasks import console
from hoox_tasks.config import Settings, Target, load_settings
from hoox_tasks.database import Database, open_database
from hoox_tasks.errors import HooxError, Refused

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
        self._started = time.perf_counter()

    @property
    def settings(self) -> Settings:
        """The settings, from flags, environment and config files; raises `Refused` where they do not fit."""
        if self._settings is None:
            self._settings = load_settings(self._target, self._configured)
        return self._settings

    @contextmanager
    def ledger(self, *, create: bool = False) -> Iterator[Database]:
        """Open the ledger for a block."""
        database = open_database(self.settings, create=create)
        try:
            if self.settings.remote:
                console.note(f"On {database.address}:")
            yield database
        finally:
            database.close()

    @property
    def seconds(self) -> float:
        """The time since the task began."""
        return time.perf_counter() - self._started

    def say(self, text: str) -> None:
        """Print a line for people; with --json there is only the document."""
        if not self.json:
            sys.stdout.write(f"{text}\n")

    def done(self, text: str, **fields: Any) -> None:
        """End with the receipt: what was done, to which ledger, in what time."""
        if self.json:
            console.document({**fields, "seconds": round(self.seconds, 6)})
        else:
            self.say(f"{text} in {console.duration(self.seconds)}.")


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

        def run(context: Context, **flags: Any) -> None:
            chosen = {flag: flags.pop(flag) for flag in shared}
            target = Target(**{flag: value for flag, value in chosen.items() if flag != "json"})
            with _spoken():
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
        run.__doc__ = body.__doc__
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


@contextmanager
def _spoken() -> Iterator[None]:
    """Let every failure end in a sentence and an exit code, and never in a traceback."""
    try:
        yield
    except HooxError as error:
        _debug(error)
        raise Exit(_reported(str(error)), error.exit_code) from None
    except KeyboardInterrupt:
        raise Exit(_reported("Interrupted; nothing was left half done."), 1) from None
    except BrokenPipeError:
        # Whoever read our output has read enough. Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Exit(None, 1) from None
    except Exit:
        raise
    except Exception as error:
        _debug(error)
        kind = type(error).__name__
        problem = f"Something went wrong that should not ({kind}: {error})."
        raise Exit(_reported(f"{problem} Run it again as `inv --debug ...` to see where."), 1) from None


def _reported(message: str) -> str:
    token = os.environ.get("CLOUDFLARE_API_TOKEN") or os.environ.get("CF_API_TOKEN")
    sys.stdout.flush()
    return message.replace(token, "…") if token else message


def _debug(error: Exception) -> None:
    logging.getLogger("invoke").debug("failed", exc_info=error)


def choose(flags: str, **given: Any) -> None:
    """Refuse flags that contradict each other: at most one of `given` may be set."""
    chosen = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(chosen) > 1:
        raise Refused(f"{' and '.join(chosen)} cannot be used together.", flags)
