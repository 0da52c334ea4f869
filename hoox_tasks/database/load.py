"""A backup loaded into a scratch SQLite file: our exports, others' dumps, and SQLite databases.

SQL comes from `sqlite3 .dump`, Python's `iterdump`, `wrangler d1 export` or ourselves, perhaps compressed
with gzip. What those do that cannot be loaded as it is, is put right: transactions are one, pragmas are left
out, foreign keys are off so that the order of tables does not matter, infinities may be bare words. Rows of
one table that follow each other are handed to SQLite many at a time, which takes half the time. The script
can reach no other file.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, cast

from hoox_tasks import sql
from hoox_tasks.database.growing import GrowingFile
from hoox_tasks.database.untouched import copy_untouched
from hoox_tasks.errors import HooxError, Refused, StatementError
from hoox_tasks.rules.functions import supply_functions
from hoox_tasks.rules.messages import find_remedy
from hoox_tasks.values import Progress

_ROWS = 40
"""Rows that go into one statement."""
CACHE_KIBIBYTES = 32 * 1024
"""Memory that SQLite may use for a scratch file: indexes are filled and checked in no order."""
_REPORT = 16
"""Steps between two reports of progress."""
_SQLITE = b"SQLite format 3\0"
_GZIP = b"\x1f\x8b"
_NAME = r'(?:"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_]*)'
_HEAD = re.compile(rf"INSERT INTO {_NAME} ?(?:\({_NAME}(?:, ?{_NAME})*\) ?)?VALUES ?\(")
_INFINITIES = {"infinity", "inf"}
_D1 = re.compile(r"(?i)\s*PRAGMA\s+defer_foreign_keys\b")
_DECIMALS = re.compile(r"'[^']*'|(?<=[,(])-?(?:[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?|[0-9]+e[+-]?[0-9]+)(?=[,)])")
_ROUNDS = sqlite3.sqlite_version_info < (3, 43)
"""Whether this SQLite reads some decimals as the double beside the one meant (see `sql.quote_real`)."""
_PRAGMAS = re.compile(r"(?i)\s*+PRAGMA\s++(?:writable_schema|encoding)\s*+=[^;]*+;?\s*+")
"""What a dump may set: FTS5's tables are written by way of the first, texts as they were by the second."""
_VALUES = r"[^;'\"`\[/()-]++|'[^']*+'|-(?!-)|/(?!\*)"
_ROW = re.compile(rf"\((?:{_VALUES}|\((?:{_VALUES}|\((?:{_VALUES})*+\))*+\))*+\);\n")
"""Values in one pair of parentheses that end a line: no comment, clause or statement is behind them.

Calls may stand among the values, one in another.
"""
_UNRUN = sql.TRANSACTION_WORDS | {"PRAGMA"}
"""First words of the statements that are not run, or only some of them."""
_BEGINNINGS = _UNRUN | frozenset(
    {"ALTER", "ANALYZE", "CREATE", "DELETE", "DROP", "EXPLAIN", "INSERT", "REINDEX", "REPLACE", "SELECT"}
    | {"UPDATE", "VACUUM", "VALUES", "WITH", "ATTACH", "DETACH"}
)
_LINE = 1024 * 1024
"""Characters that are read at once of a line; rows of more are not put into one statement."""
_STATEMENT = 64 * 1024 * 1024
"""Characters of the longest statement; our own have no more than D1 takes."""
_VALUE = 16 * 1024 * 1024
"""Bytes that a value may always have; more only if the script has that many before it."""
_SECONDS = 60.0
"""CPU time that a script may always take; more as it is longer, which is many times what a ledger needs."""
_BYTES_PER_SECOND = 100_000
_EXPANSION = 250
"""How many times its own size a file may grow in loading, beyond `_SMALL` bytes; gzip can do a thousand."""
_SMALL = 64 * 1024 * 1024
_STEP = 100_000
"""Steps of SQLite's virtual machine between two looks at the clock, and at signals."""
_OTHERS = (
    (b"\xff\xfe", "is text in UTF-16", "Save it in UTF-8."),
    (b"\xfe\xff", "is text in UTF-16", "Save it in UTF-8."),
    (b"\xfd7zXZ\0", "is compressed with xz", "Unpack it with `xz -d`."),
    (b"PK\x03\x04", "is a zip archive", "Unpack it, and name the file inside."),
    (b"BZh", "is compressed with bzip2", "Unpack it with `bzip2 -d`."),
    (b"\x28\xb5\x2f\xfd", "is compressed with Zstandard", "Unpack it with `zstd -d`."),
    (b"age-encryption.org/", "is encrypted with age", "Decrypt it with `age -d -i KEYFILE`."),
    (b"{", "is JSON", "Name the backup itself, not what stands beside it."),
    (b"[", "is JSON", "Name the backup itself, not what stands beside it."),
)
"""What else a file may be, by its first bytes."""


