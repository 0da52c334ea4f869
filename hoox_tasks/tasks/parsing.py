"""Our tasks as Invoke's parser meets them: known by name until typed, and with command lines of our kind.

Invoke asks every task for its flags to read one command line. Ours give them when they are looked at, so that
a query does not wait for the modules of all the other tasks.

Arguments may be left out at the end, or be several; a misspelt flag is not taken for an argument; and what is
misspelt is answered with what may have been meant. Invoke makes its parser by itself, whoever started it, so
this takes the place of a part of that. Tasks of others are parsed as before, but for the suggestions.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

from invoke import collection
from invoke.exceptions import Exit
from invoke.parser import parser
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.tasks import Task

from hoox_tasks.console import terminal
from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks import suggestions

_FLAG = r"--?[A-Za-z][A-Za-z-]*"
_UNKNOWN = r"(?s)No idea what '(.*)' is!"


_PACKAGE = __name__.rpartition(".")[0]
_OF_A_CONTEXT = {"args", "positional_args", "flags", "inverse_flags"}


class NamedTask(Task[Any]):
    """The task that a module of this package calls `attribute`, as `name`; executed at its first use."""

    def __init__(
        self, module: str, attribute: str, *, name: str | None = None, default: bool = False
    ) -> None:
        self._module = module
        self._attribute = attribute
        self._name = name or attribute
        self.is_default = default
        self.aliases: tuple[str, ...] = ()
        self.times_called = 0

    @cached_property
    def task(self) -> Task[Any]:
        """The task itself."""
        found: Task[Any] = getattr(import_module(f"{_PACKAGE}.{self._module}"), self._attribute)
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python itself asks for these, to copy it for one.
            raise AttributeError(name)
        return getattr(self.task, name)

    def __hash__(self) -> int:
        return hash((self._module, self._attribute))

    def __deepcopy__(self, memo: dict[int, object]) -> NamedTask:
        return self  # It is never changed, and Invoke copies what it takes from a module.

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> _Promise:  # type: ignore[override]
        """Give the flags as something that is gone through when somebody looks."""
        return _Promise(lambda: self.task.get_arguments(ignore_unknown_help))

    __doc__ = property(lambda self: self.task.__doc__)


class _Promise:
    """The flags of a task, which are found out when they are gone through."""

    def __init__(self, make: Callable[[], list[Argument]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Argument]:
        return iter(self._make())


class _Context(ParserContext):
    """A task with its flags to Invoke's parser; those that are promised are found out at the first look."""

    def __init__(self, name: str | None = None, aliases: Any = (), args: Any = ()) -> None:
        if isinstance(args, _Promise):
            self.name, self.aliases, self._promise = name, aliases, args
        else:
            super().__init__(name, aliases, args)

    def __getattr__(self, name: str) -> Any:
        if name not in _OF_A_CONTEXT or "_promise" not in self.__dict__:
            raise AttributeError(name)
        super().__init__(self.name, self.aliases, self.__dict__.pop("_promise"))
        return getattr(self, name)

    def __deepcopy__(self, memo: dict[int, object]) -> _Context:
        """Copy what was found out by now; the parser copies all tasks for every command line."""
        copied = _Context.__new__(_Context)
        memo[id(self)] = copied
        promised = "_promise" in self.__dict__
        copied.__dict__.update(self.__dict__ if promised else copy.deepcopy(self.__dict__, memo))
        return copied

    def __repr__(self) -> str:  # The parser puts it into what it logs, and that would be a look.
        return f"<parser/Context {self.name!r}>"


class Flag(Argument):
    """An argument of a task of ours; `open_end` says that it may be left out, or, a list, be several."""

    open_end = False

    def set_value(self, value: Any, cast: bool = True) -> None:
        """Take a value from the command line; one that is no number, where it has to be, exits with 2."""
        try:
            super().set_value(value, cast)
        except ValueError:
            raise Exit(f"--{self.name} {value} is not a whole number. Give it one.", 2) from None

    def __deepcopy__(self, memo: dict[int, object]) -> Flag:
        """Copy it in one step.

        Invoke copies the flags of all tasks for every command line, with all that is in them, which takes
        longer than a query. Nothing in a flag is ever changed in place, but for the list of its values.
        """
        flag = Flag.__new__(Flag)
        flag.__dict__.update(self.__dict__)
        if isinstance(self._value, list):
            flag._value = list(self._value)
        return flag


class _Machine(parser.ParseMachine):
    """Invoke's parser, token by token."""

    def handle(self, token: str) -> None:
        """Take the next word of a command line."""
        if self._is_ours() and not self.waiting_for_flag_value and not self._is_known(token):
            if re.fullmatch(_FLAG, token):
                # Otherwise it would be taken for an argument that is missing yet.
                self._take_foreign_flag(token)
                return
            several = [arg for arg in self.context.positional_args if _is_open(arg) and arg.kind is list]
            missing = [arg for arg in self.context.missing_positional_args if arg not in several]
            if several and not missing and token not in self.contexts:
                several[0].value = token
                return
        super().handle(token)

    def _take_foreign_flag(self, token: str) -> None:
        """Take a flag that a task of ours does not have: one of Invoke's own, or a misspelt one."""
        if token not in self.initial.flags:
            self.error(f"No idea what {token!r} is!")
        if self.initial.flags[token].name == "help":
            self.initial.flags[token].value = self.context.name
        else:
            self.switch_to_flag(token)

    def complete_context(self) -> None:
        """Go on without the arguments that may be left out, or all of them where only help is wanted."""
        if self._is_ours():
            helped = self.initial.args["help"].value is not None
            self.context.positional_args = [
                arg
                for arg in self.context.positional_args
                if arg.value is not None or not (_is_open(arg) or helped)
            ]
        super().complete_context()

    def error(self, msg: str) -> None:
        """Raise Invoke's error, with what may have been meant."""
        match = re.fullmatch(_UNKNOWN, msg)
        super().error(f"{msg} {self._suggestion(match[1])}".rstrip() if match else msg)

    def _suggestion(self, word: str) -> str:
        if word.startswith("-"):
            flags = [*self.initial.flags, *(self.context.flags if self.context else ())]
            return suggestions.suggestion(word, flags)
        # `hoox db migrate statsu` is the task `db.migrate`, and a word that it does not know.
        heads = [f"{name}." for name in (self.context.name, *self.context.aliases)] if self.context else []
        below = {
            name.removeprefix(head): name for head in heads for name in self.contexts if name.startswith(head)
        }
        nearest = suggestions.nearest
        found = nearest(word, self.contexts) or below.get(nearest(word, below), "")
        return terminal.worded(f"Did you mean `inv {found}`?") if found else ""

    def _is_ours(self) -> bool:
        return bool(self.context and self.context.args) and all(
            isinstance(arg, Flag) for arg in self.context.args.values()
        )

    def _is_known(self, token: str) -> bool:
        return token in self.context.flags or token in self.context.inverse_flags


# A state machine of fluidity, which Invoke brings along, does not inherit what it goes through.
_Machine._class_states = parser.ParseMachine._class_states
_Machine._class_transitions = parser.ParseMachine._class_transitions


def install() -> None:
    """Let Invoke parse command lines so from now on."""
    collection.ParserContext = _Context  # type: ignore[attr-defined]
    parser.ParseMachine = _Machine  # type: ignore[misc]


def _is_open(argument: Argument) -> bool:
    return isinstance(argument, Flag) and argument.open_end
