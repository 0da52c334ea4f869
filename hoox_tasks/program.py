"""The `hoox` command: the runbook's words exactly as it writes them, on Invoke's own `Program`.

`hoox db migrate status --remote` is `inv db.migrate.status --remote`; the tasks are the same, and so are
`invoke.yaml` and the `INVOKE_HOOX_*` variables. It needs no `tasks.py`.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.config import AmbiguousMergeError, Config
from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from hoox_tasks.config.settings import find_workspace
from hoox_tasks.console import gate, terminal
from hoox_tasks.tasks import exits, ns
from hoox_tasks.version import __version__


class DataConfig(Config):
    """Invoke's configuration, that of the workspace from data only: an `invoke.py` would be executed.

    Whoever runs `hoox` in a checkout has not asked for what somebody else has put into it.
    """

    def load_project(self, merge: bool = True) -> None:
        """Load `invoke.yaml`, `.yml` or `.json`; tells of an `invoke.py` that it is left alone."""
        code = Path(self._project_prefix or "") / "invoke.py"
        if code.is_file():
            terminal.note(f"{code} is not executed. If it should be, give it with --config.")
        suffixes = self._file_suffixes
        self._set(_file_suffixes=tuple(suffix for suffix in suffixes if suffix != "py"))
        try:
            super().load_project(merge)
        finally:
            self._set(_file_suffixes=suffixes)


class HooxProgram(Program):
    """Invoke's program, with spaces where it wants dots, and 2 as the exit code of misuse."""

    namespace: Collection
    argv: list[str]

    def normalize_argv(self, argv: list[str] | None) -> None:
        """Take the command line apart, and join the words that name a task."""
        super().normalize_argv(argv)
        # The values of flags before the task, as in `hoox --config invoke.yaml db list`, name none.
        valued = {
            f"-{name}" if len(name) == 1 else f"--{name}"
            for argument in self.core_args()
            if argument.takes_value and not argument.optional
            for name in argument.names
        }
        words = self.argv[1:]
        start = 0
        while start < len(words) and words[start].startswith("-"):
            start += 2 if words[start] in valued else 1
        self.argv = [self.argv[0], *words[:start], *_dotted(words[start:], self.namespace)]

    def parse_core(self, argv: list[str] | None) -> None:
        """Parse the flags before the task; misuse exits with 2."""
        try:
            super().parse_core(argv)
        except ParseError as error:
            raise Exit(f"{error} See `hoox --help`.", 2) from error

    def parse_collection(self) -> None:
        """Use our tasks, with the configuration of the workspace that this runs in."""
        super().parse_collection()
        self.config.set_project_location(str(find_workspace(Path.cwd())))
        try:
            self.config.load_project()
        except Exception as error:  # Whatever reads YAML, JSON or Python may raise.
            raise Exit(_unreadable(error), 2) from error

    def parse_tasks(self) -> None:
        """Parse the task and its flags; misuse exits with 2."""
        try:
            super().parse_tasks()
        except ParseError as error:
            raise Exit(f"{error} See `hoox --list`.", 2) from error

    def parse_cleanup(self) -> None:
        """Answer --list, --help and the shell's questions; completion offers one word at a time."""
        if self.args.complete.value:
            try:
                words = shlex.split(self.core.remainder)[1:]
            except ValueError:  # In the middle of a quotation there is nothing to complete.
                raise Exit from None
            collection, rest = _walk(words, self.namespace)
            if isinstance(collection, Collection) and len(rest) <= 1:
                names = [*collection.collections, *(name.split(".")[-1] for name in collection.tasks)]
                print("\n".join(sorted(names)))
                raise Exit
            self.core.remainder = shlex.join([self.binary_names[0], *_dotted(words, self.namespace)])
        super().parse_cleanup()


def _unreadable(error: Exception) -> str:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    reason = reason if len(reason) < 300 else f"{reason[:300]}..."
    return gate.shown(
        f"The configuration of Invoke cannot be used ({reason}). Correct invoke.yaml or its like."
    )


def _walk(words: list[str], namespace: Collection) -> tuple[Any, list[str]]:
    """Follow words down the tree of collections; gives where they lead, and the words behind."""
    place: Any = namespace
    for at, word in enumerate(words):
        if isinstance(place, Collection) and word in place.collections:
            place = place.collections[word]
        elif isinstance(place, Collection) and word in place.tasks:
            return place.tasks[word], words[at + 1 :]
        else:
            return place, words[at:]
    return place, []


def _dotted(words: list[str], namespace: Collection) -> list[str]:
    """Join the first words that name a task: `db migrate status` becomes `db.migrate.status`.

    A task's --help is asked for in Invoke's way; a collection without a task of its own lists its tasks.
    """
    place, rest = _walk(words, namespace)
    names = words[: len(words) - len(rest)]
    if not names:
        return words
    name = ".".join(names)
    wants_help = any(word in {"-h", "--help"} for word in rest)
    if isinstance(place, Collection) and place.default is None and (wants_help or not rest):
        return [f"--list={name}"]
    if wants_help:
        return [f"--help={name}"]
    if isinstance(place, Collection) and place.default is None and not rest[0].startswith("-"):
        return [f"{name}.{rest[0]}", *rest[1:]]  # There is none, and this is what Invoke should say.
    return [name, *rest]


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    terminal.speak_as("hoox")
    program = HooxProgram(
        version=__version__,
        namespace=ns,
        name="hoox",
        binary="hoox",
        binary_names=["hoox"],
        config_class=DataConfig,
    )
    try:
        program.run()
    except (
        AmbiguousMergeError
    ) as error:  # A setting is a list or a number where there should be others below it.
        gate.tell(f"{_unreadable(error)}\n")
        sys.exit(2)
    except BrokenPipeError:  # Whoever read our output has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        told = exits.unreadable_configuration(error)
        if not told:
            raise
        sys.stderr.write(f"{told}\n")
        sys.exit(2)