def load(
    source: Path,
    scratch: Path,
    *,
    schema: str = "",
    most: int | None = None,
    wait: Callable[[], bool] | None = None,
    progress: Progress | None = None,
) -> None:
    """Make the SQLite file `scratch` from a backup; `schema` is run before it.

    With `wait` it may still be written (see `GrowingFile`), and get `most` bytes. Raises `Refused` where the
    file is no backup, was cut off, or does not load; it says where.
    """
    try:
        with io.BufferedReader(GrowingFile(source, wait)) if wait else source.open("rb") as file:
            size = most or source.stat().st_size
            start = file.read(len(_SQLITE))
            file.seek(0)
            for first, kind, remedy in _OTHERS:
                if start.lstrip().startswith(first):
                    raise Refused(f"{source} {kind}, not a backup of a ledger.", remedy)
            if start == _SQLITE:
                copy_untouched(source, scratch)
            elif start.startswith(_GZIP):
                packed = cast(IO[bytes], gzip.GzipFile(fileobj=file))
                _load_script(packed, file, source, size, scratch, schema, progress)
            else:
                _load_script(file, file, source, size, scratch, schema, progress)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refused(f"{source} is damaged or was cut off: {error}.", "Take another backup.") from error
    except OSError as error:
        raise Refused(f"{source} cannot be read: {error.strerror or error}.", "Name another file.") from error


def largest_scratch(size: int) -> int:
    """Give how many bytes the scratch file of a backup of `size` bytes may have, and its text as well."""
    return _SMALL + _EXPANSION * size


