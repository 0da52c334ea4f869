"""What D1 allows, enforced on a local SQLite connection, so that what works here works there.

D1 is SQLite behind a gate: limits on a statement's size and shape, and an authorizer that lets through
a list of functions, pragmas and kinds of statements. `enforce` puts the same gate in front of a
connection of the standard library's `sqlite3`; with `read_only` it lets through nothing that changes
the ledger. `explain` turns an error of `sqlite3` into the words in which D1 would say it.

The lists and limits are those of workerd, the engine that D1 runs on (`src/workerd/util/sqlite.c++` in
github.com/cloudflare/workerd), and the limits page of D1's documentation
(https://developers.cloudflare.com/d1/platform/limits/). `tests/engine/test_rules.py` asks a real engine,
workerd 1.20261005.1 with SQLite 3.53.4, about each of them. It was seen there that

- a function that D1 withholds is "not authorized", one that its build lacks "no such function";
- a constraint's message ends with SQLite's extended code, in parentheses after the primary one;
- ALTER TABLE, FTS5 and R*Tree run statements of their own past the authorizer, all within its lists;
- engines before the summer of 2026 still refused R*Tree and `PRAGMA page_size`, and allowed `_CF_` in
  capitals and renaming into `_cf_`; they had SQLite 3.47;
- foreign keys are on from the start; that is for whoever opens the connection, not for these rules.
"""

# ruff: noqa: SIM905  (lists of names read better as lines of words)

from __future__ import annotations

import re
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final, NamedTuple, TypeAlias

Bindable: TypeAlias = int | float | str | bytes | None
"""What can be bound to a statement."""

# ---------------------------------------------------------------------------------------------- limits

STATEMENT_BYTES: Final = 100_000
"""Longest SQL statement, in bytes of UTF-8; each statement of a batch or import counts alone."""

PARAMETERS: Final = 100
"""Most values that can be bound to one statement."""

COLUMNS: Final = 100
"""Most columns of a table, an index, a result, or a GROUP BY."""

VALUE_BYTES: Final = 2_000_000
"""Longest text, blob or row, in bytes, by D1's documentation. An engine asked on loopback stores 8 MB, but
nobody promises that of production, so here the documented number holds."""

PATTERN_BYTES: Final = 50
"""Longest LIKE or GLOB pattern, in bytes."""

COMPOUND_SELECTS: Final = 5
"""Most SELECTs joined by UNION, INTERSECT and EXCEPT. Rows of VALUES in an INSERT do not count."""

EXPRESSION_DEPTH: Final = 100
"""Deepest nesting of an expression."""

FUNCTION_ARGUMENTS: Final = 127
"""Most arguments of a function. D1's documentation says 32; engines since April 2026 take 127."""

OPERATIONS: Final = 25_000
"""Most instructions of SQLite's virtual machine that one statement may compile to."""

TRIGGER_DEPTH: Final = 10
"""How deep triggers may start triggers."""

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: STATEMENT_BYTES,
    sqlite3.SQLITE_LIMIT_COLUMN: COLUMNS,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: EXPRESSION_DEPTH,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: COMPOUND_SELECTS,
    sqlite3.SQLITE_LIMIT_VDBE_OP: OPERATIONS,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: FUNCTION_ARGUMENTS,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: PATTERN_BYTES,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: PARAMETERS,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: TRIGGER_DEPTH,
}
_NO_LIMIT: Final = 2**31 - 1  # SQLite lowers it to what it was compiled with, which is also its default

# ------------------------------------------------------------------------------------------- functions

