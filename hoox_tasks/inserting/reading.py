"""Records of a CSV, TSV, JSON or NDJSON file, one after the other, with the line that each begins on.

No number is made of what stands in the file: that depends on the column it is for. A huge file is read in
pieces, and one whose lines have no end is refused.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any, NamedTuple

from hoox_tasks.errors import Refused
from hoox_tasks.rules.limits import VALUE_BYTES

FORMATS = ("csv", "tsv", "json", "ndjson")
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_OTHERS = (
    (b"\xff\xfe", "is text in UTF-16"),
    (b"\xfe\xff", "is text in UTF-16"),
    (b"\x1f\x8b", "is compressed with gzip"),
    (b"PK\x03\x04", "is a zip archive or a spreadsheet"),
    (b"SQLite format 3\0", "is a SQLite database"),
)
_HEAD = 4096
_LINE = 16 * 1024 * 1024
"""Characters of the longest line, and of the longest JSON record: many times what a row of D1 holds."""
_CHUNK = 64 * 1024


class Number(str):
    """A number as it is written in JSON, with all of its digits."""

    __slots__ = ()


class Record(NamedTuple):
    """One row of a file: the line it begins on, the names of its fields, and what stands in them.

    A cell is None, `str`, `bool`, `Number`, `bytes`, or a list or dict of such; an empty one of CSV is None.
    """

    line: int
    names: tuple[str, ...]
    cells: tuple[Any, ...]


@dataclass(slots=True)
class Reading:
    """A file that is read: what to call it, the header that it has, and whether its last line had no end."""

    label: str
    header: tuple[str, ...] = ()
    header_line: int = 0
    unfinished: bool = False

    def refuse(self, line: int, problem: str, remedy: str = "Correct the file.") -> Refused:
        """Give the error about a line."""
        return Refused(f"{self.label}, line {line:,}: {problem}.", f"Nothing was changed. {remedy}")


def detect(name: str, head: bytes) -> str:
    """Tell the format of a file from its name, or from how it begins."""
    ending = _ENDINGS.get(PurePath(name).suffix.lower())
    if ending:
        return ending
    text = head.decode("utf-8-sig", "replace").lstrip()
    if text[:1] in {"[", "{"}:
        return "json"
    return "tsv" if "\t" in text.split("\n", 1)[0] else "csv"


def read(file: IO[bytes], reading: Reading, format: str = "") -> Iterator[Record]:
    """Yield the records of an open file; without `format` it is detected.

    Raises `Refused`, with the line, where the file is not what it should be.
    """
    buffered = io.BufferedReader(file, _CHUNK) if isinstance(file, io.RawIOBase) else file
    head = buffered.peek(_HEAD)[:_HEAD] if isinstance(buffered, io.BufferedReader) else b""
    for start, what in _OTHERS:
        if head.startswith(start):
            raise Refused(f"{reading.label} {what}.", "Save it as CSV, TSV or JSON in UTF-8.")
    format = format or detect(reading.label, head)
    text = io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="")
    try:
        if format in {"json", "ndjson"}:
            yield from _Objects(text, reading).records()
        else:
            yield from _separated(text, reading, "\t" if format == "tsv" else ",")
    finally:
        with suppress(ValueError):  # Whoever has opened the file closes it, and may have done so.
            text.detach()


def _pieces(take: Callable[[], str], reading: Reading, line: Callable[[], int]) -> Iterator[str]:
    """Yield pieces of text until there are no more; raises `Refused` where they are no text."""
    while True:
        try:
            piece = take()
        except UnicodeDecodeError as error:
            raise Refused(
                f"{reading.label} is not UTF-8 (the byte {error.object[error.start]:#x}, in line {line():,}"
                " or behind it).",
                "Save it as UTF-8.",
            ) from error
        if not piece:
            return
        if "\0" in piece:
            raise reading.refuse(line(), "it holds a NUL, so it is no text", "Save it as UTF-8.")
        yield piece


# ------------------------------------------------------------------------------------------ CSV and TSV


class _Lines:
    """Lines that are counted, each of a length that can be held."""

    def __init__(self, text: io.TextIOWrapper, reading: Reading) -> None:
        self.number = 0
        self._reading = reading
        self._pieces = _pieces(lambda: text.readline(_LINE), reading, lambda: self.number + 1)

    def __iter__(self) -> Iterator[str]:
        for line in self._pieces:
            self.number += 1
            if len(line) == _LINE:
                raise self._reading.refuse(self.number, f"it has more than {_LINE:,} characters")
            self._reading.unfinished = not line.endswith(("\n", "\r"))
            yield line


def _separated(text: io.TextIOWrapper, reading: Reading, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(VALUE_BYTES)
    lines = _Lines(text, reading)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    names: tuple[str, ...] = ()
    while True:
        first = lines.number + 1
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            unclosed = "end of data" in str(error)
            cause = "a quote is opened in it and never closed" if unclosed else str(error)
            raise reading.refuse(first, cause) from error
        if not row:
            continue
        if not names:
            names = _header(row, reading, first)
            reading.header, reading.header_line = names, first
            continue
        if len(row) != len(names):
            raise reading.refuse(first, f"it has {len(row)} cells, and the header has {len(names)}")
        yield Record(first, names, tuple(cell or None for cell in row))
    if not names:
        raise Refused(f"{reading.label} is empty.", "Its first line has to name the columns.")


def _header(row: list[str], reading: Reading, line: int) -> tuple[str, ...]:
    names = tuple(name.strip() for name in row)
    if len(names) == 1 and ";" in names[0]:
        raise reading.refuse(line, "its cells have semicolons between them", "Save it with commas or tabs.")
    seen: set[str] = set()
    for place, name in enumerate(names, 1):
        if not name:
            raise reading.refuse(line, f"column {place} has no name")
        if name in seen:
            raise reading.refuse(line, f"two columns are called {name}")
        seen.add(name)
    return names


# ---------------------------------------------------------------------------------------- JSON and NDJSON


class _NoRecord(Exception):
    """What stands there is JSON, but nothing that can become a row."""


class _Objects:
    """Objects in an array, or one after the other, taken from a text of which only a piece is held."""

    def __init__(self, text: io.TextIOWrapper, reading: Reading) -> None:
        self._reading = reading
        self._line = 1
        self._held = ""
        self._place = 0
        self._pieces = _pieces(lambda: text.read(_CHUNK), reading, lambda: self._line)
        self._decoder = json.JSONDecoder(
            parse_float=Number, parse_int=Number, parse_constant=_refuse_constant, object_pairs_hook=_object
        )

    def records(self) -> Iterator[Record]:
        """Yield a record for each object."""
        array = self._next() == "["
        if array:
            self._pass(1)
        expected = "" if array else "{"
        first = True
        while char := self._next():
            if array and char == "]" and (first or expected == ","):
                self._pass(1)
                if self._next():
                    raise self._refuse("there is more behind the end of the array")
                return
            if array and not first:
                if char != ",":
                    raise self._refuse("a comma is missing between two records")
                self._pass(1)
                char = self._next()
            if char != "{":
                raise self._refuse("a record has to be an object, {...}" if char else "it ends too early")
            line = self._line
            found = self._decode()
            yield Record(line, tuple(found), tuple(found.values()))
            first, expected = False, ","
        if array:
            raise self._refuse("it ends too early: the array is not closed")
        if first:
            raise Refused(f"{self._reading.label} is empty.", "Give it an array of objects, or one a line.")

    def _next(self) -> str:
        """Give the next character that is no space; empty at the end."""
        while True:
            while self._place < len(self._held):
                if not (char := self._held[self._place]).isspace():
                    return char
                self._pass(1)
            if not self._more():
                return ""

    def _more(self) -> bool:
        piece = next(self._pieces, "")
        self._held = self._held[self._place :] + piece
        self._place = 0
        return bool(piece)

    def _pass(self, characters: int) -> None:
        end = self._place + characters
        self._line += self._held.count("\n", self._place, end)
        self._place = end

    def _decode(self) -> dict[str, Any]:
        """Take the object that begins here, reading on until all of it is held."""
        wanted = _CHUNK
        while True:
            try:
                found, end = self._decoder.raw_decode(self._held, self._place)
            except _NoRecord as error:
                raise self._refuse(str(error)) from None
            except RecursionError:
                raise self._refuse("it is nested too deeply") from None
            except ValueError as error:
                held = len(self._held) - self._place
                behind = getattr(error, "pos", self._place) - self._place
                if held > _LINE:
                    raise self._refuse(f"it has a record of more than {_LINE:,} characters") from error
                grown = False
                while len(self._held) - self._place < held + wanted and self._more():
                    grown = True
                wanted *= 2
                if not grown:
                    self._pass(max(0, min(behind, held)))
                    raise self._refuse(f"it is not JSON ({getattr(error, 'msg', error)})") from error
            else:
                self._pass(end - self._place)
                assert isinstance(found, dict)
                return found

    def _refuse(self, problem: str) -> Refused:
        return self._reading.refuse(self._line, problem)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _NoRecord(f"{name} is there twice")
            seen.add(name)
    return found


def _refuse_constant(constant: str) -> float:
    raise _NoRecord(f"{constant} is no number")
