"""SQL as text: split it into statements, quote names and values, find a place in it again.

The splitter reads SQLite's own lexical rules (https://www.sqlite.org/lang.html, tokenize.c): strings, the
four quotings of names, both kinds of comment, and triggers, whose body has semicolons of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from hoox_tasks.errors import Refused

_SPACE = r"[ \t\n\f\r\ufeff]+"
_COMMENT = r"--[^\n]*|/\*(?s:.)*?(?:\*/|\Z)"
_QUOTED = (
    r"'[^']*+(?:''[^']*+)*+(?:'|\Z)"
    r'|"[^"]*+(?:""[^"]*+)*+(?:"|\Z)'
    r"|`[^`]*+(?:``[^`]*+)*+(?:`|\Z)"
    r"|\[[^\]]*+(?:\]|\Z)"
)
# Letters, _ and all beyond ASCII, and digits and $ as well; said by what is left out, because a class of
# a million characters takes 10 ms to compile.
_IN_WORD = r"[^\x00-#%-/:-@\[-^`{-\x7f]"
_WORD = rf"[^\x00-@\[-^`{{-\x7f]{_IN_WORD}*+"

_BLANK = f"(?:{_SPACE}|{_COMMENT})*+"
_SIMPLE_BODY = rf"(?:[^;'\"`\[/-]++|{_QUOTED}|{_COMMENT}|[/-])*+"
_BEGINS_BLANK = frozenset(" \t\n\f\r\ufeff-/")
_MAY_HIDE = frozenset(";'\"`[/-")
"""What may end a statement, or hide what would."""
_SHORT = 1000
_TOKEN = (
    rf"(?P<blank>{_SPACE}|{_COMMENT})|(?P<quoted>{_QUOTED})|(?P<word>{_WORD})"
    r"|(?P<number>[0-9][0-9A-Za-z_.]*|\.[0-9][0-9A-Za-z_]*)|(?P<semicolon>;)|(?P<other>(?s:.))"
)
_TRIGGER_HEAD = (
    rf"(?i:(?:EXPLAIN(?:{_SPACE}|{_COMMENT})++(?:QUERY(?:{_SPACE}|{_COMMENT})++PLAN(?:{_SPACE}|{_COMMENT})++)?)?"
    rf"CREATE(?:{_SPACE}|{_COMMENT})++(?:TEMP(?:ORARY)?(?:{_SPACE}|{_COMMENT})++)?TRIGGER)(?![A-Za-z0-9_$])"
)
_BARE_NAME = r"[A-Za-z_][A-Za-z0-9_]*\Z"

TRANSACTION_WORDS = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"})
"""First words of the statements that open and close transactions."""

# https://www.sqlite.org/lang_keywords.html
KEYWORDS = frozenset(
    """
    ABORT ACTION ADD AFTER ALL ALTER ALWAYS ANALYZE AND AS ASC ATTACH AUTOINCREMENT BEFORE BEGIN BETWEEN
    BY CASCADE CASE CAST CHECK COLLATE COLUMN COMMIT CONFLICT CONSTRAINT CREATE CROSS CURRENT
    CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP DATABASE DEFAULT DEFERRABLE DEFERRED DELETE DESC DETACH
    DISTINCT DO DROP EACH ELSE END ESCAPE EXCEPT EXCLUDE EXCLUSIVE EXISTS EXPLAIN FAIL FILTER FIRST
    FOLLOWING FOR FOREIGN FROM FULL GENERATED GLOB GROUP GROUPS HAVING IF IGNORE IMMEDIATE IN INDEX
    INDEXED INITIALLY INNER INSERT INSTEAD INTERSECT INTO IS ISNULL JOIN KEY LAST LEFT LIKE LIMIT MATCH
    MATERIALIZED NATURAL NO NOT NOTHING NOTNULL NULL NULLS OF OFFSET ON OR ORDER OTHERS OUTER OVER
    PARTITION PLAN PRAGMA PRECEDING PRIMARY QUERY RAISE RANGE RECURSIVE REFERENCES REGEXP REINDEX
    RELEASE RENAME REPLACE RESTRICT RETURNING RIGHT ROLLBACK ROW ROWS SAVEPOINT SELECT SET TABLE TEMP
    TEMPORARY THEN TIES TO TRANSACTION TRIGGER UNBOUNDED UNION UNIQUE UPDATE USING VACUUM VALUES VIEW
    VIRTUAL WHEN WHERE WINDOW WITH WITHOUT
    """.split()  # noqa: SIM905
)


class Token(NamedTuple):
    """One lexical piece of SQL: `kind` is word, quoted, number, semicolon or other."""

    kind: str
    text: str
    offset: int


class Piece(NamedTuple):
    """One statement of a script: its text without the semicolon, and where it begins.

    `offset` counts characters from the start of the script, `line` lines from 1.
    """

    sql: str
    offset: int
    line: int


# A query like SELECT 1 needs none of these, whose compilation costs more than the query does.
@cache
def _token() -> re.Pattern[str]:
    return re.compile(_TOKEN)


@cache
def _blank() -> re.Pattern[str]:
    return re.compile(_BLANK)


@cache
def _simple_body() -> re.Pattern[str]:
    return re.compile(_SIMPLE_BODY)


@cache
def _trigger_head() -> re.Pattern[str]:
    return re.compile(_TRIGGER_HEAD)


@cache
def _lexeme(plain: bool) -> re.Pattern[str]:
    """Give what `Completion` reads at once; a comment to the line's end is blank.

    Inside a plain statement only what may hide or be a semicolon matters.
    """
    quote_and_semicolon = r"(?P<quote>/\*|['\"`\[])|(?P<semicolon>;)"
    if plain:
        # Strings that end on their line are passed over at once: most of a dump is rows of them.
        blank = r"(?P<blank>(?:[^;'\"`\[/-]++|'[^']*+'|\"[^\"]*+\"|-(?!-)|/(?!\*))++|--.*)"
        return re.compile(f"{blank}|{quote_and_semicolon}")
    blank = r"(?P<blank>[ \t\n\f\r]+|--.*)"
    return re.compile(f"{blank}|{quote_and_semicolon}|(?P<name>{_IN_WORD}+)|(?P<other>(?s:.))")


def tokens(sql: str) -> Iterator[Token]:
    """Yield the tokens of `sql`, without white space and comments."""
    for match in _token().finditer(sql):
        kind = match.lastgroup or "other"
        if kind != "blank":
            yield Token(kind, match.group(), match.start())


def is_blank(script: str) -> bool:
    """Tell whether a script holds no statement: nothing but blanks, comments and semicolons."""
    position = 0
    while (position := _end_of_blank(script, position)) < len(script) and script[position] == ";":
        position += 1
    return position == len(script)


def comments(sql: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of `sql`, each with the offset at which it begins."""
    for match in _token().finditer(sql):
        if match.lastgroup == "blank" and match.group().startswith(("--", "/*")):
            yield match.start(), match.group()