FUNCTIONS: Final = frozenset(
    """
    abs changes char coalesce concat concat_ws format glob hex ifnull iif instr last_insert_rowid length
    like likelihood likely load_extension lower ltrim nullif octet_length printf
    quote random randomblob replace round rtrim sign substr substring total_changes trim typeof
    unhex unicode unlikely upper zeroblob
    date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp
    avg count group_concat max min string_agg sum total
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
    acos acosh asin asinh atan atan2 atanh ceil cos cosh degrees exp floor ln log log2 mod pi pow radians
    sin sinh sqrt tan tanh trunc
    json jsonb json_array jsonb_array json_array_length json_extract jsonb_extract -> ->> json_insert
    jsonb_insert json_object jsonb_object json_patch jsonb_patch json_remove jsonb_remove json_replace
    jsonb_replace json_set jsonb_set json_type json_valid json_quote json_group_array jsonb_group_array
    json_group_object jsonb_group_object json_each json_tree
    match highlight bm25 snippet rtreecheck
    sqlite_rename_column sqlite_rename_table sqlite_rename_test sqlite_drop_column sqlite_rename_quotefix
    """.split()
)
"""Functions and operators that a statement may use on D1, by the name under which SQLite knows them.

The last five are what ALTER TABLE calls. The engine's list also names `soundex`, `max_scalar` and
`min_scalar`, but its build has no such functions.
"""

_WITHHELD: Final = frozenset(
    """
    sqlite_version sqlite_source_id sqlite_compileoption_get sqlite_compileoption_used sqlite_log subtype
    ceiling power log10 if unistr unistr_quote json_pretty json_error_position json_array_insert
    jsonb_array_insert fts5 fts5_source_id fts5_locale sqlite_fail
    """.split()
)
"""Functions that D1's SQLite has and does not let anybody use; any other unknown one it does not have."""

_ABSENT_TABLES: Final = frozenset({"dbstat", "sqlite_dbpage", "sqlite_stmt"})
"""Tables of insight that many builds of SQLite offer by themselves, and D1's does not."""

_MODULES: Final = frozenset({"fts5", "fts5vocab", "rtree", "rtree_i32"})

# --------------------------------------------------------------------------------------------- pragmas

_BOOLEAN_PRAGMAS: Final = frozenset(
    """
    case_sensitive_like foreign_keys defer_foreign_keys ignore_check_constraints legacy_alter_table
    recursive_triggers reverse_unordered_selects
    """.split()
)
_NAME_PRAGMAS: Final = frozenset(
    "table_info table_xinfo foreign_key_list index_info index_list index_xinfo".split()
)
_BOOLEAN: Final = r"(?i)['\"]?(true|false|yes|no|on|off|1|0)"
_NUMBER: Final = r"(?i)[+-]?(0x[0-9a-f]+|\d+)"

# What can be asked of a ledger that must not change. The first are harmless whatever their argument, a
# name or a number; the others only read while they have no argument.
_ASKING_PRAGMAS: Final = _NAME_PRAGMAS | frozenset(
    """
    table_list foreign_key_check quick_check integrity_check database_list collation_list function_list
    module_list pragma_list compile_options data_version page_count freelist_count
    """.split()
)
_READABLE_PRAGMAS: Final = _BOOLEAN_PRAGMAS | frozenset(
    """
    application_id auto_vacuum busy_timeout cache_size encoding journal_mode max_page_count mmap_size
    page_size query_only schema_version secure_delete synchronous temp_store user_version
    wal_autocheckpoint writable_schema
    """.split()
)

# ------------------------------------------------------------------------------------------ authorizer

_TRANSACTION_REFUSED: Final = (
    "To execute a transaction, please use the state.storage.transaction() or "
    "state.storage.transactionSync() APIs instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements. "
    "The JavaScript API is safer because it will automatically roll back on exceptions, and because it "
    "interacts correctly with Durable Objects' automatic atomic write coalescing."
)
_NOT_AUTHORIZED: Final = "not authorized"

_SCHEMA_TABLES: Final = frozenset(
    {"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"}
)
_READING: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_NAMED: Final = frozenset(
    {
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_DROP_VIEW,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_REINDEX,
        sqlite3.SQLITE_UPDATE,
    }
)
_TWICE_NAMED: Final = frozenset(
    {
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_DROP_TRIGGER,
    }
)
_TRANSACTIONS: Final = frozenset({sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT})

