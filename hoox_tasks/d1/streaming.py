"""A large answer's rows, read from a file as they are taken: a few MB of memory for any number of rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any

from hoox_tasks.d1.answers import Result, read_meta, read_row
from hoox_tasks.d1.errors import damaged, unfit
from hoox_tasks.values import Value

_CHUNK = 1 << 18


def stream(file: IO[bytes], *, write: bool = False) -> Result:
    """The one result in a large answer, its rows read from `file` as they are taken.

    The file is closed after the last row, on errors, and when nobody holds the rows any more. Raises
    `RemoteError`, also while rows are taken, where the answer is not one whole result of a success;
    `write` makes that ambiguous.
    """
    result = Result((), ())
    result.rows = rows = _rows(file, result, write)
    next(rows)
    return result


def _rows(file: IO[bytes], result: Result, write: bool) -> Iterator[tuple[Value, ...]]:
    """Once begun, up to the first row, it sees to it that the file is closed; hence the `()` before all."""
    with io.TextIOWrapper(file, "utf-8") as text:
        try:
            rows = _envelope(_JsonReader(text), result)
            first = next(rows, None)
            yield ()
            if first is not None:
                yield first
                yield from rows
        except (TypeError, ValueError, RecursionError):
            pass
        else:
            return
    raise damaged(write)


def _envelope(reader: _JsonReader, result: Result) -> Iterator[tuple[Value, ...]]:
    succeeded, count = False, 0
    for key in reader.members():
        if key == "success":
            succeeded = reader.value() is True
        elif key == "result":
            for _ in reader.elements():
                count += 1
                if count > 1:
                    raise unfit("several", 1)
                yield from _statement(reader, result)
        else:
            reader.value()
    if not succeeded or count != 1:
        raise ValueError


def _statement(reader: _JsonReader, result: Result) -> Iterator[tuple[Value, ...]]:
    for key in reader.members():
        if key == "meta":
            result.meta = read_meta(reader.value())
        elif key == "results":
            yield from _results(reader, result)
        elif reader.value() is False and key == "success":
            raise ValueError


def _results(reader: _JsonReader, result: Result) -> Iterator[tuple[Value, ...]]:
    early: list[Any] = []  # Where the rows come before the columns, they have to be held.
    for name in reader.members():
        if name == "columns":
            result.columns = tuple(reader.value())
        elif name == "rows" and result.columns:
            for _ in reader.elements():
                yield read_row(reader.value())
        elif name == "rows":
            early = reader.value()
        else:
            reader.value()
    yield from map(read_row, early)


_AFTER_VALUE = frozenset(" \t\r\n,]}")


class _JsonReader:
    """Walks through a long JSON text while holding a piece of it; raises `ValueError` where it is damaged."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._buffer = ""
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; after each, its value must be taken."""
        self._take("{")
        while self._peek() != "}":
            key = self.value()
            self._take(":")
            yield key
            if self._peek() == ",":
                self._at += 1
        self._at += 1

    def elements(self) -> Iterator[None]:
        """Stops before each element of the array that begins here; its value must be taken."""
        self._take("[")
        while self._peek() != "]":
            yield
            if self._peek() == ",":
                self._at += 1
        self._at += 1

    def value(self) -> Any:
        """The whole value that begins here."""
        self._peek()
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except ValueError:
                if self._more():
                    continue
                raise
            # A number where the piece ends may go on in the next: 1, 1. and 1.5e are beginnings of 1.5e3.
            ended = self._buffer[end : end + 1] in _AFTER_VALUE or not isinstance(value, int | float)
            if ended or not self._more():
                self._at = end
                return value

    def _peek(self) -> str:
        while True:
            while self._at < len(self._buffer):
                char = self._buffer[self._at]
                if char not in " \t\r\n":
                    return char
                self._at += 1
            if not self._more():
                raise ValueError

    def _take(self, char: str) -> None:
        if self._peek() != char:
            raise ValueError
        self._at += 1

    def _more(self) -> bool:
        """Read on: at least as much as is still unread, so that a long value is not tried often."""
        rest = self._buffer[self._at :]
        piece = self._text.read(max(_CHUNK, len(rest)))
        self._buffer, self._at = rest + piece, 0
        return bool(piece)