def connect(scratch: Path) -> sqlite3.Connection:
    """Open a scratch file that need not survive a crash: nothing waits for the disk, nothing is logged."""
    connection = sqlite3.connect(scratch, isolation_level=None, cached_statements=0)
    for pragma in (
        "journal_mode = OFF",
        "synchronous = OFF",
        f"cache_size = -{CACHE_KIBIBYTES}",
        "foreign_keys = OFF",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    # Without ATTACH a script reaches no other file; an authorizer would be asked about every row.
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    supply_functions(connection)
    return connection


def _load_script(
    stream: IO[bytes],
    file: IO[bytes],
    source: Path,
    size: int,
    scratch: Path,
    schema: str,
    progress: Progress | None,
) -> None:
    with closing(connect(scratch)) as connection:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {largest_scratch(size) // page}").fetchall()
        connection.create_function("unistr", 1, _unistr, deterministic=True)
        for piece in sql.split(schema):
            connection.execute(piece.sql)
        if schema:
            connection.execute("BEGIN")
        loading = _Loading(connection, source)
        with io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            for number, (numbers, head, statements) in enumerate(_statements(lines, source, size)):
                loading.take(numbers, head, statements)
                if progress and number % _REPORT == 0:
                    progress("bytes", file.tell(), size)
        loading.finish()
        if connection.in_transaction:
            connection.execute("COMMIT")


def _statements(
    lines: io.TextIOWrapper, source: Path, size: int
) -> Iterator[tuple[list[int], str, list[str]]]:
    """Yield a script's statements, with the numbers of the lines that they begin on.

    Those that insert rows of one table come together, with what all begin with: up to the opening parenthesis
    of the values. Any other comes alone, without.
    """
    head, number, length = "", 0, 0
    numbers: list[int] = []
    alike: list[str] = []
    is_row = _ROW.fullmatch
    try:
        numbered = enumerate(_read_lines(lines, source, largest_scratch(size)), 1)
        for number, line in numbered:
            first, statement = number, line
            if not (head and line.startswith(head) and is_row(line, len(head) - 1)):
                if line.isspace():
                    continue
                match = _HEAD.match(line)
                if not (match and is_row(line, match.end() - 1)):
                    statement, number = _completed(line, number, numbered, source)
                if not match or match.group() != head or not is_row(statement, len(head) - 1):
                    if alike:
                        yield numbers, head, alike
                        numbers, alike, length = [], [], 0
                    head = match.group() if match else ""
                    if statement:
                        yield [first], "", [statement]
                    continue
            numbers.append(first)
            alike.append(statement)
            length += len(statement)
            if len(alike) == _ROWS or length > _LINE:
                yield numbers, head, alike
                numbers, alike, length = [], [], 0
        if alike:
            yield numbers, head, alike
    except (ValueError, StatementError) as error:  # A NUL: SQLite's text has none.
        raise _no_text(source, number) from error


def _completed(line: str, first: int, numbered: Iterator[tuple[int, str]], source: Path) -> tuple[str, int]:
    """Give the whole statement that begins on a line, and its last line's number; empty if there is none."""
    parts, length, number = [line], len(line), first
    completion = sql.Completion()
    while not completion.feed(line):
        number, line = next(numbered, (number, ""))
        if not line:
            rest = "".join(parts)
            if not sql.split(rest):
                return "", number
            if sql.first_word(rest) not in _BEGINNINGS:
                raise _no_sql(source, first)
            raise _cut_off(source)
        parts.append(line)
        length += len(line)
        if length > _STATEMENT:
            raise _too_long(source, first)
    return "".join(parts), number


def _read_lines(text: io.TextIOWrapper, source: Path, room: int) -> Iterator[str]:
    """Yield lines, `room` characters in all; none is read to its end if it is too long or no text."""
    number = 0
    while line := text.readline(_LINE):
        number += 1
        if len(line) == _LINE and not line.endswith("\n"):
            parts, size = [line], len(line)
            while not parts[-1].endswith("\n") and (more := text.readline(_LINE)):
                if "\0" in parts[-1]:
                    raise _no_text(source, number)
                parts.append(more)
                size += len(more)
                if size > _STATEMENT:
                    raise _too_long(source, number)
            line = "".join(parts)
        if "\0" in line:
            raise _no_text(source, number)
        room -= len(line)
        if room < 0:
            raise _too_large(source)
        yield line


class _Loading:
    """Runs a script's statements, rows of one table many at a time."""

    def __init__(self, connection: sqlite3.Connection, source: Path) -> None:
        self._connection = connection
        self._source = source
        self._begun = False
        self._ended = False
        self._decimals = False
        self._read = 0
        self._longest = _VALUE
        self._started = time.process_time()
        self._until = math.inf
        self._ran = False
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE)
        # It also lets Python see Ctrl-C while SQLite is busy.
        connection.set_progress_handler(self._is_late, _STEP)

    def _is_late(self) -> bool:
        return time.process_time() > self._until

    def _execute(self, line: int, statement: str) -> None:
        """Run a statement, which may take what is left of the time for all that was read by now."""
        self._read += len(statement)
        if self._read > 2 * self._longest:
            self._longest = self._read
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(self._longest, 2**30))
        self._until = self._started + _SECONDS + self._read / _BYTES_PER_SECOND
        try:
            self._connection.execute(statement)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                raise
            if not self._is_late():
                raise KeyboardInterrupt from error
            raise Refused(
                f"{self._source} has statements, up to line {line:,}, that do not end in {_SECONDS:g} s.",
                "It is no backup of a ledger.",
            ) from error
        self._ran = True

    def take(self, numbers: list[int], head: str, statements: list[str]) -> None:
        """Take the next statements, as `_statements` gives them."""
        if self._decimals:
            statements = [_with_exact_decimals(statement) for statement in statements]
        if head:
            start = len(head) - 1
            values = ",".join([statement[start:-2] for statement in statements])
            # What does not run as one is taken one by one: that tells the line, or runs after all.
            try:
                self._execute(numbers[0], f"{head[:-1]}{values}")
            except sqlite3.IntegrityError as error:  # Some of the rows are in the scratch file now.
                raise self._unloadable(numbers[0], error) from error
            except (sqlite3.Error, ValueError):
                pass
            else:
                return
        for line, statement in zip(numbers, statements, strict=True):
            self._run(line, statement)

    def finish(self) -> None:
        """Raise `Refused` where the script was cut off."""
        if self._begun and not self._ended:
            raise _cut_off(self._source)

    def _run(self, line: int, statement: str) -> None:
        word = sql.first_word(statement)
        if word in _UNRUN and len(pieces := sql.split(statement)) > 1:
            for piece in pieces:
                self._run(line + piece.line - 1, f"{piece.sql};")
            return
        if word in {"BEGIN", "SAVEPOINT"}:
            self._begun = True
            self._ended = False
            return
        if word in {"COMMIT", "END", "RELEASE"}:
            self._ended = True
            return
        if word == "ROLLBACK":
            raise Refused(
                f"{self._source} ends with ROLLBACK: whoever wrote it met an error.", "Take another backup."
            )
        if not word and not sql.split(statement):
            return
        if word == "PRAGMA":
            # D1 writes a double's shortest decimal. SQLite's own dumps are for SQLite to read, as it does.
            self._decimals = self._decimals or (_ROUNDS and _D1.match(statement) is not None)
            if _PRAGMAS.fullmatch(statement):
                try:
                    self._connection.execute(statement)
                except sqlite3.Error as error:
                    raise self._unloadable(line, error) from error
            return
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN")
        try:
            self._execute(line, statement)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            self._run_with_care(line, statement, error)

    def _run_with_care(self, line: int, statement: str, error: Exception) -> None:
        text = str(error)
        if "one statement at a time" in text:
            for piece in sql.split(statement):
                self._run(line + piece.line - 1, f"{piece.sql};")
            return
        if "no such column: " in text and text.rpartition(" ")[2].lower() in _INFINITIES:
            self._run(line, _with_infinities(statement))
            return
        raise self._unloadable(line, error, statement) from error

    def _unloadable(self, line: int, error: Exception, statement: str = "") -> HooxError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return _too_large(self._source)
        if not self._ran and "syntax error" in str(error):
            return _no_sql(self._source, line)
        return Refused(
            f"{self._source} does not load from line {line:,} on: {error}.",
            (isinstance(error, sqlite3.Error) and find_remedy(error, statement))
            or "It is no backup of a ledger, or damaged.",
        )