_WOULD: Final = {
    sqlite3.SQLITE_INSERT: "insert into {0}",
    sqlite3.SQLITE_UPDATE: "update {0}",
    sqlite3.SQLITE_DELETE: "delete from {0}",
    sqlite3.SQLITE_ALTER_TABLE: "alter table {1}",
    sqlite3.SQLITE_ANALYZE: "analyze {0}",
    sqlite3.SQLITE_REINDEX: "rebuild the index {0}",
    sqlite3.SQLITE_ATTACH: "attach a database",
    sqlite3.SQLITE_DETACH: "detach a database",
    sqlite3.SQLITE_TRANSACTION: "control a transaction",
    sqlite3.SQLITE_SAVEPOINT: "control a transaction",
    sqlite3.SQLITE_PRAGMA: "set or run the pragma {0}",
    sqlite3.SQLITE_FUNCTION: "call {1}",
}


class Denial(NamedTuple):
    """Why a statement was refused.

    `read_only` says which rule refused it. If true, `words` goes on after "because": `it would delete
    from trades`. Otherwise `words` is what D1 says, without SQLite's code at its end.
    """

    words: str
    read_only: bool


class Authorizer:
    """The gate in front of one connection: SQLite asks it about every action of every statement.

    `denied` is the reason of the last refusal, None when there was none since `explain` took it.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, read_only: bool, strict: bool, allow_transactions: bool
    ) -> None:
        self.denied: Denial | None = None
        self._connection = connection
        self._read_only = read_only
        self._strict = strict
        self._allow_transactions = allow_transactions
        self._trusting = 0

    @contextmanager
    def trusted(self) -> Iterator[None]:
        """Let everything through for statements of our own, such as BEGIN and COMMIT.

        D1's limits stay. Leaving it makes SQLite compile again what was compiled inside: Python keeps
        compiled statements by their text, and would otherwise run a user's COMMIT unasked after ours.
        """
        self._trusting += 1
        try:
            yield
        finally:
            self._trusting -= 1
            self._connection.set_authorizer(self)

    def __call__(
        self, action: int, first: str | None, second: str | None, database: str | None, trigger: str | None
    ) -> int:
        """Answer SQLite's question: SQLITE_OK or SQLITE_DENY (https://sqlite.org/c3ref/set_authorizer.html)."""
        if self._trusting:
            return sqlite3.SQLITE_OK
        if action in _TRANSACTIONS and self._allow_transactions:
            return sqlite3.SQLITE_OK
        denial = None
        if self._read_only and not _only_reads(action, first, second):
            denial = Denial(_would(action, first, second), read_only=True)
        elif self._strict and (words := _refused(action, first, second, database)) is not None:
            denial = Denial(words, read_only=False)
        if denial is None:
            return sqlite3.SQLITE_OK
        self.denied = denial
        return sqlite3.SQLITE_DENY


def enforce(
    connection: sqlite3.Connection, *, read_only: bool, strict: bool = True, allow_transactions: bool = False
) -> Authorizer:
    """Put D1's rules in front of a connection; returns the gate, which remembers why it refused.

    `read_only` lets through only what cannot change the database. `strict` is for D1's limits, its
    authorizer, and the functions that its SQLite has and this machine's older one lacks; without it only
    `read_only` holds. `allow_transactions` lets BEGIN, COMMIT and savepoints through, which D1 refuses.
    The connection must be of the standard library's `sqlite3`, and open in no transaction.
    """
    authorizer = Authorizer(
        connection, read_only=read_only, strict=strict, allow_transactions=allow_transactions
    )
    if strict:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        supply_functions(connection)
        _configure(connection, True)
    connection.set_authorizer(authorizer)
    return authorizer


def release(connection: sqlite3.Connection) -> None:
    """Take the gate away again: no authorizer, and SQLite's own limits.

    Functions that `enforce` supplied stay: an index or a view made meanwhile may use them.
    """
    connection.set_authorizer(None)
    for limit in _LIMITS:
        connection.setlimit(limit, _NO_LIMIT)
    _configure(connection, False)


def _configure(connection: sqlite3.Connection, defensive: bool) -> None:
    """D1 keeps the tables inside of an FTS5 table from being written; Python can say so since 3.12."""
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, defensive)


