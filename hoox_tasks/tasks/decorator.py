"""`@ledger_task`: a function that takes a `Command` becomes a task with the shared flags."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from invoke.context import Context
from invoke.parser.argument import Argument
from invoke.tasks import Task

from hoox_tasks.config.settings import Target
from hoox_tasks.errors import Refused
from hoox_tasks.rules.functions import refuse_old
from hoox_tasks.tasks import exits
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.parsing import Flag

SHARED: dict[str, tuple[bool | None, str]] = {
    "path": (None, "Use this SQLite file as the local ledger."),
    "database": (None, "Use this D1 database of the wrangler config, by its name or binding."),
    "env": (None, "Use this environment of the wrangler config."),
    "remote": (False, "Use the ledger on Cloudflare D1 instead of the local one."),
    "preview": (False, "With --remote, use the preview database."),
    "json": (False, "Print one JSON document on standard output."),
}

_CONFIRM = {"confirm": (False, "Do it without asking.")}


class _LedgerTask(Task[Any]):
    """A task with flags that are copied in one step, and known without looking at its function again."""

    def argspec(self, body: Callable[..., Any]) -> inspect.Signature:
        """Give the flags; Invoke would work them out of the function each time."""
        signature: inspect.Signature = body.flags  # type: ignore[attr-defined]
        return signature

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Give the flags as Invoke's parser takes them."""
        sentences = dict(self.help)
        arguments = super().get_arguments(ignore_unknown_help)
        self.help = sentences  # Invoke takes them out, and whoever asks again would get none.
        for argument in arguments:
            argument.__class__ = Flag
            assert isinstance(argument, Flag)
            argument.open_end = argument.name in self.body.open_end  # type: ignore[attr-defined]
        return arguments


def ledger_task(
    help: dict[str, str],
    *,
    positional: tuple[str, ...] = (),
    iterable: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    open_end: tuple[str, ...] = (),
    default: bool = False,
    name: str | None = None,
    called: str = "",
    without: tuple[str, ...] = (),
    asks: bool = False,
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a function that takes a `Command` and flags of its own into a task with the shared flags.

    `help` has a sentence for each flag of its own; `without` names shared flags that make no sense here;
    with `asks` it has --confirm, for what it would ask somebody at a terminal.
    `called` is what people type for it, where that is not `db.` and its name.
    `optional` names flags whose value may be left out, which makes them true. `open_end` names positional
    ones that may be left out altogether or, where they are lists, be several.
    """
    shared = {flag: value for flag, value in SHARED.items() if flag not in without}
    shared |= _CONFIRM if asks else {}

    def decorate(body: Callable[..., None]) -> Task[Any]:
        cause = called or f"db.{name or body.__name__}"
        own = list(inspect.signature(body).parameters.values())[1:]
        defaults = {parameter.name: parameter.default for parameter in own}
        defaults |= {flag: value for flag, (value, _) in shared.items()}

        def run(context: Context, **flags: Any) -> None:
            chosen = {flag: flags.pop(flag) for flag in shared}
            given = {**chosen, **flags}
            json, confirmed = (chosen.pop(flag, False) for flag in ("json", "confirm"))
            command = Command(context, Target(**chosen), cause, json=json, confirmed=confirmed)
            with exits.explained(command):
                refuse_old()
                _refuse_empty({flag: given[flag] for flag in given if defaults.get(flag, "") is None})
                body(command, **flags)

        parameters = [
            inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(parameter.replace(annotation=inspect.Parameter.empty) for parameter in own),
            *(
                inspect.Parameter(flag, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value)
                for flag, (value, _) in shared.items()
            ),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.flags = inspect.Signature(parameters[1:])  # type: ignore[attr-defined]
        run.open_end = open_end  # type: ignore[attr-defined]
        run.__name__ = body.__name__
        # What --json prints is long, and stands in docs/tasks.md.
        run.__doc__, _, contract = (body.__doc__ or "").partition("\n\n    JSON: ")
        run.contract = contract  # type: ignore[attr-defined]
        run.__module__ = body.__module__
        return _LedgerTask(
            run,
            name=name,
            positional=positional,
            iterable=iterable,
            optional=optional,
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