def _no_text(source: Path, line: int) -> Refused:
    return Refused(
        f"{source} is neither SQL nor a SQLite database (line {line:,} is not text).", "Name another file."
    )


def _no_sql(source: Path, line: int) -> Refused:
    return Refused(
        f"{source} is not SQL: it has something else in line {line:,}.",
        "Name a backup: SQL, perhaps compressed with gzip, or a SQLite database.",
    )


def _too_long(source: Path, line: int) -> Refused:
    return Refused(
        f"{source} has a statement of more than {_STATEMENT:,} characters, from line {line:,} on.",
        "It is no backup of a ledger, or damaged.",
    )


def _too_large(source: Path) -> Refused:
    return Refused(
        f"{source} grows to more than {_EXPANSION} times its size in loading, or the disk is full.",
        "It is no backup of a ledger, or there is no room in the folder for temporary files.",
    )


def _cut_off(source: Path) -> Refused:
    return Refused(f"{source} was cut off: its end is missing.", "Take another backup.")


def _with_infinities(statement: str) -> str:
    """Write the bare words that D1 and old versions of SQLite have for infinities as numbers."""
    parts, position = [], 0
    for token in sql.tokens(statement):
        if token.kind == "word" and token.text.lower() in _INFINITIES:
            parts += [statement[position : token.offset], "9e999"]
            position = token.offset + len(token.text)
    return "".join([*parts, statement[position:]])


def _with_exact_decimals(statement: str) -> str:
    """Write the decimals among an INSERT's values so that every SQLite reads the double that is meant."""
    if sql.first_word(statement) != "INSERT":
        return statement

    def exact(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.startswith("'") else sql.quote_real(float(found))

    return _DECIMALS.sub(exact, statement)


def _unistr(text: str | None) -> str | None:
    """SQLite's function of this name, in which newer shells write control characters."""
    if text is None:
        return None
    escape = re.compile(r"\\(?:\\|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")
    return escape.sub(
        lambda match: chr(int(next(filter(None, match.groups())), 16)) if match.lastindex else "\\", text
    )