def split(script: str) -> list[Piece]:
    """Split a script into its statements; text that holds only comments or blanks is none.

    Agrees with `sqlite3.complete_statement` on where a statement ends. The last one may lack its
    semicolon. Raises `Refused` where the script holds a NUL, at which SQLite would stop reading.
    """
    if "\0" in script:
        line = script.count("\n", 0, script.index("\0")) + 1
        raise Refused(f"The SQL has a NUL character in line {line}.", "Write it as char(0) in an expression.")
    pieces: list[Piece] = []
    position, line, counted = 0, 1, 0
    while True:
        start = _end_of_blank(script, position)
        if start >= len(script):
            return pieces
        end = _end_of_statement(script, start)
        text = _without_trailing_blank(script[start:end])
        if text:
            line += script.count("\n", counted, start)
            counted = start
            pieces.append(Piece(text, start, line))
        position = end + 1


class Completion:
    """Tells of a script that is read line by line whether the statements so far are complete.

    Agrees with `sqlite3.complete_statement`, which would have to look at all of it again for each line.
    """

    def __init__(self) -> None:
        self._ended = False
        self._open = ""
        """What ends the string, name or comment that the text is in."""
        self._state = "start"
        """Also: in a statement ("other"), after its first words ("explain", "create"), in a trigger, and in
        one behind a semicolon, or behind an END that follows one."""

    def feed(self, line: str) -> bool:
        """Take the next line; returns whether a statement is complete, and nothing of another follows."""
        position = 0
        while position < len(line):
            if self._open:
                end = line.find(self._open, position)
                if end < 0:
                    break
                position, self._open = end + len(self._open), ""
                continue
            match = _lexeme(self._state == "other").match(line, position)
            assert match is not None
            position = match.end()
            kind = match.lastgroup
            if kind == "quote":
                self._open = {"[": "]", "/*": "*/"}.get(match.group(), match.group())
                if match.group() == "/*":
                    continue
            if kind != "blank":
                self._step(match.group().upper() if kind == "name" else ";" if kind == "semicolon" else "")
        return self._state == "start" and not self._open and self._ended

    def _step(self, word: str) -> None:
        state = self._state
        self._ended = word == ";"
        if state in {"trigger", "semicolon", "end"}:
            if word == ";":
                state = "start" if state == "end" else "semicolon"
            else:
                state = "end" if state == "semicolon" and word == "END" else "trigger"
        elif word == ";":
            state = "start"
        elif state == "start" and word in {"EXPLAIN", "CREATE"}:
            state = word.lower()
        elif state == "explain":
            # Between EXPLAIN and CREATE there may be QUERY PLAN.
            state = "create" if word == "CREATE" else "other" if word == "EXPLAIN" else "explain"
        elif state == "create" and word in {"TEMP", "TEMPORARY"}:
            pass
        elif state == "create" and word == "TRIGGER":
            state = "trigger"
        else:
            state = "other"
        self._state = state