def _only_reads(action: int, first: str | None, second: str | None) -> bool:
    if action in _READING:
        return True
    if action == sqlite3.SQLITE_FUNCTION:
        return second != "load_extension"
    if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
        # Asked when a table-valued pragma function is met for the first time. Nobody can really update it:
        # SQLite refuses that without the pragma writable_schema, which is not let through here.
        return True
    if action == sqlite3.SQLITE_PRAGMA and first is not None:
        name = first.lower()
        return name in _ASKING_PRAGMAS or (second is None and name in _READABLE_PRAGMAS)
    return False


def _would(action: int, first: str | None, second: str | None) -> str:
    if first in _SCHEMA_TABLES or action not in _WOULD:
        return "it would change the schema"
    return f"it would {_WOULD[action].format(first or 'the ledger', second)}"


def _refused(action: int, first: str | None, second: str | None, database: str | None) -> str | None:
    """Why D1 refuses an action, in its words; None where it lets it through."""
    if action in _TRANSACTIONS:
        return _TRANSACTION_REFUSED
    if action in (sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_DETACH):
        # For these two SQLite passes the database before the table.
        first, second, database = second, None, first
    if database == "temp":
        # ALTER TABLE looks for references in the temporary schema, so reading and updating must pass.
        allowed = action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_UPDATE) and not _reserved(first)
    elif database not in (None, "main"):
        allowed = False
    elif action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_ANALYZE):
        allowed = True
    elif action == sqlite3.SQLITE_READ and first in _ABSENT_TABLES:
        allowed = False
    elif action in _NAMED or action == sqlite3.SQLITE_ALTER_TABLE:
        allowed = not _reserved(first)
    elif action in _TWICE_NAMED:
        allowed = not _reserved(first) and not _reserved(second)
    elif action == sqlite3.SQLITE_FUNCTION:
        allowed = second in FUNCTIONS
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = _pragma_allowed((first or "").lower(), second)
    elif action in (sqlite3.SQLITE_CREATE_VTABLE, sqlite3.SQLITE_DROP_VTABLE):
        allowed = (second or "").lower() in _MODULES and not _reserved(first)
    else:  # ATTACH, DETACH, everything temporary
        allowed = False
    if allowed:
        return None
    if action == sqlite3.SQLITE_FUNCTION:
        return _function_refused(second or "")
    if action == sqlite3.SQLITE_READ and first in _ABSENT_TABLES:
        return f"no such table: {first}"
    if action == sqlite3.SQLITE_READ and second:  # none where rows are only counted
        return f"access to {first}.{second} is prohibited"
    return _NOT_AUTHORIZED


def _function_refused(name: str) -> str:
    return f"{'not authorized to use' if name in _WITHHELD else 'no such'} function: {name}"


def _reserved(name: str | None) -> bool:
    return name is not None and name[:4].lower() == "_cf_"


def _pragma_allowed(name: str, argument: str | None) -> bool:
    if name == "table_list":
        return True
    if name in ("data_version", "page_size"):
        return argument is None
    if name in _BOOLEAN_PRAGMAS:
        return argument is None or re.match(_BOOLEAN, argument) is not None
    if name in _NAME_PRAGMAS:
        return argument is not None and not _reserved(argument)
    if name in ("foreign_key_check", "quick_check"):
        return argument is None or not _reserved(argument)
    if name == "optimize":
        return argument is None or re.fullmatch(_NUMBER, argument) is not None
    return False


# --------------------------------------------------------------------------------------- D1's own words

_NOTHING: Final = r"(?s)(?:[\s;]++|--[^\n]*+|/\*.*?(?:\*/|\Z))*+\Z"
_INDENTED_COMMENT: Final = r"(?m)^\s+--.*"
_DENIED: Final = r"not authorized|authorization denied|access to .* is prohibited"
_ERRORS: Final = ("no such ", "not authorized to use ")
_RENAME_INTO_RESERVED: Final = r"(?i)\brename\s+to\s+[\"'`\[]?_cf_"

# Python 3.11 to 3.14 call a code that they do not know "unknown" (https://sqlite.org/rescode.html).
_CODES: Final = {3091: "SQLITE_CONSTRAINT_DATATYPE", 2835: "SQLITE_CONSTRAINT_PINNED"}


