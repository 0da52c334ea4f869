"""A prompt for a ledger: SQL with completion and history, and a few commands that begin with a dot.

Where standard input is no terminal, the same is read from it, without a prompt.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from hoox_tasks import ledger, sql
from hoox_tasks.console import gate, terminal
from hoox_tasks.console.formats import print_table
from hoox_tasks.database.interface import Database
from hoox_tasks.errors import HooxError, Refused

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History

HELP = """\
SELECT ...;       run SQL, over as many lines as it takes, up to its semicolon
.tables           list the tables with their rows
.schema [TABLE]   show how tables are made, one or all
.help             show this
.quit             leave, as Ctrl-D does
"""

_COMMANDS = (".help", ".quit", ".schema", ".tables")
_AFTER_TABLE_WORD = frozenset({"FROM", "JOIN", "INTO", "UPDATE", "TABLE"})
_COLUMNS = (
    "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c"
    r" WHERE t.type IN ('table', 'view') AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\'"
    r" AND t.name NOT LIKE '\_cf\_%' ESCAPE '\' ORDER BY t.name, c.cid"
)


def is_complete(text: str) -> bool:
    """Tell whether Enter can run what was typed: a dot command, nothing, or whole statements."""
    stripped = text.strip()
    return not stripped or stripped.startswith(".") or sqlite3.complete_statement(text)


def read_inputs(lines: Iterable[str]) -> Iterator[str]:
    """Yield dot commands and statements from lines; the last statement may lack its semicolon."""
    read: list[str] = []
    completion = sql.Completion()
    for line in lines:
        read.append(line)
        complete = completion.feed(line)
        if complete or (len(read) == 1 and is_complete(line)):
            if text := "".join(read).strip():
                yield text
            read, completion = [], sql.Completion()
    if text := "".join(read).strip():
        yield text


@dataclass
class Shell:
    """A prompt on `database`; `execute` runs SQL and shows what comes of it.

    `migrations_table` is the migrations table, which is left out of `.schema`. `mode` stands in the prompt.
    """

    database: Database
    execute: Callable[[str], None]
    migrations_table: str
    mode: str = ""

    def answer(self, text: str) -> bool:
        """Do what was typed; gives False where that was to leave."""
        if not text.startswith("."):
            self.execute(text)
            return True
        name, *arguments = text.rstrip(";").split()
        if name in {".quit", ".exit"}:
            return False
        if name == ".help":
            gate.write(HELP)
        elif name == ".tables":
            tables = ledger.list_tables(self.database, self.migrations_table)
            print_table(("table", "rows"), [(table.name, table.rows) for table in tables])
        elif name == ".schema":
            self._show_schema(arguments[0] if arguments else None)
        else:
            raise Refused(f"There is no command {name}.", f"The commands are {', '.join(_COMMANDS)}.")
        return True

    def read(self, lines: Iterable[str]) -> None:
        """Do what stands in lines, up to the first failure, which is raised."""
        for text in read_inputs(lines):
            if not self.answer(text):
                return

    def prompt(self) -> None:
        """Ask people until they leave; what fails is told, and the next may be typed."""
        names = read_names(self.database)
        session = _session(lambda: names)
        terminal.note(f"{self.database.label}{self.mode}. Type .help for help, .quit to leave.")
        while True:
            try:
                text = session.prompt(f"{gate.printable(self.database.name)}{self.mode}> ").strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            try:
                if text and not self.answer(text):
                    return
                if text and sql.first_word(text) in {"CREATE", "ALTER", "DROP"}:
                    names = read_names(self.database)
            except HooxError as error:
                terminal.note(str(error))
            except KeyboardInterrupt:
                terminal.note("Interrupted.")

    def _show_schema(self, table: str | None) -> None:
        schema = self.database.schema()
        if table:
            wanted = sql.unquote_name(table).lower()
            schema = [item for item in schema if wanted in {item.table.lower(), item.name.lower()}]
            if not schema:
                raise Refused(f"There is no table {table}.", "`.tables` lists them.")
        gate.write(ledger.describe(schema, self.migrations_table))


def read_names(database: Database) -> dict[str, list[str]]:
    """Give the columns of each table and view."""
    names: dict[str, list[str]] = {}
    for table, column in database.query(_COLUMNS):
        names.setdefault(str(table), []).append(str(column))
    return names


def completions(text: str, names: dict[str, list[str]], after: str = "") -> tuple[str, list[str]]:
    """Give the beginning of a word at the end of `text`, and the names that it may become.

    `after` is what follows the cursor. Columns are those of the tables that the statement names (all, where
    it names none yet), tables follow FROM and its like, and a name with a dot stands for a table or its
    alias.
    """
    if text.lstrip().startswith("."):
        command, space, rest = text.lstrip().partition(" ")
        found = sorted(names) if space and command == ".schema" else [] if space else list(_COMMANDS)
        return (rest if space else command), _beginning(rest if space else command, found)
    words = _last_statement(text)
    word = ""
    if words and words[-1].offset + len(words[-1].text) == len(text):
        if words[-1].kind in {"quoted", "number"}:
            return "", []
        word = words.pop().text if words[-1].kind == "word" else ""
    following = list(takewhile(lambda token: token.kind != "semicolon", sql.tokens(after)))
    named = _named_tables([token.text for token in [*words, *following]], names)
    if len(words) > 1 and words[-1].text == ".":
        table = named.get(sql.unquote_name(words[-2].text).lower(), "")
        return word, _beginning(word, names.get(table, []))
    if words and words[-1].text.upper() in _AFTER_TABLE_WORD:
        return word, _beginning(word, sorted(names))
    chosen = set(named.values()) or set(names)
    columns = sorted({column for table in chosen for column in names[table]})
    keywords = sorted(sql.KEYWORDS) if word else []
    return word, _beginning(word, [*columns, *sorted(names), *keywords])


def _last_statement(text: str) -> list[sql.Token]:
    words: list[sql.Token] = []
    for token in sql.tokens(text):
        if token.kind == "semicolon":
            words.clear()
        else:
            words.append(token)
    return words


def _named_tables(words: list[str], names: dict[str, list[str]]) -> dict[str, str]:
    """Give the tables that a statement names, each under its name and its alias in lower case."""
    known = {name.lower(): name for name in names}
    found = {}
    for at, word in enumerate(words):
        table = known.get(sql.unquote_name(word).lower())
        if table is None or (at and words[at - 1] == "."):
            continue
        found[table.lower()] = table
        rest = words[at + 1 : at + 3]
        alias = rest[1] if len(rest) == 2 and rest[0].upper() == "AS" else rest[0] if rest else ""
        if alias.isidentifier() and alias.upper() not in sql.KEYWORDS:
            found[alias.lower()] = table
    return found


def _beginning(word: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.lower().startswith(word.lower())]


def _session(names: Callable[[], dict[str, list[str]]]) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.application import get_app
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.lexers import PygmentsLexer
    from pygments.lexers.sql import SqlLexer

    class NameCompleter(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
            word, found = completions(document.text_before_cursor, names(), document.text_after_cursor)
            for name in found:
                yield Completion(name, start_position=-len(word))

    return PromptSession(
        history=_history(),
        completer=NameCompleter(),
        complete_while_typing=False,
        lexer=PygmentsLexer(SqlLexer),
        multiline=Condition(lambda: not is_complete(get_app().current_buffer.text)),
        prompt_continuation=lambda width, *_: "> ".rjust(width),
        enable_history_search=True,
    )


def history_path() -> Path:
    """Give the file that keeps what was typed: below XDG_STATE_HOME, or `~/.local/state`."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "hoox" / "history"


def _history() -> History:
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    path = history_path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # What was typed may tell of trades: it is for its owner alone.
        path.touch(mode=0o600)
        if os.access(path, os.W_OK):
            return FileHistory(str(path))
    return InMemoryHistory()