def _end_of_blank(script: str, position: int) -> int:
    if script[position : position + 1] not in _BEGINS_BLANK:
        return position
    match = _blank().match(script, position)
    return match.end() if match else position


def _end_of_statement(script: str, start: int) -> int:
    """Give the position of the semicolon that ends the statement at `start`, or the script's end."""
    if not _is_trigger_at(script, start):
        if not start and len(script) < _SHORT and _MAY_HIDE.isdisjoint(script):
            return len(script)
        match = _simple_body().match(script, start)
        return match.end() if match else len(script)
    # A trigger's body is BEGIN statement; ... END: only an END that follows a semicolon ends it, which a
    # CASE ... END never does.
    before, last = "", ""
    for match in _token().finditer(script, start):
        kind = match.lastgroup
        if kind == "blank":
            continue
        if kind == "semicolon" and before == ";" and last == "END":
            return match.start()
        before, last = last, match.group().upper()
    return len(script)


def _is_trigger_at(script: str, start: int) -> bool:
    # Nothing else than C(REATE) and E(XPLAIN) can begin one.
    return script[start : start + 1] in "CcEe" and _trigger_head().match(script, start) is not None


def _without_trailing_blank(sql: str) -> str:
    if not sql.endswith((" ", "\t", "\n", "\r", "\f", "\ufeff")) and "--" not in sql and "/*" not in sql:
        return sql
    end = 0
    for token in tokens(sql):
        end = token.offset + len(token.text)
    return sql[:end]


def join(statements: Iterable[str]) -> str:
    """Write statements as one script, one after the other; `split` gives them back."""
    return "".join(f"{_closed(sql)};\n" for sql in statements)


def _closed(sql: str) -> str:
    # A semicolon right behind a line comment would belong to the comment.
    stripped = _without_trailing_blank(sql)
    return stripped.rstrip(";") if not is_trigger(stripped) else stripped


def first_word(sql: str) -> str:
    """Give the statement's first word in capitals, or an empty string where it begins with none."""
    for token in tokens(sql):
        return token.text.upper() if token.kind == "word" else ""
    return ""


def is_transaction_control(sql: str) -> bool:
    """Tell whether the statement opens or closes a transaction or a savepoint."""
    return first_word(sql) in TRANSACTION_WORDS


def is_trigger(sql: str) -> bool:
    """Tell whether the statement is CREATE TRIGGER, the one whose text holds semicolons of its own."""
    return _is_trigger_at(sql, _end_of_blank(sql, 0))