def shape_refusal(sql: str) -> str | None:
    """What D1 says against a text that SQLite itself would let pass; None where D1 has nothing to say.

    These are a text without a statement (nothing but space, comments and semicolons), and a table that
    is renamed to a name that D1 keeps for itself.
    """
    if re.match(_NOTHING, sql):
        if not re.sub(_INDENTED_COMMENT, "", sql).strip():
            return "No SQL statements detected."
        return "SQL code did not contain a statement."
    if "_cf_" in sql.lower() and re.search(_RENAME_INTO_RESERVED, sql):
        return f"{_NOT_AUTHORIZED}: SQLITE_AUTH"
    return None


def explain(error: sqlite3.Error | MemoryError, authorizer: Authorizer) -> str:
    """Say an error of `sqlite3` in D1's words, and let the authorizer forget its refusal.

    D1 puts the name of SQLite's result code after the message: `no such table: t: SQLITE_ERROR`, or
    `UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)`. Often it
    says `at offset N` before that, which Python does not tell. For a refusal of `read_only` the words
    are those of its `Denial`. A statement that compiles to too much is a MemoryError in Python.
    """
    denied, authorizer.denied = authorizer.denied, None
    message = str(error)
    if isinstance(error, MemoryError):
        return "out of memory: SQLITE_NOMEM"
    if isinstance(error, sqlite3.DataError) and "too large" in message:
        return "statement too long: SQLITE_TOOBIG"
    if isinstance(error, sqlite3.ProgrammingError) and "bindings" in message:
        return "Wrong number of parameter bindings for SQL query."
    if denied is not None and re.match(_DENIED, message):
        message = denied.words
        if denied.read_only or message == _TRANSACTION_REFUSED:
            return message
        return f"{message}: {'SQLITE_ERROR' if message.startswith(_ERRORS) else 'SQLITE_AUTH'}"
    unknown = re.fullmatch(r"no such function: (\w+)", message)
    if unknown is not None:
        message = _function_refused(unknown[1])
    return f"{message}{_code(error)}"


def _code(error: sqlite3.Error) -> str:
    """How D1 ends a message; '' for an error that is Python's own and not SQLite's."""
    number = getattr(error, "sqlite_errorcode", None)
    if number is None:
        return ""
    name = _CODES.get(number, error.sqlite_errorname)
    primary = "_".join(name.split("_")[:2])
    if number == sqlite3.SQLITE_SCHEMA and "schema" not in str(error):
        primary = "SQLITE_ERROR"  # older versions of SQLite say so when a statement fails after a rollback
    return f": {primary}" if number < 256 else f": {primary} (extended: {name})"


# --------------------------------------------------------- functions that an older SQLite does not have

_SINCE: Final = {
    "unhex": (3, 41),
    "octet_length": (3, 43),
    "timediff": (3, 43),
    "concat": (3, 44),
    "concat_ws": (3, 44),
    "string_agg": (3, 44),
} | {name: (3, 45) for name in FUNCTIONS if name.startswith("jsonb")}
"""The SQLite version that brought a function (https://sqlite.org/changes.html)."""


def remedy(error: sqlite3.Error) -> str:
    """What to do where a statement fails here only because this machine's SQLite is old; else ''."""
    match = re.fullmatch(r"no such function: (\w+)", str(error))
    if match is None or match[1].lower() not in FUNCTIONS:
        return ""
    since = ".".join(map(str, _SINCE[match[1].lower()])) if match[1].lower() in _SINCE else "a fuller build"
    return (
        f"D1 has {match[1]}, this Python's SQLite {sqlite3.sqlite_version} has not: "
        f"use a Python whose SQLite is {since} or newer, or write the statement without it."
    )


_DAY: Final = 86_400_000  # milliseconds


def _text(value: Bindable) -> str | None:
    """A value as D1's SQLite makes a text of it: since 3.53 a REAL has 17 digits where 15 lose
    something, of which the last may be another here."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, int):
        return str(value)
    if value in (float("inf"), float("-inf")):
        return "Inf" if value > 0 else "-Inf"
    text = f"{value:.15g}"
    if float(text) != value or text.endswith(("e+15", "e+16")):
        text = f"{value:.17g}"
    digits, exponent, power = text.partition("e")
    return (digits if "." in digits else f"{digits}.0") + exponent + power


def _concat(*values: Bindable) -> str:
    if not values:
        raise TypeError
    return "".join(_text(value) or "" for value in values)


def _concat_ws(*values: Bindable) -> str | None:
    if len(values) < 2:
        raise TypeError
    separator, *parts = map(_text, values)
    return None if separator is None else separator.join(part for part in parts if part is not None)


def _octet_length(value: Bindable) -> int | None:
    if isinstance(value, bytes):
        return len(value)
    text = _text(value)
    return None if text is None else len(text.encode())


def _unhex(value: Bindable, ignored: Bindable = "") -> bytes | None:
    text, between = _text(value), _text(ignored)
    if text is None or between is None:
        return None
    digits = ""
    for letter in text:
        if letter in "0123456789abcdefABCDEF":
            digits += letter
        elif letter not in between or len(digits) % 2:
            return None
    return bytes.fromhex(digits) if len(digits) % 2 == 0 else None


def _milliseconds(year: int, month: int, day: int) -> int:
    """The Julian day of a date, in milliseconds; a day past the month's end counts on into the next."""
    past = (14 - month) // 12
    years, months = year + 4800 - past, month + 12 * past - 3
    days = (153 * months + 2) // 5 + 365 * years + years // 4 - years // 100 + years // 400 - 32045
    return (days + day - 1) * _DAY - _DAY // 2


def _timediff(later: Bindable, earlier: Bindable) -> str | None:
    """What must be added to `earlier` to come to `later`: years and months first, then days and time."""
    with closing(sqlite3.connect(":memory:")) as dates:
        read = "SELECT strftime('%Y', :at), strftime('%m', :at), strftime('%d', :at), julianday(:at)"
        to, since = (dates.execute(read, {"at": moment}).fetchone() for moment in (later, earlier))
    if None in to or None in since:
        return None
    end, start = round(to[3] * _DAY), round(since[3] * _DAY)
    year, month, day = map(int, since[:3])
    clock: int = start - _milliseconds(year, month, day)
    sign = 1 if end >= start else -1
    months = sign * ((int(to[0]) - year) * 12 + int(to[1]) - month)

    def moved() -> int:
        """`earlier`, so many months later."""
        years, index = divmod(year * 12 + month - 1 + sign * months, 12)
        return _milliseconds(years, index + 1, day) + clock

    while sign * (end - moved()) < 0:
        months -= 1
    days, rest = divmod(abs(end - moved()), _DAY)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return (
        f"{'+' if sign > 0 else '-'}{months // 12:04}-{months % 12:02}-{days:02} "
        f"{hours:02}:{minutes:02}:{rest / 1000:06.3f}"
    )


class _StringAgg:
    """`string_agg(value, separator)`: each value but the first follows the separator of its own row."""

    def __init__(self) -> None:
        self._parts: deque[tuple[str, str]] = deque()

    def step(self, value: Bindable, separator: Bindable) -> None:
        text = _text(value)
        if text is not None:
            self._parts.append((_text(separator) or "", text))

    def inverse(self, value: Bindable, separator: Bindable) -> None:
        if value is not None:
            self._parts.popleft()

    def value(self) -> str | None:
        return "".join(s + t for s, t in self._parts)[len(self._parts[0][0]) :] if self._parts else None

    def finalize(self) -> str | None:
        return self.value()


_SUPPLIED: Final[tuple[tuple[str, int, Callable[..., Bindable]], ...]] = (
    ("concat", -1, _concat),
    ("concat_ws", -1, _concat_ws),
    ("octet_length", 1, _octet_length),
    ("timediff", 2, _timediff),
    ("unhex", 1, _unhex),
    ("unhex", 2, _unhex),
)


def supply_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that D1's SQLite has and this machine's older one lacks."""
    here = sqlite3.sqlite_version_info[:2]
    for name, arguments, function in _SUPPLIED:
        if here < _SINCE[name]:
            connection.create_function(name, arguments, function, deterministic=True)
    if here < _SINCE["string_agg"]:
        # typeshed wants the methods to be attributes
        connection.create_window_function("string_agg", 2, _StringAgg)  # type: ignore[arg-type]