def quote_name(name: str) -> str:
    """Write a table's or column's name so that SQLite reads it as one; plain names stay bare."""
    if re.match(_BARE_NAME, name) and name.upper() not in KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def unquote_name(token: str) -> str:
    """Give the name that a token stands for, whichever of the four quotings it is in."""
    if len(token) >= 2 and token[0] in "\"'`" and token[-1] == token[0]:
        return token[1:-1].replace(token[0] * 2, token[0])
    if token.startswith("[") and token.endswith("]"):
        return token[1:-1]
    return token


def quote_text(text: str) -> str:
    """Write text as a SQL literal that every reader of a script takes back unchanged.

    A carriage return would be lost in the `sqlite3` shell, a NUL ends the statement in SQLite, and lone
    surrogates cannot be written as UTF-8: such text travels as bytes in hexadecimal.
    """
    if "\0" in text or "\r" in text or not _is_unicode(text):
        return f"CAST(X'{text.encode('utf-8', 'surrogateescape').hex().upper()}' AS TEXT)"
    return "'" + text.replace("'", "''") + "'"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quote_real(number: float) -> str:
    """Write a double as a SQL literal from which every version of SQLite makes the same double.

    Versions before 3.43 read some short decimals as the double beside the nearest (74014.051109 is one),
    and are further off beyond 1e±250 (measured with 3.40 against 3.53). The 17 digits nearest to a double
    leave no room for that; the extremes are written as a number near 1 times powers of two, which is exact.
    """
    if number != number:
        return "NULL"  # SQLite cannot store a NaN: it stores NULL.
    if math.isinf(number):
        return "9e999" if number > 0 else "-9e999"
    size = abs(number)
    if size > 1e100:
        return _digits(number / _SCALE) + f"*{_STEP}" * _STEPS
    if 0 < size < 1e-100:
        return _digits(number * _SCALE) + f"/{_STEP}" * _STEPS
    return _digits(number)


def _digits(number: float) -> str:
    text = f"{number:.17g}"
    return text if "." in text or "e" in text else f"{text}.0"


_STEP = "4611686018427387904.0"  # 2^62, exact in 19 digits
_STEPS = 11
_SCALE = 2.0 ** (62 * _STEPS)


def quote_value(value: int | float | str | bytes | None) -> str:
    """Write a value as a SQL literal of the same type and the same bits."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return quote_text(value)
    if isinstance(value, float):
        return quote_real(value)
    if isinstance(value, int):
        return str(int(value))
    return f"X'{value.hex().upper()}'"


def format_ddl(ddl: str) -> str:
    """Write a CREATE statement in one fixed form: a column or constraint to a line, single spaces."""
    pieces = list(tokens(ddl))
    words = [piece.text.upper() for piece in pieces[:6]]
    if "TABLE" not in words or "VIRTUAL" in words or not any(piece.text == "(" for piece in pieces):
        return _spaced(pieces, ddl) if "TRIGGER" not in words and "VIEW" not in words else ddl.strip()
    opening = next(at for at, piece in enumerate(pieces) if piece.text == "(")
    depth = 0
    items: list[list[Token]] = []
    item: list[Token] = []
    for at in range(opening, len(pieces)):
        text = pieces[at].text
        depth += (text == "(") - (text == ")")
        if depth == 0:
            break
        if depth == 1 and text == ",":
            items.append(item)
            item = []
        elif not (depth == 1 and text == "("):
            item.append(pieces[at])
    items.append(item)
    body = ",\n".join(f"  {_spaced(item, ddl)}" for item in items)
    tail = _spaced(pieces[at + 1 :], ddl)
    return f"{_spaced(pieces[:opening], ddl)} (\n{body}\n)" + (f" {tail}" if tail else "")


def _spaced(pieces: list[Token], source: str) -> str:
    """Write tokens with one space where the source had any, and none where it had none."""
    parts: list[str] = []
    last, end = "", None
    for piece in pieces:
        gap = end is not None and piece.offset > end
        if gap and last != "(" and piece.text not in {")", ","}:
            parts.append(" ")
        parts.append(piece.text)
        last = piece.text[-1:]
        end = piece.offset + len(piece.text)
    return "".join(parts)
